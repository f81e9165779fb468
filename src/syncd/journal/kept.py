"""The records that are kept: found by position, and read in threads, beside the writer and never in its way."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from syncd.core.events import Record
from syncd.errors import Unknown
from syncd.journal.files import journal_folder
from syncd.journal.index import Index, Shelf, Span, behind, find, look_up, read_records, read_span
from syncd.seams import Disk, Work


class Kept:
    """The durable records that history still has. ``measured``: how many segments and bytes the last look found."""

    def __init__(self, index: Index, disk: Disk, folder: Path, work: Work) -> None:
        self._index, self._disk, self._folder, self._work = index, disk, folder, work
        self.measured = (0, 0)

    @property
    def first_position(self) -> int:
        """The oldest record, 0 if there is none."""
        return self._index.first_position

    @property
    def segments(self) -> list[int]:
        """The segments that hold them, oldest first."""
        return self._index.segments

    def extend(self, segment: int, offsets: Sequence[int], positions: Sequence[int], end: int) -> None:
        """There are new ones, in a segment that ends at byte ``end`` with them."""
        self._index.extend(segment, offsets, positions, end)

    def drop(self, segment: int) -> None:
        """Keep no longer what is in this segment and before it."""
        self._index.drop(segment)

    async def records(self, positions: Sequence[int]) -> list[Record]:
        """The records at these positions, in the order asked for. ``Unknown`` if there is none at one of them."""
        spans: list[Span] = []
        for position in positions:
            shelf = self._index.shelf_of(position)
            span = find(await self._known(shelf), position) if shelf is not None else None
            if span is None:
                raise Unknown(f"position {position} is not in the journal", hint="see: im journal info")
            spans.append(span)
        return await self._work.run(read_records, self._disk, self._folder, spans)

    async def since(self, position: int, limit: int, bytes_max: int | None) -> list[Record]:
        """As ``Journal.since``."""
        spans: list[Span] = []
        for shelf in list(self._index.shelves_behind(position)):
            span, count = behind(await self._known(shelf), position, limit, bytes_max)
            limit -= count
            if span is not None:
                spans.append(span)
            if limit <= 0 or (spans and bytes_max is not None):
                break
        return await self._work.run(self._read, spans)

    async def measure(self) -> tuple[int, int]:
        """How many segments there are, and how many bytes they have."""
        self.measured = await self._work.run(self._measure)
        return self.measured

    def _measure(self) -> tuple[int, int]:
        folder, sizes_bytes = journal_folder(self._folder), list[int]()
        for name in self._disk.names(folder):
            with suppress(OSError):  # it may be removed at this moment
                sizes_bytes.append(self._disk.size(folder / name))
        return len(sizes_bytes), sum(sizes_bytes)

    def _read(self, spans: list[Span]) -> list[Record]:
        return [record for span in spans for record in read_span(self._disk, self._folder, span)]

    async def _known(self, shelf: Shelf) -> Shelf:
        """The shelf with the places of its records, which are looked up the first time."""
        if not shelf.is_known:
            shelf.offsets, shelf.positions = await self._work.run(look_up, self._disk, self._folder, shelf)
            shelf.is_known = True
        return shelf
