"""Secrets: held so that they do not leak, sealed for the journal, and the checks that callers must pass.

It owns the master key's file, the format of sealed values and of API tokens, and the rule for webhook signatures.
It never logs, and never returns a secret as anything but ``Secret``, tokens apart, which exist to be shown once.

A sealed value is AES-256-GCM. The associated data names the key and the slot (journal, integration, field), so a value
that is copied to another slot does not open there, and no bit of it can be changed unnoticed. Which key seals what is
``vault.py``. Python cannot wipe memory, so nothing here pretends to.
"""

import hashlib
import hmac
import os
import re
import stat
import tempfile
import zlib
from base64 import b64decode, b64encode, urlsafe_b64decode
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn, Protocol

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from syncd.core.model import SealedSecret
from syncd.errors import BadConfig, CannotUnseal, KeyMissing
from syncd.seams import Ids

KEY_BYTES: Final = 32
SIGNATURE_AGE_S_MAX: Final = 300
_NONCE_BYTES = 12
_KEY_FILE_BYTES_MAX = 4096
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TOKEN_LETTERS = 43  # 62**43 > 2**256
_CHECKSUM_LETTERS = 6  # 62**6 > 2**32
_TOKEN = re.compile(r"sync_([a-z]+)_[0-9A-Za-z]{43}_([0-9A-Za-z]{6})")
_MAKE_KEY = "head -c 32 /dev/urandom | base64 > {path} && chmod 0400 {path}"


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


class KeyPlaces(Protocol):
    """Where the master key may be, as ``config.Config`` knows it, and where it must not be."""

    @property
    def master_key_credential(self) -> Path | None: ...
    @property
    def master_key_file(self) -> Path: ...
    @property
    def state_dir(self) -> Path: ...
    @property
    def runtime_dirs(self) -> tuple[Path, ...]: ...


class KeyFile(Struct, frozen=True):
    """A file as it was found: the permission bits and the owner of the very file that was read."""

    content: Secret
    mode: int
    owner_uid: int


class KeyFiles(Protocol):
    """What is done to key files; the ``Disk`` seam has no permissions, since nothing else needs them."""

    @property
    def uid(self) -> int:
        """The effective user id of this process."""
        ...

    def real(self, path: Path) -> Path:
        """Absolute, with symbolic links followed; the path need not exist."""
        ...

    def read(self, path: Path) -> KeyFile:
        """The whole file. ``FileNotFoundError`` if missing, another ``OSError`` if it is not an ordinary small file."""
        ...

    def create(self, path: Path, content: bytes) -> None:
        """Whole or not at all, durable, mode 0400, in folders of mode 0700. ``FileExistsError`` if it is there."""
        ...

    def replace(self, path: Path, content: bytes) -> None:
        """Whole or not at all, durable, mode 0400, in a folder that is there."""
        ...


class MasterKey(Struct, frozen=True):
    """The key that seals the others, and where it was found. ``files``: where a new one goes; None if we may not."""

    content: Secret
    path: Path
    is_credential: bool = False
    files: KeyFiles | None = None


class LocalKeyFiles:
    """Key files of this machine."""

    @property
    def uid(self) -> int:
        return os.geteuid()

    def real(self, path: Path) -> Path:
        return path.resolve()

    def read(self, path: Path) -> KeyFile:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # O_NONBLOCK: a FIFO must not hold the start
        with open(fd, "rb") as file:  # noqa: PTH123 a descriptor, so that the bits are those of the file that is read
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _KEY_FILE_BYTES_MAX:
                raise OSError(f"it is not an ordinary file of at most {_KEY_FILE_BYTES_MAX} bytes")
            return KeyFile(Secret(file.read(_KEY_FILE_BYTES_MAX)), stat.S_IMODE(status.st_mode), status.st_uid)

    def create(self, path: Path, content: bytes) -> None:
        made = [folder for folder in path.parents if not folder.exists()]
        for folder in reversed(made):  # one by one: ``parents=True`` would give the upper ones the umask's mode
            folder.mkdir(mode=0o700, exist_ok=True)
        draft = _draft(path, content)
        try:
            os.link(draft, path)  # unlike a rename, it never replaces a key that another daemon has just made
        finally:
            draft.unlink()
        for folder in [path.parent, *(folder.parent for folder in made)]:
            _sync_folder(folder)

    def replace(self, path: Path, content: bytes) -> None:
        draft = _draft(path, content)
        try:
            draft.replace(path)
        except OSError:
            draft.unlink()
            raise
        _sync_folder(path.parent)


def _draft(path: Path, content: bytes) -> Path:
    """A durable file beside ``path`` that only its owner may read."""
    fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(fd, "wb") as file:  # noqa: PTH123 mkstemp gives a descriptor
            os.fchmod(fd, 0o400)
            file.write(content)
            file.flush()
            os.fsync(fd)
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def load_master_key(places: KeyPlaces, files: KeyFiles, ids: Ids, *, sealed_exists: bool) -> MasterKey:
    """The 32 bytes that seal the other keys; made and stored when there is no key and nothing is sealed yet.

    Raises ``KeyMissing`` when something is sealed and the key is gone, ``BadConfig`` for a key that others may read,
    that lies with the state, or is no key. Both are exit code 78. Blocks on the disk.
    """
    credential, path = places.master_key_credential, places.master_key_file
    if credential is not None and (found := _read_key(credential, files)) is not None:
        # To a service that is not root, systemd grants its credential by an ACL, which shows in the group's bits.
        granted_bits = 0o040 if found.owner_uid == 0 and files.uid != 0 else 0
        return MasterKey(_key_in(found, credential, files.uid, granted_bits), credential, is_credential=True)
    _refuse_to_keep_in(path, places, files)
    if (found := _read_key(path, files)) is not None:
        return MasterKey(_key_in(found, path, files.uid), path, files=files)
    if sealed_exists:
        also = "" if credential is None else f" (and there is no {credential})"
        raise KeyMissing(
            f"stored credentials are sealed, and the master key {path} is missing{also}",
            hint=f"restore {path} from its backup with mode 0400, or set INCIDENTS_MASTER_KEY_FILE to where it is; "
            "if it is lost for good, start with a new --state-dir and configure the integrations again",
        )
    try:
        files.create(path, written_key(ids.secret(KEY_BYTES)))
    except FileExistsError:
        pass  # another daemon made it a moment ago: both use that one
    except OSError as error:
        raise BadConfig(
            f"the master key {path} cannot be made: {error.strerror or error}",
            hint=f"set INCIDENTS_MASTER_KEY_FILE to a path that the daemon may write, or run: "
            f"{_MAKE_KEY.format(path=path)}",
        ) from error
    # What counts is what the next start will read.
    if (found := _read_key(path, files)) is None:
        raise BadConfig(
            f"the master key {path} vanished while it was made", hint="start again, and find who removes it"
        )
    return MasterKey(_key_in(found, path, files.uid), path, files=files)


def written_key(key: bytes) -> bytes:
    """A key as its file holds it."""
    return b64encode(key) + b"\n"


def _read_key(path: Path, files: KeyFiles) -> KeyFile | None:
    try:
        return files.read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadConfig(
            f"the master key {path} cannot be read: {error.strerror or error}",
            hint="make it an ordinary file that belongs to the daemon's user, mode 0400",
        ) from error


def _refuse_to_keep_in(path: Path, places: KeyPlaces, files: KeyFiles) -> None:
    key = files.real(path)
    for folder, why in [
        (places.state_dir, "a backup of the state would carry the key to what is sealed in it"),
        *((folder, "it is emptied at a restart, and the key would be lost") for folder in places.runtime_dirs),
    ]:
        if key.is_relative_to(files.real(folder)):
            raise BadConfig(
                f"master_key_file = '{path}' lies in {folder}: {why}",
                hint="move the key elsewhere, and set INCIDENTS_MASTER_KEY_FILE to its new path",
            )


def _key_in(found: KeyFile, path: Path, uid: int, granted_bits: int = 0) -> Secret:
    if found.mode & 0o077 & ~granted_bits:
        raise BadConfig(
            f"the master key {path} has mode {found.mode:04o}: others than its owner may use it",
            hint=f"run: chmod 0400 {path}",
        )
    if found.owner_uid not in {uid, 0}:
        raise BadConfig(
            f"the master key {path} belongs to user {found.owner_uid}, and the daemon runs as {uid}",
            hint=f"run: chown {uid} {path}",
        )
    if (key := decoded_key(found.content.reveal_bytes())) is None:
        raise BadConfig(
            f"the master key {path} does not hold {KEY_BYTES} bytes in base64",
            hint=f"restore it from its backup; only if nothing was ever sealed with it, make one: "
            f"{_MAKE_KEY.format(path=path)}",
        )
    return Secret(key)


def decoded_key(content: bytes) -> bytes | None:
    """The 32 bytes that base64, hex or nothing at all stands for; None if it is no key."""
    text = content.strip()
    if re.fullmatch(rb"[0-9A-Fa-f]{64}", text):
        return bytes.fromhex(text.decode())
    if re.fullmatch(rb"[0-9A-Za-z+/_-]{43}=?", text):
        return urlsafe_b64decode(text.translate(bytes.maketrans(b"+/", b"-_")).rstrip(b"=") + b"=")
    if len(content) == KEY_BYTES and not re.fullmatch(rb"[\x20-\x7e\s]*", content):  # 32 letters are no 256-bit key
        return content
    return None


def new_token(ids: Ids, scope: str) -> tuple[str, str]:
    """An API token (256 random bits) and the SHA-256 hex digest to keep; the text itself is shown once.

    ``sync_<scope>_<43 base62>_<6 base62 of its CRC-32>``: prefix and checksum let scanners recognize a leaked one.
    """
    number = int.from_bytes(ids.secret(KEY_BYTES), "big")
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


def is_same(left: str, right: str) -> bool:
    """Compare digests or signatures in a time that does not tell where they differ."""
    return hmac.compare_digest(left.encode("utf-8", "surrogatepass"), right.encode("utf-8", "surrogatepass"))


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


def _canonical(text: str) -> bytes | None:
    """The bytes of base64 text, None unless it is exactly what an encoder writes (its last letter has spare bits)."""
    try:
        decoded = b64decode(text, validate=True)
    except ValueError:
        return None
    return decoded if is_same(b64encode(decoded).decode(), text) else None
