"""Starting: the lock, the fold, the report of a torn tail, and the same on real files."""

import resource
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import trio

from syncd.errors import AlreadyRunning, JournalFailed, JournalRefused
from syncd.journal.codec import frame_bytes, segment_header_bytes
from syncd.journal.files import Watermark, watermark_bytes, watermark_path
from syncd.journal.log import Recovered
from syncd.journal.reader import FIRST_SEGMENT
from syncd.journal.scan import scan
from syncd.journal.writer import Journal
from syncd.seams import SystemClock, SystemDisk, ThreadWork
from tests.journal.samples import SEGMENT, STATE, SteadyClock, declare_next, disk_with, reopened, sample, serving
from tests.simulation.disk import SimDisk, SimWork

HOLD_THE_LOCK = """
import sys
from pathlib import Path
from syncd.seams import SystemDisk
folder = Path(sys.argv[1])
disk = SystemDisk()
disk.make_folder(folder)
disk.lock(folder / "lock")
sys.stdout.write("held")
sys.stdout.flush()
sys.stdin.readline()
"""


async def opened(disk: SimDisk) -> Journal:
    return await Journal.open(disk, STATE, SteadyClock(), SimWork())


async def test_a_start_folds_every_record_and_goes_on_behind_the_last() -> None:
    disk = SimDisk()
    async with serving(disk, segment_bytes_max=900) as journal:
        for _ in range(20):
            await journal.transact(declare_next, by="agent", trace="t")
        before = journal.state
    async with serving(disk.kill(), segment_bytes_max=900) as journal:
        assert journal.state.incidents == before.incidents
        assert journal.recovered is None
        assert await journal.transact(declare_next, by="agent", trace="t") == 21
        assert journal.durable_position == 21


async def test_progress_is_heard_up_to_the_last_byte() -> None:
    disk = SimDisk()
    async with serving(disk, segment_bytes_max=900) as journal:
        for _ in range(20):
            await journal.transact(declare_next, by="agent", trace="t")
    heard: list[tuple[int, int]] = []
    await Journal.open(
        disk.kill(), STATE, SteadyClock(), SimWork(), progress=lambda done, everything: heard.append((done, everything))
    )
    assert len(heard) > 3
    assert heard == sorted(heard)
    assert heard[-1][0] == heard[-1][1] > 0


async def test_a_torn_tail_is_kept_aside_cut_off_and_reported() -> None:
    whole = sample(50)
    torn = whole.block[whole.ends[48] : -7]
    disk = disk_with(whole.block[:-7])
    journal = await opened(disk)
    copy = STATE / f"torn-00000001-{whole.ends[48]}"
    problem = f"a frame of {len(torn) + 7} bytes of which {len(torn)} are there"
    assert journal.recovered == Recovered(SEGMENT, whole.ends[48], len(torn), 49, copy, problem)
    after = disk.crash()
    assert after.files()[copy] == torn
    assert after.files()[SEGMENT] == whole.block[: whole.ends[48]]
    assert (await opened(after)).recovered is None


async def test_a_second_torn_tail_at_the_same_place_does_not_replace_the_first() -> None:
    whole = sample(5)
    disk = disk_with(whole.block + b"abc")
    for tail in (b"abcd", b"xyz", b"abc"):
        await opened(disk)
        disk = disk.crash()
        disk.put(SEGMENT, whole.block + tail)
    await opened(disk)
    copies = {path.name: block for path, block in disk.files().items() if path.name.startswith("torn-")}
    name = f"torn-00000001-{len(whole.block)}"
    assert copies == {name: b"abc", f"{name}-2": b"abcd", f"{name}-3": b"xyz"}


@pytest.mark.parametrize("stump", [b"", b"syncd", bytes(32)])
async def test_a_start_in_the_middle_of_a_rotation_goes_on_in_the_segment_before(stump: bytes) -> None:
    disk = disk_with(sample(5).block)
    second = STATE / "journal" / "00000002.log"
    disk.put(second, stump)
    async with serving(disk) as journal:
        assert journal.recovered is not None
        assert (journal.recovered.offset, journal.recovered.position) == (0, 5)
        await journal.transact(declare_next, by="agent", trace="t")
    after = disk.crash()
    assert second not in after.files()
    assert len(await reopened(after)) == 6


async def test_a_start_in_the_middle_of_the_very_first_start_begins_anew() -> None:
    disk = disk_with(b"sync")
    async with serving(disk) as journal:
        await journal.transact(declare_next, by="agent", trace="t")
    assert len(await reopened(disk.crash())) == 1


async def test_a_torn_tail_that_finds_no_room_for_its_copy_is_not_cut_off() -> None:
    disk = disk_with(sample(5).block + bytes(100))
    found = disk.files()
    disk.space_bytes = 10
    with pytest.raises(JournalFailed, match="no room for a copy"):
        await opened(disk)
    assert disk.files() == found


async def test_a_missing_journal_is_refused_if_there_is_a_watermark() -> None:
    disk = SimDisk()
    disk.put(watermark_path(STATE), watermark_bytes(Watermark(1, 500, 4, 7)))
    with pytest.raises(JournalRefused, match="ends at position 0, before position 4"):
        await opened(disk)
    assert list(disk.files()) == [watermark_path(STATE)]


async def test_what_a_killed_process_left_unsynced_is_synced_before_it_is_used() -> None:
    """Its records are in the page cache only, and the next life answers from them."""
    whole = sample(5)
    for seed in range(10):
        disk = disk_with(whole.block[: whole.ends[2]])
        disk.rng = Random(seed)
        disk.open_append(SEGMENT).write(whole.block[whole.ends[2] :])
        after = disk.kill()
        journal = await opened(after)
        assert journal.durable_position == 5
        assert after.crash().files()[SEGMENT] == whole.block


async def test_a_journal_of_a_later_format_is_refused_untouched() -> None:
    block = bytearray(sample(5).block)
    block[8] = 2
    disk = disk_with(bytes(block) + b"torn")
    found = disk.files()
    with pytest.raises(JournalRefused, match=r"newer syncd.*format version 2") as refusal:
        await opened(disk)
    assert "start the version that wrote it" in refusal.value.hint
    assert disk.files() == found


async def test_a_record_that_cannot_be_folded_is_refused_by_position() -> None:
    """Whole bytes with an impossible history: an incident that nobody declared is edited."""
    edit = b'{"position":1,"stream":"o","at_s":1.0,"by":"a","trace":"t","events":[' + (
        b'{"type":"IncidentEdited","incident_id":"INC-404","changes":{"title":"?"}}]}'
    )

    disk = disk_with(segment_header_bytes(FIRST_SEGMENT) + frame_bytes(edit, 1, 0)[0])
    with pytest.raises(JournalRefused, match="the record at position 1 cannot be replayed"):
        await opened(disk)


async def test_a_second_opener_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    holder = await trio.lowlevel.open_process(
        [sys.executable, "-c", HOLD_THE_LOCK, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        with trio.fail_after(20):
            assert await holder.stdout.receive_some() == b"held"
            with pytest.raises(AlreadyRunning, match=rf"held by another syncd \(pid {holder.pid}\)") as refusal:
                await Journal.open(SystemDisk(), tmp_path, SystemClock(), ThreadWork())
            assert refusal.value.exit_code == 75
            await holder.stdin.send_all(b"\n")
            await holder.wait()
            await Journal.open(SystemDisk(), tmp_path, SystemClock(), ThreadWork())  # the lock ended with its holder
    finally:
        with trio.move_on_after(5, shield=True):
            await holder.stdin.aclose()  # it ends when its input does
            await holder.stdout.aclose()
            await holder.wait()


async def test_the_real_disk_and_real_threads_keep_a_journal(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    disk = SystemDisk()
    async with trio.open_nursery() as nursery:
        journal = await Journal.open(disk, folder, SystemClock(), ThreadWork(), segment_bytes_max=2_000)
        await nursery.start(journal.run)
        for _ in range(30):
            await journal.transact(declare_next, by="agent", trace="t")
        assert len(await journal.since(0, 100)) == 30
        journal.close()
    report = scan(disk, folder)
    assert (report.verdict, report.records) == ("clean", 30)
    assert report.watermark is not None
    assert report.watermark.position == 30
    assert sorted(path.name for path in folder.iterdir()) == ["journal", "lock", "watermark"]
    names = [path.name for path in sorted((folder / "journal").iterdir())]
    assert names == [f"{number:08d}.log" for number in range(1, len(names) + 1)]
    assert (folder.stat().st_mode & 0o777, (folder / "journal" / names[0]).stat().st_mode & 0o777) == (0o700, 0o600)


async def test_a_real_file_that_may_not_grow_makes_the_journal_full_until_it_may(tmp_path: Path) -> None:
    """``RLIMIT_FSIZE`` gives what a full disk gives, a short write and then an error, and needs no root."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with trio.open_nursery() as nursery:
        journal = await Journal.open(SystemDisk(), tmp_path, SystemClock(), ThreadWork())
        await nursery.start(journal.run)
        await journal.transact(declare_next, by="agent", trace="t")
        segment = tmp_path / "journal" / "00000001.log"
        whole_bytes = segment.stat().st_size
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (whole_bytes + 50, limits[1]))
            with trio.move_on_after(0.2):
                await journal.transact(declare_next, by="agent", trace="t")
            was_full = journal.full
            assert segment.stat().st_size == whole_bytes
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        with trio.fail_after(5):
            await journal.settled()
        assert (was_full, journal.full, len(await journal.since(0, 10))) == (True, False, 2)
        journal.close()
    assert scan(SystemDisk(), tmp_path).records == 2


async def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    with pytest.raises(JournalFailed, match=r"cannot open the journal: .*state"):
        await Journal.open(SystemDisk(), tmp_path / "state", SystemClock(), ThreadWork())
