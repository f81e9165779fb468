"""The watermark file and the names of segments."""

import pytest

from syncd.errors import JournalRefused
from syncd.journal.files import (
    Watermark,
    read_watermark,
    segment_numbers,
    segment_path,
    watermark_bytes,
    watermark_path,
)
from tests.journal.samples import STATE
from tests.simulation.disk import SimDisk

WATERMARK = Watermark(segment=3, offset=4711, position=99, chain=0xDEADBEEF)


def test_a_watermark_is_read_back_and_a_missing_one_is_none() -> None:
    disk = SimDisk()
    assert read_watermark(disk, STATE) is None
    disk.put(watermark_path(STATE), watermark_bytes(WATERMARK))
    assert read_watermark(disk, STATE) == WATERMARK


def test_every_flipped_bit_and_every_cut_of_a_watermark_is_refused() -> None:
    block = watermark_bytes(WATERMARK)
    flipped = [
        block[:at] + bytes([block[at] ^ (1 << bit)]) + block[at + 1 :] for at in range(len(block)) for bit in range(8)
    ]
    for strange in [*flipped, *(block[:cut] for cut in range(len(block))), block + b"\n", bytes(len(block))]:
        disk = SimDisk()
        disk.put(watermark_path(STATE), strange)
        with pytest.raises(JournalRefused, match="/state/watermark cannot be read") as refusal:
            read_watermark(disk, STATE)
        assert "im journal info" in refusal.value.hint


def test_segments_are_counted_from_one_and_other_names_are_left_alone() -> None:
    disk = SimDisk()
    for name in ("00000001.log", "00000002.log", "00000002.log~", "notes", "2.log"):
        disk.put(STATE / "journal" / name, b"")
    assert segment_numbers(disk, STATE) == [1, 2]


@pytest.mark.parametrize(("there", "missing"), [([2, 4], 3), ([1, 3], 2), ([1, 2, 4, 5], 3)])
def test_a_missing_segment_is_refused_by_name(there: list[int], missing: int) -> None:
    disk = SimDisk()
    for number in there:
        disk.put(segment_path(STATE, number), b"")
    with pytest.raises(JournalRefused, match=f"0000000{missing}.log is missing"):
        segment_numbers(disk, STATE)
