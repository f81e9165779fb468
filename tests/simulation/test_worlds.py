"""Worlds drawn from seeds: after the faults stop, both sides are equal, nothing is lost, nothing is doubled."""

import pytest

from tests.simulation.runner import simulate
from tests.simulation.stories import troubled_days, world_of

SEEDS = 300
A_BATCH = 10


@pytest.mark.parametrize("first", range(0, SEEDS, A_BATCH))
def test_both_sides_converge_and_nothing_is_lost_or_doubled(first: int) -> None:
    for seed in range(first, first + A_BATCH):
        try:
            simulate(world_of(troubled_days), seed)
        except BaseException as error:
            error.add_note(f"to see it again: pytest 'tests/simulation/test_worlds.py' -k {first} (seed {seed})")
            raise
