"""The scrub reads all that is kept, names what is damaged, and goes on behind it."""

from syncd.errors import JournalRefused
from syncd.journal.files import segment_path
from syncd.journal.scrub import scrub
from tests.journal.samples import STATE, declare_next, serving
from tests.simulation.disk import SimDisk


async def test_each_damaged_file_is_named_once_and_the_others_are_read() -> None:
    disk = SimDisk()
    async with serving(disk, segment_bytes_max=700) as journal:
        for _ in range(20):
            await journal.transact(declare_next, by="agent", trace="t")
        end = journal.end
        for number, at in ((2, 100), (4, 3)):
            block = bytearray(disk.files()[segment_path(STATE, number)])
            block[at] ^= 4
            disk.put(segment_path(STATE, number), bytes(block))
        found: list[JournalRefused] = []
        whole = sum(scrub(disk, STATE, end, found.append))
        assert [str(one).split(" is damaged")[0][-12:] for one in found] == ["00000002.log", "00000004.log"]
        assert whole > 600


async def test_a_segment_from_elsewhere_does_not_fit() -> None:
    disks = [SimDisk(), SimDisk()]
    ends = []
    for other, disk in enumerate(disks):
        async with serving(disk, segment_bytes_max=700) as journal:
            for _ in range(20):
                await journal.transact(declare_next, by=f"agent {other}", trace="t")
            ends.append(journal.end)
    disks[0].put(segment_path(STATE, 3), disks[1].files()[segment_path(STATE, 3)])
    found: list[JournalRefused] = []
    for _ in scrub(disks[0], STATE, ends[0], found.append):
        pass
    assert [str(one).split(" is damaged")[0][-12:] for one in found] == ["00000003.log"]


async def test_what_is_written_behind_the_end_is_not_its_business() -> None:
    disk = SimDisk()
    async with serving(disk) as journal:
        await journal.transact(declare_next, by="agent", trace="t")
        end = journal.end
        disk.open_append(segment_path(STATE, 1)).write(b"half a fra")
        found: list[JournalRefused] = []
        assert sum(scrub(disk, STATE, end, found.append)) == end.offset - 32
        assert found == []
        disk.open_append(segment_path(STATE, 1)).truncate(end.offset)


async def test_a_gap_is_told() -> None:
    disk = SimDisk()
    async with serving(disk, segment_bytes_max=700) as journal:
        for _ in range(20):
            await journal.transact(declare_next, by="agent", trace="t")
        disk.remove(segment_path(STATE, 3))
        found: list[JournalRefused] = []
        for _ in scrub(disk, STATE, journal.end, found.append):
            pass
        assert "00000003.log is missing" in str(found[0])


async def test_history_that_ends_beside_it_is_no_damage() -> None:
    disk = SimDisk()
    async with serving(disk, segment_bytes_max=700) as journal:
        for _ in range(20):
            await journal.transact(declare_next, by="agent", trace="t")
        found: list[JournalRefused] = []
        steps = scrub(disk, STATE, journal.end, found.append)
        next(steps)
        for number in (1, 2, 3):
            disk.unlink(segment_path(STATE, number))
        assert sum(steps) > 0
        assert found == []
