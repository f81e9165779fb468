"""The processes of the bench: started here, looked at, and ended by pid."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec

from tests.bench.load import Done, Job
from tests.crash.daemon_process import DaemonProcess, free_port

ROOT = Path(__file__).parent.parent.parent
SECRET = "bench-webhook-secret"
START_S_MAX = 30.0
SETTLE_S_MAX = 60.0
STOP_S_MAX = 15.0
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Server:
    """A process that listens on a loopback port."""

    def __init__(self, command: list[str], port: int, folder: Path, environ: Mapping[str, str] | None = None) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder
        with (folder / f"{port}.log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.web = httpx.Client(base_url=self.url, trust_env=False, timeout=START_S_MAX)

    def wait(self, path: str = "/") -> None:
        """Until it answers ``path``, in whatever way."""
        until = time.monotonic() + START_S_MAX
        while True:
            try:
                if self.web.get(path).status_code != 503:
                    return
            except httpx.TransportError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"it did not start:\n{self.log()}") from None
            time.sleep(0.02)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """One request for setting up; the JSON of a 2xx answer."""
        answer = self.web.request(method, path, json=body)
        if not answer.is_success:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json()

    @property
    def cpu_s(self) -> float:
        """CPU time used so far, all threads, user and system."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) * _TICK_S

    def log(self) -> str:
        return (self.folder / f"{self.port}.log").read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        """SIGTERM, and SIGKILL if that is not enough."""
        self.web.close()
        self.process.terminate()
        try:
            self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running(server: Server, path: str = "/") -> Iterator[Server]:
    """Wait for it, and end it in the end."""
    try:
        server.wait(path)
        yield server
    finally:
        server.stop()


def module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours."""
    return [sys.executable, "-m", name, *arguments]


def fast_peer(folder: Path, ours: int = 0) -> Server:
    """The ServiceNow of ``peer.py``. ``ours``: so many of its records carry our correlation id."""
    port = free_port()
    return Server(module("tests.bench.peer", str(port), str(ours)), port, folder)


def daemon(folder: Path, command: list[str] | None = None) -> Server:
    """``syncd serve`` over a state of its own in ``folder``, which must be new."""
    folder.mkdir()
    life = DaemonProcess(folder)
    return Server(command or module("syncd", "serve"), life.port, folder, life.environ)


def configure(one: Server, peer: Server, *, enabled: bool = True, name: str = "Bench") -> str:
    """Make an integration; returns its id."""
    made = one.call(
        "POST",
        "/api/v1/integrations",
        {
            "organization_id": "default",
            "name": name,
            "base_url": peer.url,
            "enabled": enabled,
            "rate_limit": 1000,
            "max_concurrency": 8,
            "credentials": {"username": "svc.sync", "password": "p"},
            "webhook_secret": SECRET,
        },
    )
    return str(made["id"])


def declare(one: Server, count: int, organization: str = "default") -> list[str]:
    """Declare incidents; returns their ids."""
    wanted = {"organization_id": organization, "severity": "SEV-3"}
    return [
        str(one.call("POST", "/api/v1/incidents", wanted | {"title": f"Checkout latency {number}"})["id"])
        for number in range(count)
    ]


def load(job: Job) -> Done:
    """Send a job's requests from a process of their own."""
    run = subprocess.run(module("tests.bench.load"), input=msgspec.json.encode(job), capture_output=True, check=False)
    if run.returncode:
        raise RuntimeError(f"the load failed:\n{run.stderr.decode()[-2000:]}")
    return msgspec.json.decode(run.stdout, type=Done)
