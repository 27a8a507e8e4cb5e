"""Opens and makes envelopes, written from docs/VAULT.md, with nothing but Python and `cryptography`.

stdin: one JSON document a line, {"do": "open" | "make", "user", "provider", "passphrase", ...}; stdout: one answer a line.
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


def check(data_key, about, wrapped):
    message = f"{about} {wrapped}".encode("ascii")
    return b64(hmac.new(hkdf(data_key, "marea1 check"), message, hashlib.sha256).digest()[:15])


def checksum(user, provider, text):
    return b64(hashlib.sha256(f"marea1 sum {user} {provider} {text}".encode("ascii")).digest()[:9])


def read(user, provider, envelope):
    parts = envelope.split(".")
    if len(parts) != 10 or parts[0] != "marea1":
        raise Damaged()
    if checksum(user, provider, envelope.rsplit(".", 1)[0]) != parts[9]:
        raise Damaged()
    return parts[1:9]


def open_body(user, provider, key_id, data_key, body):
    try:
        return unseal(data_key, f"marea1 key {user} {provider} {key_id}", unb64(body)).decode("utf-8")
    except InvalidTag:
        raise Damaged()


def open_envelope(user, provider, envelope, passphrase):
    key_id, kdf, made, salt, wrapped, written_check, _, body = read(user, provider, envelope)
    rounds = int(kdf.removeprefix("pbkdf2-sha256-"))
    about = f"marea1 passphrase {user} {key_id} {kdf} {made} {salt}"
    try:
        data_key = unseal(derive(passphrase, unb64(salt), rounds), about, unb64(wrapped))
    except InvalidTag:
        raise WrongPassphrase()
    if check(data_key, about, wrapped) != written_check:
        raise Damaged()
    return open_body(user, provider, key_id, data_key, body)


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
    key_id, _, _, _, _, _, recovery, body = read(user, provider, envelope)
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
    return open_body(user, provider, key_id, data_key, body)


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
    body = b64(seal(data_key, f"marea1 key {user} {provider} {key_id}", key.encode("utf-8")))
    parts = ["marea1", key_id, kdf, made, b64(salt), wrapped, check(data_key, about, wrapped), recovery, body]
    text = ".".join(parts)
    return f"{text}.{checksum(user, provider, text)}"


def answer(asked):
    who = asked["user"], asked["provider"]
    try:
        if asked["do"] == "make":
            code = code_text(os.urandom(16)) if asked.get("with_code") else None
            made = asked["key"], asked["passphrase"], asked["rounds"], asked["made_ms"], code
            return {"envelope": make_envelope(*who, *made), "code": code}
        if "code" in asked:
            return {"key": open_by_code(*who, asked["envelope"], asked["code"])}
        return {"key": open_envelope(*who, asked["envelope"], asked["passphrase"])}
    except Damaged:
        return {"error": "key_damaged"}
    except WrongPassphrase:
        return {"error": "wrong_passphrase"}


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line))), flush=True)
