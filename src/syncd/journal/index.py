"""Where each record stands, in memory, so that a few records can be read without a scan: 16 bytes a record.

Holds durable records only. The segment and the offset of a frame are one number, segment first, so that both arrays are
sorted and searched by bisection.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from syncd.core.events import Record
from syncd.errors import JournalFailed, JournalRefused
from syncd.journal.codec import CHAIN_BYTES, chain_before
from syncd.journal.files import segment_path
from syncd.journal.reader import JournalDamaged, Segment, records_of
from syncd.journal.walk import Fault, walk
from syncd.seams import Disk

_OFFSET_BITS = 40


class Span(Struct, frozen=True, gc=False):
    """Neighbouring frames of one segment: bytes ``begin`` to ``end`` (-1: the end of the file), from ``first`` on."""

    segment: int
    begin: int
    end: int
    first: int


class Index:
    """Positions to places. ``extend`` is called in journal order."""

    def __init__(self) -> None:
        self._positions = array("Q")
        self._places = array("Q")
        self._end = 0

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def first_position(self) -> int:
        """The oldest record's, 0 if there is none."""
        return self._positions[0] if self._positions else 0

    def extend(self, segment: int, offsets: Sequence[int], positions: Sequence[int], end: int) -> None:
        """Add whole frames; ``end``: where the last one ends."""
        self._places.extend(segment << _OFFSET_BITS | offset for offset in offsets)
        self._positions.extend(positions)
        self._end = segment << _OFFSET_BITS | end

    def find(self, position: int) -> int | None:
        """The index of the record at ``position``."""
        at = bisect_left(self._positions, position)
        return at if at < len(self._positions) and self._positions[at] == position else None

    def after(self, position: int) -> int:
        """The index of the first record behind ``position``."""
        return bisect_right(self._positions, position)

    def within(self, begin: int, count_max: int, bytes_max: int) -> int:
        """The index behind a run of records of one segment that all begin within ``bytes_max`` of its first."""
        stop = min(begin + count_max, len(self._places))
        if begin >= stop:
            return begin
        first = self._places[begin]
        behind = min(first + bytes_max, ((first >> _OFFSET_BITS) + 1) << _OFFSET_BITS)
        return bisect_left(self._places, behind, begin + 1, stop)

    def spans(self, begin: int, stop: int) -> list[Span]:
        """The records with an index from ``begin`` up to ``stop``, in one span a segment."""
        spans: list[Span] = []
        stop = min(stop, len(self._places))
        while begin < stop:
            segment, offset = divmod(self._places[begin], 1 << _OFFSET_BITS)
            until = min(stop, bisect_left(self._places, (segment + 1) << _OFFSET_BITS))
            behind = self._places[until] if until < len(self._places) else self._end
            end = behind % (1 << _OFFSET_BITS) if behind >> _OFFSET_BITS == segment else -1
            spans.append(Span(segment, offset, end, self._positions[begin]))
            begin = until
        return spans


def read_span(disk: Disk, folder: Path, span: Span) -> list[Record]:
    """The records of a span, verified against the chain before. ``JournalFailed`` if the file is not what it was."""
    path = segment_path(folder, span.segment)
    begin = span.begin - CHAIN_BYTES
    try:
        block = disk.read(path, begin, -1 if span.end < 0 else span.end - begin)
        walked = walk(block, CHAIN_BYTES, span.first - 1, chain_before(block, CHAIN_BYTES))
        if walked.fault is not None:
            fault = walked.fault
            raise JournalDamaged(path, Fault(fault.kind, begin + fault.offset, fault.position, fault.problem))
        return list(records_of(Segment(span.segment, path, block, walked)))
    except OSError as error:
        raise JournalFailed(f"cannot read {path}: {error.strerror or error}", hint="look at the disk") from error
    except JournalRefused as error:
        raise JournalFailed(f"changed while the daemon ran: {error}", hint="run: im journal verify") from error
