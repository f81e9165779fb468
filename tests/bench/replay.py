"""The row of replay: opening a journal, with every check and the whole fold, against decoding its payloads."""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import trio

from syncd.core.events import Record
from syncd.journal.codec import payload_at
from syncd.journal.reader import FIRST_SEGMENT, read_segment
from syncd.journal.writer import Journal
from syncd.seams import SystemClock, SystemDisk, ThreadWork
from tests.bench.history import busy_past
from tests.bench.processes import module
from tests.bench.results import Noise, Row

LINKS = 2000


async def replayed_s(folder: Path) -> float:
    """CPU time that a start takes to have the state: all of it is work, and CPU time is disturbed least."""
    begun = time.process_time()
    journal = await Journal.open(SystemDisk(), folder, SystemClock(), ThreadWork())
    took_s = time.process_time() - begun
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        journal.close()
    return took_s


def decoded_s(folder: Path) -> float:
    """CPU time that msgspec takes to decode the same payloads, and nothing else."""
    disk = SystemDisk()
    segment = read_segment(disk, folder, FIRST_SEGMENT, None, is_last=True)
    payloads = [bytes(payload_at(segment.block, offset)) for offset in segment.walked.offsets]
    decode = msgspec.json.Decoder(Record).decode
    begun = time.process_time()
    for payload in payloads:
        decode(payload)
    return time.process_time() - begun


def rows(folder: Path, rounds: int, noise: Noise) -> Iterator[Row]:
    past = busy_past(LINKS)
    past.write(folder / "state")
    count = len(past.payloads)
    ours, theirs = [], []
    for _ in range(rounds):
        noise.look()
        # In a process of its own, as at a start: with an empty heap, and a lock that is let go in the end.
        run = subprocess.run(module(__name__, str(folder / "state")), capture_output=True, check=True)
        one, other = map(float, run.stdout.split())
        ours.append(one)
        theirs.append(other)
    yield Row(
        name="replay with checks and state / raw decode",
        measured=f"{count / statistics.median(ours):.0f}/s",
        baseline=f"{count / statistics.median(theirs):.0f}/s",
        ratios=[other / one for one, other in zip(ours, theirs, strict=True)],
        goal=0.4,
        remark=f"{count} records of {sum(map(len, past.payloads)) // count} bytes",
    )


if __name__ == "__main__":
    state_dir = Path(sys.argv[1])
    print(trio.run(replayed_s, state_dir), decoded_s(state_dir))
