"""The master key: where it lies, who may read it, and the form of its file. What it seals is ``vault.py``."""

import os
import re
import stat
import tempfile
from base64 import b64encode, urlsafe_b64decode
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from syncd.credentials import KEY_BYTES, Secret
from syncd.errors import BadConfig, KeyMissing
from syncd.seams import Ids

_KEY_FILE_BYTES_MAX = 4096
_MAKE_KEY = "head -c 32 /dev/urandom | base64 > {path} && chmod 0400 {path}"


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
