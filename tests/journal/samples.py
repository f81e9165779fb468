"""Journals to read: records of a few kinds, frames of them in memory, and a disk that holds them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from msgspec import Struct

from syncd.core.events import Change, DaemonBorn, Event, IncidentDeclared, NoteAdded, Record
from syncd.core.state import State
from syncd.journal.codec import SegmentHeader, encode_record, frame_bytes, segment_header_bytes
from syncd.journal.writer import Journal
from syncd.seams import Disk, Work
from tests.simulation.disk import SimDisk, SimWork

STATE = Path("/state")
SEGMENT = STATE / "journal" / "00000001.log"
AT_S = 1_790_000_000.0


class SteadyClock:
    """Wall time that stands still."""

    def now_s(self) -> float:
        return AT_S


class Sample(Struct, frozen=True):
    """A segment in memory: ``ends[i]`` is where frame i ends, ``chains[i]`` the chain after it."""

    block: bytes
    records: tuple[Record, ...]
    ends: tuple[int, ...]
    chains: tuple[int, ...]

    def begin(self, index: int) -> tuple[int, int, int]:
        """Offset, position and chain to walk from for frame ``index``."""
        if index == 0:
            return 32, 0, 0
        return self.ends[index - 1], self.records[index - 1].position, self.chains[index - 1]


def sample_record(position: int, stride: int = 1) -> Record:
    """A small record, mostly; with ``stride`` 3 the positions are 3, 6, 9, ..."""
    event: Event = DaemonBorn("j")
    if position % 50 == 0:
        event = NoteAdded(f"INC-{position}", f"note-{position}", "Rückfrage gestellt " * (position % 20), "agent")
    return Record(position * stride, "o", 1.0, "a", "t", (event,))


def sample(count: int, stride: int = 1) -> Sample:
    """One segment of ``count`` records."""
    chain, blocks, ends, chains = 0, [segment_header_bytes(SegmentHeader(1, 1, 0))], [], []
    records = tuple(sample_record(number, stride) for number in range(1, count + 1))
    size_bytes = len(blocks[0])
    for record in records:
        frame, chain = frame_bytes(encode_record(record), record.position, chain)
        blocks.append(frame)
        size_bytes += len(frame)
        ends.append(size_bytes)
        chains.append(chain)
    return Sample(b"".join(blocks), records, tuple(ends), tuple(chains))


def disk_with(block: bytes) -> SimDisk:
    """A disk whose journal is this one segment, with no watermark."""
    disk = SimDisk()
    disk.put(SEGMENT, block)
    return disk


def declare(number: int) -> Change[int]:
    """A decision that always declares incident ``number``."""
    declared = IncidentDeclared(f"INC-{number}", f"incident {number}", "SEV-3")
    return Change("o", (declared,), number)


def declare_next(state: State, _at_s: float) -> Change[int]:
    """A decision that depends on what it sees: one more incident than there are."""
    return declare(len(state.incidents) + 1)


@asynccontextmanager
async def serving(disk: Disk, *, segment_bytes_max: int = 2**20, work: Work | None = None) -> AsyncIterator[Journal]:
    """An open journal whose writer runs; closed, drained and marked at the end."""
    async with trio.open_nursery() as nursery:
        journal = await Journal.open(disk, STATE, SteadyClock(), work or SimWork(), segment_bytes_max=segment_bytes_max)
        await nursery.start(journal.run)
        yield journal
        journal.close()


async def reopened(disk: Disk) -> list[Record]:
    """What the next life finds, by way of a real start."""
    async with serving(disk) as journal:
        return await journal.since(0, 10_000)
