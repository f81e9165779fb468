"""The rows of requests: what a reconcile run over many links asks ServiceNow for, counted by the daemon itself."""

from collections.abc import Iterator
from pathlib import Path

import trio

from syncd.core.reconciling import WantedRun
from syncd.core.run import Run
from syncd.credentials import Secret
from syncd.house import House
from syncd.master_key import MasterKey
from syncd.net import SystemNet, tls_context
from syncd.seams import Seams, SystemClock, SystemDisk, SystemIds, ThreadWork
from tests.bench.history import INTEGRATION, MASTER_KEY, Past
from tests.bench.processes import fast_peer, running
from tests.bench.results import Noise, Row

LINKS = (1000, 10_000)
GOAL = {1000: None, 10_000: 60}
RUN_S_MAX = 120.0


async def counted(folder: Path) -> tuple[Run, int]:
    """A run that only reports, over all links of a past, and how many requests it made."""
    net = SystemNet(tls_context(), ["127.0.0.1"])
    seams = Seams(clock=SystemClock(), ids=SystemIds(), disk=SystemDisk(), net=net, work=ThreadWork())
    found: list[tuple[Run, int]] = []

    async def key(_: bool) -> MasterKey:
        await trio.lowlevel.checkpoint()
        return MasterKey(Secret(MASTER_KEY), folder / "master.key")

    house = await House.open(folder, seams, key)

    async def compare() -> None:
        with trio.fail_after(RUN_S_MAX):
            while house.roster.health(INTEGRATION).last_reconcile_at_s is None:  # noqa: ASYNC110
                await trio.sleep(0.05)
            before = house.roster.health(INTEGRATION).requests
            wanted = WantedRun("report")
            begun = await house.roster.reconcile(INTEGRATION, wanted, by="bench", trace="bench", source=None)
            await house.roster.run_ended(INTEGRATION, begun.id)
        run = house.journal.state.runs[INTEGRATION][begun.id]
        found.append((run, house.roster.health(INTEGRATION).requests - before))

    await house.run(compare)
    return found[0]


def rows(folder: Path, _rounds: int, noise: Noise) -> Iterator[Row]:
    noise.look()
    for links in LINKS:
        with running(fast_peer(folder, ours=links)) as peer:
            past = Past(peer.url)
            for number in range(links):
                past.link(number)
            past.write(folder / f"{links}")
            run, requests = trio.run(counted, folder / f"{links}")
        if (run.status, run.checked, run.found) != ("finished", links, {}):
            raise RuntimeError(f"{run.status}: {run.checked} checked, {run.found} found; {run.reason}")
        goal = GOAL[links]
        yield Row(
            name=f"reconcile run over {links} links, requests",
            measured=str(requests),
            baseline=str(goal or 1),
            ratios=[requests / (goal or 1)],
            goal=1 if goal else None,
            is_at_least=False,
            remark="without drift; notes and what is odd come on top",
        )
