"""Worlds drawn from seeds: through every trouble, and through an hour without the instance, nothing is lost or doubled.

The same seeds in every run, as many as fit into the time: at most 1102 in at most 4 minutes, and never fewer than 500.
How many there were, and how often the rare states came, stands at the end of the run's output (``tests/conftest.py``).
A failing seed prints one line that shows it again. ``make soak`` lives through thousands more.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.simulation.kinds import draw
from tests.simulation.stories import run
from tests.simulation.troubles import OUTAGES, TROUBLES

SEEDS: Final = {
    "days": 410,
    "people": 300,
    "rules": 120,
    "outage": 20,
    "slow": 10,
    "brake": 42,
    "runs": 80,
    "mapped": 60,
    "pair": 60,
}
WORLDS_MIN: Final = 500
ALL_S_MAX: Final = 240.0
HALVES: Final = 2  # one for each worker
AT_LEAST: Final = 10  # times in all the seeds: what never happened has not been tested
RARE: Final = (
    *("conflict recorded", "conflict resolved while the record changed", "answer lost after effect"),
    *(
        "torn tail recovered",
        "crash during recovery",
        "crash during compaction",
        "echo suppressed",
        "dead letter retried after an edit",
    ),
    *("secret rotated with a delivery under way", "clock set back", "rate limit hit", "disk full and healed"),
    "brake tripped",
)
SEEN_TOO: Final = (
    *("note of ours there", "note of theirs here", "unresolved person"),
    *("conflict resolved by a person", "DeadLettered", "create looked up", "HintsPostponed"),
    *("answer missed by death", "edit overwritten unseen", "down, and looked at"),
    *("edit stayed on its own half", "owner's value put back", "edited against an exclusive owner"),
    *("direction: inbound", "direction: outbound", "direction: none", "direction: disabled"),
    *("silent change taken over", "blind look stopped", "run: heal, forced"),
    *("run: dry-run", "run: report", "second run found nothing", "old record imported", "old record left alone"),
    *("field mapped", "mapping taken back", "incident with two records"),
    *("cut time", "cut written", "cut synced", "cut left", "cut committed"),
)


def seeds_of(half: int) -> Iterator[tuple[str, int]]:
    """Half of the seeds of each kind, the kinds mixed, so that a run that is cut short has met them all."""
    mixed = []
    for kind, count in SEEDS.items():
        first, end = half * count // HALVES, (half + 1) * count // HALVES
        mixed += [((seed - first) / count, kind, seed) for seed in range(first, end)]
    return ((kind, seed) for _, kind, seed in sorted(mixed))


@pytest.mark.parametrize("half", range(HALVES))
def test_in_every_drawn_world_both_sides_converge_and_nothing_is_lost_invented_or_doubled(
    half: int, record_property: Callable[[str, object], None]
) -> None:
    at_once = min(HALVES, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    until = time.monotonic() + ALL_S_MAX * at_once / HALVES
    met, worlds = Counter[str](), 0
    for kind, seed in seeds_of(half):
        if time.monotonic() > until:
            break
        run(draw(kind, seed), met)
        worlds += 1
    record_property("worlds", worlds)
    record_property("rare", {name: met[name] for name in RARE})
    assert worlds >= WORLDS_MIN // HALVES, f"only {worlds} worlds in the time there is: see CONTRIBUTING.md"
    troubles = (*(trouble.name for trouble in TROUBLES), *OUTAGES, "slow")
    never = [name for name in (*troubles, *RARE, *SEEN_TOO) if met[name] < AT_LEAST // HALVES]
    assert not never, f"hardly ever met: {[(name, met[name]) for name in never]}"
