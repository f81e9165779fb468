"""What callers show, and whether it is good: API tokens, and the signatures of webhooks.

It owns the form of tokens, which exist to be shown once, and the rule for signatures. It keeps nothing.
"""

import hashlib
import hmac
import re
import zlib
from base64 import b64encode
from collections.abc import Sequence
from typing import Final

from syncd.credentials import Secret, is_same
from syncd.seams import Ids

SIGNATURE_AGE_S_MAX: Final = 300
_TOKEN_BYTES = 32
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TOKEN_LETTERS = 43  # 62**43 > 2**256
_CHECKSUM_LETTERS = 6  # 62**6 > 2**32
_TOKEN = re.compile(r"sync_([a-z]+)_[0-9A-Za-z]{43}_([0-9A-Za-z]{6})")


def new_token(ids: Ids, scope: str) -> tuple[str, str]:
    """An API token (256 random bits) and the SHA-256 hex digest to keep; the text itself is shown once.

    ``sync_<scope>_<43 base62>_<6 base62 of its CRC-32>``: prefix and checksum let scanners recognize a leaked one.
    """
    number = int.from_bytes(ids.secret(_TOKEN_BYTES), "big")
    unchecked = f"sync_{scope}_{_base62(number, _TOKEN_LETTERS)}"
    text = f"{unchecked}_{_base62(zlib.crc32(unchecked.encode()), _CHECKSUM_LETTERS)}"
    return text, digest_of(text)


def digest_of(token: str) -> str:
    """SHA-256, hex, of any text a caller may present. Enough without a slow hash: a token has 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def scope_in(token: str) -> str | None:
    """The scope that a well-formed token claims, else None. It proves nothing: only the digest does."""
    match = _TOKEN.fullmatch(token)
    if match is None:
        return None
    checksum = _base62(zlib.crc32(token[: match.start(2) - 1].encode()), _CHECKSUM_LETTERS)
    return match.group(1) if is_same(checksum, match.group(2)) else None


def verify_signature(
    secrets: Sequence[Secret], body: bytes, signature: str | None, timestamp: str | None, now_s: float
) -> bool:
    """Whether ``signature`` is that of one of ``secrets`` (several while one is rotated) over the raw body.

    HMAC-SHA256 over ``<timestamp>.<body>`` if there is a timestamp header, which must then be Unix seconds within
    ``SIGNATURE_AGE_S_MAX`` of ``now_s``; else over the body. Base64 with or without padding, or hex; ``sha256=`` may
    stand in front. Any other input is False, never an error.
    """
    if signature is None:
        return False
    signed = body
    if timestamp is not None:
        if not re.fullmatch(r"[0-9]{1,12}", timestamp) or not abs(now_s - int(timestamp)) <= SIGNATURE_AGE_S_MAX:
            return False
        signed = timestamp.encode() + b"." + body
    given = signature.strip(" \t")  # what HTTP allows around a value, and nothing else that Unicode calls a blank
    if given[:7].lower() == "sha256=":
        given = given[7:]
    # The expected value is written in each form, rather than the given one decoded: base64 decoders accept many texts
    # for the same bytes. So "null" and "undefined", which a script sends for a missing secret, are simply wrong.
    is_genuine = False
    for secret in secrets:
        if not secret:
            continue  # anybody can sign with an empty key
        expected = hmac.digest(secret.reveal_bytes(), signed, "sha256")
        padded = b64encode(expected).decode()
        is_genuine |= is_same(given.lower(), expected.hex())
        is_genuine |= is_same(given, padded) | is_same(given, padded.rstrip("="))
    return is_genuine


def _base62(number: int, letters: int) -> str:
    text = ""
    for _ in range(letters):
        number, rest = divmod(number, len(_BASE62))
        text = _BASE62[rest] + text
    return text
