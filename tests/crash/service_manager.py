"""A service manager in small: it opens the sockets, starts the daemon behind them, and hears what the daemon tells."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from tests.crash.daemon_process import DaemonProcess
from tests.crash.installation import until

# The variables name the process that they are for, which is known only once it is there.
HAND_OVER = """
import os, sys
first, *fds = map(int, sys.argv[1].split(","))
for target, fd in enumerate(fds, first):
    os.dup2(fd, target, inheritable=True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "WATCHDOG_PID": str(os.getpid())}
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


class Managed(DaemonProcess):
    """``syncd serve`` behind sockets that outlive it. ``told``: what it has said so far."""

    def __init__(self, folder: Path, *, watchdog_s: float | None = None, host: str = "127.0.0.1") -> None:
        super().__init__(folder)
        self.path = folder / "doors" / "syncd.sock"
        self.path.parent.mkdir()
        self._tcp = socket.create_server((host, self.port), backlog=1024)
        self._unix = socket.socket(socket.AF_UNIX)
        self._unix.bind(str(self.path))
        self._unix.listen(1024)
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(folder / "notify"))
        self._notify.setblocking(False)
        self.told: list[str] = []
        self.environ |= {"NOTIFY_SOCKET": str(folder / "notify"), "LISTEN_FDS": "2"}
        if watchdog_s is not None:
            self.environ["WATCHDOG_USEC"] = str(int(watchdog_s * 1_000_000))

    def spawn(self) -> subprocess.Popen[bytes]:
        fds = [self._tcp.fileno(), self._unix.fileno()]
        with (self.folder / "daemon.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", HAND_OVER, ",".join(map(str, [3, *fds])), "-m", self.module, "serve"],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=fds,
            )

    def hear(self) -> list[str]:
        """All that it has told, one line an entry."""
        while True:
            try:
                self.told += os.read(self._notify.fileno(), 4096).decode().splitlines()
            except BlockingIOError:
                return self.told

    def until_told(self, line: str) -> None:
        """Wait until it has told this."""
        until(lambda: line in self.hear(), lambda: f"{line} is told, not only {self.told}; {self.log()}")

    def close(self) -> None:
        """End it, and take the sockets away."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)
        for one in (self._tcp, self._unix, self._notify):
            one.close()
