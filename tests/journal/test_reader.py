"""What people and start-up see of the files, with and without a daemon beside them."""

from pathlib import Path

import pytest

from syncd.core.events import DaemonBorn, Record
from syncd.errors import JournalRefused
from syncd.journal.codec import encode_record, frame_bytes, segment_header_bytes
from syncd.journal.files import Watermark, segment_path, watermark_bytes, watermark_path
from syncd.journal.log import Log, open_log
from syncd.journal.reader import FIRST_SEGMENT, iterate, show, tail
from syncd.journal.scan import scan, verify
from syncd.seams import Disk
from tests.journal.samples import SEGMENT, STATE, disk_with, sample, sample_record
from tests.simulation.disk import SimDisk


def written(count: int, segment_bytes_max: int = 2_000) -> tuple[SimDisk, list[Record], Log]:
    """A journal in several segments, written one record a group."""
    disk = SimDisk()
    disk.make_folder(STATE)
    log = open_log(disk, STATE, None, segment_bytes_max)
    records = [sample_record(number) for number in range(1, count + 1)]
    chain = 0
    for record in records:
        frame, chain = frame_bytes(encode_record(record), record.position, chain)
        assert log.append(frame, record.position, chain) is not None
    return disk, records, log


def test_a_journal_in_many_segments_is_read_in_order() -> None:
    disk, records, _ = written(100)
    assert len(scan(disk, STATE).segments) > 5
    assert list(iterate(disk, STATE)) == records
    for after in (0, 1, 37, 99, 100, 1_000):
        assert list(iterate(disk, STATE, after)) == records[after:]


def test_iterate_reads_only_the_segments_it_needs() -> None:
    disk, _, _ = written(100)
    before = len(disk.calls)
    assert len(list(iterate(disk, STATE, after=99))) == 1
    assert len(disk.calls) - before <= 4


def test_tail_gives_the_newest_records_oldest_first() -> None:
    disk, records, _ = written(60)
    for count in (0, 1, 10, 59, 60, 1_000):
        assert tail(disk, STATE, count) == (records[-count:] if count else [])


def test_show_finds_one_record_or_none() -> None:
    disk, records, _ = written(60)
    assert show(disk, STATE, 42) == records[41]
    assert show(disk, STATE, 61) is None
    assert show(disk_with(sample(5, stride=3).block), STATE, 4) is None


def test_scan_reports_sizes_positions_and_times() -> None:
    whole = sample(50)
    disk = disk_with(whole.block)
    mark = Watermark(1, whole.ends[9], 10, whole.chains[9])
    disk.put(watermark_path(STATE), watermark_bytes(mark))
    report = verify(disk, STATE)
    assert (report.verdict, report.problem, report.records, report.size_bytes) == ("clean", "", 50, len(whole.block))
    assert (report.first_position, report.last_position, report.first_at_s, report.last_at_s) == (1, 50, 1.0, 1.0)
    assert report.watermark == mark
    assert report.segments[0].path == "/state/journal/00000001.log"


def test_a_journal_that_is_not_there_is_clean_and_empty() -> None:
    report = verify(SimDisk(), STATE)
    assert (report.verdict, report.records, report.first_at_s) == ("clean", 0, None)
    assert tail(SimDisk(), STATE, 5) == []
    assert show(SimDisk(), STATE, 1) is None


def test_damage_is_named_with_file_byte_and_position_and_verify_raises() -> None:
    whole = sample(50)
    begin = whole.ends[20]
    disk = disk_with(whole.block[: begin + 30] + b"\x00" + whole.block[begin + 31 :])
    report = scan(disk, STATE)
    assert (report.verdict, report.path, report.offset) == ("refused", str(SEGMENT), begin)
    named = rf"00000001\.log is damaged: at byte {begin}, after position 21: a frame that fails its checksum"
    with pytest.raises(JournalRefused, match=named) as refusal:
        verify(disk, STATE)
    assert refusal.value.exit_code == 78
    assert "When the journal is refused" in refusal.value.hint
    with pytest.raises(JournalRefused, match=named):
        list(iterate(disk, STATE))


def test_a_tail_that_is_being_written_is_no_error_for_a_look() -> None:
    whole = sample(50)
    disk = disk_with(whole.block[:-7])
    assert list(iterate(disk, STATE)) == list(whole.records[:-1])
    assert tail(disk, STATE, 2) == list(whole.records[-3:-1])
    report = verify(disk, STATE)
    assert (report.verdict, report.offset, report.records) == ("torn", whole.ends[48], 49)


def test_a_cut_before_the_watermark_is_refused_with_both_positions() -> None:
    whole = sample(100)
    mark = watermark_bytes(Watermark(1, whole.ends[79], 80, whole.chains[79]))
    for cut in range(0, len(whole.block) + 1, 7):
        disk = disk_with(whole.block[:cut])
        disk.put(watermark_path(STATE), mark)
        report = scan(disk, STATE)
        kept = sum(end <= cut for end in whole.ends)
        if cut < whole.ends[79]:
            assert report.verdict == "refused", cut
            assert f"ends at position {kept}, before position 80" in report.problem
        else:
            assert report.verdict in ("clean", "torn")
            assert report.records == kept


def test_the_last_page_zeroed_is_refused_by_the_watermark_and_without_one_reported() -> None:
    """The known remainder: damage at the very end, younger than the watermark, looks like a torn write."""
    whole = sample(200)
    begin = (len(whole.block) - 1) // 4096 * 4096
    disk = disk_with(whole.block[:begin] + bytes(len(whole.block) - begin))
    assert scan(disk, STATE).verdict == "torn"
    disk.put(watermark_path(STATE), watermark_bytes(Watermark(1, whole.ends[-1], 200, whole.chains[-1])))
    assert scan(disk, STATE).verdict == "refused"


def test_a_watermark_of_another_journal_is_refused() -> None:
    whole = sample(20)
    end = whole.ends[9]
    for strange in (Watermark(1, end, 10, whole.chains[9] ^ 1), Watermark(1, end - 1, 10, whole.chains[9])):
        disk = disk_with(whole.block)
        disk.put(watermark_path(STATE), watermark_bytes(strange))
        assert "not the journal of its watermark" in scan(disk, STATE).problem


def test_segments_that_do_not_continue_each_other_are_refused() -> None:
    disk, _, _ = written(60)
    disk.put(segment_path(STATE, 3), disk.files()[segment_path(STATE, 2)])
    report = scan(disk, STATE)
    assert (report.verdict, report.path) == ("refused", str(segment_path(STATE, 3)))
    assert "the header of segment 2" in report.problem


def test_a_torn_tail_before_the_last_segment_is_damage() -> None:
    disk, _, _ = written(60)
    path = segment_path(STATE, 2)
    disk.put(path, disk.files()[path][:-1])
    assert scan(disk, STATE).path == str(path)
    assert scan(disk, STATE).verdict == "refused"


def test_lost_segments_at_the_end_are_refused_by_the_watermark() -> None:
    disk, _, log = written(60)
    assert log.mark()
    disk.remove(segment_path(STATE, log.end.segment))
    assert f"before position {log.end.position}" in scan(disk, STATE).problem


def test_a_segment_of_which_only_half_a_header_is_there_is_no_error_for_a_look() -> None:
    disk, records, log = written(60)
    for stump in (b"", b"syncd", bytes(32)):
        disk.put(segment_path(STATE, log.end.segment + 1), stump)
        assert scan(disk, STATE).verdict == "torn"
        assert list(iterate(disk, STATE, after=58)) == records[58:]
        assert tail(disk, STATE, 3) == records[-3:]


def test_a_damaged_header_in_the_middle_is_refused_also_by_tail() -> None:
    disk, _, _ = written(60)
    path = segment_path(STATE, 4)
    disk.put(path, b"S" + disk.files()[path][1:])
    with pytest.raises(JournalRefused, match=r"00000004\.log is damaged: at byte 0"):
        tail(disk, STATE, 60)
    with pytest.raises(JournalRefused, match=r"00000004\.log is damaged: at byte 0"):
        list(iterate(disk, STATE))


def test_a_segment_that_a_live_daemon_takes_back_is_no_error_for_a_look() -> None:
    disk, records, log = written(60)
    path = segment_path(STATE, log.end.segment + 1)

    class Vanishing(SimDisk):
        def names(self, folder: Path) -> list[str]:
            return [*disk.names(folder), path.name]

        def read(self, path: Path, offset: int = 0, size_bytes: int = -1) -> bytes:
            return disk.read(path, offset, size_bytes)

    assert list(iterate(Vanishing(), STATE)) == records
    assert tail(Vanishing(), STATE, 1) == records[-1:]
    assert scan(Vanishing(), STATE).records == 60


def journal_of(payload: bytes, position: int = 1) -> Disk:
    return disk_with(segment_header_bytes(FIRST_SEGMENT) + frame_bytes(payload, position, 0)[0])


def test_an_event_of_a_later_version_is_refused_by_position() -> None:
    future = encode_record(sample_record(1)).replace(b"DaemonBorn", b"DaemonGrew")
    with pytest.raises(JournalRefused, match=r"newer syncd: at byte 32, after position 0: .*DaemonGrew"):
        verify(journal_of(future), STATE)


def test_a_field_of_a_later_version_is_ignored() -> None:
    """Events only ever gain optional fields, and a version back must still read them."""
    wider = encode_record(sample_record(1)).replace(b'"journal_id":', b'"added_later":[1],"journal_id":')
    assert next(iterate(journal_of(wider), STATE)).events == (DaemonBorn("j"),)


def test_a_record_in_the_frame_of_another_is_refused() -> None:
    with pytest.raises(JournalRefused, match="a record of position 1 in the frame of 2"):
        verify(journal_of(encode_record(sample_record(1)), position=2), STATE)
