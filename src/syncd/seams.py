"""The five seams: Clock, Ids, Disk, Net and Work, and no other way to the outside.

Every source of time, randomness, files, sockets and threads stands behind one of these protocols, so that the
simulation can replace all five and run the real daemon in virtual time. The real versions below are thin, that of Net
is in ``net.py``; only the composition root (``daemon.py``, ``demo.py``, ``__main__.py``) and the offline journal
commands build them (``tests/test_rooms.py``).
"""

import errno
import fcntl
import os
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeVar, TypeVarTuple

import httpx
import trio
from msgspec import Struct

from syncd.errors import AlreadyRunning

T = TypeVar("T")
Args = TypeVarTuple("Args")

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's base 32: no I, L, O, U, so that ids survive a phone call
_WORD_BITS = 50  # ten letters: ids must stay unique over restored backups too, so no counter


class Clock(Protocol):
    """Wall time. Durations and deadlines use ``trio.current_time()``, which the simulation replaces as well."""

    def now_s(self) -> float:
        """Unix seconds, UTC; may step in either direction."""
        ...


class Ids(Protocol):
    """Everything that must be unpredictable or unique."""

    @property
    def rng(self) -> random.Random:
        """For jitter only, never for secrets."""
        ...

    def word(self) -> str:
        """Ten upper-case letters and digits, unique for all practical purposes."""
        ...

    def secret(self, size_bytes: int) -> bytes:
        """Unpredictable bytes: keys, nonces, tokens."""
        ...


class File(Protocol):
    """A file open for appending. Every method may raise ``OSError``; none retries."""

    def write(self, block: bytes) -> int:
        """Append and return the number of bytes taken, which may be fewer than given (a full disk does that)."""
        ...

    def sync(self) -> None:
        """``fdatasync``."""
        ...

    def truncate(self, size_bytes: int) -> None: ...

    def close(self) -> None: ...


class Disk(Protocol):
    """The few file-system calls that the journal and the daemon make; synchronous, to be called through ``Work``."""

    def make_folder(self, folder: Path) -> None:
        """Make it and its parents, mode 0700, if missing."""
        ...

    def names(self, folder: Path) -> list[str]:
        """The names in a folder, sorted; empty if there is no such folder."""
        ...

    def read(self, path: Path, offset: int = 0, size_bytes: int = -1) -> bytes:
        """Bytes from ``offset``, to the end unless ``size_bytes`` is given. ``FileNotFoundError`` if missing."""
        ...

    def size(self, path: Path) -> int: ...

    def open_append(self, path: Path, *, create: bool = False) -> File:
        """Open at the end. With ``create`` the file must not exist (``FileExistsError``) and gets mode 0600."""
        ...

    def rename(self, source: Path, target: Path) -> None:
        """Atomic; replaces the target."""
        ...

    def unlink(self, path: Path) -> None: ...

    def sync_folder(self, folder: Path) -> None:
        """Make creations, renames and removals in ``folder`` durable."""
        ...

    def lock(self, path: Path) -> None:
        """Hold an exclusive lock until the process ends; ``AlreadyRunning`` with the holder's pid if it is taken."""
        ...


def replace_file(disk: Disk, path: Path, block: bytes) -> None:
    """Replace a file durably and at once, so that no crash leaves half of it. Raises ``OSError``; the old one is there
    then.
    """
    draft = path.with_name(f"{path.name}.new")
    if draft.name in disk.names(path.parent):
        disk.unlink(draft)  # an earlier try found no room, or was ended by a crash
    file = disk.open_append(draft, create=True)
    try:
        if file.write(block) < len(block):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        file.sync()
    finally:
        file.close()
    disk.rename(draft, path)
    disk.sync_folder(path.parent)


class Work(Protocol):
    """Threads: the one way to run a blocking call."""

    async def run(self, call: Callable[[*Args], T], *args: *Args) -> T:
        """Run in a thread. Not abandoned on cancellation: it returns only when ``call`` has."""
        ...


Receive = Callable[[], Awaitable[dict[str, object]]]
Send = Callable[[dict[str, object]], Awaitable[None]]
ASGIApp = Callable[[dict[str, object], Receive, Send], Awaitable[None]]


class Net(Protocol):
    """The way out to ServiceNow. The ways in are the listeners that ``daemon.py`` opens."""

    def transport(self, max_connections: int) -> httpx.AsyncBaseTransport:
        """A transport of its own, to be closed by the caller. Connects to allowed addresses only, verifies TLS, follows
        nothing, reads no environment.
        """
        ...


class Seams(Struct, frozen=True):
    """The five of them, as the composition root hands them to whoever needs one."""

    clock: Clock
    ids: Ids
    disk: Disk
    net: Net
    work: Work


class SystemClock:
    """The machine's clock."""

    def now_s(self) -> float:
        return time.time()


class SystemIds:
    """The operating system's entropy."""

    def __init__(self) -> None:
        self._rng = random.Random(secrets.randbits(64))  # noqa: S311 jitter only

    @property
    def rng(self) -> random.Random:
        return self._rng

    def word(self) -> str:
        number = secrets.randbits(_WORD_BITS)
        return "".join(_ALPHABET[number >> shift & 31] for shift in range(0, _WORD_BITS, 5))

    def secret(self, size_bytes: int) -> bytes:
        return secrets.token_bytes(size_bytes)


class SystemFile:
    """A file descriptor in append mode."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def write(self, block: bytes) -> int:
        return os.write(self._fd, block)

    def sync(self) -> None:
        os.fdatasync(self._fd)

    def truncate(self, size_bytes: int) -> None:
        os.ftruncate(self._fd, size_bytes)

    def close(self) -> None:
        os.close(self._fd)


class SystemDisk:
    """The machine's file system."""

    def __init__(self) -> None:
        self._locks: list[int] = []

    def make_folder(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def names(self, folder: Path) -> list[str]:
        try:
            return sorted(entry.name for entry in folder.iterdir())
        except FileNotFoundError:
            return []

    def read(self, path: Path, offset: int = 0, size_bytes: int = -1) -> bytes:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size_bytes)

    def size(self, path: Path) -> int:
        return path.stat().st_size

    def open_append(self, path: Path, *, create: bool = False) -> SystemFile:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        return SystemFile(os.open(path, flags, 0o600))

    def rename(self, source: Path, target: Path) -> None:
        source.replace(target)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def sync_folder(self, folder: Path) -> None:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def lock(self, path: Path) -> None:
        self._locks.append(hold_lock(path, path))


def hold_lock(path: Path, held: Path) -> int:
    """Lock a file until the returned descriptor is closed; ``AlreadyRunning`` when another process has it.

    ``held`` is what the lock stands for, to be named in the message.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(fd)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise AlreadyRunning(held, holder) from error
        raise
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd


class ThreadWork:
    """Trio's worker threads."""

    async def run(self, call: Callable[[*Args], T], *args: *Args) -> T:
        return await trio.to_thread.run_sync(call, *args)
