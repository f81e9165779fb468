"""What `im journal verify` says is what a start does; damage that no start meets is told apart."""

from pathlib import Path
from random import Random

import pytest

from syncd.core.capture import digest
from syncd.errors import JournalRefused
from syncd.journal.files import segment_numbers, segment_path
from syncd.journal.keeper import Limits
from syncd.journal.repair import carry_out, plan
from syncd.journal.scan import scan
from syncd.journal.snapshot import snapshot_path
from tests.journal.samples import STATE
from tests.journal.test_keeper import aged, kept, spoil, started, write
from tests.simulation.disk import SimDisk


async def covered() -> tuple[SimDisk, str]:
    """A disk with the whole journal and a snapshot of position 20, and what is known then."""
    disk = SimDisk()
    async with kept(disk, Limits()) as (journal, keeper):
        await write(journal, 20)
        await keeper.take_snapshot()
        await write(journal, 5)
        live = digest(journal.state)
    return disk.kill(), live


async def test_damage_in_front_of_the_newest_snapshot_hinders_no_start_and_is_told_apart() -> None:
    disk, live = await covered()
    spoil(disk, segment_path(STATE, 2))
    report = scan(disk, STATE)
    assert (report.verdict, report.problem, report.last_position) == ("clean", "", 25)
    (words,) = report.damage
    assert "00000002.log is damaged: at byte" in words
    assert str(segment_path(STATE, 2)) not in [one.path for one in report.segments]
    assert await started(disk.kill()) == live


async def test_a_repair_takes_out_damaged_history_and_then_nothing_is_damaged() -> None:
    disk, live = await covered()
    spoil(disk, segment_path(STATE, 2))
    carry_out(disk, STATE, plan(disk, STATE))
    report = scan(disk, STATE)
    assert (report.verdict, report.damage) == ("clean", ())
    assert await started(disk.kill()) == live


async def test_a_damaged_snapshot_that_a_start_passes_over_is_told() -> None:
    disk = await aged()
    spoil(disk, snapshot_path(STATE, 20))
    report = scan(disk, STATE)
    assert report.verdict == "clean"
    (words,) = report.damage
    assert "snapshot-000000000000020 is damaged" in words


@pytest.mark.parametrize("seed", range(30))
async def test_the_verdict_is_that_of_a_start(seed: int) -> None:
    """One flipped bit anywhere: refused where a start refuses; else the start knows everything, and damage is told."""
    rng = Random(seed)
    disk, live = await covered() if seed % 2 else (await aged(), "")
    live = live or await started(disk)
    disk = disk.kill()
    paths = [path for path, block in sorted(disk.files().items()) if block and path.name != "lock"]
    path = rng.choice(paths)
    spoil(disk, path, rng.randrange(len(disk.files()[path])))
    report = scan(disk, STATE)
    assert report.verdict == "refused" or report.damage or report.verdict == "torn", path
    try:
        known = await started(disk.kill())
    except* JournalRefused:
        known = ""
    assert known == ("" if report.verdict == "refused" else live), (path, report.problem, report.damage)


async def test_history_that_ends_while_it_is_read_is_no_damage() -> None:
    disk = SimDisk()
    async with kept(disk, Limits()) as (journal, keeper):
        for _ in range(2):
            await write(journal, 20)
            await keeper.take_snapshot()

        class Racing(SimDisk):
            """Two segments go while the second is about to be read."""

            def names(self, folder: Path) -> list[str]:
                return disk.names(folder)

            def size(self, path: Path) -> int:
                return disk.size(path)

            def read(self, path: Path, offset: int = 0, size_bytes: int = -1) -> bytes:
                block = disk.read(path, offset, size_bytes)
                if path == segment_path(STATE, 1) and size_bytes == -1 and 1 in segment_numbers(disk, STATE):
                    disk.unlink(segment_path(STATE, 1))
                    disk.unlink(segment_path(STATE, 2))
                return block

        report = scan(Racing(), STATE)
    assert (report.verdict, report.problem, report.damage) == ("clean", "", ())
    assert report.segments[0].path == str(segment_path(STATE, 3))
    assert report.last_position == 40
