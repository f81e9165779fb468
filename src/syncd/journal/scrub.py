"""Read everything that is kept once more, in small steps, and say what is no longer what was written.

A disk may lose bytes that nobody reads for months. What a start does not need is verified by nobody else.
"""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

from syncd.errors import JournalRefused
from syncd.journal.codec import SEGMENT_HEADER_BYTES, SegmentHeader
from syncd.journal.files import Watermark, read_watermark, segment_numbers, segment_path
from syncd.journal.pieces import pieces
from syncd.journal.reader import first_header, stated_header
from syncd.journal.snapshot import check, snapshot_positions
from syncd.journal.walk import Fault, JournalDamaged
from syncd.seams import Disk


def scrub(disk: Disk, folder: Path, end: Watermark, report: Callable[[JournalRefused], None]) -> Iterator[int]:
    """Verify segments up to ``end``, snapshots and watermark; yields after each step how many bytes that read.

    ``report`` is called with what is damaged; the rest is verified all the same.
    """
    expected: SegmentHeader | None = None
    try:
        numbers = segment_numbers(disk, folder)
    except JournalRefused as gap:
        report(gap)
        numbers = []
    for number in numbers:
        if number > end.segment:
            break
        try:
            expected = yield from _segment(disk, folder, number, expected, end)
        except FileNotFoundError:
            expected = None  # removed meanwhile
        except JournalRefused as damage:
            report(damage)
            expected = None
    for position in snapshot_positions(disk, folder):
        try:
            yield from check(disk, folder, position)
        except FileNotFoundError:
            continue
        except JournalRefused as damage:
            report(damage)
    try:
        read_watermark(disk, folder)
    except JournalRefused as damage:
        report(damage)


def _segment(
    disk: Disk, folder: Path, number: int, expected: SegmentHeader | None, end: Watermark
) -> Generator[int, None, SegmentHeader]:
    path = segment_path(folder, number)
    header = stated_header(disk, folder, number)
    size_bytes = disk.size(path)  # raises FileNotFoundError if that is why there is no header
    if header is None or (expected or first_header(disk, folder, number)) != header:
        raise JournalDamaged(path, Fault("damaged", 0, 0, "not the segment header that was written"))
    position, chain = header.first_position - 1, header.chain
    stop = end.offset if number == end.segment else size_bytes
    for piece in pieces(disk, path, SEGMENT_HEADER_BYTES, stop, position, chain):
        position, chain = piece.walked.position, piece.walked.chain
        yield piece.walked.offset
    return SegmentHeader(number + 1, position + 1, chain)
