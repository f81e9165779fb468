"""The journal against a failing disk: every call fails once, power goes at every call, and nothing answered is lost."""

import errno
from random import Random

import pytest
import trio

from syncd.core.events import Change, Record
from syncd.core.state import State
from syncd.errors import JournalFailed, JournalRefused, SyncdError
from syncd.journal.files import segment_numbers
from syncd.journal.writer import Journal
from tests.journal.samples import STATE, declare, reopened, serving
from tests.simulation.disk import Fault, SimDisk

SEGMENT_BYTES_MAX = 700  # three or four records
FAULTS: list[Fault] = [errno.EIO, errno.ENOSPC, errno.EINTR, "short"]


class Life:
    """What one run of the daemon decided and answered."""

    def __init__(self) -> None:
        self.decided: list[int] = []
        self.answered: list[int] = []
        self.failure: SyncdError | None = None

    async def declare(self, journal: Journal, number: int) -> None:
        def decide(_state: State, _at_s: float) -> Change[int]:
            self.decided.append(number)
            return declare(number)

        self.answered.append(await journal.transact(decide, by="agent", trace="t"))


async def live(disk: SimDisk, first: int = 1) -> Life:
    """Start, declare 12 incidents in groups of 1 to 3, write a watermark on the way, stop; or fail somewhere."""
    life = Life()
    try:
        async with serving(disk, segment_bytes_max=SEGMENT_BYTES_MAX) as journal:
            number = first
            for group in (1, 3, 2, 1, 3, 2):
                async with trio.open_nursery() as nursery:
                    for member in range(number, number + group):
                        nursery.start_soon(life.declare, journal, member)
                number += group
                await trio.sleep(4)
    except* SyncdError as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        assert isinstance(error, SyncdError)
        life.failure = error
    return life


def numbers(records: list[Record]) -> list[int]:
    return [int(event.incident_id.removeprefix("INC-")) for record in records for event in record.events]  # type: ignore[union-attr]


def check(found: list[Record], *lives: Life) -> None:
    """Nothing that was answered is lost, nothing is there twice or invented, and the order is that of the decisions."""
    kept = numbers(found)
    answered = [number for life in lives for number in life.answered]
    decided = [number for life in lives for number in life.decided]
    assert set(answered) <= set(kept) <= set(decided)
    assert kept == [number for number in decided if number in set(kept)]
    assert [record.position for record in found] == list(range(1, len(found) + 1))


async def test_a_life_without_faults_answers_everything_in_several_segments(autojump_clock: object) -> None:
    disk = SimDisk()
    life = await live(disk)
    assert life.failure is None
    assert len(life.answered) == 12
    assert len(segment_numbers(disk, STATE)) >= 3
    check(await reopened(disk.kill()), life)


@pytest.mark.parametrize("fault", FAULTS)
async def test_any_one_failing_call_loses_nothing_that_was_answered(fault: Fault, autojump_clock: object) -> None:
    """The N-th call of open, append, rotate, mark and close fails, for every N; then power goes, or a kill comes."""
    number, is_done = 0, False
    while not is_done:
        number += 1
        for ending in ("crash", "kill"):
            disk = SimDisk(Random(number))
            disk.faults[number] = fault
            life = await live(disk)
            is_done = number > len(disk.calls)
            after = disk.crash() if ending == "crash" else disk.kill()
            check(await reopened(after), life)
            assert disk.syncs_after_failure == after.syncs_after_failure == 0
            if fault != "short":
                call = disk.calls[min(number, len(disk.calls)) - 1][0]
                assert not (call in ("sync", "sync_folder", "truncate") and life.failure is None and not is_done), call
    assert number > 60


@pytest.mark.parametrize("fault", FAULTS)
async def test_any_one_failing_call_of_a_recovery_loses_nothing(fault: Fault, autojump_clock: object) -> None:
    first = await live(SimDisk())
    number, is_done = 0, False
    while not is_done:
        number += 1
        before = SimDisk()
        life = await live(before)
        path = STATE / "journal" / f"{segment_numbers(before, STATE)[-1]:08d}.log"
        torn = before.kill()
        torn.put(path, torn.files()[path] + bytes(300))
        torn.faults[number] = fault
        again = await live(torn, first=100)
        is_done = number > len(torn.calls)
        check(await reopened(torn.crash()), life, again)
    assert first.failure is None
    assert number > 60


@pytest.mark.parametrize("seed", range(8))
async def test_power_may_go_at_any_call(seed: int, autojump_clock: object) -> None:
    """Every crash state: synced bytes plus a random prefix or zero-fill of the rest, any subset of folder changes."""
    dies_at, is_done = 0, False
    while not is_done:
        dies_at += 1
        disk = SimDisk(Random(seed * 1_000 + dies_at))
        disk.dies_at = dies_at
        life = await live(disk)
        is_done = life.failure is None
        second = disk.crash()
        second.dies_at = dies_at // 2  # and again, perhaps during the recovery
        again = await live(second, first=100)
        check(await reopened(second.crash()), life, again)
    assert dies_at > 60


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EINTR])
async def test_a_failed_sync_is_fatal_and_never_repeated(code: int, autojump_clock: object) -> None:
    disk = SimDisk()
    waiting: list[str] = []

    async def wait_for(journal: Journal, number: int) -> None:
        with pytest.raises(JournalFailed, match=r"cannot sync /state/journal/00000001\.log"):
            await journal.transact(lambda _state, _at_s: declare(number), by="agent", trace="t")
        waiting.append("told")

    with pytest.RaisesGroup(pytest.RaisesExc(JournalFailed, match="cannot sync")):
        async with serving(disk) as journal:
            disk.faults = {len(disk.calls) + 2: code}  # one write, then the sync
            async with trio.open_nursery() as nursery:
                for number in range(1, 6):
                    nursery.start_soon(wait_for, journal, number)
            with pytest.raises(JournalFailed):
                await journal.settled()
            with pytest.raises(JournalFailed):
                await journal.transact(lambda _state, _at_s: declare(9), by="agent", trace="t")
    assert len(waiting) == 5
    calls = [call for call, _ in disk.calls]
    assert calls[-4:] == ["write", "sync", "truncate", "close"]
    assert disk.syncs_after_failure == 0


async def test_a_full_disk_keeps_what_was_decided_and_heals_by_itself(autojump_clock: object) -> None:
    disk = SimDisk()
    life = Life()
    async with serving(disk) as journal:
        await life.declare(journal, 1)
        disk.space_bytes = 100  # enough for a part of a frame
        async with trio.open_nursery() as nursery:
            nursery.start_soon(life.declare, journal, 2)
            nursery.start_soon(life.declare, journal, 3)
            await trio.sleep(30)
            was_full = journal.full
            assert life.answered == [1]
            assert disk.space_bytes == 100  # the part that went in was cut off again
            assert len(journal.state.incidents) == 3
            assert numbers(await journal.since(0, 10)) == [1]
            disk.space_bytes = None
            healed_from = trio.current_time()
        assert trio.current_time() - healed_from <= 5
        assert (was_full, journal.full) == (True, False)
        await life.declare(journal, 4)
    check(await reopened(disk.crash()), life)
    assert sorted(life.answered) == [1, 2, 3, 4]


async def test_a_disk_that_is_full_and_free_fifty_times_loses_nothing(autojump_clock: object) -> None:
    disk, life, rng = SimDisk(), Life(), Random(1)
    async with serving(disk, segment_bytes_max=SEGMENT_BYTES_MAX) as journal:
        for number in range(1, 101, 2):
            disk.space_bytes = rng.randrange(150)  # of a frame nothing, a part, or all
            async with trio.open_nursery() as nursery:
                nursery.start_soon(life.declare, journal, number)
                nursery.start_soon(life.declare, journal, number + 1)
                await trio.sleep(rng.uniform(0.1, 10))
                disk.space_bytes = None
                freed_at = trio.current_time()
            assert trio.current_time() - freed_at <= 5
    check(await reopened(disk.crash()), life)
    assert sorted(life.answered) == list(range(1, 101))


async def test_a_full_disk_makes_callers_wait_outside_and_a_deadline_ends_that(autojump_clock: object) -> None:
    """256 decisions may wait; who comes later decides nothing, so giving up leaves nothing behind."""
    disk = SimDisk()
    async with serving(disk) as journal:
        disk.space_bytes = 0
        async with trio.open_nursery() as nursery:
            for number in range(1, 257):
                nursery.start_soon(Life().declare, journal, number)
            await trio.sleep(5)
            late = Life()
            with trio.move_on_after(2) as deadline:
                await late.declare(journal, 999)
            assert deadline.cancelled_caught
            assert late.decided == []
            disk.space_bytes = None
    assert len(await reopened(disk.kill())) == 256


async def test_a_disk_that_stays_full_does_not_hold_up_the_stop(autojump_clock: object) -> None:
    disk = SimDisk()
    life = Life()
    refused: list[str] = []

    async def declare_in_vain(journal: Journal) -> None:
        with pytest.raises(JournalFailed):
            await life.declare(journal, 2)
        refused.append("told")

    async with serving(disk) as journal:
        await life.declare(journal, 1)
        disk.space_bytes = 0
        async with trio.open_nursery() as nursery:
            nursery.start_soon(declare_in_vain, journal)
            await trio.sleep(3)
            stop_from = trio.current_time()
            journal.close()
    assert trio.current_time() - stop_from <= 7
    assert refused == ["told"]
    disk.space_bytes = None
    check(await reopened(disk.kill()), life)


async def test_a_watermark_that_finds_no_room_leaves_the_old_one(autojump_clock: object) -> None:
    disk = SimDisk()
    async with serving(disk) as journal:
        await Life().declare(journal, 1)
        await trio.sleep(20)
        old = disk.files()[STATE / "watermark"]
        await Life().declare(journal, 2)
        disk.space_bytes = 10
        await trio.sleep(20)
        assert disk.files()[STATE / "watermark"] == old
        disk.space_bytes = None
        await trio.sleep(20)
        assert disk.files()[STATE / "watermark"] != old


async def test_a_refused_journal_is_left_as_it_was_found(autojump_clock: object) -> None:
    disk = SimDisk()
    await live(disk)
    path = STATE / "journal" / "00000002.log"
    for block in (disk.files()[path][:-1], b"?" + disk.files()[path][1:]):
        after = disk.kill()
        after.put(path, block)
        last = STATE / "journal" / f"{segment_numbers(after, STATE)[-1]:08d}.log"
        after.put(last, after.files()[last] + b"torn")
        found = after.files()
        with pytest.RaisesGroup(JournalRefused):
            await reopened(after)
        assert after.files() == found
        disk = after
        disk.put(path, found[path])
