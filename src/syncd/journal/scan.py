"""Read everything and say whether a daemon would start with it, for ``im journal info|verify``; never writes.

It judges as a start does (``replay.py``): by the newest good snapshot and what stands behind it. What a start leaves
unread is read, too, and damage there is told apart. A torn tail is no error: the next start cuts it off, or a live
daemon is writing it. The watermark is read before the segments, since a live daemon only ever moves both forward.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct

from syncd.core.events import Record
from syncd.errors import JournalRefused
from syncd.journal.codec import SegmentHeader
from syncd.journal.files import Watermark, read_watermark, segment_numbers, segment_path
from syncd.journal.reader import (
    FIRST_SEGMENT,
    Segment,
    check_end,
    read_behind,
    read_beside_a_writer,
    records_of,
    stated_header,
    undisturbed,
)
from syncd.journal.replay import covered, find_base
from syncd.journal.snapshot import check, read_head, snapshot_path, snapshot_positions
from syncd.journal.walk import Fault, JournalDamaged, walk_segment
from syncd.seams import Disk


class SegmentReport(Struct, frozen=True):
    """``first_position`` and ``last_position`` are 0 in a segment without records."""

    path: str
    size_bytes: int
    records: int
    first_position: int
    last_position: int


class SnapshotReport(Struct, frozen=True):
    """``problem`` is empty in one that a start can use."""

    path: str
    size_bytes: int
    position: int
    at_s: float | None
    problem: str


class JournalReport(Struct, frozen=True):
    """What ``scan`` found. Positions are 0 and times None without records; ``segments`` are those found whole.

    ``segments`` begins where history begins; ``snapshots``, newest first, stand for what was before.

    ``verdict``: ``torn`` means that the next start cuts off what stands behind ``offset`` of ``path``, or that a live
    daemon is writing it now; ``refused`` means that a daemon would not start. ``problem`` and ``hint`` are for
    people. ``damage``: what is wrong with files that a start does not need.
    """

    verdict: Literal["clean", "torn", "refused"]
    problem: str
    hint: str
    path: str
    offset: int | None
    segments: tuple[SegmentReport, ...]
    snapshots: tuple[SnapshotReport, ...]
    size_bytes: int
    records: int
    first_position: int
    last_position: int
    first_at_s: float | None
    last_at_s: float | None
    watermark: Watermark | None
    damage: tuple[str, ...] = ()


def scan(disk: Disk, folder: Path) -> JournalReport:
    """Verify everything and report; never raises for what it finds in the files."""
    return undisturbed(disk, folder, lambda: _scan(disk, folder))


def verify(disk: Disk, folder: Path) -> JournalReport:
    """Like ``scan``, but raises ``JournalRefused`` where a daemon would not start."""
    report = scan(disk, folder)
    if report.verdict == "refused":
        raise JournalRefused(report.problem, hint=report.hint)
    return report


def _scan(disk: Disk, folder: Path) -> JournalReport:
    found = _Findings()
    try:
        found.watermark = read_watermark(disk, folder)
        found.snapshots = list(_snapshots(disk, folder))
        found.damage += [one.problem for one in found.snapshots if one.problem]
        numbers = segment_numbers(disk, folder)
        end = find_base(disk, folder, numbers).end
        covered(disk, folder, numbers, end)
        expected = FIRST_SEGMENT
        if end is not None:
            expected = found.add_covered(disk, folder, [number for number in numbers if number <= end.segment], end)
            numbers = [number for number in numbers if number >= end.segment]
        for number in numbers:
            is_last = number == numbers[-1]
            if end is not None and number == end.segment:
                segment: Segment | None = read_behind(disk, folder, end, found.watermark, is_last=is_last)
            else:
                segment = read_beside_a_writer(disk, folder, expected, found.watermark, is_last=is_last)
            if segment is not None:
                found.add(segment)
                expected = segment.next_header
        for mark in (end, found.watermark):
            check_end(folder, expected, mark)
    except JournalDamaged as damage:
        return found.report("refused", str(damage), damage.hint, str(damage.path), damage.offset)
    except JournalRefused as refusal:
        return found.report("refused", str(refusal), refusal.hint)
    if found.torn is not None:
        path, fault = found.torn
        problem = (
            f"{path} ends in a torn write: at byte {fault.offset}, after position {fault.position}: {fault.problem}"
        )
        hint = "the next start keeps a copy of it and cuts it off; a running daemon may be writing it now"
        return found.report("torn", problem, hint, str(path), fault.offset)
    return found.report("clean")


class _Findings:
    """What a scan has seen so far."""

    def __init__(self) -> None:
        self.watermark: Watermark | None = None
        self.torn: tuple[Path, Fault] | None = None
        self.snapshots: list[SnapshotReport] = []
        self.damage: list[str] = []
        self._segments: dict[int, SegmentReport] = {}
        self._first: Record | None = None
        self._last: Record | None = None

    def add(self, segment: Segment) -> None:
        """Count a verified segment, or what stands behind the part that was counted, decoding all of its records."""
        count, first, last = 0, None, None
        for count, last in enumerate(records_of(segment), start=1):  # noqa: B007 the last of each is what we want
            first = first or last
        self._first = self._first or first
        self._last = last or self._last
        before = self._segments.get(segment.number)
        positions = [before.first_position, before.last_position] if before is not None and before.records else []
        positions += [first.position, last.position] if first and last else []
        self._segments[segment.number] = SegmentReport(
            path=str(segment.path),
            size_bytes=len(segment.block),
            records=count + (before.records if before is not None else 0),
            first_position=min(positions, default=0),
            last_position=max(positions, default=0),
        )
        if segment.walked.fault is not None:
            self.torn = (segment.path, segment.walked.fault)

    def add_covered(self, disk: Disk, folder: Path, numbers: Sequence[int], end: Watermark) -> SegmentHeader:
        """Count what the snapshot that ends at ``end`` covers; damage is noted. Returns what has to follow."""
        expected: SegmentHeader | None = None
        following = FIRST_SEGMENT
        for number in numbers:
            path = segment_path(folder, number)
            header = expected or (FIRST_SEGMENT if number == 1 else stated_header(disk, folder, number))
            block = disk.read(path)
            block = block[: end.offset] if number == end.segment else block
            walked = walk_segment(block, header or FIRST_SEGMENT)
            segment = Segment(number, path, block, walked)
            try:
                if walked.fault is not None:
                    raise JournalDamaged(path, Fault("damaged", *_place(walked.fault)))
                self.add(segment)
            except JournalDamaged as damage:
                self.damage.append(str(damage))
                expected = None
            else:
                expected = segment.next_header
            following = segment.next_header
        return following

    def report(
        self,
        verdict: Literal["clean", "torn", "refused"],
        problem: str = "",
        hint: str = "",
        path: str = "",
        offset: int | None = None,
    ) -> JournalReport:
        """The report with this ending."""
        first, last, segments = self._first, self._last, tuple(self._segments.values())
        return JournalReport(
            verdict=verdict,
            problem=problem,
            hint=hint,
            path=path,
            offset=offset,
            segments=segments,
            snapshots=tuple(self.snapshots),
            size_bytes=sum(segment.size_bytes for segment in segments),
            records=sum(segment.records for segment in segments),
            first_position=first.position if first else 0,
            last_position=last.position if last else 0,
            first_at_s=first.at_s if first else None,
            last_at_s=last.at_s if last else None,
            watermark=self.watermark,
            damage=tuple(self.damage),
        )


def _place(fault: Fault) -> tuple[int, int, str]:
    return fault.offset, fault.position, fault.problem


def _snapshots(disk: Disk, folder: Path) -> Iterator[SnapshotReport]:
    for position in snapshot_positions(disk, folder):
        path, problem, at_s = snapshot_path(folder, position), "", None
        try:
            at_s = read_head(disk, folder, position).at_s
            for _ in check(disk, folder, position):
                pass
        except JournalDamaged as damage:
            problem = str(damage)
        yield SnapshotReport(str(path), disk.size(path), position, at_s, problem)
