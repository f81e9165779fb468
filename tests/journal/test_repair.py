"""Repair: what is kept is told before, is what the next start knows, and nothing goes without a copy."""

import errno
from pathlib import Path
from random import Random

import msgspec
import pytest

from syncd.core.capture import digest
from syncd.errors import JournalRefused
from syncd.journal.files import segment_numbers, segment_path, watermark_path
from syncd.journal.repair import carry_out, plan
from syncd.journal.scan import scan
from syncd.journal.snapshot import snapshot_path
from tests.journal.samples import STATE, declare_next, serving
from tests.journal.test_keeper import SEGMENT_BYTES_MAX, aged, spoil, started
from tests.simulation.disk import Fault, SimDisk

FAULTS: list[Fault] = [errno.EIO, errno.ENOSPC, errno.EINTR, "short"]


async def grown(count: int = 30) -> tuple[SimDisk, dict[int, str]]:
    """A journal in many segments, without snapshots; what was known after each position."""
    disk, known = SimDisk(), {}
    async with serving(disk, segment_bytes_max=SEGMENT_BYTES_MAX) as journal:
        known[0] = digest(journal.state)
        for position in range(1, count + 1):
            await journal.transact(declare_next, by="agent", trace="t")
            known[position] = digest(journal.state)
    return disk.kill(), known


async def repaired(disk: SimDisk) -> str:
    """Repair it, and start."""
    wanted = plan(disk, STATE)
    assert wanted.is_needed
    removed = {Path(one): disk.files()[Path(one)] for one in wanted.remove}
    copies = carry_out(disk, STATE, wanted)
    for path, block in removed.items():
        assert disk.files()[copies / path.name] == block
        assert path not in disk.files()
    assert msgspec.json.decode(disk.files()[copies / "report.json"])["kept_until"] == wanted.kept_until
    assert scan(disk, STATE).verdict == "clean"
    return await started(disk.crash())


async def test_damage_in_the_middle_keeps_what_is_before_and_names_what_is_lost() -> None:
    whole, known = await grown()
    path = segment_path(STATE, 4)
    spoil(whole, path, 60)
    wanted = plan(whole, STATE)
    assert 0 < wanted.kept_until < 15
    assert wanted.lost_until == 30
    assert f"INC-{wanted.kept_until + 2}" in wanted.lost_incidents
    assert "INC-30" in wanted.lost_incidents
    assert (wanted.cut, wanted.history_begins) == (str(path), 1)
    assert await repaired(whole) == known[wanted.kept_until]


async def test_a_missing_segment_and_a_cut_one_keep_what_is_before() -> None:
    for number in (1, 3, 6):
        disk, known = await grown()
        disk.remove(segment_path(STATE, number))
        if number == 1:
            with pytest.raises(JournalRefused, match=r"nothing of the journal .* can be kept"):
                plan(disk, STATE)
            continue
        wanted = plan(disk, STATE)
        assert "a missing segment" in wanted.problems[-2]
        assert await repaired(disk) == known[wanted.kept_until]
    disk, known = await grown()
    last = segment_path(STATE, segment_numbers(disk, STATE)[-1])
    disk.put(last, disk.files()[last][:-3])
    wanted = plan(disk, STATE)
    assert (wanted.kept_until, wanted.lost_until) == (29, 30)
    assert await repaired(disk) == known[29]


async def test_a_bad_watermark_costs_nothing() -> None:
    disk, known = await grown()
    spoil(disk, watermark_path(STATE), 30)
    wanted = plan(disk, STATE)
    assert (wanted.kept_until, wanted.lost_until, wanted.remove) == (30, 30, (str(watermark_path(STATE)),))
    assert await repaired(disk) == known[30]


async def test_damaged_history_that_a_snapshot_covers_costs_history_alone() -> None:
    disk = await aged()
    live = await started(disk)
    disk = disk.kill()
    first = segment_numbers(disk, STATE)[0]
    spoil(disk, segment_path(STATE, first), 60)
    assert scan(disk, STATE).verdict == "clean"
    assert scan(disk, STATE).damage
    wanted = plan(disk, STATE)
    assert (wanted.kept_until, wanted.lost_until, wanted.lost_incidents) == (45, 45, ())
    assert wanted.remove == (str(segment_path(STATE, first)),)
    assert await repaired(disk) == live


async def test_a_bad_snapshot_is_taken_out_where_another_one_helps() -> None:
    disk = await aged()
    live = await started(disk)
    disk = disk.kill()
    spoil(disk, snapshot_path(STATE, 40))
    wanted = plan(disk, STATE)
    assert (wanted.kept_until, wanted.remove) == (45, (str(snapshot_path(STATE, 40)),))
    assert await repaired(disk) == live


async def test_a_journal_that_ends_before_its_newest_snapshot_falls_back_to_the_older_one() -> None:
    disk = await aged()
    for number in segment_numbers(disk, STATE)[-5:]:
        disk.remove(segment_path(STATE, number))
    wanted = plan(disk, STATE)
    assert 20 <= wanted.kept_until < 40
    assert wanted.lost_until == 45
    await repaired(disk)


async def test_what_a_later_version_wrote_is_not_repaired() -> None:
    disk, _ = await grown()
    block = bytearray(disk.files()[segment_path(STATE, 2)])
    block[8] = 2
    disk.put(segment_path(STATE, 2), bytes(block))
    with pytest.raises(JournalRefused, match="newer syncd") as refusal:
        plan(disk, STATE)
    assert "nothing to repair" in refusal.value.hint


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_repair_that_fails_at_any_call_is_begun_again(fault: Fault) -> None:
    """The N-th call fails, then power goes: the next try keeps exactly as much."""
    number, is_done = 0, False
    while not is_done:
        number += 1
        disk, known = await grown(12)
        disk.rng = Random(number)
        spoil(disk, segment_path(STATE, 2), 60)
        wanted = plan(disk, STATE)
        disk.faults = {len(disk.calls) + number: fault}
        try:
            carry_out(disk, STATE, wanted)
        except OSError:
            disk.faults = {}
        else:
            is_done = len(disk.calls) < max(disk.faults)
        after = disk.crash()
        if scan(after, STATE).verdict == "refused":
            assert plan(after, STATE).kept_until == wanted.kept_until
            carry_out(after, STATE, plan(after, STATE))
        assert await started(after) == known[wanted.kept_until]
        if fault == "short" and number > 20:
            break
    assert number > 15


@pytest.mark.parametrize("order", ["ordered", "any"])
async def test_power_may_go_at_any_call_of_a_repair(order: str) -> None:
    whole, known = await grown(12)
    spoil(whole, segment_path(STATE, 2), 60)
    kept = plan(whole, STATE).kept_until
    number, states, is_done = 0, 0, False
    while not is_done:
        number += 1
        disk, _ = await grown(12)
        spoil(disk, segment_path(STATE, 2), 60)
        wanted = plan(disk, STATE)
        disk.dies_at = len(disk.calls) + number
        try:
            carry_out(disk, STATE, wanted)
        except OSError:
            pass
        else:
            is_done = True
        for after in disk.crash_states(order):  # type: ignore[arg-type]
            states += 1
            if scan(after, STATE).verdict == "refused":
                assert plan(after, STATE).kept_until == kept
                carry_out(after, STATE, plan(after, STATE))
            assert await started(after) == known[kept]
    assert states > 60
