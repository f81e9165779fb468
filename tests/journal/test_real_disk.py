"""Real files: what the keeper does there, what a full disk does to it, and a disk that may only be read."""

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from syncd.core.capture import digest
from syncd.errors import JournalFailed
from syncd.journal.keeper import Keeper, Limits
from syncd.journal.past import state_at
from syncd.journal.scan import scan
from syncd.journal.writer import Journal
from syncd.seams import SystemClock, SystemDisk, ThreadWork
from tests.journal.samples import STATE, SteadyClock, declare_next, serving
from tests.simulation.disk import SimDisk, SimWork

LIMITS = Limits(history_s=-1.0, history_bytes=0)


@contextmanager
def files_up_to(size_bytes: int) -> Iterator[None]:
    """``RLIMIT_FSIZE`` gives what a full disk gives, a short write and then an error, and needs no root."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


async def test_snapshots_and_the_end_of_history_on_real_files(tmp_path: Path) -> None:
    disk, work = SystemDisk(), ThreadWork()
    async with trio.open_nursery() as nursery:
        journal = await Journal.open(disk, tmp_path, SystemClock(), work, segment_bytes_max=2_000)
        await nursery.start(journal.run)
        keeper = Keeper(journal, disk, tmp_path, SystemClock(), work, LIMITS)
        for _ in range(3):
            for _ in range(20):
                await journal.transact(declare_next, by="agent", trace="t")
            assert await keeper.take_snapshot()
        live = digest(journal.state)
        journal.close()
    names = disk.names(tmp_path)
    assert names == ["journal", "lock", "snapshot-000000000000040", "snapshot-000000000000060", "watermark"]
    assert "00000001.log" not in disk.names(tmp_path / "journal")
    report = scan(disk, tmp_path)
    assert (report.verdict, report.last_position) == ("clean", 60)
    assert [(one.position, one.problem) for one in report.snapshots] == [(60, ""), (40, "")]
    assert digest(state_at(disk, tmp_path).state) == live


async def test_a_snapshot_that_finds_no_room_leaves_nothing_and_the_next_one_succeeds(tmp_path: Path) -> None:
    disk, work = SystemDisk(), ThreadWork()
    async with trio.open_nursery() as nursery:
        journal = await Journal.open(disk, tmp_path, SystemClock(), work)
        await nursery.start(journal.run)
        keeper = Keeper(journal, disk, tmp_path, SystemClock(), work, LIMITS)
        for _ in range(20):
            await journal.transact(declare_next, by="agent", trace="t")
        for _ in range(50):
            with files_up_to(3_000):
                assert not await keeper.take_snapshot()
            assert disk.names(tmp_path) == ["journal", "lock"]
        assert "could not be written" in keeper.condition.failure
        assert await keeper.take_snapshot()
        assert keeper.condition.failure == ""
        journal.close()


async def test_a_disk_that_may_only_be_read_is_named_at_the_start() -> None:
    disk = SimDisk()
    async with serving(disk) as journal:
        await journal.transact(declare_next, by="agent", trace="t")
    after = disk.kill()
    found = after.files()
    calls = len(after.calls)
    probe = await Journal.open(disk := after, STATE, SteadyClock(), SimWork())
    writes = [
        number for number, (call, _) in enumerate(disk.calls[calls:], start=1) if call in ("open", "sync", "lock")
    ]
    assert probe.durable_position == 1
    for number in writes:
        again = SimDisk()
        for path, block in found.items():
            again.put(path, block)
        again.faults = {number: errno.EROFS}
        with pytest.raises(JournalFailed, match="Read-only file system"):
            await Journal.open(again, STATE, SteadyClock(), SimWork())
        assert again.files() == found


async def test_a_disk_that_becomes_read_only_ends_the_journal_and_keeps_what_was_answered() -> None:
    disk = SimDisk()
    with pytest.RaisesGroup(pytest.RaisesExc(JournalFailed, match="cannot write .*Read-only file system")):
        async with serving(disk) as journal:
            await journal.transact(declare_next, by="agent", trace="t")
            disk.faults = {len(disk.calls) + 1: errno.EROFS}
            with pytest.raises(JournalFailed):
                await journal.transact(declare_next, by="agent", trace="t")
    async with serving(disk.kill()) as journal:
        assert journal.durable_position == 1
