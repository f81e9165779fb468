"""The past, read from files: any position, with or without snapshots, as it was."""

from pathlib import Path

import msgspec
import pytest

from syncd.core.capture import digest
from syncd.core.events import Record
from syncd.core.fold import evolve
from syncd.core.state import State
from syncd.errors import JournalRefused, Unknown
from syncd.journal.files import segment_path
from syncd.journal.keeper import Limits
from syncd.journal.past import records_at, state_at
from syncd.journal.reader import show
from syncd.journal.snapshot import read_head, snapshot_path
from tests.core.test_capture import lived
from tests.journal.samples import STATE, declare_next, serving
from tests.journal.test_keeper import kept, write
from tests.simulation.disk import SimDisk


async def test_every_position_is_shown_as_it_was_with_snapshots_and_without() -> None:
    disk = SimDisk()
    then: dict[int, str] = {}
    async with kept(disk, Limits()) as (journal, keeper):
        for position in range(1, 31):
            await journal.transact(declare_next, by="agent", trace="t")
            then[position] = digest(journal.state)
            if position % 10 == 0:
                await keeper.take_snapshot()
    calls = len(disk.calls)
    for position, word in then.items():
        past = state_at(disk, STATE, position)
        assert (past.state.position, digest(past.state)) == (position, word)
        assert past.snapshot == (position // 10 * 10 if position >= 20 else 0)  # two snapshots are kept
    assert digest(state_at(disk, STATE).state) == then[30]
    assert {call for call, _ in disk.calls[calls:]} <= {"read", "names", "size"}
    assert [one.position for one in records_at(disk, STATE, (3, 9, 22))] == [3, 9, 22]
    assert records_at(disk, STATE, ()) == []


async def test_what_is_no_longer_kept_or_not_there_yet_is_named() -> None:
    disk = SimDisk()
    async with kept(disk) as (journal, keeper):
        for _ in range(3):
            await write(journal, 10)
            await keeper.take_snapshot()
    with pytest.raises(Unknown, match="position 3 is no longer kept; the oldest that can be shown is 20"):
        state_at(disk, STATE, 3)
    with pytest.raises(Unknown, match="position 31 lies in the future; the newest is 30"):
        state_at(disk, STATE, 31)
    assert state_at(disk, STATE, 20).state.position == 20
    assert [one.position for one in records_at(disk, STATE, (3, 22))] == [22]
    disk.remove(snapshot_path(STATE, 20))
    disk.remove(snapshot_path(STATE, 30))
    with pytest.raises(JournalRefused):
        state_at(disk, STATE)


@pytest.mark.parametrize("seed", range(20))
async def test_the_fold_of_the_bytes_is_what_the_daemon_had(seed: int) -> None:
    """J8, within one process: the same records, decided and applied live, and read again."""
    world = lived(seed)
    state = State()
    for encoded in world.records:
        state = evolve(state, msgspec.json.decode(encoded, type=Record))
    assert digest(state) == digest(world.state)


async def test_an_empty_journal_has_a_past_too() -> None:
    disk = SimDisk()
    async with serving(disk):
        pass
    assert state_at(disk, STATE).state.position == 0


class Ending(SimDisk):
    """A disk of which a live daemon removes history up to a segment, and the snapshots of it, once that is read."""

    def __init__(self, disk: SimDisk, number: int, snapshots: tuple[int, ...]) -> None:
        super().__init__()
        self._under, self._number, self._snapshots = disk, number, snapshots

    def names(self, folder: Path) -> list[str]:
        return self._under.names(folder)

    def size(self, path: Path) -> int:
        return self._under.size(path)

    def read(self, path: Path, offset: int = 0, size_bytes: int = -1) -> bytes:
        if path == segment_path(STATE, self._number) and size_bytes == -1:
            for number in range(1, self._number + 1):
                if segment_path(STATE, number) in self._under.files():
                    self._under.unlink(segment_path(STATE, number))
            for position in self._snapshots:
                self._under.unlink(snapshot_path(STATE, position))
            self._snapshots = ()
        return self._under.read(path, offset, size_bytes)


async def test_history_that_ends_while_it_is_read_is_no_longer_kept_and_no_error() -> None:
    for until, snapshot in ((25, 20), (45, 40)):
        disk = SimDisk()
        async with kept(disk, Limits()) as (journal, keeper):
            for _ in range(2):
                await write(journal, 20)
                await keeper.take_snapshot()
            await write(journal, 10)
            end = read_head(disk, STATE, 20).end.segment
            live = digest(journal.state)
            ending = Ending(disk, end + 1, (20,))
            if snapshot == 20:
                with pytest.raises(Unknown, match="position 25 is no longer kept; the oldest that can be shown is 40"):
                    state_at(ending, STATE, until)
            else:
                assert records_at(ending, STATE, (22, 48)) == await journal.records([48])
                assert show(ending, STATE, 22) is None
                assert digest(state_at(ending, STATE).state) == live
