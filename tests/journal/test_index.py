"""Positions to places, also of records that nobody has looked up since the start."""

from array import array

import pytest

from syncd.errors import Gone, JournalFailed
from syncd.journal.index import Index, Shelf, Span, behind, find, look_up, read_records, read_span
from tests.journal.samples import SEGMENT, STATE, disk_with, sample
from tests.simulation.disk import SimDisk

WHOLE = sample(30, stride=3)


def begun() -> Index:
    """Segment 1 is covered by a snapshot up to record 20, which is position 60."""
    index = Index()
    index.put_unknown(1, 32, WHOLE.ends[19], 0)
    offsets = WHOLE.ends[19:29]
    index.extend(1, offsets, [record.position for record in WHOLE.records[20:]], WHOLE.ends[29])
    return index


def test_what_is_known_and_what_is_not_stand_on_shelves_of_their_own() -> None:
    index = begun()
    assert (index.first_position, index.segments) == (1, [1])
    for position, is_known in ((3, False), (60, False), (63, True), (90, True)):
        shelf = index.shelf_of(position)
        assert shelf is not None
        assert shelf.is_known == is_known, position
    assert [shelf.is_known for shelf in index.shelves_behind(0)] == [False, True]
    assert [shelf.is_known for shelf in index.shelves_behind(70)] == [True]


def test_an_unknown_shelf_is_looked_up_in_the_file() -> None:
    disk = disk_with(WHOLE.block)
    shelf = begun().shelf_of(3)
    assert shelf is not None
    shelf.offsets, shelf.positions = look_up(disk, STATE, shelf)
    assert list(shelf.positions) == list(range(3, 61, 3))
    span = find(shelf, 45)
    assert span == Span(1, WHOLE.ends[13], WHOLE.ends[14], 45)
    assert read_span(disk, STATE, span) == [WHOLE.records[14]]
    assert find(shelf, 46) is None
    assert behind(shelf, 45, 3, None) == (Span(1, WHOLE.ends[14], WHOLE.ends[17], 48), 3)
    assert behind(shelf, 0, 99, 1) == (Span(1, 32, WHOLE.ends[0], 3), 1)
    assert behind(shelf, 60, 9, None) == (None, 0)


def test_records_that_stand_near_each_other_are_read_at_once_and_in_the_order_asked_for() -> None:
    disk = disk_with(WHOLE.block)
    ends = (32, *WHOLE.ends)
    spans = [Span(1, ends[number], ends[number + 1], WHOLE.records[number].position) for number in range(30)]
    for asked, reads in ((range(30), 1), ((3, 7, 8, 20), 1), ((9, 4, 5, 4), 3), ((), 0)):
        before = len(disk.calls)
        found = read_records(disk, STATE, [spans[number] for number in asked])
        assert found == [WHOLE.records[number] for number in asked]
        assert len(disk.calls) - before == reads


def test_rot_and_removal_are_told_apart() -> None:
    block = bytearray(WHOLE.block)
    block[50] ^= 1
    shelf = Shelf(1, 32, WHOLE.ends[19], 0, False, array("Q"), array("Q"))
    with pytest.raises(JournalFailed, match="changed while the daemon ran"):
        look_up(disk_with(bytes(block)), STATE, shelf)
    with pytest.raises(JournalFailed, match="too early"):
        read_span(disk_with(b"ab"), STATE, Span(1, 32, 99, 3))
    with pytest.raises(Gone):
        look_up(SimDisk(), STATE, shelf)
    assert SEGMENT.name == "00000001.log"


def test_what_is_dropped_is_no_longer_there() -> None:
    index = begun()
    index.extend(2, [32], [93], 99)
    index.drop(1)
    assert (index.first_position, index.segments, index.shelf_of(90)) == (93, [2], None)
    index.drop(2)
    assert (index.first_position, index.segments, list(index.shelves_behind(0))) == (0, [], [])
