"""The service manager's side of the door: what it is told (sd_notify) and the sockets it hands over.

Its protocol is a datagram to ``$NOTIFY_SOCKET`` and a few variables (sd_notify(3), sd_listen_fds(3),
sd_watchdog_enabled(3)), so no library is needed. Without a service manager every call does nothing.
"""

import os
import socket
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final

from syncd.errors import BadConfig

FIRST_FD: Final = 3


class ServiceManager:
    """Whoever started us and wants to know how we do. ``tell`` may be called in any thread, and never raises."""

    def __init__(self, environ: Mapping[str, str], pid: int) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "").replace("@", "\0", 1)
        self.watchdog_s = _watchdog_s(environ, pid)

    def tell(self, *lines: str) -> None:
        """Send some of ``READY=1``, ``STATUS=…`` and their like; lost if nobody listens."""
        if self._address:
            with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.settimeout(1.0)
                out.sendto("\n".join(lines).encode(), self._address)


def _watchdog_s(environ: Mapping[str, str], pid: int) -> float | None:
    """How often it must hear from us, in seconds; None when it need not."""
    wanted, whose = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not wanted.isdecimal() or int(wanted) == 0 or (whose and whose != str(pid)):
        return None
    return int(wanted) / 1_000_000


def inherited_sockets(environ: Mapping[str, str], pid: int) -> list[socket.socket]:
    """The listening sockets that were handed over, none if there are none. Raises ``BadConfig`` for any other kind."""
    if environ.get("LISTEN_PID") != str(pid) or not environ.get("LISTEN_FDS", "").isdecimal():
        return []
    with ExitStack() as taken:
        sockets = [taken.enter_context(_listening(FIRST_FD + number)) for number in range(int(environ["LISTEN_FDS"]))]
        taken.pop_all()
    return sockets


def _listening(fd: int) -> socket.socket:
    try:
        one = socket.socket(fileno=fd)
    except OSError as error:
        raise _not_ours(f"descriptor {fd} is no socket") from error
    one.set_inheritable(False)
    one.setblocking(False)
    is_listening = one.type == socket.SOCK_STREAM and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if not is_listening or one.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        one.close()
        raise _not_ours(f"descriptor {fd} is not a listening TCP or Unix socket")
    if one.family == socket.AF_UNIX and not Path(os.fsdecode(one.getsockname())).is_absolute():
        one.close()
        raise _not_ours(f"descriptor {fd} is a socket without a file, and so without an owner")
    return one


def _not_ours(what: str) -> BadConfig:
    return BadConfig(
        f"the service manager handed over what cannot be served: {what}",
        hint="name only ListenStream= addresses in syncd.socket, with Accept=no",
    )
