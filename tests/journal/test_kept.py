"""The records that are kept: in the order asked for, also those that nobody has looked up, until they are dropped."""

import pytest

from syncd.errors import Unknown
from syncd.journal.index import Index
from syncd.journal.kept import Kept
from tests.journal.samples import STATE, disk_with, sample
from tests.simulation.disk import SimWork

WHOLE = sample(30, stride=3)


def kept() -> Kept:
    """Up to position 60 a snapshot covers the segment; what is behind it was written since."""
    index = Index()
    index.put_unknown(1, 32, WHOLE.ends[19], 0)
    one = Kept(index, disk_with(WHOLE.block), STATE, SimWork())
    one.extend(1, WHOLE.ends[19:29], [record.position for record in WHOLE.records[20:]], WHOLE.ends[29])
    return one


async def test_records_come_in_the_order_asked_for_and_unknown_positions_are_named() -> None:
    one = kept()
    assert await one.records([90, 3, 63]) == [WHOLE.records[29], WHOLE.records[0], WHOLE.records[20]]
    with pytest.raises(Unknown, match="position 4 "):
        await one.records([3, 4])


@pytest.mark.parametrize(
    ("position", "limit", "bytes_max", "first", "count"),
    [(0, 99, None, 0, 30), (57, 3, None, 19, 3), (60, 99, None, 20, 10), (0, 99, 1, 0, 1), (90, 9, None, 0, 0)],
)
async def test_what_is_behind_a_position_is_read_over_the_border_of_the_snapshot(
    position: int, limit: int, bytes_max: int | None, first: int, count: int
) -> None:
    assert await kept().since(position, limit, bytes_max) == list(WHOLE.records[first : first + count])


async def test_what_is_dropped_is_not_kept_and_the_last_look_is_remembered() -> None:
    one = kept()
    assert (one.first_position, one.segments, one.measured) == (1, [1], (0, 0))
    assert await one.measure() == one.measured == (1, len(WHOLE.block))
    one.drop(1)
    assert (one.first_position, one.segments) == (0, [])
    with pytest.raises(Unknown):
        await one.records([3])
