"""Where each record stands, in memory, so that a few records can be read without a scan: 16 bytes a record.

Holds durable records only. A shelf is a run of frames in one segment. Those that a snapshot spared the start are known
by their borders alone; the places in such a shelf are looked up in the file when one of its records is first asked for.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from syncd.core.events import Record
from syncd.errors import Gone, JournalFailed, JournalRefused
from syncd.journal.codec import CHAIN_BYTES, chain_before
from syncd.journal.files import segment_path
from syncd.journal.pieces import pieces
from syncd.journal.reader import Segment, records_of
from syncd.journal.walk import Fault, JournalDamaged, walk
from syncd.seams import Disk

GAP_BYTES: Final = 16 * 1024  # read along sooner than to read twice
READ_BYTES: Final = 2**20


class Span(Struct, frozen=True, gc=False):
    """Neighbouring frames of one segment: bytes ``begin`` to ``end``, from the record ``first`` on."""

    segment: int
    begin: int
    end: int
    first: int


class Shelf(Struct):
    """The frames from byte ``begin`` to ``end`` of a segment, behind position ``after``.

    ``is_known``: ``offsets`` and ``positions``, which are parallel, tell where each of its records is.
    """

    segment: int
    begin: int
    end: int
    after: int
    is_known: bool
    offsets: "array[int]"
    positions: "array[int]"

    def span(self, begin: int, stop: int) -> Span:
        """The records with an index from ``begin`` up to ``stop``."""
        end = self.offsets[stop] if stop < len(self.offsets) else self.end
        return Span(self.segment, self.offsets[begin], end, self.positions[begin])


class Index:
    """Positions to places. Shelves and records are added in journal order, and removed from the old end."""

    def __init__(self) -> None:
        self._shelves: list[Shelf] = []

    @property
    def first_position(self) -> int:
        """The oldest record's, 0 if there is none."""
        for shelf in self._shelves:
            if not shelf.is_known:
                return shelf.after + 1
            if shelf.positions:
                return shelf.positions[0]
        return 0

    @property
    def segments(self) -> list[int]:
        """The segments that hold records, oldest first."""
        return sorted({shelf.segment for shelf in self._shelves})

    def put_unknown(self, segment: int, begin: int, end: int, after: int) -> None:
        """Add frames whose places nobody has looked up."""
        self._shelves.append(Shelf(segment, begin, end, after, False, array("Q"), array("Q")))

    def extend(self, segment: int, offsets: Sequence[int], positions: Sequence[int], end: int) -> None:
        """Add whole frames; ``end``: where the last one ends."""
        last = self._shelves[-1] if self._shelves else None
        if last is None or last.segment != segment or not last.is_known:
            if not positions:
                return
            last = Shelf(segment, offsets[0], end, positions[0] - 1, True, array("Q"), array("Q"))
            self._shelves.append(last)
        last.offsets.extend(offsets)
        last.positions.extend(positions)
        last.end = end

    def drop(self, segment: int) -> None:
        """Forget a segment and all before it: they are no longer kept."""
        self._shelves = [shelf for shelf in self._shelves if shelf.segment > segment]

    def shelf_of(self, position: int) -> Shelf | None:
        """Where the record at ``position`` is, if it is anywhere."""
        at = bisect_left(self._shelves, position, key=lambda shelf: shelf.after) - 1
        return self._shelves[at] if at >= 0 else None

    def shelves_behind(self, position: int) -> Iterator[Shelf]:
        """The shelves that may hold records behind ``position``, in order."""
        begin = max(0, bisect_right(self._shelves, position, key=lambda shelf: shelf.after) - 1)
        yield from self._shelves[begin:]


def find(shelf: Shelf, position: int) -> Span | None:
    """The record at ``position`` of a known shelf."""
    at = bisect_left(shelf.positions, position)
    if at == len(shelf.positions) or shelf.positions[at] != position:
        return None
    return shelf.span(at, at + 1)


def _joined(spans: Iterable[Span]) -> Iterator[tuple[Span, frozenset[int]]]:
    """Single records that stand near each other as one span, with the positions that were asked for."""
    whole: Span | None = None
    wanted: list[int] = []
    for span in spans:
        if (
            whole is not None
            and whole.segment == span.segment
            and 0 <= span.begin - whole.end <= GAP_BYTES
            and span.end - whole.begin <= READ_BYTES
        ):
            whole = Span(whole.segment, whole.begin, span.end, whole.first)
            wanted.append(span.first)
            continue
        if whole is not None:
            yield whole, frozenset(wanted)
        whole, wanted = span, [span.first]
    if whole is not None:
        yield whole, frozenset(wanted)


def behind(shelf: Shelf, position: int, count_max: int, bytes_max: int | None) -> tuple[Span | None, int]:
    """Up to ``count_max`` records behind ``position`` of a known shelf, and how many they are.

    With ``bytes_max``, those that begin within so many bytes of the first.
    """
    begin = bisect_right(shelf.positions, position)
    stop = min(begin + count_max, len(shelf.positions))
    if begin >= stop:
        return None, 0
    if bytes_max is not None:
        stop = bisect_left(shelf.offsets, shelf.offsets[begin] + bytes_max, begin + 1, stop)
    return shelf.span(begin, stop), stop - begin


def look_up(disk: Disk, folder: Path, shelf: Shelf) -> tuple["array[int]", "array[int]"]:
    """The offsets and positions of a shelf's records. Raises what ``read_span`` raises."""
    path = segment_path(folder, shelf.segment)
    offsets, positions = array("Q"), array("Q")
    try:
        chain = _chain(path, disk.read(path, shelf.begin - CHAIN_BYTES, CHAIN_BYTES), shelf.after)
        for piece in pieces(disk, path, shelf.begin, shelf.end, shelf.after, chain):
            offsets.extend(piece.offset + offset for offset in piece.walked.offsets)
            positions.extend(piece.walked.positions)
    except (OSError, JournalRefused) as error:
        raise _unreadable(path, error) from error
    return offsets, positions


def read_span(disk: Disk, folder: Path, span: Span) -> list[Record]:
    """The records of a span, verified against the chain before.

    ``JournalFailed`` if the file is not what it was, ``Gone`` if it is no longer kept.
    """
    path = segment_path(folder, span.segment)
    begin = span.begin - CHAIN_BYTES
    try:
        block = disk.read(path, begin, span.end - begin)
        walked = walk(block, CHAIN_BYTES, span.first - 1, _chain(path, block, span.first - 1))
        if walked.fault is not None:
            fault = walked.fault
            raise JournalDamaged(path, Fault(fault.kind, begin + fault.offset, fault.position, fault.problem))
        return list(records_of(Segment(span.segment, path, block, walked)))
    except (OSError, JournalRefused) as error:
        raise _unreadable(path, error) from error


def read_records(disk: Disk, folder: Path, spans: Iterable[Span]) -> list[Record]:
    """The first record of each span; those that stand near each other are read at once. Raises like ``read_span``."""
    return [
        record
        for span, wanted in _joined(spans)
        for record in read_span(disk, folder, span)
        if record.position in wanted
    ]


def _chain(path: Path, block: bytes, position: int) -> int:
    if len(block) < CHAIN_BYTES:
        raise JournalDamaged(path, Fault("damaged", 0, position, "the end of the file, too early"))
    return chain_before(block, CHAIN_BYTES)


def _unreadable(path: Path, error: OSError | JournalRefused) -> JournalFailed | Gone:
    if isinstance(error, FileNotFoundError):
        return Gone(f"{path.name} is no longer kept", hint="ask again for what is kept")
    if isinstance(error, OSError):
        return JournalFailed(f"cannot read {path}: {error.strerror or error}", hint="look at the disk")
    return JournalFailed(f"changed while the daemon ran: {error}", hint="run: im journal verify")
