"""Repair: what can be kept of a damaged journal, what is lost with that, and then to do it, with a copy first.

Nothing is guessed. What is kept is what a start would accept: a good snapshot, or the very beginning, and all whole
records behind it up to the first damage, whichever reaches furthest. What is cut off or removed is copied before, and
what can still be read in it is told. Each step leaves a journal that is refused as before, or repaired; so a repair
that was interrupted is begun again.
"""

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from syncd.core.events import Record
from syncd.errors import JournalRefused
from syncd.journal.codec import (
    FRAME_HEADER_BYTES,
    FRAME_MAGIC,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    chain_before,
    decode_record,
    frame_size_bytes,
    payload_at,
)
from syncd.journal.files import (
    Watermark,
    all_segment_numbers,
    journal_folder,
    read_watermark,
    segment_path,
    watermark_path,
)
from syncd.journal.pieces import pieces
from syncd.journal.reader import FIRST_SEGMENT, Segment, header_fault, records_of, stated_header
from syncd.journal.snapshot import load, snapshot_path, snapshot_positions
from syncd.journal.walk import Fault, JournalDamaged, walk, walk_segment
from syncd.seams import Disk

INCIDENTS_TOLD = 100


class Plan(Struct, frozen=True):
    """What a repair does. Everything up to ``kept_until`` is kept.

    ``lost_until``: the newest position that is known to have been; equal to ``kept_until`` when no record is lost.
    ``lost_incidents``: those that the lost records speak of, as far as these can be read. ``history_begins``: the
    oldest record that is left. ``remains``: damage to history that nobody can take out, and that hinders no start.
    """

    problems: tuple[str, ...]
    kept_until: int
    lost_until: int
    lost_incidents: tuple[str, ...]
    history_begins: int
    remove: tuple[str, ...]
    cut: str
    cut_at: int
    remains: tuple[str, ...] = ()

    @property
    def is_needed(self) -> bool:
        """There is something to do."""
        return bool(self.remove or self.cut)


class _Reach(Struct, frozen=True):
    """How far the whole records go from a beginning: a snapshot's end, or the very first segment."""

    begin: Watermark | None
    end: Watermark
    fault: JournalDamaged | None


def plan(disk: Disk, folder: Path) -> Plan:
    """What there is to repair, and at what price. Reads only.

    Raises ``JournalRefused`` when nothing helps but a backup or a newer version.
    """
    numbers = all_segment_numbers(disk, folder)
    problems: list[str] = []
    remove: list[Path] = []
    beginnings: list[Watermark] = []
    for position in snapshot_positions(disk, folder):
        try:
            head, _ = load(disk, folder, position)
            beginnings.append(head.end)
        except JournalDamaged as damage:
            _refuse_newer(damage)
            problems.append(str(damage))
            remove.append(snapshot_path(folder, position))
    found = [_reach(disk, folder, numbers, end) for end in beginnings]
    found.append(_reach(disk, folder, numbers, None))
    reaches = [reach for reach in found if reach is not None]
    if not reaches:
        words = "; ".join(problems) or "its first segment is missing"
        raise JournalRefused(
            f"nothing of the journal in {folder} can be kept: {words}", hint="restore a backup (docs/operations.md)"
        )
    best = max(reaches, key=lambda reach: (reach.end.position, reach.begin.position if reach.begin else 0))
    end = best.end
    beyond = [one for one in beginnings if (one.segment, one.offset) > (end.segment, end.offset)]
    problems += [f"the journal ends before its snapshot of position {one.position}" for one in beyond]
    remove += [snapshot_path(folder, one.position) for one in beyond]
    if best.fault is not None:
        problems.append(str(best.fault))
    lost = list(_lost(disk, folder, numbers, end))
    bad = dict(_bad_history(disk, folder, numbers, best))
    problems += bad.values()
    last_bad = max((number for number in bad if best.begin and number < best.begin.segment), default=0)
    gone = [number for number in numbers if number <= last_bad]
    marked, words = _watermark_problem(disk, folder, end)
    problems += [words] * bool(words)
    remove += [watermark_path(folder)] * bool(words and watermark_path(folder).name in disk.names(folder))
    remove += [segment_path(folder, number) for number in gone]
    remove += [segment_path(folder, number) for number in reversed(numbers) if number > end.segment]
    is_long = disk.size(segment_path(folder, end.segment)) > end.offset
    left = [number for number in numbers if last_bad < number <= end.segment]
    first = stated_header(disk, folder, left[0])
    return Plan(
        problems=tuple(problems),
        kept_until=end.position,
        lost_until=max([end.position, marked, *(one.position for one in beyond), *(one.position for one in lost)]),
        lost_incidents=tuple(sorted({name for record in lost for name in _incidents(record)})[:INCIDENTS_TOLD]),
        history_begins=first.first_position if first is not None else end.position,
        remove=tuple(map(str, remove)),
        cut=str(segment_path(folder, end.segment)) if is_long else "",
        cut_at=end.offset if is_long else 0,
        remains=tuple(words for number, words in bad.items() if number > last_bad),
    )


def carry_out(disk: Disk, folder: Path, wanted: Plan) -> Path:
    """Do it; returns the folder with the copies and the report. The caller holds the lock.

    Raises ``OSError`` if the copies could not be made, and then nothing was changed, or if the disk failed later.
    """
    taken = set(disk.names(folder))
    number = next(n for n in range(1, len(taken) + 2) if f"before-repair-{n}" not in taken)
    copies = folder / f"before-repair-{number}"
    disk.make_folder(copies)
    disk.sync_folder(folder)
    for path in [*map(Path, wanted.remove), *([Path(wanted.cut)] if wanted.cut else [])]:
        _write(disk, copies / path.name, disk.read(path))
    _write(disk, copies / "report.json", msgspec.json.format(msgspec.json.encode(wanted)) + b"\n")
    disk.sync_folder(copies)
    marks = [path for path in map(Path, wanted.remove) if path == watermark_path(folder)]
    segments = [path for path in map(Path, wanted.remove) if path.parent == journal_folder(folder)]
    snapshots = [path for path in map(Path, wanted.remove) if path.parent == folder and path not in marks]
    for path in (*marks, *segments, *snapshots):
        disk.unlink(path)
        disk.sync_folder(path.parent)
    if wanted.cut:
        file = disk.open_append(Path(wanted.cut))
        try:
            file.truncate(wanted.cut_at)
            file.sync()
        finally:
            file.close()
    return copies


def _refuse_newer(damage: JournalDamaged) -> None:
    if damage.kind == "newer":
        raise JournalRefused(str(damage), hint="start the version that wrote it; there is nothing to repair")


def _reach(disk: Disk, folder: Path, numbers: Sequence[int], start: Watermark | None) -> _Reach | None:
    """Walk from a snapshot's end, or from the very first segment, as far as everything is whole."""
    number = first = start.segment if start is not None else 1
    end, fault = start, None
    while number in numbers and fault is None:
        path = segment_path(folder, number)
        block = disk.read(path)
        if start is not None and number == first:
            if len(block) < start.offset or chain_before(block, start.offset) != start.chain:
                return None  # what the snapshot ends in is not there
            walked = walk(block, start.offset, start.position, start.chain)
        else:
            expected = FIRST_SEGMENT if end is None else SegmentHeader(number, end.position + 1, end.chain)
            walked = walk_segment(block, expected)
        for _ in records_of(Segment(number, path, block, walked)):
            pass  # each must be understood
        if walked.fault is not None:
            fault = JournalDamaged(path, walked.fault)
            _refuse_newer(fault)
        if walked.fault is None or walked.fault.offset > 0:
            end = Watermark(number, walked.offset, walked.position, walked.chain)
        number += 1
    if end is None or first not in numbers:
        return None
    if fault is None and any(one > end.segment for one in numbers):
        gap = Fault("damaged", 0, end.position, "a missing segment")
        fault = JournalDamaged(segment_path(folder, end.segment + 1), gap)
    return _Reach(start, end, fault)


def _lost(disk: Disk, folder: Path, numbers: Sequence[int], end: Watermark) -> Iterator[Record]:
    """The records behind ``end`` that can still be read, in whatever order they stand."""
    for number in numbers:
        if number < end.segment:
            continue
        block = disk.read(segment_path(folder, number))
        found = block.find(FRAME_MAGIC, end.offset if number == end.segment else 0)
        while 0 <= found <= len(block) - FRAME_HEADER_BYTES:
            stop = found + frame_size_bytes(block, found)
            try:
                record = decode_record(payload_at(block[:stop], found))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                pass
            else:
                if record.position > end.position:
                    yield record
            found = block.find(FRAME_MAGIC, found + 1)


def _incidents(record: Record) -> Iterator[str]:
    for event in record.events:
        for name in ("incident_id", "link_id"):
            found = str(getattr(event, name, "")).rpartition("/")[2]
            if found:
                yield found


def _bad_history(disk: Disk, folder: Path, numbers: Sequence[int], best: _Reach) -> Iterator[tuple[int, str]]:
    """What is damaged in the segments, and in the part of one, that a start from the best snapshot does not read."""
    for number in numbers if best.begin is not None else ():
        begin = best.begin
        if begin is None or number > begin.segment:
            return
        path = segment_path(folder, number)
        header = stated_header(disk, folder, number)
        stop = begin.offset if number == begin.segment else disk.size(path)
        if number + 1 not in numbers and number < begin.segment:
            yield number, f"{segment_path(folder, number + 1)} is missing"
        if header is None:
            damage = JournalDamaged(path, header_fault(disk, folder, number))
            _refuse_newer(damage)
            yield number, str(damage)
            continue
        try:
            for _ in pieces(disk, path, SEGMENT_HEADER_BYTES, stop, header.first_position - 1, header.chain):
                pass
        except JournalDamaged as damage:
            yield number, str(damage)


def _watermark_problem(disk: Disk, folder: Path, end: Watermark) -> tuple[int, str]:
    """The position that the watermark names, and why it has to go; empty if it may stay."""
    try:
        mark = read_watermark(disk, folder)
    except JournalRefused as refusal:
        return 0, str(refusal)
    if mark is None:
        return 0, ""
    if (mark.segment, mark.offset) <= (end.segment, end.offset):
        is_kept = segment_path(folder, mark.segment).name in disk.names(journal_folder(folder))
        block = disk.read(segment_path(folder, mark.segment)) if is_kept else b""
        is_ours = not is_kept or chain_before(block, mark.offset) == mark.chain
        return 0, "" if is_ours else "the watermark is of another journal"
    return mark.position, f"the watermark names position {mark.position}, and the journal ends at {end.position}"


def _write(disk: Disk, path: Path, block: bytes) -> None:
    file = disk.open_append(path, create=True)
    try:
        if file.write(block) < len(block):
            raise OSError(errno.ENOSPC, "no room for a copy", str(path))
        file.sync()
    finally:
        file.close()
