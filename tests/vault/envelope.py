"""Opens and makes envelopes, written from docs/VAULT.md, with nothing but Python and `cryptography`.

stdin: one JSON document a line, {"do": "open" | "open_old" | "make", "user", "provider", "passphrase", ...}; stdout: one answer a
line. Both formats are opened, format 2 is made.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import unicodedata

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC


class Damaged(Exception):
    pass


class WrongPassphrase(Exception):
    pass


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64(text):
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if b64(data) != text:
        raise Damaged()
    return data


def seal(key, about, plain):
    nonce = os.urandom(12)
    return nonce + AESGCM(key).encrypt(nonce, plain, about.encode("ascii"))


def unseal(key, about, sealed):
    return AESGCM(key).decrypt(sealed[:12], sealed[12:], about.encode("ascii"))


def hkdf(secret, info):
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info.encode("ascii")).derive(secret)


def derive(passphrase, salt, rounds):
    normal = unicodedata.normalize("NFKC", passphrase).encode("utf-8")
    return PBKDF2HMAC(algorithm=hashes.SHA256(), length=32, salt=salt, iterations=rounds).derive(normal)


def mac(secret, info, message):
    return b64(hmac.new(hkdf(secret, info), message.encode("ascii"), hashlib.sha256).digest()[:15])


def check(data_key, about, wrapped):
    return mac(data_key, "marea1 check", f"{about} {wrapped}")


def checksum(user, provider, text):
    version = text.split(".")[0]
    return b64(hashlib.sha256(f"{version} sum {user} {provider} {text}".encode("ascii")).digest()[:9])


def read(user, provider, envelope):
    """The header's parts, the list of superseded keys, when the key was put, and the sealed key. Format 1 has no list and no date."""
    summed, written = envelope.rsplit(".", 1)
    parts = summed.split(".")
    if checksum(user, provider, summed) != written:
        raise Damaged()
    if parts[0] == "marea1" and len(parts) == 9:
        return parts[1:8], None, None, parts[8]
    if parts[0] == "marea2" and len(parts) == 11:
        return parts[1:8], parts[8], parts[9], parts[10]
    raise Damaged()


ROOMS = (256, 512, 1024)


def pad(key):
    room = min(room for room in ROOMS if room >= len(key))
    return len(key).to_bytes(2, "big") + key + bytes(room - len(key))


def unpad(plain):
    length = int.from_bytes(plain[:2], "big")
    key, zeros = plain[2 : 2 + length], plain[2 + length :]
    if len(plain) - 2 not in ROOMS or not key or any(zeros):
        raise Damaged()
    return key


def about_key(user, provider, key_id, put):
    if put is None:
        return f"marea1 key {user} {provider} {key_id}"
    return f"marea2 key {user} {provider} {key_id} {put}"


def open_body(user, provider, key_id, put, data_key, body):
    try:
        plain = unseal(data_key, about_key(user, provider, key_id, put), unb64(body))
    except InvalidTag:
        raise Damaged()
    return (plain if put is None else unpad(plain)).decode("utf-8")


def data_key_of(user, header, passphrase):
    key_id, kdf, made, salt, wrapped, written_check, _ = header
    rounds = int(kdf.removeprefix("pbkdf2-sha256-"))
    about = f"marea1 passphrase {user} {key_id} {kdf} {made} {salt}"
    try:
        data_key = unseal(derive(passphrase, unb64(salt), rounds), about, unb64(wrapped))
    except InvalidTag:
        raise WrongPassphrase()
    if check(data_key, about, wrapped) != written_check:
        raise Damaged()
    return data_key


def open_envelope(user, provider, envelope, passphrase):
    header, past, put, body = read(user, provider, envelope)
    data_key = data_key_of(user, header, passphrase)
    if past is not None:
        superseded(user, header[0], past, data_key)
    return open_body(user, provider, header[0], put, data_key, body)


def past_check(data_key, user, key_id, entries):
    return mac(data_key, "marea2 past check", f"marea2 past {user} {key_id} {entries}")


def superseded(user, key_id, past, data_key):
    """The old data keys that are noted in a list, by their names."""
    entries, written = past[:-20], past[-20:]
    if past_check(data_key, user, key_id, entries) != written:
        raise Damaged()
    keys = {}
    for at in range(0, len(entries), 129):
        entry = entries[at : at + 129]
        since, old_id, wrapped, proof = entry[:13], entry[13:29], entry[29:109], entry[109:]
        about = f"marea2 past {user} {key_id} {old_id} {since}"
        old = unseal(hkdf(data_key, "marea2 past key"), about, unb64(wrapped))
        if mac(old, "marea2 superseded", about) != proof:
            raise Damaged()
        keys[old_id] = old
    return keys


def open_old(user, provider, old, newer, passphrase):
    """An envelope of a superseded data key, by the passphrase of the newer one."""
    header, past, _, _ = read(user, provider, newer)
    keys = superseded(user, header[0], past, data_key_of(user, header, passphrase))
    old_header, _, put, body = read(user, provider, old)
    return open_body(user, provider, old_header[0], put, keys[old_header[0]], body)


LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def code_bytes(code):
    values = [LETTERS.index(letter) for letter in code.replace("-", "")]
    number = 0
    for value in values:
        number = number << 5 | value
    data, check_bits = (number >> 12).to_bytes(16, "big"), number & 0xFFF
    if int.from_bytes(hashlib.sha256(b"marea recovery code " + data).digest()[:2], "big") >> 4 != check_bits:
        raise WrongPassphrase()
    return data


def code_text(data):
    check_bits = int.from_bytes(hashlib.sha256(b"marea recovery code " + data).digest()[:2], "big") >> 4
    number = int.from_bytes(data, "big") << 12 | check_bits
    letters = "".join(LETTERS[number >> 5 * place & 31] for place in reversed(range(28)))
    return "-".join(letters[at : at + 4] for at in range(0, 28, 4))


def open_by_code(user, provider, envelope, code):
    (key_id, _, _, _, _, _, recovery), _, put, body = read(user, provider, envelope)
    if recovery == "0":
        raise WrongPassphrase()
    made, wrapped, written_check = recovery[:13], recovery[13:93], recovery[93:]
    about = f"marea1 recovery {user} {key_id} {made}"
    try:
        data_key = unseal(hkdf(code_bytes(code), f"marea1 recovery {user} {key_id}"), about, unb64(wrapped))
    except InvalidTag:
        raise WrongPassphrase()
    if check(data_key, about, wrapped) != written_check:
        raise Damaged()
    return open_body(user, provider, key_id, put, data_key, body)


def make_envelope(user, provider, key, passphrase, rounds, made_ms, code):
    key_id, data_key, salt = b64(os.urandom(12)), os.urandom(32), os.urandom(16)
    kdf, made = f"pbkdf2-sha256-{rounds}", f"{made_ms:013}"
    about = f"marea1 passphrase {user} {key_id} {kdf} {made} {b64(salt)}"
    wrapped = b64(seal(derive(passphrase, salt, rounds), about, data_key))
    recovery = "0"
    if code:
        rabout = f"marea1 recovery {user} {key_id} {made}"
        rwrapped = b64(seal(hkdf(code_bytes(code), f"marea1 recovery {user} {key_id}"), rabout, data_key))
        recovery = made + rwrapped + check(data_key, rabout, rwrapped)
    put = f"{made}-0000"
    body = b64(seal(data_key, about_key(user, provider, key_id, put), pad(key.encode("utf-8"))))
    header = [key_id, kdf, made, b64(salt), wrapped, check(data_key, about, wrapped), recovery]
    parts = ["marea2", *header, past_check(data_key, user, key_id, ""), put, body]
    text = ".".join(parts)
    return f"{text}.{checksum(user, provider, text)}"


def answer(asked):
    who = asked["user"], asked["provider"]
    try:
        if asked["do"] == "make":
            code = code_text(os.urandom(16)) if asked.get("with_code") else None
            made = asked["key"], asked["passphrase"], asked["rounds"], asked["made_ms"], code
            return {"envelope": make_envelope(*who, *made), "code": code}
        if asked["do"] == "open_old":
            return {"key": open_old(*who, asked["old"], asked["envelope"], asked["passphrase"])}
        if "code" in asked:
            return {"key": open_by_code(*who, asked["envelope"], asked["code"])}
        return {"key": open_envelope(*who, asked["envelope"], asked["passphrase"])}
    except Damaged:
        return {"error": "key_damaged"}
    except WrongPassphrase:
        return {"error": "wrong_passphrase"}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
