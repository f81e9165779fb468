"""Read the journal without ever writing: for start-up, and for people who look with no daemon or beside a live one.

Start-up takes the segments one by one (``read_segment``) and decides itself what to do about a torn tail. The other
functions are for ``im journal tail|show|replay`` and for ``scan.py``. To them a torn tail is no error: a live daemon
may be writing it.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from syncd.core.events import Record
from syncd.journal.codec import (
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    chain_before,
    decode_record,
    frame_size_bytes,
    payload_at,
    segment_header_bytes,
    stated_segment_header,
)
from syncd.journal.files import Watermark, all_segment_numbers, segment_numbers, segment_path
from syncd.journal.snapshot import snapshot_positions
from syncd.journal.walk import Fault, JournalDamaged, Walked, walk, walk_segment
from syncd.seams import Disk

T = TypeVar("T")

FIRST_SEGMENT = SegmentHeader(segment=1, first_position=1, chain=0)


class Segment(Struct):
    """One segment in memory, verified. ``walked.fault`` is None or, in the last segment, torn."""

    number: int
    path: Path
    block: bytes
    walked: Walked

    @property
    def next_header(self) -> SegmentHeader:
        """What the segment after this one has to begin with."""
        return SegmentHeader(self.number + 1, self.walked.position + 1, self.walked.chain)


def read_segment(
    disk: Disk, folder: Path, expected: SegmentHeader, watermark: Watermark | None, *, is_last: bool
) -> Segment:
    """Read and verify one segment. Raises ``JournalRefused`` unless it is whole, or the last one with a torn tail."""
    path = segment_path(folder, expected.segment)
    block = disk.read(path)
    walked = walk_segment(block, expected)
    segment = Segment(expected.segment, path, block, walked)
    if walked.fault is not None and (walked.fault.kind != "torn" or not is_last):
        raise JournalDamaged(path, walked.fault)
    if watermark is not None and watermark.segment == expected.segment:
        _check_watermark(segment, watermark)
    return segment


def read_behind(
    disk: Disk, folder: Path, snapshot: Watermark, watermark: Watermark | None, *, is_last: bool
) -> Segment:
    """Read the segment in which a snapshot's position ends, and verify what stands behind it.

    Raises ``JournalRefused`` like ``read_segment``, and when the snapshot is not this journal's.
    """
    path = segment_path(folder, snapshot.segment)
    block = disk.read(path)
    if len(block) < snapshot.offset:
        _refuse_short(path, len(block), 0, snapshot)
    walked = walk(block, snapshot.offset, snapshot.position, snapshot.chain)
    segment = Segment(snapshot.segment, path, block, walked)
    if chain_before(block, snapshot.offset) != snapshot.chain:
        problem = f"not the journal of its snapshot, which has position {snapshot.position} end there"
        raise JournalDamaged(path, Fault("damaged", snapshot.offset, snapshot.position, problem))
    if walked.fault is not None and (walked.fault.kind != "torn" or not is_last):
        raise JournalDamaged(path, walked.fault)
    if watermark is not None and watermark.segment == snapshot.segment and watermark.offset > snapshot.offset:
        _check_watermark(segment, watermark)
    return segment


def header_fault(disk: Disk, folder: Path, number: int) -> Fault:
    """What is wrong with the header of a segment that has no valid one."""
    block = disk.read(segment_path(folder, number), 0, SEGMENT_HEADER_BYTES)
    fault = walk_segment(block, SegmentHeader(number, 1, 0)).fault
    return fault or Fault("damaged", 0, 0, "no valid segment header")


def first_header(disk: Disk, folder: Path, number: int) -> SegmentHeader | None:
    """What the first segment that is kept has to begin with: what it says itself, unless it is the very first.

    None: nothing valid, which in the last segment may be a torn write.
    """
    return FIRST_SEGMENT if number == 1 else stated_header(disk, folder, number)


def first_record(disk: Disk, folder: Path, number: int) -> Record | None:
    """The first record of a segment, None if there is none yet. Reads nothing else."""
    path = segment_path(folder, number)
    size_bytes = min(disk.size(path), SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES)
    block = disk.read(path, 0, size_bytes)
    if size_bytes < SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES:
        return None
    stop = SEGMENT_HEADER_BYTES + frame_size_bytes(block, SEGMENT_HEADER_BYTES)
    block = disk.read(path, 0, stop)
    walked = walk(block, SEGMENT_HEADER_BYTES, 0, chain_before(block, SEGMENT_HEADER_BYTES))
    return next(records_of(Segment(number, path, block, walked)), None)


def _first_header_kept(disk: Disk, folder: Path, numbers: Sequence[int]) -> SegmentHeader:
    header = first_header(disk, folder, numbers[0]) if numbers else FIRST_SEGMENT
    if header is None:
        raise JournalDamaged(segment_path(folder, numbers[0]), header_fault(disk, folder, numbers[0]))
    return header


def check_end(folder: Path, following: SegmentHeader, watermark: Watermark | None) -> None:
    """Raise ``JournalRefused`` if a journal that would go on with segment ``following`` ends before its watermark."""
    if watermark is not None and watermark.segment >= following.segment:
        _refuse_short(segment_path(folder, watermark.segment), 0, following.first_position - 1, watermark)


def records_of(segment: Segment, after: int = 0) -> Iterator[Record]:
    """The records behind position ``after``. ``JournalRefused`` for one that this version does not understand."""
    walked = segment.walked
    begin = bisect_right(walked.positions, after)
    for offset, position in zip(walked.offsets[begin:], walked.positions[begin:], strict=True):
        problem = ""
        try:
            record = decode_record(payload_at(segment.block, offset))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise JournalDamaged(segment.path, Fault("newer", offset, position - 1, str(error))) from error
        if record.position != position:
            problem = f"a record of position {record.position} in the frame of {position}"
            raise JournalDamaged(segment.path, Fault("damaged", offset, position - 1, problem))
        yield record


def undisturbed(disk: Disk, folder: Path, look: Callable[[], T]) -> T:
    """What ``look`` finds, which looks again when a live daemon let history end meanwhile."""
    while True:
        before = _names(disk, folder)
        try:
            return look()
        except FileNotFoundError:
            if _names(disk, folder) == before:
                raise


def _names(disk: Disk, folder: Path) -> tuple[list[int], list[int]]:
    return all_segment_numbers(disk, folder), snapshot_positions(disk, folder)


def iterate(disk: Disk, folder: Path, after: int = 0) -> Iterator[Record]:
    """The records behind position ``after``, in order, up to the last whole one; leaves older segments unread."""
    numbers = segment_numbers(disk, folder)
    expected = _first_header_kept(disk, folder, numbers)
    for number in reversed(numbers[1:]):
        header = stated_header(disk, folder, number)
        if header is not None and header.first_position <= after + 1:
            expected, numbers = header, numbers[numbers.index(number) :]
            break
    for number in numbers:
        segment = read_beside_a_writer(disk, folder, expected, None, is_last=number == numbers[-1])
        if segment is None:
            return
        yield from records_of(segment, after)
        expected = segment.next_header


def tail(disk: Disk, folder: Path, count: int) -> list[Record]:
    """The last ``count`` records, oldest first. Reads only the segments that hold them."""
    return undisturbed(disk, folder, lambda: _tail(disk, folder, count))


def _tail(disk: Disk, folder: Path, count: int) -> list[Record]:
    records: list[Record] = []
    numbers = segment_numbers(disk, folder)
    for number in reversed(numbers):
        missing = count - len(records)
        if missing <= 0:
            break
        is_last = number == numbers[-1]
        header = first_header(disk, folder, number)
        if header is None:
            if is_last:
                continue  # torn, or being written now
            raise JournalDamaged(segment_path(folder, number), header_fault(disk, folder, number))
        segment = read_beside_a_writer(disk, folder, header, None, is_last=is_last)
        if segment is not None and segment.walked.positions:
            after = segment.walked.positions[-missing:][0] - 1
            records = [*records_of(segment, after), *records]
    return records


def show(disk: Disk, folder: Path, position: int) -> Record | None:
    """The record at ``position``, None if there is none."""
    record = undisturbed(disk, folder, lambda: next(iterate(disk, folder, after=position - 1), None))
    return record if record is not None and record.position == position else None


def read_beside_a_writer(
    disk: Disk, folder: Path, expected: SegmentHeader, watermark: Watermark | None, *, is_last: bool
) -> Segment | None:
    """None if a live daemon has taken back the last segment, which it could not fill for want of space."""
    try:
        return read_segment(disk, folder, expected, watermark, is_last=is_last)
    except FileNotFoundError:
        if is_last:
            return None
        raise


def stated_header(disk: Disk, folder: Path, number: int) -> SegmentHeader | None:
    """The header of a segment if it is valid in itself, else None."""
    try:
        block = disk.read(segment_path(folder, number), 0, SEGMENT_HEADER_BYTES)
    except FileNotFoundError:
        return None
    if len(block) < SEGMENT_HEADER_BYTES:
        return None
    stated = stated_segment_header(block)
    return stated if stated.segment == number and segment_header_bytes(stated) == block else None


def _check_watermark(segment: Segment, watermark: Watermark) -> None:
    walked = segment.walked
    if walked.offset < watermark.offset:
        _refuse_short(segment.path, walked.offset, walked.position, watermark)
    if watermark.offset < SEGMENT_HEADER_BYTES or chain_before(segment.block, watermark.offset) != watermark.chain:
        before = bisect_right(walked.offsets, watermark.offset - 1)  # frames that begin before the watermark
        position = walked.positions[before - 1] if before else 0
        problem = (
            f"not the journal of its watermark, which has position {watermark.position} end at byte {watermark.offset}"
        )
        raise JournalDamaged(segment.path, Fault("damaged", watermark.offset, position, problem))


def _refuse_short(path: Path, offset: int, position: int, watermark: Watermark) -> None:
    problem = (
        f"the journal ends at position {position}, before position {watermark.position} (byte {watermark.offset}), "
        "which was on disk when the watermark was written"
    )
    raise JournalDamaged(path, Fault("damaged", offset, position, problem))
