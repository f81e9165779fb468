"""The installed daemon as a process of its own, with its own state, socket and port."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import trio

START_S_MAX = 30.0


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


class DaemonProcess:
    """``syncd serve`` over one state folder; every start is another life on the same state.

    ``module``: what is run, `syncd` unless a test puts another in its place.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.module = "syncd"
        self.environ = os.environ | {
            "INCIDENTS_AUTH": "none",
            "INCIDENTS_LISTEN": f"127.0.0.1:{self.port}",
            "INCIDENTS_SOCKET": str(folder / "syncd.sock"),
            "INCIDENTS_STATE_DIR": str(folder / "state"),
            "INCIDENTS_MASTER_KEY_FILE": str(folder / "master.key"),
        }

    def spawn(self) -> subprocess.Popen[bytes]:
        """Start the process and do not wait for anything."""
        with (self.folder / "daemon.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", self.module, "serve"],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def start(self, client: httpx.AsyncClient) -> None:
        """Start and wait until it is ready."""
        self.process = self.spawn()
        with trio.fail_after(START_S_MAX):
            while True:
                try:
                    if (await client.get(f"{self.url}/ready")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                assert self.process.poll() is None, self.log()
                await trio.sleep(0.02)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        assert self.process is not None
        self.process.kill()
        await trio.to_thread.run_sync(self.process.wait)

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.terminate()
        with trio.move_on_after(15):
            while self.process.poll() is None:  # noqa: ASYNC110 a process can only be looked at
                await trio.sleep(0.02)
            return self.process.returncode
        self.process.kill()
        await trio.to_thread.run_sync(self.process.wait)
        return -1

    def log(self) -> str:
        """The end of what it logged, over all lives."""
        return (self.folder / "daemon.log").read_text(errors="replace")[-4000:]
