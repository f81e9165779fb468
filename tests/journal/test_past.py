"""The past, read from files: any position, with or without snapshots, as it was."""

import msgspec
import pytest

from syncd.core.capture import digest
from syncd.core.events import Record
from syncd.core.fold import evolve
from syncd.core.state import State
from syncd.errors import JournalRefused, Unknown
from syncd.journal.keeper import Limits
from syncd.journal.past import records_at, state_at
from syncd.journal.snapshot import snapshot_path
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
