"""Secrets: held so that they do not leak, and sealed for the journal.

It owns the format of sealed values. It never logs, and never returns a secret as anything but ``Secret``.

A sealed value is AES-256-GCM. The associated data names the key and the slot (journal, integration, field), so a value
that is copied to another slot does not open there, and no bit of it can be changed unnoticed. Which key seals what is
``vault.py``, where the master key lies ``master_key.py``. Python cannot wipe memory, so nothing here pretends to.
"""

import hmac
from base64 import b64decode, b64encode
from contextlib import suppress
from typing import Final, NoReturn

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from syncd.core.model import SealedSecret
from syncd.errors import CannotUnseal
from syncd.seams import Ids

KEY_BYTES: Final = 32
_NONCE_BYTES = 12


class Secret:
    """Text or bytes that show as ``***`` wherever they are printed; encoding or pickling one is a ``TypeError``."""

    __slots__ = ("_value",)

    def __init__(self, value: str | bytes) -> None:
        self._value = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)

    def reveal(self) -> str:
        """The text. ``ValueError`` if it was made of bytes that are not UTF-8."""
        try:
            return self._value.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            pass  # that error carries the bytes, and so would the one raised from it
        raise ValueError("this secret is not text; use reveal_bytes")

    def reveal_bytes(self) -> bytes:
        """The bytes; of text, its UTF-8."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __format__(self, spec: str) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return hmac.compare_digest(self._value, other._value) if isinstance(other, Secret) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # a hash would be a fingerprint, and ends up in sets and logs

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied; pass the object itself on")


class Cipher:
    """Seals and opens under one key of 32 bytes. A random nonce each time: good for 2**32 seals a key."""

    def __init__(self, key: bytes, ids: Ids) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the key has {len(key)} bytes; it must have {KEY_BYTES}")
        self._cipher = AESGCM(key)
        self._ids = ids
        self.key_id: Final = hmac.digest(key, b"syncd key id", "sha256")[:8].hex()

    def seal(self, secret: Secret, *slot: str) -> SealedSecret:
        """Seal for one slot, the words (journal id, integration id, field)."""
        nonce = self._ids.secret(_NONCE_BYTES)
        ciphertext = self._cipher.encrypt(nonce, secret.reveal_bytes(), self._bound_to(slot))
        return SealedSecret(self.key_id, b64encode(nonce).decode(), b64encode(ciphertext).decode())

    def open(self, sealed: SealedSecret, *slot: str) -> Secret:
        """The secret that was sealed for this slot; ``CannotUnseal`` for any other slot, key or content."""
        place = "/".join(slot)
        if sealed.key_id != self.key_id:
            raise CannotUnseal(
                f"{place} is sealed under key {sealed.key_id}, and this one is {self.key_id}",
                hint="restore the key of that time, or enter the credentials again",
            )
        nonce, ciphertext = _canonical(sealed.nonce), _canonical(sealed.ciphertext)
        if nonce is not None and ciphertext is not None and len(nonce) == _NONCE_BYTES:
            with suppress(InvalidTag):
                return Secret(self._cipher.decrypt(nonce, ciphertext, self._bound_to(slot)))
        raise CannotUnseal(
            f"{place} does not open: it was sealed for another place, or changed since",
            hint="enter the credentials of that integration again: im integration configure",
        )

    def _bound_to(self, slot: tuple[str, ...]) -> bytes:
        if not slot:
            raise ValueError("a secret is sealed for a slot: name it")
        return msgspec.json.encode(["syncd seal 1", self.key_id, *slot])  # JSON: ("a", "bc") and ("ab", "c") differ


def is_same(left: str, right: str) -> bool:
    """Compare digests or signatures in a time that does not tell where they differ."""
    return hmac.compare_digest(left.encode("utf-8", "surrogatepass"), right.encode("utf-8", "surrogatepass"))


def _canonical(text: str) -> bytes | None:
    """The bytes of base64 text, None unless it is exactly what an encoder writes (its last letter has spare bits)."""
    try:
        decoded = b64decode(text, validate=True)
    except ValueError:
        return None
    return decoded if is_same(b64encode(decoded).decode(), text) else None
