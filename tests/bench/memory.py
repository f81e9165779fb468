"""The row of memory: what a resting link takes in a running daemon's heap, against the Structs that describe it.

Each side is a process of its own, and counts allocations (tracemalloc), which no allocator's slack blurs:

    memory.py house FOLDER PEER-URL  -> bytes of the heap of journal, roster and actors, at rest
    memory.py structs FOLDER -       -> bytes of the links and incidents alone, decoded into two dicts
"""

import gc
import statistics
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import trio

from syncd.core.model import Incident, Link
from syncd.credentials import Secret
from syncd.house import House
from syncd.master_key import MasterKey
from syncd.net import SystemNet, tls_context
from syncd.seams import Seams, SystemClock, SystemDisk, SystemIds, ThreadWork
from tests.bench.history import MASTER_KEY, Past
from tests.bench.processes import fast_peer, module, running
from tests.bench.results import Noise, Row

LINKS = (300, 1800)
REST_S_MAX = 30.0


async def house_bytes(folder: Path) -> int:
    """The heap of the daemon without its doors, once it has swept over all links and has nothing left to do."""
    net = SystemNet(tls_context(), ["127.0.0.1"])
    seams = Seams(clock=SystemClock(), ids=SystemIds(), disk=SystemDisk(), net=net, work=ThreadWork())
    sizes: list[int] = []

    async def key(_: bool) -> MasterKey:
        await trio.lowlevel.checkpoint()
        return MasterKey(Secret(MASTER_KEY), folder / "master.key")

    house = await House.open(folder, seams, key)

    async def rest() -> None:
        with trio.fail_after(REST_S_MAX):
            while house.roster.health(next(iter(house.journal.state.integrations))).last_reconcile_at_s is None:  # noqa: ASYNC110
                await trio.sleep(0.1)
        await trio.sleep(0.3)
        sizes.append(_traced())

    await house.run(rest)
    return sizes[0]


def structs_bytes(folder: Path) -> int:
    """The same links and incidents as JSON makes them, each under its name, and nothing else."""
    links = msgspec.json.decode((folder / "links.json").read_bytes(), type=list[Link])
    incidents = msgspec.json.decode((folder / "incidents.json").read_bytes(), type=list[Incident])
    kept = {one.id: one for one in links}, {one.id: one for one in incidents}
    del links, incidents
    size = _traced()
    del kept
    return size


def _traced() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def rows(folder: Path, rounds: int, noise: Noise) -> Iterator[Row]:
    measured, alone = [], []
    with running(fast_peer(folder)) as peer:
        for count in LINKS:
            past = Past(peer.url)
            for number in range(count):
                past.link(number)
            past.write(folder / f"{count}")
            for name, values in (("links", past.state.links), ("incidents", past.state.incidents)):
                (folder / f"{count}" / f"{name}.json").write_bytes(msgspec.json.encode(list(values.values())))
        for _ in range(rounds):
            noise.look()
            measured.append(_a_link("house", folder, peer.url))
            alone.append(_a_link("structs", folder, "-"))
    yield Row(
        name="memory of a resting link / its Structs",
        measured=f"{statistics.median(measured):.0f} bytes",
        baseline=f"{statistics.median(alone):.0f} bytes",
        ratios=[one / other for one, other in zip(measured, alone, strict=True)],
        goal=1.5,
        is_at_least=False,
        remark=f"from {LINKS[0]} to {LINKS[1]} links, its incident with it",
    )


def _a_link(what: str, folder: Path, peer_url: str) -> float:
    """Bytes that each further link takes."""
    sizes = []
    for count in LINKS:
        command = module(__name__, what, str(folder / f"{count}"), peer_url)
        run = subprocess.run(command, capture_output=True, check=False)
        if run.returncode:
            raise RuntimeError(run.stderr.decode()[-2000:])
        sizes.append(int(run.stdout))
    return (sizes[1] - sizes[0]) / (LINKS[1] - LINKS[0])


if __name__ == "__main__":
    tracemalloc.start()
    state_dir = Path(sys.argv[2])
    print(trio.run(house_bytes, state_dir) if sys.argv[1] == "house" else structs_bytes(state_dir))
