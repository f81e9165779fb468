"""Listening sockets: TCP ports, and the Unix socket with the lock that keeps it to one daemon.

A Unix socket has its final mode from birth. A socket file that nobody listens behind any more is replaced, a live one
is refused; that is decided under an exclusive lock on ``<socket>.lock``, so two daemons that start at the same time
cannot both take it. The lock file itself stays: removing it would open that race again. No descriptor is inheritable.

This module accepts nothing; that is ``serve.py``.
"""

import os
import socket
import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import trio

from syncd.errors import AlreadyRunning, BadConfig
from syncd.seams import hold_lock

UNIX_PATH_BYTES_MAX: Final = 107  # sun_path holds 108 with its closing NUL, unix(7)
BACKLOG: Final = 1024
SILENT_PEER_MS_MAX: Final = 30_000

_PEERCRED = struct.Struct("3i")
_SO_PEERGROUPS = 59  # Linux 4.13; the socket module has no name for it
_PEERGROUPS_BYTES = 1024  # the most that its getsockopt() takes


async def open_tcp(host: str, port: int) -> list[trio.SocketListener]:
    """One listener for each address of ``host``; port 0 picks a free one. Raises BadConfig when it cannot be had."""
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=BACKLOG)
    except OSError as error:
        raise BadConfig(
            f"cannot listen on {host}:{port}: {error.strerror or error}",
            hint="stop what listens there, or set listen ($INCIDENTS_LISTEN) to another address or port",
        ) from error
    for listener in listeners:
        _notice_silence(listener.socket)
    return listeners


def take_over(inherited: socket.socket) -> trio.SocketListener:
    """Listen on a socket that another process opened and keeps open: it outlives us, and who connects waits in it."""
    if inherited.family != socket.AF_UNIX:
        _notice_silence(inherited)
    return trio.SocketListener(trio.socket.from_stdlib_socket(inherited))


def _notice_silence(listening: socket.socket | trio.socket.SocketType) -> None:
    """A peer that vanished without a word is noticed so soon after we sent something; the kernel's default is 15 min.

    Accepted sockets inherit it.
    """
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENT_PEER_MS_MAX)


def open_unix(path: Path, mode: int = 0o660) -> "UnixListener":
    """Listen on a Unix socket at ``path``, in a folder that exists; ``aclose()`` removes the socket again.

    Raises AlreadyRunning when a live process listens there, BadConfig when the path cannot be used.
    """
    raw = os.fsencode(path)
    if len(raw) > UNIX_PATH_BYTES_MAX:
        raise BadConfig(
            f"socket path {path} has {len(raw)} bytes, Unix allows {UNIX_PATH_BYTES_MAX}",
            hint="set socket ($INCIDENTS_SOCKET) to a shorter path, such as /run/syncd/syncd.sock",
        )
    try:
        lock_fd = hold_lock(Path(f"{path}.lock"), path)
        try:
            _clear_stale(path)
            return UnixListener(path, _bind(path, mode), lock_fd)
        except BaseException:
            os.close(lock_fd)
            raise
    except OSError as error:
        raise BadConfig(
            f"cannot listen on socket {path}: {error.strerror or error}",
            hint="make its folder exist and writable for syncd, or set socket ($INCIDENTS_SOCKET) to another path",
        ) from error


class UnixListener(trio.abc.Listener[trio.SocketStream]):
    """A bound Unix socket, the file it made and the lock it holds."""

    def __init__(self, path: Path, bound: socket.socket, lock_fd: int) -> None:
        self.path = path
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
        self._lock_fd: int | None = lock_fd
        self._made = _identity(path)

    async def accept(self) -> trio.SocketStream:
        return await self._listener.accept()

    async def aclose(self) -> None:
        """Remove the socket if it is still the one made here, stop listening, then let go of the lock."""
        if self._lock_fd is not None:
            lock_fd, self._lock_fd = self._lock_fd, None
            if _identity(self.path) == self._made:
                self.path.unlink(missing_ok=True)
            self._listener.socket.close()
            os.close(lock_fd)
        await trio.lowlevel.checkpoint()


def address_of(listener: trio.abc.Listener[Any]) -> str:
    """What a listener listens on, for the log."""
    if isinstance(listener, UnixListener):
        return str(listener.path)
    if not isinstance(listener, trio.SocketListener):
        return type(listener).__name__
    name = listener.socket.getsockname()
    return name if isinstance(name, str) else f"{name[0]}:{name[1]}"


class Peer(NamedTuple):
    """The process at the other end of a Unix socket when it connected. ``groups``: its supplementary ones."""

    pid: int
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def peer_of(stream: socket.socket | trio.socket.SocketType) -> Peer:
    """Who is at the other end of a Unix socket, by the kernel's word."""
    pid, uid, gid = _PEERCRED.unpack(stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEERCRED.size))
    groups = b""
    with suppress(OSError):  # an old kernel, or more groups than fit: then the primary group decides
        groups = stream.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _PEERGROUPS_BYTES)
    return Peer(pid, uid, gid, struct.unpack(f"{len(groups) // 4}I", groups))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _clear_stale(path: Path) -> None:
    """Remove a socket that nobody listens behind. The lock is held, but a listener of another kind has no lock."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise BadConfig(
                f"socket path {path} is taken by a file that is no socket",
                hint="move that file away, or set socket ($INCIDENTS_SOCKET) to another path",
            )
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
        except BlockingIOError as error:  # its backlog is full: very much alive
            raise AlreadyRunning(path, "unknown") from error
        raise AlreadyRunning(path, str(peer_of(probe).pid))


def _bind(path: Path, mode: int) -> socket.socket:
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        umask = os.umask(0o777 & ~mode)  # not chmod afterwards: for an instant anybody could connect
        try:
            bound.bind(os.fspath(path))
        finally:
            os.umask(umask)
        bound.listen(BACKLOG)
    except BaseException:
        bound.close()
        raise
    return bound
