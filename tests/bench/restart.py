"""The row of a long past: how soon a daemon with 100,000 links and a million records behind it knows everything again.

A process of its own opens the journal, so its heap is empty and its modules are imported, too. The journal is as the
keeper leaves it at the worst moment: the newest snapshot is as old as it may become.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import trio

from syncd.core.capture import capture
from syncd.core.state import State
from syncd.journal.codec import frame_bytes
from syncd.journal.keeper import SNAPSHOT_RECORDS
from syncd.journal.log import open_log
from syncd.journal.snapshot import Draft
from syncd.journal.writer import Journal
from syncd.seams import SystemClock, SystemDisk, ThreadWork
from tests.bench.history import Past
from tests.bench.processes import module
from tests.bench.results import Noise, Row

LINKS = 100_000
RECORDS_A_FLUSH = 20_000
GOAL_S = 10.0


class LongPast(Past):
    """A past that is written as it happens, since it would not fit into memory twice."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self._disk, self._chain, self.position = folder, SystemDisk(), 0, 0
        self._log = open_log(self._disk, folder, None)
        super().__init__()

    def flush(self) -> None:
        """Write what has happened since the last time."""
        frames = []
        for payload in self.payloads:
            self.position += 1
            frame, self._chain = frame_bytes(payload, self.position, self._chain)
            frames.append(frame)
        if frames:
            self._log.append(b"".join(frames), self.position, self._chain)
        self.payloads.clear()

    def snapshot(self) -> int:
        """Write a snapshot of all that has happened; returns its size."""
        self.flush()
        draft = Draft(self._disk, self.folder, capture(self.state), self._log.end)
        while draft.step():
            pass
        draft.finish()
        return draft.size_bytes

    def end(self) -> None:
        """Write the rest, and leave it as a clean stop does."""
        self.flush()
        self._log.mark()
        self._log.close()
        self.state = State()


def written(folder: Path, links: int = LINKS, tail_records: int = SNAPSHOT_RECORDS) -> tuple[int, int]:
    """Write a journal with so many links and half as many edits again; its snapshot leaves so many records to be read.

    Returns how many records there are, and how many bytes the snapshot has.
    """
    past = LongPast(folder)
    for number in range(links):
        past.link(number)
        if len(past.payloads) >= RECORDS_A_FLUSH:
            past.flush()
    size_bytes = 0
    edits = links * 3 // 2  # with them it is ten records a link
    for number in range(edits):
        if not size_bytes and (edits - number) * 4 <= tail_records:
            size_bytes = past.snapshot()
        past.edit(number % links, f"Checkout latency, edit {number}")
        if len(past.payloads) >= RECORDS_A_FLUSH:
            past.flush()
    past.end()
    return past.position, size_bytes


async def start(folder: Path) -> Journal:
    """Open the journal, as a daemon does."""
    return await Journal.open(SystemDisk(), folder, SystemClock(), ThreadWork())


def rows(folder: Path, rounds: int, noise: Noise) -> Iterator[Row]:
    state = folder / "state"
    # In a process of its own: the heap that this takes is not to be in the way of what is measured.
    made = subprocess.run(module(__name__, "write", str(state)), capture_output=True, check=True)
    records, size_bytes = map(int, made.stdout.split())
    took_s = []
    for _ in range(rounds):
        noise.look()
        begun = time.perf_counter()
        subprocess.run(module(__name__, "start", str(state)), capture_output=True, check=True)
        took_s.append(time.perf_counter() - begun)
    middle_s = sorted(took_s)[len(took_s) // 2]
    yield Row(
        name=f"start with {LINKS} links / {GOAL_S:.0f} s",
        measured=f"{middle_s:.1f} s",
        baseline=f"{GOAL_S:.0f} s",
        ratios=[one / GOAL_S for one in took_s],
        goal=1.0,
        is_at_least=False,
        remark=f"{records} records, a snapshot of {size_bytes // 2**20} MiB, {SNAPSHOT_RECORDS} records behind it",
    )


if __name__ == "__main__":
    if sys.argv[1] == "write":
        print(*written(Path(sys.argv[2])))
    else:
        journal = trio.run(start, Path(sys.argv[2]))
        sys.exit(0 if len(journal.state.links) == LINKS else 1)
