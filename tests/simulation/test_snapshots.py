"""Worlds whose every life begins from a snapshot, and whose history ends again and again, know no less than others."""

from collections import Counter

import pytest

from syncd.journal.keeper import Keeper, Limits
from tests.simulation import world
from tests.simulation.kinds import draw
from tests.simulation.stories import run

SEEDS = 12
OFTEN = Limits(snapshot_records=30, history_s=-1.0, history_bytes=0)


def test_lives_that_begin_from_snapshots_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    met = Counter[str]()
    take = Keeper.take_snapshot

    async def counted(keeper: Keeper) -> bool:
        is_written = await take(keeper)
        met["snapshot"] += is_written
        return is_written

    monkeypatch.setattr(Keeper, "take_snapshot", counted)
    monkeypatch.setattr(world, "LIMITS", OFTEN)
    for seed in range(SEEDS):
        run(draw("days", seed), met)
    assert met["snapshot"] >= SEEDS
