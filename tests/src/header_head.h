/*
 * libmarea: a learner's progress, written on this machine at once, and brought to the app's Postgres later, exactly once.
 * Generated from native/c by `cargo xtask header`. How to build, install and link it: docs/DESKTOP.md; a program: examples/c.
 *
 * Rules for all functions:
 *
 * - Texts are UTF-8 and end with a NUL. A text that a function takes is read during the call and not kept.
 * - Rich values are JSON, in and out. Instants are UTC ("2026-11-23T12:00:00Z"), days are "2026-11-23", ids are UUIDs.
 * - A function that can fail returns a MareaCode, 0 for success. Its last argument, which may be NULL, gets a text when it fails:
 *   {"code": the code's name, "message": what happened and what to do, "may_retry": whether the same call may succeed later}. No
 *   message holds a password, a token, a key, or what a learner wrote.
 * - Outputs may be NULL when they are not wanted, but for the handles of marea_open and marea_watch_*, and what gets a new
 *   recovery code, which is nowhere else. When a call fails they are NULL, 0 or false.
 * - What a `char **` output gets is the caller's: give it to marea_string_free, which wipes it. A `const char *` that is
 *   returned, or handed to a callback, is not.
 * - Handles are freed by the caller: a MareaClient with marea_free, a MareaWatch with marea_watch_stop. NULL for a handle, a
 *   needed text or a callback is MAREA_CODE_NULL_ARGUMENT, bytes that are not UTF-8 are MAREA_CODE_INVALID_UTF8; a handle that
 *   was freed is undefined behaviour, as in any C library.
 * - Threads: every function may be called from every thread, with one client also at the same time. A call waits for the disk
 *   (milliseconds) and never for a network, but for marea_sync, marea_sign_in, marea_sign_out and a marea_close that flushes.
 *   Callbacks come on threads of the library: see MareaCallback.
 * - Processes: any number may have one mirror open. Handles do not survive fork(): open after it.
 * - A panic inside the library is caught and becomes MAREA_CODE_INTERNAL; it does not end the program.
 */
