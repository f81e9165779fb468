"""Torn or damaged: every truncation, every flipped bit, and what disks and people do to files beyond that."""

from functools import cache
from random import Random

import pytest

from syncd.journal.codec import CRITICAL, RECORD, SegmentHeader, frame_bytes, segment_header_bytes
from syncd.journal.reader import FIRST_SEGMENT
from syncd.journal.walk import Block, Fault, walk, walk_segment
from tests.journal.samples import Sample, sample

RECORDS = 1_000


@cache
def journal() -> Sample:
    """About 140 kB, with large and small records."""
    return sample(RECORDS)


def fault_of(block: Block) -> Fault:
    fault = walk_segment(block, FIRST_SEGMENT).fault
    assert fault is not None
    return fault


def test_a_whole_journal_has_no_fault() -> None:
    walked = walk_segment(journal().block, FIRST_SEGMENT)
    assert walked.fault is None
    assert list(walked.positions) == [record.position for record in journal().records]
    assert (walked.offset, walked.chain) == (len(journal().block), journal().chains[-1])


def test_positions_may_have_gaps() -> None:
    walked = walk_segment(sample(20, stride=7).block, FIRST_SEGMENT)
    assert walked.fault is None
    assert list(walked.positions) == list(range(7, 141, 7))


def test_every_truncation_leaves_exactly_the_whole_records_before_it() -> None:
    view = memoryview(journal().block)
    for index, end in enumerate(journal().ends):
        begin, position, chain = journal().begin(index)
        assert walk(view[:begin], begin, position, chain).fault is None
        for cut in range(begin + 1, end):
            walked = walk(view[:cut], begin, position, chain)
            assert walked.fault is not None, cut
            assert (walked.fault.kind, walked.fault.offset, walked.fault.position) == ("torn", begin, position), cut
            assert not walked.offsets


def test_every_truncation_of_the_segment_header_is_torn() -> None:
    for cut in range(32):
        assert fault_of(journal().block[:cut]).kind == "torn"


@pytest.mark.parametrize("bit", range(8))
def test_every_single_flipped_bit_is_refused_where_it_is(bit: int) -> None:
    block = bytearray(journal().block)
    flip = 1 << bit
    for index, end in enumerate(journal().ends):
        begin, position, chain = journal().begin(index)
        for at in range(begin, end):
            block[at] ^= flip
            fault = walk(block, begin, position, chain).fault
            block[at] ^= flip
            assert fault is not None, (at, bit)
            assert (fault.kind, fault.offset, fault.position) == ("damaged", begin, position), (at, bit)
    for at in range(32):
        block[at] ^= flip
        assert fault_of(block).kind in ("damaged", "newer")
        block[at] ^= flip


def test_a_walk_from_the_damaged_frame_agrees_with_one_from_the_beginning() -> None:
    """What lets the two exhaustive tests above share the work before the damage."""
    rng = Random(1)
    block = bytearray(journal().block)
    for _ in range(300):
        index = rng.randrange(RECORDS)
        begin, position, chain = journal().begin(index)
        at = rng.randrange(begin, journal().ends[index])
        flip = 1 << rng.randrange(8)
        block[at] ^= flip
        assert walk_segment(block, FIRST_SEGMENT).fault == walk(block, begin, position, chain).fault
        block[at] ^= flip
        cut = memoryview(block)[:at]
        assert walk_segment(cut, FIRST_SEGMENT).fault == walk(cut, begin, position, chain).fault


def damage(rng: Random) -> tuple[str, bytes]:
    """The sample with one structural damage that is not a plain cut of its end."""
    block = journal().block
    ends = journal().ends
    kind = rng.choice(["lost", "repeated", "swapped", "zeroed", "burst", "lost-frames", "garbage"])
    at = rng.randrange(32, len(block) - 1)
    to = rng.randrange(at + 1, min(len(block), at + 8_000) + 1)
    first, second = sorted(rng.sample(range(1, RECORDS - 1), 2))
    match kind:
        case "lost":
            to = min(to, ends[-2])  # the last frame stays whole: a range up to the end is a cut
            at = min(at, to - 1)
            return kind, block[:at] + block[to:]
        case "repeated":
            return kind, block[: ends[second]] + block[ends[first - 1] :]
        case "swapped":
            one = block[ends[first - 1] : ends[first]]
            two = block[ends[second - 1] : ends[second]]
            between = block[ends[first] : ends[second - 1]]
            return kind, block[: ends[first - 1]] + two + between + one + block[ends[second] :]
        case "zeroed":
            page = min(at // 4096, ends[-2] // 4096 - 1) * 4096  # the last page, zeroed, looks torn: test_reader.py
            return kind, block[:page] + bytes(4096) + block[page + 4096 :]
        case "burst":
            to = min(to, at + rng.randrange(2, 64))
            return kind, block[:at] + rng.randbytes(to - at) + block[to:]
        case "lost-frames":
            return kind, block[: ends[first]] + block[ends[second] :]
        case _:
            return kind, block + bytes([rng.randrange(1, 256)]) + rng.randbytes(rng.randrange(20, 3_000))


def test_structural_damage_is_refused() -> None:
    rng = Random(2)
    kinds = set()
    for _ in range(3_000):
        kind, block = damage(rng)
        kinds.add(kind)
        fault = fault_of(block)
        assert fault.kind in ("damaged", "newer"), (kind, fault)
    assert len(kinds) == 7


def test_an_all_zero_tail_is_torn_whatever_its_length() -> None:
    whole = sample(3).block
    for zeros in (1, 19, 20, 100, 5_000):
        assert fault_of(whole + bytes(zeros)) == Fault("torn", len(whole), 3, fault_of(whole + bytes(zeros)).problem)


def test_a_tail_with_one_byte_that_is_not_zero_is_damaged() -> None:
    whole = sample(3).block
    for at in (0, 30, 99):
        tail = bytearray(100)
        tail[at] = 1
        assert fault_of(whole + tail).kind == "damaged"


def test_sectors_that_power_loss_left_unwritten_are_torn_at_the_frame_they_hit() -> None:
    """A group of 30 frames, zero from any sector boundary on: the frames before stay, the one that it hits is torn."""
    whole = sample(60)
    begin = whole.ends[29]
    for boundary in range(-(-begin // 512) * 512, len(whole.block), 512):
        block = whole.block[:boundary] + bytes(len(whole.block) - boundary)
        fault = fault_of(block)
        kept = sum(end <= boundary for end in whole.ends)
        assert (fault.kind, fault.position) == ("torn", kept)


def test_a_frame_that_is_zero_from_elsewhere_than_a_sector_boundary_is_damaged() -> None:
    whole = sample(60)
    begin, end = whole.ends[58], whole.ends[59]
    for at in range(begin + 1, end - 4):
        if at % 512 and whole.block[at - 1]:
            assert fault_of(whole.block[:at] + bytes(end - at)).kind == ("damaged" if _no_boundary(at, end) else "torn")


def _no_boundary(at: int, end: int) -> bool:
    return -(-at // 512) * 512 >= end


def test_every_zero_fill_of_every_header_that_crosses_a_sector_is_torn() -> None:
    """The boundary inside the header itself: its length is not known, but its first bytes are."""
    crossings = 0
    for padding in range(430, 512):
        head, chain = frame_bytes(b"x" * padding, 1, 0)
        block = segment_header_bytes(FIRST_SEGMENT) + head
        frame, _ = frame_bytes(b"y" * 100, 2, chain)
        boundary = 512 if len(block) <= 512 else 1024
        if len(block) < boundary < len(block) + 20:
            crossings += 1
            zeros = len(block) + len(frame) - boundary
            torn = (block + frame)[:boundary] + bytes(zeros)
            assert (fault_of(torn).kind, fault_of(torn).position) == ("torn", 1)
            if boundary - len(block) >= 2:
                strange = block + b"\xf5\xd2" + torn[len(block) + 2 :]
                assert fault_of(strange).kind == "damaged"
    assert crossings == 19


def test_a_chain_that_a_sector_boundary_cuts_is_torn_only_if_the_rest_of_it_agrees() -> None:
    for payload_bytes in range(512 - 32 - 24, 512 - 32 - 20):
        frame, _ = frame_bytes(b"z" * payload_bytes, 1, 0)
        block = segment_header_bytes(FIRST_SEGMENT) + frame
        kept = 512 - len(block) + 4  # bytes of the chain before the boundary
        if not 0 <= kept < 4:
            continue
        zeroed = block[:512] + bytes(len(block) - 512)
        assert fault_of(zeroed).kind == "torn"
        if kept:
            assert fault_of(zeroed[:511] + bytes([zeroed[511] ^ 1]) + zeroed[512:]).kind == "damaged"


def test_a_write_cut_short_over_a_later_frame_is_damaged() -> None:
    """A length that leads behind the end while whole frames follow: something in between is missing."""
    whole = sample(60)
    begin = whole.ends[48]  # the frame of record 50 is the longest
    block = whole.block[: begin + 30] + whole.block[whole.ends[57] :]
    assert len(block) < whole.ends[49]
    fault = fault_of(block)
    assert (fault.kind, fault.offset) == ("damaged", begin)


def test_an_old_frame_at_the_end_is_damaged_even_when_it_is_cut_short() -> None:
    whole = sample(10)
    again = whole.block[whole.ends[4] : whole.ends[5]]
    for cut in (len(again), len(again) - 1, 25):
        assert fault_of(whole.block + again[:cut]).kind == "damaged"


def test_an_unknown_critical_kind_is_newer_and_one_that_is_not_critical_is_skipped() -> None:
    whole = sample(2)
    strange, chain = frame_bytes(b"?", 3, whole.chains[-1], kind=0x02)
    after, _ = frame_bytes(b"{}", 4, chain)
    walked = walk_segment(whole.block + strange + after, FIRST_SEGMENT)
    assert walked.fault is None
    assert list(walked.positions) == [1, 2, 4]
    critical, _ = frame_bytes(b"?", 3, whole.chains[-1], kind=CRITICAL | 0x02)
    assert fault_of(whole.block + critical).kind == "newer"
    assert RECORD & CRITICAL


def test_another_format_version_is_newer_even_if_only_its_first_bytes_are_there() -> None:
    header = bytearray(segment_header_bytes(FIRST_SEGMENT))
    header[8] = 2
    for size_bytes in (10, 32):
        fault = fault_of(bytes(header[:size_bytes]))
        assert (fault.kind, fault.problem) == ("newer", "format version 2; this program reads 1")


def test_the_header_of_another_segment_is_damaged_and_named() -> None:
    for wrong in (SegmentHeader(2, 1, 0), SegmentHeader(1, 2, 0), SegmentHeader(1, 1, 9)):
        fault = fault_of(segment_header_bytes(wrong))
        assert fault.kind == "damaged"
        assert f"segment {wrong.segment} from position {wrong.first_position}" in fault.problem


def test_a_header_of_zeros_is_torn_only_if_nothing_follows() -> None:
    assert fault_of(bytes(32)).kind == "torn"
    assert fault_of(bytes(33)).kind == "damaged"
    assert fault_of(b"hello").kind == "damaged"
