"""Snapshots, the end of history and the scrub: no crash, no fault and no moment changes what the next start knows."""

import errno
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import get_args

import pytest
import trio
import trio.testing

from syncd.core.capture import digest
from syncd.core.events import Change, NoteAdded
from syncd.core.pasts import positions_of
from syncd.core.state import State
from syncd.errors import Gone, JournalFailed, JournalRefused, Unknown
from syncd.journal.files import segment_numbers, segment_path
from syncd.journal.keeper import Keeper, Limits
from syncd.journal.snapshot import snapshot_path, snapshot_positions
from syncd.journal.writer import Journal
from tests.journal.samples import AT_S, STATE, declare, declare_next, serving
from tests.simulation.disk import Fault, Order, SimDisk, SimWork

SEGMENT_BYTES_MAX = 700  # three or four records
LIMITS = Limits(snapshot_records=10, snapshot_bytes=2**20, history_s=0.0, history_bytes=0)
CHANGES = frozenset({"create", "write", "sync", "rename", "unlink", "sync_folder", "truncate"})
FAULTS: list[Fault] = [errno.EIO, errno.ENOSPC, errno.EINTR, "short"]
ORDERS: tuple[Order, ...] = get_args(Order)


class MovingClock:
    """Wall time that goes with the virtual clock."""

    def now_s(self) -> float:
        return AT_S + trio.current_time()


@asynccontextmanager
async def kept(disk: SimDisk, limits: Limits = LIMITS) -> AsyncIterator[tuple[Journal, Keeper]]:
    """A journal that is served, and its keeper, which does only what it is told."""
    async with serving(disk, segment_bytes_max=SEGMENT_BYTES_MAX) as journal:
        yield journal, Keeper(journal, disk, STATE, MovingClock(), SimWork(), limits)


async def write(journal: Journal, count: int) -> None:
    for _ in range(count):
        await journal.transact(declare_next, by="agent", trace="t")


async def started(disk: SimDisk) -> str:
    """What the next life knows, as one word."""
    async with serving(disk) as journal:
        return digest(journal.state)


async def test_a_start_from_a_snapshot_knows_what_a_start_from_the_whole_journal_knows() -> None:
    disk = SimDisk()
    async with kept(disk, Limits()) as (journal, keeper):
        await write(journal, 23)
        assert await keeper.take_snapshot()
        assert keeper.condition.snapshot_position == 23
        await write(journal, 9)
        live = digest(journal.state)
    bare = disk.kill()
    bare.remove(snapshot_path(STATE, 23))
    assert await started(bare) == live
    disk = bare.kill()
    async with kept(disk, Limits()) as (journal, _):
        assert journal.passed_over == ()
        assert digest(journal.state) == live
        assert [one.position for one in await journal.since(0, 99)] == list(range(1, 33))


async def test_a_snapshot_is_of_one_position_while_others_decide(autojump_clock: object) -> None:
    disk = SimDisk()
    async with serving(disk, work=SimWork(Random(3), 0.01)) as journal:
        keeper = Keeper(journal, disk, STATE, MovingClock(), SimWork(Random(4), 0.01), Limits())
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(write, journal, 20)
            await trio.sleep(0.1)
            assert await keeper.take_snapshot()
        position = keeper.condition.snapshot_position
        assert 0 < position < 160
        end = digest(journal.state)
    assert await started(disk.kill()) == end


async def test_snapshots_come_by_themselves_and_history_ends_behind_the_older_of_two(autojump_clock: object) -> None:
    disk = SimDisk()
    async with kept(disk) as (journal, keeper), trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        for _ in range(6):
            await write(journal, 10)
            await trio.sleep(100)
        assert snapshot_positions(disk, STATE) == [60, 50]
        numbers = segment_numbers(disk, STATE)
        assert numbers[0] > 1
        first = journal.first_position
        assert 40 < first <= 51  # all behind the older snapshot is there
        assert [one.position for one in await journal.since(0, 99)] == list(range(first, journal.durable_position + 1))
        with pytest.raises(Unknown):
            await journal.records([1])
        live = digest(journal.state)
        nursery.cancel_scope.cancel()
    after = disk.kill()
    async with kept(after) as (journal, _):
        assert digest(journal.state) == live
        assert journal.first_position == first
        assert (await journal.records([60]))[0].position == 60


async def test_history_is_kept_while_it_is_young_and_small(autojump_clock: object) -> None:
    for limits, is_ended in (
        (Limits(history_s=1000.0, history_bytes=2**20), False),
        (Limits(history_s=-1.0, history_bytes=2**20), True),
        (Limits(history_s=1000.0, history_bytes=100), True),
    ):
        disk = SimDisk()
        async with kept(disk, limits) as (journal, keeper):
            for _ in range(3):
                await write(journal, 20)
                await keeper.take_snapshot()
            assert (segment_numbers(disk, STATE)[0] > 1) == is_ended


async def test_nothing_ends_before_two_snapshots_are_good() -> None:
    disk = SimDisk()
    async with kept(disk) as (journal, keeper):
        await write(journal, 20)
        await keeper.take_snapshot()
        assert segment_numbers(disk, STATE)[0] == 1
        spoil(disk, snapshot_path(STATE, 20))
        await write(journal, 20)
        await keeper.take_snapshot()
        assert segment_numbers(disk, STATE)[0] == 1
        assert snapshot_positions(disk, STATE) == [40]  # the bad one is of no use to anybody


def spoil(disk: SimDisk, path: Path, at: int = 100) -> None:
    block = bytearray(disk.files()[path])
    block[at] ^= 1
    disk.put(path, bytes(block))


async def aged() -> SimDisk:
    """A disk with snapshots of the positions 20 and 40, and a history that begins somewhere before 21."""
    disk = SimDisk()
    async with kept(disk) as (journal, keeper):
        for _ in range(2):
            await write(journal, 20)
            await keeper.take_snapshot()
        await write(journal, 5)
    assert segment_numbers(disk, STATE)[0] > 1
    return disk.kill()


async def test_a_bad_snapshot_gives_way_to_the_older_one_and_says_so() -> None:
    disk = await aged()
    whole = await started(disk)
    disk = disk.kill()
    spoil(disk, snapshot_path(STATE, 40))
    async with kept(disk) as (journal, _):
        assert digest(journal.state) == whole
        (words,) = journal.passed_over
        assert "snapshot-000000000000040 is damaged" in words


async def test_a_bad_snapshot_gives_way_to_the_whole_journal() -> None:
    disk = SimDisk()
    async with kept(disk, Limits()) as (journal, keeper):
        await write(journal, 20)
        await keeper.take_snapshot()
        live = digest(journal.state)
    disk = disk.kill()
    for at in (3, 100, 700):
        spoil(disk, snapshot_path(STATE, 20), at)
        async with kept(disk) as (journal, _):
            assert digest(journal.state) == live
            assert len(journal.passed_over) == 1
        disk = disk.kill()


async def test_without_a_good_snapshot_a_journal_with_an_end_is_refused_untouched() -> None:
    disk = await aged()
    for position in (20, 40):
        spoil(disk, snapshot_path(STATE, position))
    found = disk.files()
    with pytest.RaisesGroup(pytest.RaisesExc(JournalRefused, match="snapshot-000000000000040 is damaged")):
        await started(disk)
    assert disk.files() == found
    disk = disk.kill()
    for position in (20, 40):
        disk.remove(snapshot_path(STATE, position))
    with pytest.RaisesGroup(pytest.RaisesExc(JournalRefused, match="is missing")):
        await started(disk)


async def test_a_journal_that_ends_before_its_snapshot_is_refused() -> None:
    disk = await aged()
    disk.remove(STATE / "watermark")
    for count, number in enumerate(reversed(segment_numbers(disk, STATE)), start=1):
        disk.remove(segment_path(STATE, number))
        if count == 5:
            break
    with pytest.RaisesGroup(pytest.RaisesExc(JournalRefused, match="before position 40")):
        await started(disk)


async def test_a_snapshot_of_another_journal_does_not_fit() -> None:
    disk, other = await aged(), SimDisk()
    async with kept(other) as (journal, keeper):
        for _ in range(40):
            await journal.transact(lambda state, _: declare(len(state.incidents) + 100), by="agent", trace="t")
        await keeper.take_snapshot()
    disk.put(snapshot_path(STATE, 40), other.files()[snapshot_path(STATE, 40)])
    with pytest.RaisesGroup(pytest.RaisesExc(JournalRefused, match="its snapshot|ends at position")):
        await started(disk)


async def test_what_is_no_longer_kept_is_gone_and_no_fault(autojump_clock: object) -> None:
    disk = SimDisk()
    async with kept(disk) as (journal, _):
        await write(journal, 20)
        disk.remove(segment_path(STATE, 1))  # history ends between the look at the index and the read
        with pytest.raises(Gone, match="no longer kept"):
            await journal.records([1])


async def keep_house(disk: SimDisk, known: list[int]) -> bool:
    """A life in which everything happens that the keeper does; ``known`` has an entry for each answer.

    False when it ended early.
    """
    try:
        async with kept(disk) as (journal, keeper):
            for _ in range(3):
                for _ in range(4):
                    await write(journal, 1)
                    known.append(len(journal.state.incidents))
                await keeper.take_snapshot()
                if disk.is_gone:
                    break
    except* (JournalFailed, OSError):
        pass
    return not disk.is_gone


@pytest.mark.parametrize("order", ORDERS)
async def test_power_may_go_at_any_call_of_the_keeper(order: Order, autojump_clock: object) -> None:
    """Every crash state of snapshot, removal of snapshots and end of history, for both orders of folder changes."""
    rehearsal = SimDisk()
    assert await keep_house(rehearsal, [])
    assert segment_numbers(rehearsal, STATE)[0] > 2
    states, calls = 0, Counter[str]()
    for number, (call, path) in enumerate(rehearsal.calls, start=1):
        if call not in CHANGES or (path.suffix == ".log" and call != "unlink"):
            continue  # what the writer does has tests of its own
        calls[call] += 1
        disk = SimDisk()
        disk.dies_at = number
        known: list[int] = []
        await keep_house(disk, known)
        for after in disk.crash_states(order):
            states += 1
            async with serving(after, segment_bytes_max=SEGMENT_BYTES_MAX) as journal:
                count = len(journal.state.incidents)
                assert digest(journal.state) == _EXPECTED[count]
                assert count >= len(known)
    assert calls.keys() >= {"create", "write", "sync", "rename", "unlink", "sync_folder"}
    assert states > 4 * calls.total()


_EXPECTED: dict[int, str] = {}


@pytest.fixture(autouse=True, scope="module")
def _every_state_by_its_number_of_incidents() -> None:
    async def fill() -> None:
        async with serving(SimDisk()) as journal:
            _EXPECTED[0] = digest(journal.state)
            for count in range(1, 31):
                await write(journal, 1)
                _EXPECTED[count] = digest(journal.state)

    trio.run(fill)


@pytest.mark.parametrize("fault", FAULTS)
async def test_any_one_failing_call_of_the_keeper_loses_nothing(fault: Fault, autojump_clock: object) -> None:
    """The N-th call of snapshot, read-back, removals and scrub fails, for every N; the next try succeeds."""
    number, is_done, failures = 0, False, 0
    while not is_done:
        number += 1
        disk = SimDisk(Random(number))
        async with kept(disk) as (journal, keeper):
            await write(journal, 8)
            await keeper.take_snapshot()
            await write(journal, 8)
            begun = len(disk.calls)
            disk.faults = {begun + number: fault}
            is_written = await keeper.take_snapshot()
            await keeper.scrub()
            is_done = len(disk.calls) < begun + number
            disk.faults = {}
            failures += not is_written
            assert bool(keeper.condition.failure) == (not is_written)
            await keeper.take_snapshot()
            assert keeper.condition.failure == ""
            live = digest(journal.state)
        assert await started(disk.crash()) == live
        if fault == "short" and number > 30:
            break  # only writes can be short
    assert number > 30
    assert failures > 2


async def test_no_room_for_a_snapshot_is_told_and_leaves_nothing_behind() -> None:
    disk = SimDisk()
    async with kept(disk) as (journal, keeper):
        await write(journal, 20)
        disk.space_bytes = 3000
        assert not await keeper.take_snapshot()
        assert "No space" in keeper.condition.failure or "no room" in keeper.condition.failure
        assert [path.name for path in disk.files() if "snapshot" in path.name] == []
        disk.space_bytes = None
        assert await keeper.take_snapshot()
        assert keeper.condition.failure == ""


async def test_a_snapshot_that_found_no_room_is_tried_again_by_itself(autojump_clock: object) -> None:
    disk = SimDisk()
    async with kept(disk) as (journal, keeper), trio.open_nursery() as nursery:
        await write(journal, 11)
        nursery.start_soon(keeper.run)
        await trio.testing.wait_all_tasks_blocked()
        disk.space_bytes = 3000
        await write(journal, 1)
        await trio.sleep(10)
        assert keeper.condition.failure
        assert snapshot_positions(disk, STATE) == []
        disk.space_bytes = None
        await trio.sleep(700)
        assert keeper.condition.failure == ""
        assert snapshot_positions(disk, STATE) == [12]
        nursery.cancel_scope.cancel()


async def test_a_draft_that_a_crash_left_is_removed_by_the_next() -> None:
    disk = SimDisk()
    draft = STATE / "snapshot-000000000000003.new"
    disk.put(draft, b"half")
    async with kept(disk) as (journal, keeper):
        await write(journal, 5)
        await keeper.take_snapshot()
    assert draft not in disk.files()


async def test_a_capture_while_the_last_record_is_being_written_waits_for_no_other(autojump_clock: object) -> None:
    async with serving(SimDisk(), work=SimWork(Random(3), 0.01)) as journal, trio.open_nursery() as nursery:
        nursery.start_soon(write, journal, 1)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(5):
            captured, end = await journal.capture()
        assert end.position == journal.durable_position == 1
        assert captured is not None


async def test_a_capture_fails_with_the_journal() -> None:
    disk = SimDisk()
    with pytest.RaisesGroup(JournalFailed):
        async with kept(disk) as (journal, keeper):
            disk.faults = {len(disk.calls) + 2: errno.EIO}
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fail_to_write, journal)
                await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(JournalFailed):
                    await keeper.take_snapshot()


async def fail_to_write(journal: Journal) -> None:
    with pytest.raises(JournalFailed):
        await write(journal, 1)


async def test_every_bit_that_rots_in_what_is_kept_is_found_within_a_day(autojump_clock: object) -> None:
    """In virtual time: a flipped bit in any file, and the daemon that runs says so before the day is over."""
    rng = Random(7)
    disk = await aged()
    async with kept(disk) as (_, keeper), trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await trio.sleep(3600)
        assert keeper.condition.damage == ()
        assert keeper.condition.scrubbed_bytes > 1000
        for path, block in disk.files().items():
            if path.name == "lock" or (path.suffix == ".log" and not block):
                continue
            for _ in range(6):
                spoiled = bytearray(block)
                at = rng.randrange(len(block))
                spoiled[at] ^= 1 << rng.randrange(8)
                disk.put(path, bytes(spoiled))
                seen: set[str] = set()
                for _ in range(24):
                    await trio.sleep(3600)
                    seen.update(keeper.condition.damage)
                assert any(path.name in words for words in seen), (path, at, seen)
                disk.put(path, block)
                await trio.sleep(86_400)
                assert keeper.condition.damage == ()
        nursery.cancel_scope.cancel()


async def test_what_an_incident_remembers_of_its_past_is_bounded_by_the_history(
    autojump_clock: object,
) -> None:
    disk = SimDisk()
    async with kept(disk) as (journal, keeper), trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await write(journal, 1)

        def annotate(state: State, _: float) -> Change[None]:
            return Change("o", (NoteAdded("INC-1", f"note-{state.position}", "text", "ann"),), None)

        for number in range(500):
            await journal.transact(annotate, by="ann", trace="t")
            if number % 100 == 99:
                await trio.sleep(200)
        incident = journal.state.incidents["INC-1"]
        assert 1 < journal.state.history_from <= journal.first_position
        assert len(positions_of(incident)) < 250
        assert incident.forgotten + len(positions_of(incident)) == 501
        live = digest(journal.state)
        nursery.cancel_scope.cancel()
    assert await started(disk.kill()) == live
