"""Start-up: take the lock, verify and fold the journal, and only then cut off what a crash left behind it.

Nothing in the state folder is changed before every segment has been verified, every record understood, and the end
found at or behind the watermark; a journal that is refused is left as it was found.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio
from msgspec import Struct

from syncd.core.fold import evolve
from syncd.core.state import State
from syncd.errors import JournalFailed, JournalRefused
from syncd.journal.files import Watermark, lock_path, read_watermark, segment_numbers, segment_path
from syncd.journal.index import Index
from syncd.journal.log import Log, Recovered, cut_torn_tail, open_log
from syncd.journal.reader import FIRST_SEGMENT, Segment, check_end, read_segment, records_of
from syncd.seams import Disk, Work

Progress = Callable[[int, int], None]

_RECORDS_A_STEP = 256


class Replayed(Struct):
    """What start-up found, and the log open behind it."""

    state: State
    index: Index
    log: Log
    watermark: Watermark | None
    recovered: Recovered | None


async def replay(disk: Disk, folder: Path, work: Work, segment_bytes_max: int, progress: Progress) -> Replayed:
    """Take the lock and read everything; ``progress`` hears (bytes done, bytes in all) after each segment.

    Raises ``AlreadyRunning``, ``JournalRefused``, or ``JournalFailed`` when the disk does not do what it is asked.
    """
    try:
        await work.run(_take_folder, disk, folder)
        watermark = await work.run(read_watermark, disk, folder)
        numbers = await work.run(segment_numbers, disk, folder)
        sizes_bytes = await work.run(_sizes_bytes, disk, folder, numbers)
        state, index = State(), Index()
        expected, last, torn = FIRST_SEGMENT, None, None
        for done, number in enumerate(numbers, start=1):
            is_last = done == len(numbers)
            segment = await work.run(partial(read_segment, disk, folder, expected, watermark, is_last=is_last))
            state = await _fold(state, segment)
            walked = segment.walked
            index.extend(number, walked.offsets, walked.positions, walked.offset)
            expected = segment.next_header
            torn = segment if walked.fault is not None else None
            if walked.fault is None or walked.fault.offset > 0:
                last = segment
            progress(sum(sizes_bytes[:done]), sum(sizes_bytes))
        check_end(folder, expected, watermark)
        recovered = await work.run(cut_torn_tail, disk, folder, torn) if torn is not None else None
        log = await work.run(open_log, disk, folder, last, segment_bytes_max)
    except OSError as error:
        where = error.filename or folder
        raise JournalFailed(
            f"cannot open the journal: {where}: {error.strerror or error}",
            hint="look at the permissions, the free space and the disk; what is in the journal stays there",
        ) from error
    return Replayed(state, index, log, watermark, recovered)


async def _fold(state: State, segment: Segment) -> State:
    for count, record in enumerate(records_of(segment)):
        if count % _RECORDS_A_STEP == 0:
            await trio.lowlevel.checkpoint()
        try:
            state = evolve(state, record)
        except Exception as error:
            raise JournalRefused(
                f"{segment.path}: the record at position {record.position} cannot be replayed: {error!r}",
                hint="nothing was changed; start the version that wrote it, and report this",
            ) from error
    return state


def _take_folder(disk: Disk, folder: Path) -> None:
    disk.make_folder(folder)
    disk.lock(lock_path(folder))


def _sizes_bytes(disk: Disk, folder: Path, numbers: list[int]) -> list[int]:
    return [disk.size(segment_path(folder, number)) for number in numbers]
