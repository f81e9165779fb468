"""A whole installation as its users have it: the daemon, a ServiceNow simulator and `im`, each a process of its own."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx

from tests.crash.daemon_process import DaemonProcess, free_port

T = TypeVar("T")

IM = str(Path(sys.executable).parent / "im")
WAIT_S_MAX = 20.0
ACCOUNT = ("svc.sync", "sync-secret")


def until(look: Callable[[], T], what: str | Callable[[], str], wait_s: float = WAIT_S_MAX) -> T:
    """Look until there is something; the other side is another process, which can only be looked at.

    ``what``: what was waited for, in words, or what tells how it is then.
    """
    ends_at = time.monotonic() + wait_s
    while time.monotonic() < ends_at:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what if isinstance(what, str) else what()}: not within {wait_s:g} s")


def is_up(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


def started(daemon: DaemonProcess) -> DaemonProcess:
    """Start it and wait until it is ready."""
    daemon.process = process = daemon.spawn()

    def ready() -> bool:
        assert process.poll() is None, daemon.log()
        return is_up(f"{daemon.url}/ready")

    until(ready, "the daemon is ready", 30)
    return daemon


def stopped(daemon: DaemonProcess) -> int:
    """SIGTERM; the exit code, which must come within 10 s."""
    assert daemon.process is not None
    daemon.process.terminate()
    try:
        return daemon.process.wait(10)
    except subprocess.TimeoutExpired:
        daemon.process.kill()
        daemon.process.wait(5)
        raise


class Im:
    """The installed `im`, as a user of this daemon runs it."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ

    def __call__(self, *words: str, code: int = 0, **extra: str) -> str:
        """Run one command that must end with ``code``; returns what it printed, with its errors if it failed."""
        done = subprocess.run(
            [IM, *words],
            env=self.environ | extra,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == code, f"im {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stderr if code else done.stdout

    def read(self, *words: str) -> object:
        """The JSON that a command prints."""
        decoded: object = json.loads(self(*words, "--format", "json"))
        return decoded

    def one(self, *words: str) -> dict[str, object]:
        """The same, for a command that prints an object."""
        found = self.read(*words)
        assert isinstance(found, dict)
        return found

    def many(self, *words: str) -> list[dict[str, object]]:
        """The same, for a command that prints a list."""
        found = self.read(*words)
        assert isinstance(found, list)
        return found


class Installation:
    """A daemon that asks for tokens, a simulator, and `im`; ``start`` and ``stop`` it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemon = DaemonProcess(folder)
        self.daemon.environ |= {"INCIDENTS_AUTH": "token", "INCIDENTS_CONFIG": str(folder / "syncd.toml")}
        (folder / "syncd.toml").write_text('log_level = "info"\n')
        self.simulator_url = f"http://127.0.0.1:{free_port()}"
        self.im = Im(self.daemon.environ)
        self.client = httpx.Client(trust_env=False, timeout=10)
        self.simulator: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Both processes, side by side, until both answer."""
        port = self.simulator_url.rpartition(":")[2]
        words = ["simulator", "--port", port, "--incidents", "0", "--user", ":".join(ACCOUNT)]
        with (self.folder / "simulator.log").open("wb") as log:
            self.simulator = subprocess.Popen(
                [sys.executable, "-m", "syncd", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        started(self.daemon)
        until(lambda: is_up(f"{self.simulator_url}/control/faults"), "the simulator answers")

    def stop(self) -> None:
        """End what was started."""
        self.client.close()
        for process in (self.daemon.process, self.simulator):
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(5)

    def control(self, method: str, path: str, body: object = None) -> object:
        """One request to the simulator's control API."""
        answer = self.client.request(method, f"{self.simulator_url}/control{path}", json=body)
        assert answer.status_code == 200, answer.text
        found: object = answer.json()
        return found

    def rows(self) -> list[dict[str, str]]:
        """All records."""
        found = self.control("GET", "/incidents")
        assert isinstance(found, list)
        return found
