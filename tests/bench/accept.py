"""Rows of the webhook door: signed, decoded, deduplicated, durable, 202, at 16 clients."""

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.bench.load import Job
from tests.bench.processes import (
    SECRET,
    Server,
    configure,
    daemon,
    fast_peer,
    load,
    module,
    running,
)
from tests.bench.results import Noise, Row
from tests.crash.daemon_process import free_port

CLIENTS = 16
SECONDS = 1.5
RECORDS = [f"{number:032x}" for number in range(200)]


class Door:
    """One server to knock at, and what came of it: requests a second, and CPU microseconds a request."""

    def __init__(self, server: Server, paths: list[str]) -> None:
        """``paths``: one a round, because an integration may not take more than 10,000 webhooks at once."""
        self.server = server
        self.paths = paths
        self.rates: list[float] = []
        self.cpu_us: list[float] = []

    def knock(self, number: int, seconds: float = SECONDS) -> None:
        """Send signed webhooks for a while."""
        path = self.paths[number % len(self.paths)]
        before_s = self.server.cpu_s
        job = Job(port=self.server.port, kind="webhook", path=path, names=RECORDS, prefix=f"{number}", secret=SECRET)
        job.connections, job.seconds = CLIENTS, seconds
        done = load(job)
        self.rates.append(done.rate)
        self.cpu_us.append((self.server.cpu_s - before_s) / len(done.latencies_s) * 1e6)

    @property
    def text(self) -> str:
        return f"{statistics.median(self.rates):.0f}/s"


def _hook(server: Server, peer: Server, number: int) -> str:
    return f"/api/v1/webhooks/{configure(server, peer, enabled=False, name=f'Bench {number}')}"


def rows(folder: Path, rounds: int, noise: Noise) -> Iterator[Row]:
    """The integration is disabled, so that the door is measured and not what the daemon does about a webhook."""
    with ExitStack() as stack:
        peer = stack.enter_context(running(fast_peer(folder)))
        durable, forgetful = (
            Door(server, [_hook(server, peer, number) for number in range(rounds + 1)])
            for server in (
                stack.enter_context(running(daemon(folder / "durable"), "/ready")),
                stack.enter_context(
                    running(daemon(folder / "forgetful", module("tests.bench.without_journal", "serve")), "/ready")
                ),
            )
        )
        port = free_port()
        bare = Door(
            stack.enter_context(running(Server(module("tests.bench.bare_hypercorn", str(port)), port, folder))), ["/"]
        )
        doors = (durable, bare, forgetful)
        for door in doors:
            door.knock(rounds, 0.5)
            door.rates.clear()
            door.cpu_us.clear()
        for number in range(rounds):
            noise.look()
            for door in doors:
                door.knock(number)
    cpu = [f"{min(door.cpu_us):.0f}" for door in doors]
    yield Row(
        name="webhook accept / bare hypercorn",
        measured=durable.text,
        baseline=bare.text,
        ratios=[one / other for one, other in zip(durable.rates, bare.rates, strict=True)],
        goal=1.25,
        remark=f"CPU {cpu[0]} and {cpu[1]} us a request",
    )
    yield Row(
        name="webhook accept / without journal",
        measured=durable.text,
        baseline=forgetful.text,
        ratios=[one / other for one, other in zip(durable.rates, forgetful.rates, strict=True)],
        goal=0.85,
        remark=f"CPU {cpu[0]} and {cpu[2]} us a request",
    )
