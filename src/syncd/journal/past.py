"""The past: State as it was at a position, from the files alone. Reads only, beside a live daemon or without one."""

from pathlib import Path

from msgspec import Struct

from syncd.core.events import Record
from syncd.core.fold import evolve
from syncd.core.state import State
from syncd.errors import JournalRefused, Unknown
from syncd.journal.files import segment_numbers
from syncd.journal.reader import iterate, undisturbed
from syncd.journal.replay import find_base
from syncd.journal.snapshot import snapshot_positions
from syncd.seams import Disk


class Past(Struct):
    """``state`` as of its own position. ``snapshot``: the position of the snapshot that was read for it, 0 for none.

    ``passed_over``: why newer snapshots were not.
    """

    state: State
    snapshot: int
    passed_over: tuple[str, ...]


def state_at(disk: Disk, folder: Path, until: int | None = None) -> Past:
    """State after position ``until``, or as it is now.

    Raises ``JournalRefused``, or ``Unknown`` for a position that is not there or whose past is no longer kept.
    """
    return undisturbed(disk, folder, lambda: _state_at(disk, folder, until))


def _state_at(disk: Disk, folder: Path, until: int | None) -> Past:
    numbers = segment_numbers(disk, folder)
    try:
        base = find_base(disk, folder, numbers, upto=until)
    except JournalRefused as refusal:
        snapshots = snapshot_positions(disk, folder)
        if until is None or not snapshots or until >= min(snapshots):
            raise
        words = f"position {until} is no longer kept; the oldest that can be shown is {min(snapshots)}"
        raise Unknown(words, hint="give a later position, or a backup with --state-dir") from refusal
    state = base.state
    snapshot = base.end.position if base.end is not None else 0
    for record in iterate(disk, folder, after=snapshot):
        if until is not None and record.position > until:
            break
        try:
            state = evolve(state, record)
        except Exception as error:  # as at a start
            raise JournalRefused(
                f"the record at position {record.position} cannot be replayed: {error!r}",
                hint="nothing was changed; use the version that wrote it, and report this",
            ) from error
    if base.end is not None and segment_numbers(disk, folder)[0] > base.end.segment:
        raise FileNotFoundError(f"history ended behind position {snapshot}")  # perhaps before that was read
    if until is not None and until > state.position:
        raise Unknown(
            f"position {until} lies in the future; the newest is {state.position}", hint="see: im journal info"
        )
    return Past(state, snapshot, base.passed_over)


def records_at(disk: Disk, folder: Path, positions: tuple[int, ...]) -> list[Record]:
    """Those of the records at these positions, in order, that are kept."""
    return undisturbed(disk, folder, lambda: _records_at(disk, folder, positions)) if positions else []


def _records_at(disk: Disk, folder: Path, positions: tuple[int, ...]) -> list[Record]:
    wanted, last = frozenset(positions), positions[-1]
    found: list[Record] = []
    for record in iterate(disk, folder, after=positions[0] - 1):
        if record.position > last:
            break
        if record.position in wanted:
            found.append(record)
    return found
