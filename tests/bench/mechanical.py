"""`make bench-peers`: one mechanical job by syncd, Node-RED and Restate beside each other, in one run.

The job: an HTTP request comes in, an HTTP request with the same value goes out to the same peer. Node-RED forwards it
from memory (a crash loses it). Restate writes an invocation down, then does the PUT. syncd takes an edit of an incident
over its API, journals it, reads the record, merges, journals the attempt and PATCHes. So syncd does more, and is not
spared for it.
"""

import os
import platform
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.bench.both_ways import CHANGES, RATE, Stage
from tests.bench.load import Job
from tests.bench.processes import ROOT, START_S_MAX, Server, load, running
from tests.bench.results import Noise, Row, percentile
from tests.crash.daemon_process import free_port

PACKAGES = ROOT / ".bench" / "peers"
HERE = Path(__file__).parent / "peers"


class Tool:
    """One of the three: its processes, and the job that makes it work. ``p50_s``, ``rates`` ...: one a round."""

    def __init__(self, name: str, servers: list[Server], job: Job) -> None:
        self.name = name
        self.servers = servers
        self.job = job
        self.p50_s: list[float] = []
        self.p99_s: list[float] = []
        self.rates: list[float] = []
        self.cpu_s: list[float] = []

    def round(self, stage: Stage, number: int, *, counts: bool = True) -> None:
        """The job at a steady rate, then as fast as it goes."""
        prefix = f"{self.name}{number}"
        paced = self._latencies_s(stage, f"{prefix}p", RATE)
        before_s = sum(server.cpu_s for server in self.servers)
        full = self._latencies_s(stage, f"{prefix}f", 0.0)
        if counts:
            self.p50_s.append(percentile(paced, 0.5))
            self.p99_s.append(percentile(paced, 0.99))
            self.rates.append(CHANGES / max(full))
            self.cpu_s.append((sum(server.cpu_s for server in self.servers) - before_s) / CHANGES)

    def _latencies_s(self, stage: Stage, prefix: str, rate: float) -> list[float]:
        """From when a request was due (at full speed: from the first one) until its value came to the peer."""
        self.job.prefix, self.job.rate = prefix, rate
        stage.taken()
        done = load(self.job)
        came = {value: at_s for at_s, _, value in stage.patched(CHANGES).writes}
        due_s = sorted(done.due_s)
        return [came[f"{prefix}-{at}"] - (due_s[at] if rate else due_s[0]) for at in range(CHANGES)]


def node_red(stage: Stage, stack: ExitStack) -> Tool:
    """``http in`` -> ``http request``: not durable."""
    port, folder = free_port(), stage.folder / "node-red"
    folder.mkdir()
    command = ["node", str(PACKAGES / "node_modules" / "node-red" / "red.js"), "--port", str(port)]
    command += ["--userDir", str(folder), "--settings", str(HERE / "settings.js"), str(HERE / "flows.json")]
    server = Server(command, port, stage.folder, os.environ | {"PEER_URL": stage.peer.url})
    stack.enter_context(running(server))
    return Tool("node-red", [server], _job(server.port, "/hook"))


def restate(stage: Stage, stack: ExitStack) -> Tool:
    """A server that keeps invocations, and a service that it calls: durable."""
    service_port, ingress, admin, node = free_port(), free_port(), free_port(), free_port()
    folder = stage.folder / "restate"
    environ = os.environ | {
        "RESTATE_BASE_DIR": str(folder),
        "RESTATE_INGRESS__BIND_ADDRESS": f"127.0.0.1:{ingress}",
        "RESTATE_ADMIN__BIND_ADDRESS": f"127.0.0.1:{admin}",
        "RESTATE_BIND_ADDRESS": f"127.0.0.1:{node}",
        "RESTATE_ADVERTISED_ADDRESS": f"http://127.0.0.1:{node}",
        "RESTATE_DISABLE_TELEMETRY": "true",
        "RESTATE_LOG_FILTER": "warn",
        "RESTATE_CLUSTER_NAME": "bench",
        "RESTATE_NODE_NAME": "bench",
    }
    machine = {"x86_64": "x64", "aarch64": "arm64"}[platform.machine()]
    binary = PACKAGES / "node_modules" / "@restatedev" / f"restate-server-linux-{machine}" / "bin" / "restate-server"
    start = ["env", f"--chdir={PACKAGES}", "node", str(HERE / "forward.mjs"), str(service_port), stage.peer.url]
    service = Server(start, service_port, stage.folder, os.environ | {"RESTATE_LOGGING": "WARN"})
    stack.callback(service.stop)
    server = stack.enter_context(running(Server([str(binary)], admin, stage.folder, environ), "/health"))
    _register(server, service)
    return Tool("restate", [server, service], _job(ingress, "/forward/put/send"))


def _register(server: Server, service: Server) -> None:
    """Until it works: the service speaks HTTP/2 only, so that nobody but Restate can ask whether it is up."""
    until = time.monotonic() + START_S_MAX
    while True:
        try:
            server.call("POST", "/deployments", {"uri": service.url})
        except RuntimeError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
        else:
            return


def _job(port: int, path: str) -> Job:
    return Job(port=port, kind="forward", path=path, names=[f"{at:032x}" for at in range(CHANGES)], count=CHANGES)


def rows(folder: Path, rounds: int, noise: Noise) -> Iterator[Row]:
    if not PACKAGES.is_dir():
        raise SystemExit("the tools to compare with are not installed; run: make bench-peers")
    with ExitStack() as stack:
        stage = Stage(folder, stack)
        ours = Tool("syncd", [stage.daemon], stage.edit_job("", 0.0))
        others = [node_red(stage, stack), restate(stage, stack)]
        for number in range(-1, rounds):
            noise.look()
            for tool in (ours, *others):
                tool.round(stage, number + 1, counts=number >= 0)  # the first warms up
    for other in others:
        yield from _compared(ours, other)


def _compared(ours: Tool, other: Tool) -> Iterator[Row]:
    for what, unit, mine, theirs in (
        (f"p50 at {RATE:.0f}/s", "ms", ours.p50_s, other.p50_s),
        (f"p99 at {RATE:.0f}/s", "ms", ours.p99_s, other.p99_s),
        ("changes/s at full speed", "/s", ours.rates, other.rates),
        ("CPU a change", "ms", ours.cpu_s, other.cpu_s),
    ):
        scale, digits = (1.0, 0) if unit == "/s" else (1e3, 2)
        yield Row(
            name=f"{what}: syncd / {other.name}",
            measured=f"{statistics.median(mine) * scale:.{digits}f} {unit}",
            baseline=f"{statistics.median(theirs) * scale:.{digits}f} {unit}",
            ratios=[one / two for one, two in zip(mine, theirs, strict=True)],
            remark="not durable" if other.name == "node-red" else "durable",
        )
