"""libmarea from Python, with nothing but the standard library: one class, values as dicts, errors as exceptions.

    with marea.Client(dir="/tmp/ada", user_id="7d0c7d5e-0d0e-4c0f-9b3a-2f8f5a1b6c3d") as client:
        client.record_session(session_type="qa", duration_minutes=12)
        print(client.progress()["total_sessions"])

The library is looked for at MAREA_LIBRARY, else where the system looks for libmarea.so.0.
"""

import ctypes
import json
import os
import sys

_NAME = "libmarea.0.dylib" if sys.platform == "darwin" else "libmarea.so.0"
try:
    _library = ctypes.CDLL(os.environ.get("MAREA_LIBRARY", _NAME))
except OSError as error:
    raise ImportError(f"{error}; install libmarea (cargo xtask install-c), or say in MAREA_LIBRARY where it is") from None
_Callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)
_library.marea_string_free.argtypes = [ctypes.c_void_p]
_library.marea_free.argtypes = [ctypes.c_void_p]
_library.marea_watch_stop.argtypes = [ctypes.c_void_p]
_library.marea_version.restype = ctypes.c_char_p
_library.marea_code_name.restype = ctypes.c_char_p


class Error(Exception):
    """A call that failed: `code` is stable and meant for programs, the text says what to do."""

    def __init__(self, number, told):
        told = told or {"message": ""}
        self.code = _library.marea_code_name(number).decode()
        self.may_retry = told.get("may_retry", False)
        super().__init__(f"{self.code}: {told['message']}")


def _take(text):
    """Copies a text that the library gave, and gives it back."""
    if not text.value:
        return None
    copied = ctypes.string_at(text.value).decode()
    _library.marea_string_free(text)
    return copied


def _call(name, *arguments, wants=ctypes.c_void_p):
    """Calls an entry whose last arguments are an output and the error. `wants=None`: there is no output."""
    output = [] if wants is None else [wants()]
    error = ctypes.c_void_p()
    code = getattr(_library, name)(*arguments, *map(ctypes.byref, output), ctypes.byref(error))
    if code != 0:
        told = _take(error)
        raise Error(code, told and json.loads(told))
    if wants is None:
        return None
    return _take(output[0]) if wants is ctypes.c_void_p else output[0]


def _text(value):
    return None if value is None else value.encode()


def _json(value):
    return json.dumps(value).encode()


def version():
    return _library.marea_version().decode()


def sign_in(dir, url, publishable_key, email, password):
    """Signs in and remembers it in the folder; `Client(dir=...)` is enough from then on."""
    return json.loads(_call("marea_sign_in", *map(_text, (dir, url, publishable_key, email, password))))


class Client:
    """A learner's mirror, open. The keywords are the members of the configuration that marea.h lists."""

    def __init__(self, **config):
        self._watches = []
        self._handle = _call("marea_open", _json(config), wants=_Handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self, flush_ms=0):
        """Ends the watches, sends what waits if that takes no longer, and closes. Gives the number that still waits."""
        if self._handle is None:
            return 0
        for watch in list(self._watches):
            watch.stop()
        try:
            return _call("marea_close", self._handle, flush_ms, wants=ctypes.c_uint32).value
        finally:
            _library.marea_free(self._handle)
            self._handle = None

    def record_session(self, **session):
        return self._json("marea_record_session", _json(session))

    def record_event(self, **event):
        return self._json("marea_record_event", _json(event))

    def create_export(self, **export):
        return self._json("marea_create_export", _json(export))

    def exports(self, **query):
        return self._json("marea_exports", _json(query))

    def progress(self):
        return self._json("marea_progress")

    def activity(self, first, last):
        return self._json("marea_activity", _text(str(first)), _text(str(last)))

    def status(self):
        return self._json("marea_status")

    def pending(self):
        return self._json("marea_pending")

    def rejected(self):
        return self._json("marea_rejected")

    def sync(self):
        return self._json("marea_sync")

    def set_access_token(self, token):
        _call("marea_set_access_token", self._open(), _text(token), wants=None)

    def watch_progress(self, told):
        """Calls `told(progress)` now and whenever it changes, on a thread of the library."""
        return Watch(self, "marea_watch_progress", told)

    def watch_status(self, told):
        return Watch(self, "marea_watch_status", told)

    def _json(self, name, *arguments):
        return json.loads(_call(name, self._open(), *arguments))

    def _open(self):
        if self._handle is None:
            raise Error(4, {"message": "this client is closed"})
        return self._handle


class _Handle(ctypes.c_void_p):
    """A handle stays one: ctypes would turn a plain c_void_p into a number."""


class Watch:
    """Ends with `stop()`, or with its client."""

    def __init__(self, client, name, told):
        def call(_, value):
            if value is not None:
                told(json.loads(value))

        # Kept for as long as the library may call it.
        self._callback = _Callback(call)
        self._client = client
        self._handle = _call(name, client._open(), self._callback, None, wants=_Handle)
        client._watches.append(self)

    def stop(self):
        if self._handle is not None:
            _library.marea_watch_stop(self._handle)
            self._handle = None
            self._client._watches.remove(self)
