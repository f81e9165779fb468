"""Walking a file in pieces finds what walking it at once finds, whatever the size of the pieces."""

import pytest

from syncd.journal.pieces import pieces
from syncd.journal.walk import JournalDamaged
from tests.journal.samples import SEGMENT, disk_with, sample

WHOLE = sample(200)


@pytest.mark.parametrize("piece_bytes", [1, 100, 1000, 2**20])
def test_every_frame_is_found_once(piece_bytes: int) -> None:
    found = list(pieces(disk_with(WHOLE.block), SEGMENT, 32, len(WHOLE.block), 0, 0, piece_bytes))
    assert [position for piece in found for position in piece.walked.positions] == list(range(1, 201))
    begins = [piece.offset + offset for piece in found for offset in piece.walked.offsets]
    assert begins == [32, *WHOLE.ends[:-1]]
    assert all(b'"position"' in bytes(payload) for piece in found for payload in piece.payloads())


@pytest.mark.parametrize("piece_bytes", [100, 1000, 2**20])
def test_damage_is_named_by_its_place_in_the_file(piece_bytes: int) -> None:
    block = bytearray(WHOLE.block)
    block[WHOLE.ends[99] + 30] ^= 1
    with pytest.raises(JournalDamaged, match=f"damaged: at byte {WHOLE.ends[99]}, after position 100"):
        list(pieces(disk_with(bytes(block)), SEGMENT, 32, len(block), 0, 0, piece_bytes))


def test_what_ends_too_early_is_damaged_and_not_torn() -> None:
    for cut in (1, 50):
        with pytest.raises(JournalDamaged, match="after position 199"):
            list(pieces(disk_with(WHOLE.block[:-cut]), SEGMENT, 32, len(WHOLE.block), 0, 0))
    with pytest.raises(JournalDamaged, match="the end of the file, too early"):
        list(pieces(disk_with(WHOLE.block), SEGMENT, 32, len(WHOLE.block) + 9, 0, 0))


def test_it_may_begin_and_end_between_any_two_frames() -> None:
    begin, position, chain = WHOLE.begin(50)
    (piece,) = pieces(disk_with(WHOLE.block), SEGMENT, begin, WHOLE.ends[59], position, chain)
    assert list(piece.walked.positions) == list(range(51, 61))
