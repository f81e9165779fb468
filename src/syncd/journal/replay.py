"""Start-up: take the lock, read the newest good snapshot, verify and fold what stands behind it; only then mend a tail.

Nothing in the state folder is changed before every record that the start needs has been verified and understood, and
the end found at or behind the watermark and the snapshot; a journal that is refused is left as it was found. What a
snapshot covers is not read: the keeper verifies it later, in small steps (``keeper.py``).
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import trio
from msgspec import Struct

from syncd.core.fold import evolve
from syncd.core.state import State
from syncd.errors import JournalFailed, JournalRefused
from syncd.journal.codec import SEGMENT_HEADER_BYTES
from syncd.journal.files import (
    Watermark,
    lock_path,
    missing_segment,
    read_watermark,
    segment_numbers,
    segment_path,
)
from syncd.journal.index import Index
from syncd.journal.log import Log, Recovered, cut_torn_tail, open_log
from syncd.journal.reader import (
    FIRST_SEGMENT,
    Segment,
    check_end,
    header_fault,
    read_behind,
    read_segment,
    records_of,
    stated_header,
)
from syncd.journal.snapshot import load, read_head, snapshot_positions
from syncd.journal.walk import Fault, JournalDamaged
from syncd.seams import Disk, Work

Progress = Callable[[int, int], None]

_RECORDS_A_STEP = 256


def no_progress(_done_bytes: int, _all_bytes: int) -> None:
    """Nobody watches."""


class Base(Struct):
    """Where a replay begins: State after what is known without reading it; ``end`` None: at the very beginning.

    ``passed_over``: why newer snapshots than this one were not used, for people.
    """

    state: State
    end: Watermark | None
    passed_over: tuple[str, ...] = ()


class Replayed(Struct):
    """What start-up found, and the log open behind it. ``records``, ``size_bytes``: what was read behind ``base``."""

    state: State
    index: Index
    log: Log
    watermark: Watermark | None
    recovered: Recovered | None
    base: Base
    records: int
    size_bytes: int


async def replay(disk: Disk, folder: Path, work: Work, segment_bytes_max: int, progress: Progress) -> Replayed:
    """Take the lock and read everything; ``progress`` hears (bytes done, bytes in all) after each segment.

    Raises ``AlreadyRunning``, ``JournalRefused``, or ``JournalFailed`` when the disk does not do what it is asked.
    """
    try:
        await work.run(_take_folder, disk, folder)
        watermark = await work.run(read_watermark, disk, folder)
        numbers = await work.run(segment_numbers, disk, folder)
        sizes_bytes = await work.run(_sizes_bytes, disk, folder, numbers)
        base = await work.run(find_base, disk, folder, numbers)
        index = await work.run(covered, disk, folder, numbers, base.end)
        state, end = base.state, base.end
        if end is not None:
            numbers = [number for number in numbers if number >= end.segment]
        sizes_bytes = await work.run(_sizes_bytes, disk, folder, numbers)
        expected, last, torn, records = FIRST_SEGMENT, None, None, 0
        for done, number in enumerate(numbers, start=1):
            is_last = done == len(numbers)
            read = partial(read_segment, disk, folder, expected, watermark)
            if end is not None and number == end.segment:
                read = partial(read_behind, disk, folder, end, watermark)
            segment = await work.run(partial(read, is_last=is_last))
            state = await _fold(state, segment)
            walked = segment.walked
            records += len(walked.positions)
            index.extend(number, walked.offsets, walked.positions, walked.offset)
            expected = segment.next_header
            torn = segment if walked.fault is not None else None
            if walked.fault is None or walked.fault.offset > 0:
                last = segment
            progress(sum(sizes_bytes[:done]), sum(sizes_bytes))
        for mark in (end, watermark):
            check_end(folder, expected, mark)
        size_bytes = sum(sizes_bytes) - (end.offset if end is not None else 0)
        recovered = await work.run(cut_torn_tail, disk, folder, torn) if torn is not None else None
        log = await work.run(open_log, disk, folder, last, segment_bytes_max)
    except OSError as error:
        where = error.filename or folder
        raise JournalFailed(
            f"cannot open the journal: {where}: {error.strerror or error}",
            hint="look at the permissions, the free space and the disk; what is in the journal stays there",
        ) from error
    return Replayed(state, index, log, watermark, recovered, base, records, size_bytes)


def find_base(disk: Disk, folder: Path, numbers: Sequence[int], upto: int | None = None) -> Base:
    """The newest good snapshot, of a position ``upto`` at most; else the beginning, if the segments reach back there.

    ``JournalRefused`` where there is neither. A snapshot for another shape of State gives way to the whole journal.
    """
    is_whole = not numbers or numbers[0] == 1
    passed_over: list[str] = []
    refusal: JournalRefused | None = None
    for position in snapshot_positions(disk, folder):
        if upto is not None and position > upto:
            continue
        try:
            head = read_head(disk, folder, position)
            if head.end.segment < (numbers[0] if numbers else 1):
                passed_over.append(f"the snapshot of position {position} is older than the journal that is kept")
                continue
            if is_whole and numbers and not head.is_same_shape:
                passed_over.append(f"the snapshot of position {position} is from syncd {head.version}")
                continue
            if not head.is_same_shape and head.is_newer:
                path = segment_path(folder, head.end.segment)
                raise JournalDamaged(path, Fault("newer", 0, position, f"its snapshot is from syncd {head.version}"))
            head, state = load(disk, folder, position)
        except JournalDamaged as damage:
            refusal = refusal or damage
            passed_over.append(str(damage))
            continue
        return Base(state, head.end, tuple(passed_over))
    if is_whole:
        return Base(State(), None, tuple(passed_over))
    raise refusal or missing_segment(folder, numbers[0] - 1, numbers[-1])


def covered(disk: Disk, folder: Path, numbers: Sequence[int], end: Watermark | None) -> Index:
    """The places of what a snapshot covers, as far as borders tell."""
    index = Index()
    for number in numbers if end is not None else ():
        if end is None or number > end.segment:
            break
        header = FIRST_SEGMENT if number == 1 else stated_header(disk, folder, number)
        path = segment_path(folder, number)
        if header is None:
            raise JournalDamaged(path, header_fault(disk, folder, number))
        stop = end.offset if number == end.segment else disk.size(path)
        if stop > SEGMENT_HEADER_BYTES:
            index.put_unknown(number, SEGMENT_HEADER_BYTES, stop, header.first_position - 1)
    return index


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
