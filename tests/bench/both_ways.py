"""Rows of a change on its way through the daemon, both ways: latency at 100 changes/s, throughput, CPU, requests.

    edit     a title over the API        -> the PATCH has come to ServiceNow
    told     a record, and its webhook   -> the new title is durable on the platform

No incident is changed twice in a round, so nothing is merged away. What the parts are stands in docs/performance.md.
"""

import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
from msgspec import Struct

from syncd.core.events import Merged
from syncd.core.model import Settings
from syncd.journal.reader import iterate
from syncd.seams import SystemDisk
from tests.bench.load import Done, Job
from tests.bench.parts import Parts
from tests.bench.processes import (
    SECRET,
    SETTLE_S_MAX,
    configure,
    daemon,
    declare,
    fast_peer,
    load,
    module,
    running,
)
from tests.bench.results import Noise, Row, percentile

RATE = 100.0
CHANGES = 200  # each way, in each measurement
BURST = 40
APPENDS_BEFORE_PATCH = 2  # the merge and the attempt; the edit's own is a part of HTTP in
APPENDS_BEFORE_MERGED = 2  # what the read showed, and the merge; the webhook's own is a part of HTTP in


class Taken(Struct):
    """What the peer says of the time since it was last asked."""

    methods: dict[str, int]
    rows_read: int
    own_s: dict[str, list[float]]
    writes: list[tuple[float, str, str]]

    def own_p50_s(self, method: str) -> float:
        return statistics.median(self.own_s.get(method, [0.0]))


class Stage:
    """A daemon and a peer with linked incidents, and beside it what only takes changes in."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.peer = stack.enter_context(running(fast_peer(folder)))
        self.daemon = stack.enter_context(running(daemon(folder / "daemon"), "/ready"))
        self.intake = stack.enter_context(running(daemon(folder / "intake"), "/ready"))
        self.hook = f"/api/v1/webhooks/{configure(self.daemon, self.peer)}"
        self.idle_hook = f"/api/v1/webhooks/{configure(self.intake, self.peer, enabled=False)}"
        self.incidents = declare(self.daemon, 2 * CHANGES)
        self.unlinked = declare(self.intake, CHANGES, "elsewhere")
        self.records = self._linked()
        self.position = 0
        self.taken()
        self.journaled()

    def _linked(self) -> list[str]:
        """The record of each incident, once all have one."""
        integration = self.hook.rpartition("/")[2]
        until = time.monotonic() + SETTLE_S_MAX
        while time.monotonic() < until:
            found = self.daemon.call("GET", f"/api/v1/integrations/{integration}/links?limit=1000")
            records = {one["incident_id"]: one["external_id"] for one in found if one["state"] == "active"}
            if len(records) == len(self.incidents):
                return [records[incident] for incident in self.incidents]
            time.sleep(0.1)
        raise RuntimeError(f"not everything was linked in time:\n{self.daemon.log()}")

    def taken(self) -> Taken:
        return msgspec.convert(self.peer.call("POST", "/bench/take"), Taken)

    def journaled(self) -> dict[str, float]:
        """Titles that the platform took over since the last look, with when each was decided (Unix seconds)."""
        found: dict[str, float] = {}
        for record in iterate(SystemDisk(), self.folder / "daemon" / "state", self.position):
            self.position = record.position
            for event in record.events:
                if isinstance(event, Merged):
                    found |= {one.value: record.at_s for one in event.decided if isinstance(one.value, str)}
        return found

    def edit_job(self, prefix: str, rate: float) -> Job:
        names = self.incidents[:CHANGES]
        return Job(port=self.daemon.port, kind="edit", names=names, prefix=prefix, count=CHANGES, rate=rate)

    def told_job(self, prefix: str, rate: float) -> Job:
        """The records are changed first; then their webhooks are sent."""
        names = self.records[CHANGES:]
        self.peer.call("POST", "/bench/edit", {name: f"{prefix}-{at}" for at, name in enumerate(names)})
        job = Job(port=self.daemon.port, kind="webhook", path=self.hook, names=names, prefix=prefix, secret=SECRET)
        job.count, job.rate = CHANGES, rate
        return job

    def patched(self, count: int) -> Taken:
        """What the peer took, once it has so many PATCHes."""
        total = Taken({}, 0, {}, [])
        until = time.monotonic() + SETTLE_S_MAX
        while len(total.writes) < count:
            time.sleep(0.05)
            one = self.taken()
            total.writes += one.writes
            total.rows_read += one.rows_read
            for method, times in one.own_s.items():
                total.own_s.setdefault(method, []).extend(times)
                total.methods[method] = total.methods.get(method, 0) + one.methods.get(method, 0)
            if time.monotonic() > until:
                raise RuntimeError(f"{len(total.writes)} of {count} PATCHes came:\n{self.daemon.log()}")
        return total

    def merged(self, prefix: str) -> dict[str, float]:
        """When each title of a job was decided, once all were."""
        found: dict[str, float] = {}
        until = time.monotonic() + SETTLE_S_MAX
        while len(found) < CHANGES:
            time.sleep(0.05)
            found |= {title: at_s for title, at_s in self.journaled().items() if title.startswith(f"{prefix}-")}
            if time.monotonic() > until:
                raise RuntimeError(f"{len(found)} of {CHANGES} records were merged:\n{self.daemon.log()}")
        return found


class Way(Struct):
    """One direction: seconds for each change, over all rounds, and in each round p50 and what the parts add up to."""

    all_s: list[float] = []
    p50_s: list[float] = []
    p99_s: list[float] = []
    parts_s: list[float] = []
    reads: list[float] = []
    writes: list[float] = []

    def add(self, latencies_s: list[float], parts_s: float, taken: Taken) -> None:
        """One round."""
        self.all_s += latencies_s
        self.p50_s.append(percentile(latencies_s, 0.5))
        self.p99_s.append(percentile(latencies_s, 0.99))
        self.parts_s.append(parts_s)
        self.reads.append(taken.methods.get("GET", 0) / CHANGES)
        self.writes.append(taken.methods.get("PATCH", 0) / CHANGES)


def rows(folder: Path, rounds: int, noise: Noise) -> Iterator[Row]:
    edits, told = Way(), Way()
    rates, cpu, cpu_parts = [], [], []
    with ExitStack() as stack:
        stage = Stage(folder, stack)
        for number in range(rounds):
            noise.look()
            parts, out_s, peer_read_s = _parts(stage, folder / f"parts{number}", 1)
            _edits_at_rate(stage, number, edits, parts, out_s, peer_read_s)
            _told_at_rate(stage, number, told, parts, peer_read_s)
            rate, spent, added = _full_speed(stage, folder / f"full{number}", number)
            rates.append(rate)
            cpu.append(spent)
            cpu_parts.append(added)
        burst = _burst_at_usual_rate(stage)
    for name, way in (("edit to PATCH", edits), ("webhook to platform", told)):
        p50_s, p99_s = percentile(way.all_s, 0.5), percentile(way.all_s, 0.99)
        yield Row(
            name=f"{name}, p50 at {RATE:.0f}/s / sum of the parts",
            measured=f"{p50_s * 1e3:.1f} ms",
            baseline=f"{statistics.median(way.parts_s) * 1e3:.1f} ms",
            ratios=[one / other for one, other in zip(way.p50_s, way.parts_s, strict=True)],
            goal=2,
            is_at_least=False,
            remark="without the peer's own time",
        )
        yield Row(
            name=f"{name}, p99 at {RATE:.0f}/s / its p50",
            measured=f"{p99_s * 1e3:.1f} ms",
            baseline=f"{p50_s * 1e3:.1f} ms",
            ratios=[one / other for one, other in zip(way.p99_s, way.p50_s, strict=True)],
            goal=6,
            is_at_least=False,
            remark=f"{len(way.all_s)} changes",
        )
        for kind, counts in (("reads", way.reads), ("writes", way.writes)):
            yield Row(
                name=f"{name}, {kind} a change",
                measured=f"{statistics.median(counts):.2f}",
                baseline="1",
                ratios=counts,
                remark="requests to ServiceNow",
            )
    for kind, count in (("reads", burst.methods.get("GET", 0)), ("writes", burst.methods.get("PATCH", 0))):
        yield Row(
            name=f"{BURST} edits at once at the usual rate limit, {kind} a change",
            measured=f"{count / BURST:.2f}",
            baseline="1",
            ratios=[count / BURST],
            remark="requests to ServiceNow, one round",
        )
    yield Row(
        name="both ways at full speed, CPU a change / sum of the parts",
        measured=f"{statistics.median(cpu) * 1e3:.2f} ms",
        baseline=f"{statistics.median(cpu_parts) * 1e3:.2f} ms",
        ratios=[one / other for one, other in zip(cpu, cpu_parts, strict=True)],
        goal=1.35,
        is_at_least=False,
        remark=f"{statistics.median(rates):.0f} changes/s, half each way",
    )


def _parts(stage: Stage, folder: Path, read_rows: int) -> tuple[Parts, float, float]:
    """The parts; how long a PATCH takes to come to the peer; and the peer's own time in a read."""
    folder.mkdir()
    stage.taken()
    run = subprocess.run(
        module("tests.bench.parts", str(folder), stage.peer.url, str(read_rows)), capture_output=True, check=True
    )
    parts, taken = msgspec.json.decode(run.stdout, type=Parts), stage.taken()
    came_at_s = [at_s for at_s, _, _ in taken.writes]
    out_s = statistics.median(came - sent for came, sent in zip(came_at_s, parts.write_sent_at_s, strict=False))
    return parts, out_s, taken.own_p50_s("GET")


def _edits_at_rate(stage: Stage, number: int, way: Way, parts: Parts, out_s: float, peer_read_s: float) -> None:
    in_s = percentile(_alone(stage, "edit", f"in{number}").latencies_s, 0.5)
    parts_s = in_s + APPENDS_BEFORE_PATCH * parts.append.p50_s + parts.read.p50_s - peer_read_s + out_s
    stage.taken()
    prefix = f"edit{number}"
    done = load(stage.edit_job(prefix, RATE))
    taken = stage.patched(CHANGES)
    due_s = dict(zip((f"{prefix}-{at}" for at in range(CHANGES)), sorted(done.due_s), strict=True))
    latencies_s = [at_s - due_s[title] - taken.own_p50_s("GET") for at_s, _, title in taken.writes]
    way.add(latencies_s, parts_s, taken)


def _told_at_rate(stage: Stage, number: int, way: Way, parts: Parts, peer_read_s: float) -> None:
    in_s = percentile(_alone(stage, "webhook", f"told-in{number}").latencies_s, 0.5)
    parts_s = in_s + APPENDS_BEFORE_MERGED * parts.append.p50_s + parts.read.p50_s - peer_read_s
    prefix = f"told{number}"
    job = stage.told_job(prefix, RATE)
    stage.taken()
    stage.journaled()
    done = load(job)
    merged, taken = stage.merged(prefix), stage.taken()
    due_s = sorted(done.due_s)
    latencies_s = [
        # The journal says when it was decided; it was durable, and to be seen, one append later.
        merged[f"{prefix}-{at}"] + parts.append.p50_s - due_s[at] - taken.own_p50_s("GET")
        for at in range(CHANGES)
    ]
    way.add(latencies_s, parts_s, taken)


def _alone(stage: Stage, kind: str, prefix: str, *, connections: int = 1, count: int = CHANGES) -> Done:
    """HTTP in: changes that lead to nothing more, on a daemon of their own."""
    job = Job(port=stage.intake.port, kind=kind, prefix=prefix, count=count, connections=connections)
    job.path, job.secret = stage.idle_hook, SECRET
    job.names = stage.unlinked if kind == "edit" else [f"{0xE00000 + at:032x}" for at in range(CHANGES)]
    return load(job)


def _burst_at_usual_rate(stage: Stage) -> Taken:
    """What the peer is asked for when more is edited at once than an integration may ask by default."""
    integration = stage.hook.rpartition("/")[2]
    usual = Settings(organization_id="", name="", handle="", base_url="")
    wanted = {"rate_limit": usual.rate_limit, "max_concurrency": usual.max_concurrency}
    stage.daemon.call("PATCH", f"/api/v1/integrations/{integration}", wanted)
    time.sleep(2)  # it is started anew, and sweeps
    stage.taken()
    job = stage.edit_job("burst", 0.0)
    job.count = BURST
    load(job)
    return stage.patched(BURST)


def _full_speed(stage: Stage, folder: Path, number: int) -> tuple[float, float, float]:
    """Changes a second, CPU seconds a change, and the CPU seconds of its parts. All changes are sent at once."""
    prefix = f"full{number}"
    told, edits = stage.told_job(f"{prefix}t", 0.0), stage.edit_job(f"{prefix}e", 0.0)
    stage.taken()
    stage.journaled()
    before, first_position, begun_s = stage.daemon.cpu_s, stage.position, time.time()
    both = [
        subprocess.Popen(module("tests.bench.load"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)
    ]
    for process, job in zip(both, (told, edits), strict=True):
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(job))
        process.stdin.close()
    for process in both:
        assert process.stdout is not None
        process.stdout.read()
        process.stdout.close()
        if process.wait() != 0:
            raise RuntimeError("the load failed")
    taken, merged = stage.patched(CHANGES), stage.merged(f"{prefix}t")
    time.sleep(0.2)  # what is settled behind the last write
    stage.journaled()
    spent_s = stage.daemon.cpu_s - before
    ended_s = max(*(at_s for at_s, _, _ in taken.writes), *merged.values())
    changes = 2 * CHANGES
    gets, patches = taken.methods.get("GET", 1), taken.methods.get("PATCH", 0)
    parts = _parts(stage, folder, max(1, min(50, round(taken.rows_read / gets))))[0]
    in_s = 0.0
    for kind in ("edit", "webhook"):
        begun = stage.intake.cpu_s
        _alone(stage, kind, f"{prefix}-{kind}", connections=16, count=3 * CHANGES)
        in_s += (stage.intake.cpu_s - begun) / 3
    appends = stage.position - first_position - changes
    added_s = in_s + appends * parts.append.cpu_s + gets * parts.read.cpu_s + patches * parts.write.cpu_s
    return changes / (ended_s - begun_s), spent_s / changes, added_s / changes
