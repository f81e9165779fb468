"""One step, then durable, then visible: what transact, settled, subscribe and the reads promise."""

from collections.abc import Callable, Sequence
from random import Random
from typing import TypeVar, TypeVarTuple

import pytest
import trio

from syncd.core.events import Change, DaemonBorn, IncidentEdited, Record
from syncd.core.state import State
from syncd.errors import Busy, JournalFailed, JournalRefused, Refused, Stale, TooLarge, Unknown
from syncd.journal.files import read_watermark
from syncd.journal.writer import Journal
from tests.journal.samples import AT_S, STATE, SteadyClock, declare_next, reopened, serving
from tests.simulation.disk import SimDisk, SimWork

T = TypeVar("T")
Args = TypeVarTuple("Args")


class GatedWork:
    """Threads that wait for leave once the gate is closed, as a slow disk does."""

    def __init__(self) -> None:
        self.gate = trio.Event()
        self.gate.set()
        self.waiting = 0

    def shut(self) -> None:
        self.gate = trio.Event()

    async def run(self, call: Callable[[*Args], T], *args: *Args) -> T:
        await trio.lowlevel.checkpoint()
        self.waiting += 1
        with trio.CancelScope(shield=True):
            await self.gate.wait()
        self.waiting -= 1
        return call(*args)


def nothing(state: State, _at_s: float) -> Change[int]:
    """A decision that journals nothing and answers what it saw."""
    return Change("o", (), len(state.incidents))


async def declare_one(journal: Journal, into: list[int]) -> None:
    into.append(await journal.transact(declare_next, by="agent", trace="t"))


async def test_a_transaction_is_recorded_with_its_envelope_and_evolves_the_state() -> None:
    disk = SimDisk()
    async with serving(disk) as journal:
        assert await journal.transact(declare_next, by="token:7", trace="abc") == 1
        assert journal.state.incidents["INC-1"].title == "incident 1"
        (record,) = await journal.since(0, 10)
        assert (record.position, record.stream, record.at_s, record.by, record.trace) == (
            1,
            "o",
            AT_S,
            "token:7",
            "abc",
        )
        assert (journal.first_position, journal.durable_position, journal.state.position) == (1, 1, 1)


async def test_transact_returns_only_after_the_sync_returned() -> None:
    work = GatedWork()
    disk = SimDisk()
    answered: list[int] = []
    async with serving(disk, work=work) as journal, trio.open_nursery() as nursery:
        work.shut()
        nursery.start_soon(declare_one, journal, answered)
        await trio.testing.wait_all_tasks_blocked()
        assert len(journal.state.incidents) == 1  # decided,
        assert (answered, journal.durable_position) == ([], 0)  # and nobody knows
        work.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert (answered, journal.durable_position) == ([1], 1)
        assert disk.calls[-1][0] == "sync"


async def test_what_gathers_during_one_sync_goes_out_with_the_next() -> None:
    work = GatedWork()
    disk = SimDisk()
    answered: list[int] = []
    async with serving(disk, work=work) as journal:
        before = sum(call == "sync" for call, _ in disk.calls)
        work.shut()
        async with trio.open_nursery() as nursery:
            for _ in range(64):
                nursery.start_soon(declare_one, journal, answered)
            await trio.testing.wait_all_tasks_blocked()
            work.gate.set()
        assert sum(call == "sync" for call, _ in disk.calls) - before <= 2
    assert sorted(answered) == list(range(1, 65))
    assert len(await reopened(disk.crash())) == 64


async def test_no_two_decisions_see_the_same_version(autojump_clock: object) -> None:
    """One more than there are, 400 times at once, on a disk with pauses: every number once."""
    answered: list[int] = []
    async with serving(SimDisk(), work=SimWork(Random(3), 0.01)) as journal, trio.open_nursery() as nursery:
        for _ in range(400):
            nursery.start_soon(declare_one, journal, answered)
    assert sorted(answered) == list(range(1, 401))


async def test_an_answer_that_journals_nothing_waits_for_what_it_saw() -> None:
    work = GatedWork()
    answered: list[int] = []

    async def look(journal: Journal) -> None:
        answered.append(-await journal.transact(nothing, by="agent", trace="t"))

    async with serving(SimDisk(), work=work) as journal, trio.open_nursery() as nursery:
        await look(journal)
        work.shut()
        nursery.start_soon(declare_one, journal, answered)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(look, journal)
        await trio.testing.wait_all_tasks_blocked()
        assert answered == [0]
        work.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(answered) == [-1, 0, 1]
        assert journal.durable_position == 1


async def test_a_refusal_waits_for_what_it_saw_and_is_raised_unchanged() -> None:
    work = GatedWork()
    refused: list[Refused] = []

    def refuse(state: State, _at_s: float) -> Change[int]:
        raise Stale(f"there are {len(state.incidents)} incidents")

    async def ask(journal: Journal) -> None:
        with pytest.raises(Stale, match="there are 1 incidents") as refusal:
            await journal.transact(refuse, by="agent", trace="t")
        refused.append(refusal.value)

    async with serving(SimDisk(), work=work) as journal, trio.open_nursery() as nursery:
        work.shut()
        nursery.start_soon(declare_one, journal, [])
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(ask, journal)
        await trio.testing.wait_all_tasks_blocked()
        assert refused == []
        work.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert len(refused) == 1
        assert journal.state.position == 1


async def test_settled_waits_for_all_that_is_in_the_state_and_for_no_more() -> None:
    work = GatedWork()
    log: list[str] = []

    async def settle(journal: Journal) -> None:
        await journal.settled()
        log.append(f"settled at {journal.durable_position}")

    async with serving(SimDisk(), work=work) as journal, trio.open_nursery() as nursery:
        await journal.settled()
        work.shut()
        nursery.start_soon(declare_one, journal, [])
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(declare_one, journal, [])  # joins the group behind
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(settle, journal)
        await trio.testing.wait_all_tasks_blocked()
        assert log == []
        work.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert log == ["settled at 2"]


async def test_a_cancelled_caller_takes_nothing_back() -> None:
    work = GatedWork()
    disk = SimDisk()
    async with serving(disk, work=work) as journal:
        work.shut()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(declare_one, journal, [])
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert len(journal.state.incidents) == 3
        work.gate.set()
        await journal.settled()
        assert len(await journal.since(0, 10)) == 3
    assert len(await reopened(disk.crash())) == 3


async def test_a_caller_cancelled_before_it_decided_leaves_nothing() -> None:
    async with serving(SimDisk()) as journal:
        with trio.CancelScope() as scope:
            scope.cancel()
            await journal.transact(declare_next, by="agent", trace="t")
        assert journal.state.position == 0


async def test_what_cannot_be_encoded_changes_nothing() -> None:
    def too_large(_state: State, _at_s: float) -> Change[None]:
        return Change("o", (DaemonBorn("x" * 17 * 2**20),), None)

    def no_json(_state: State, _at_s: float) -> Change[None]:
        return Change("o", (DaemonBorn(object()),), None)  # type: ignore[arg-type]

    disk = SimDisk()
    async with serving(disk) as journal:
        for decide, error in ((too_large, TooLarge), (no_json, TypeError)):
            with pytest.raises(error):
                await journal.transact(decide, by="agent", trace="t")
            assert (journal.state.position, journal.state.journal_id) == (0, "")
        assert await journal.transact(declare_next, by="agent", trace="t") == 1
    assert [record.position for record in await reopened(disk.crash())] == [1]


async def test_an_event_that_cannot_be_folded_ends_the_journal_before_it_is_written() -> None:
    """The fold works in place: half a record may be in the state, so the state is read anew."""

    def edit_a_stranger(_state: State, _at_s: float) -> Change[None]:
        return Change("o", (DaemonBorn("j"), IncidentEdited("INC-404", {"title": "?"})), None)

    disk = SimDisk()
    with pytest.RaisesGroup(pytest.RaisesExc(JournalFailed, match="cannot be folded")):
        async with serving(disk) as journal:
            await journal.transact(declare_next, by="agent", trace="t")
            with pytest.raises(JournalFailed, match="position 2 cannot be folded"):
                await journal.transact(edit_a_stranger, by="agent", trace="t")
    assert len(await reopened(disk.kill())) == 1


async def test_subscribers_hear_every_record_once_in_order_and_only_durable_ones(autojump_clock: object) -> None:
    disk = SimDisk()
    heard: list[int] = []
    heard_for_a_while: list[int] = []
    async with serving(disk, work=SimWork(Random(5), 0.01)) as journal:

        def hear(records: Sequence[Record]) -> None:
            assert records[-1].position <= journal.durable_position
            heard.extend(record.position for record in records)

        journal.subscribe(hear)
        unsubscribe = journal.subscribe(lambda records: heard_for_a_while.extend(record.position for record in records))
        await journal.transact(declare_next, by="agent", trace="t")
        unsubscribe()
        unsubscribe()
        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(declare_one, journal, [])
    assert heard == list(range(1, 102))
    assert heard_for_a_while == [1]


async def test_records_and_since_read_across_segments(autojump_clock: object) -> None:
    disk = SimDisk()
    async with serving(disk, segment_bytes_max=900) as journal:
        for _ in range(40):
            await journal.transact(declare_next, by="agent", trace="t")
        assert len(disk.names(STATE / "journal")) > 4
        everything = await journal.since(0, 1_000)
        assert [record.position for record in everything] == list(range(1, 41))
        for position, limit in ((0, 1), (3, 5), (0, 40), (39, 9), (40, 9), (99, 1), (7, 0)):
            assert await journal.since(position, limit) == everything[position : position + limit]
        assert await journal.records([40, 1, 17, 17]) == [everything[at - 1] for at in (40, 1, 17, 17)]
        assert await journal.records([]) == []
        with pytest.raises(Unknown, match="position 41 is not in the journal"):
            await journal.records([1, 41])


async def test_records_waits_until_what_it_is_asked_for_is_durable() -> None:
    work = GatedWork()
    found: list[Record] = []

    async def find(journal: Journal) -> None:
        found.extend(await journal.records([1]))

    async with serving(SimDisk(), work=work) as journal, trio.open_nursery() as nursery:
        work.shut()
        nursery.start_soon(declare_one, journal, [])
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(find, journal)
        await trio.testing.wait_all_tasks_blocked()
        assert found == []
        work.gate.set()
        await trio.testing.wait_all_tasks_blocked()
        assert [record.position for record in found] == [1]


async def test_rot_under_a_running_daemon_is_found_by_the_read_that_meets_it() -> None:
    disk = SimDisk()
    path = STATE / "journal" / "00000001.log"
    async with serving(disk) as journal:
        for _ in range(3):
            await journal.transact(declare_next, by="agent", trace="t")
        whole = disk.files()[path]
        disk.put(path, whole[:60] + b"?" + whole[61:])
        with pytest.raises(JournalFailed, match=r"00000001\.log is damaged: at byte 32"):
            await journal.records([1])


async def test_the_watermark_is_written_ten_seconds_after_a_change_and_then_rests(autojump_clock: object) -> None:
    disk = SimDisk()

    def marks() -> int:
        return sum(call == "rename" for call, _ in disk.calls)

    async with serving(disk) as journal:
        await trio.sleep(100)
        assert marks() == 1  # the new journal itself
        for _ in range(100):
            await journal.transact(declare_next, by="agent", trace="t")
            await trio.sleep(0.5)
        assert 5 <= marks() - 1 <= 6
        await trio.sleep(100)
        assert marks() - 1 <= 7
        rested = marks()
        await trio.sleep(1_000)
        assert marks() == rested


async def test_the_watermark_of_a_clean_stop_survives_a_power_loss_right_after() -> None:
    for seed in range(10):
        disk = SimDisk(Random(seed))
        async with serving(disk) as journal:
            await journal.transact(declare_next, by="agent", trace="t")
        mark = read_watermark(disk.crash(), STATE)
        assert mark is not None
        assert mark.position == 1


async def test_after_a_clean_stop_any_cut_is_refused() -> None:
    disk = SimDisk()
    async with serving(disk) as journal:
        await journal.transact(declare_next, by="agent", trace="t")
    path = STATE / "journal" / "00000001.log"
    after = disk.kill()
    after.put(path, after.files()[path][:-1])
    with pytest.RaisesGroup(pytest.RaisesExc(JournalRefused, match="ends at position 0, before position 1")):
        await reopened(after)


async def test_a_closing_journal_takes_no_more_and_writes_what_it_has() -> None:
    work = GatedWork()
    disk = SimDisk()
    async with serving(disk, work=work) as journal, trio.open_nursery() as nursery:
        work.shut()
        nursery.start_soon(declare_one, journal, [])
        await trio.testing.wait_all_tasks_blocked()
        journal.close()
        journal.close()
        work.gate.set()
        with pytest.raises(Busy, match="stopping"):
            await journal.transact(declare_next, by="agent", trace="t")
    assert len(await reopened(disk.kill())) == 1


async def test_a_cancelled_writer_wakes_everybody_who_waits() -> None:
    """The group under way is finished, since a thread cannot be taken back; the rest is told."""
    work = GatedWork()
    answered: list[int] = []
    told: list[JournalFailed] = []

    async def ask(journal: Journal) -> None:
        try:
            await declare_one(journal, answered)
        except JournalFailed as failure:
            told.append(failure)

    async with trio.open_nursery() as outer:
        journal = await Journal.open(SimDisk(), STATE, SteadyClock(), work)
        async with trio.open_nursery() as nursery:
            await nursery.start(journal.run)
            work.shut()
            for _ in range(300):  # more than there is room for
                outer.start_soon(ask, journal)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            work.gate.set()
    assert sorted(answered) == list(range(1, 257))
    assert len(told) == 44
    assert all("writer has ended" in str(failure) for failure in told)
    assert len({id(failure) for failure in told}) == 44
