"""How many seeds it takes to find each of the bugs of ``plants.py``: ``make mutants``.

A quiet simulator is evidence only if it is not quiet about these. Bounded in seeds and time; ends with 1 if one was not
found.
"""

import argparse
import itertools
import logging
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable
from typing import Final

import pytest
from msgspec import Struct

from tests.simulation import plants
from tests.simulation.kinds import draw
from tests.simulation.plants import NEVER
from tests.simulation.soak import failure
from tests.simulation.troubles import TROUBLES

Plant = Callable[[pytest.MonkeyPatch], None]

SEEDS_MAX: Final = 2000


class Mutant(Struct, frozen=True):
    """A planted bug. ``kind``: the worlds in which it can show; ``trouble``: the one, if any, that brings it out.

    ``is_shy``: it takes more seeds than the default run has for it.
    """

    plant: Plant
    kind: str = "days"
    trouble: str = ""
    is_shy: bool = False

    @property
    def name(self) -> str:
        """What it does wrong."""
        return self.plant.__name__


MUTANTS: Final = (
    Mutant(plants.acknowledges_before_it_is_durable),
    Mutant(plants.writes_on_old_reads, trouble="slow"),
    Mutant(plants.moves_the_base_when_it_sends),
    Mutant(plants.takes_its_own_late_writes_for_edits, is_shy=True),
    Mutant(plants.takes_a_hidden_field_for_an_empty_one, trouble="hidden_field", is_shy=True),
    Mutant(plants.repeats_creates_without_looking, trouble="create_commits_then_reset"),
    Mutant(plants.keeps_conflicts_in_memory_only),
    Mutant(plants.keeps_first_answers_in_memory_only, is_shy=True),
    Mutant(plants.sends_the_newest_note_first, "people"),
    Mutant(plants.repeats_notes_without_looking, "people"),
    Mutant(plants.forgets_who_lost),
    Mutant(plants.believes_older_pictures, trouble="stale_read"),
    Mutant(plants.does_not_wait_when_told_to, trouble="unauthorized_401"),
    Mutant(plants.never_pauses_on_refused_credentials, trouble="unauthorized_401"),
    Mutant(plants.tries_refused_credentials_at_every_start, trouble="unauthorized_401"),
    Mutant(plants.forgets_what_it_was_told_when_settings_change, "rules"),
    Mutant(plants.does_not_look_for_new_records),
    Mutant(plants.settles_the_loser_and_forgets_to_write),
    Mutant(plants.replays_the_value_of_a_dead_letter, trouble="abort_rule"),
    Mutant(plants.keeps_webhook_keys_in_memory_only),
    Mutant(plants.takes_a_snapshot_inside_a_batch),
    Mutant(plants.waits_by_the_wall_clock, "outage"),
    Mutant(plants.lets_runs_pass_the_brake, "brake"),
    Mutant(plants.writes_one_record_by_several_hands),
    Mutant(plants.spreads_against_the_direction, "rules"),
    Mutant(plants.lets_anybody_edit_what_is_owned, "rules"),
    Mutant(plants.forgets_what_stayed_where_it_was, "rules"),
    Mutant(plants.settles_as_equal_on_an_old_picture, "rules", is_shy=True),
)


class Hunt(Struct, frozen=True):
    """How a mutant was found: with which seed, after how many, and by what; ``seeds`` 0: it was not."""

    name: str
    kind: str
    seed: int = 0
    seeds: int = 0
    error: str = ""
    tried: int = 0


def hunt(mutant: Mutant, seeds: Iterable[int], until: float = NEVER) -> Hunt:
    """Live through worlds with the bug planted until a promise is found broken."""
    tried = 0
    with pytest.MonkeyPatch.context() as patch:
        mutant.plant(patch)
        for seed in seeds:
            tried += 1
            error = failure(draw(mutant.kind, seed))
            if "AssertionError" in error:
                return Hunt(mutant.name, mutant.kind, seed, tried, error, tried)
            if time.monotonic() > until:
                break
    return Hunt(mutant.name, mutant.kind, tried=tried)


def likely_seeds(mutant: Mutant, count: int) -> Iterable[int]:
    """Seeds whose turn is the mutant's trouble."""
    names = [one.name for one in TROUBLES]
    first, step = (names.index(mutant.trouble), len(names)) if mutant.trouble else (0, 1)
    return itertools.islice(itertools.count(first, step), count)


def _hunt(given: tuple[int, int, float]) -> Hunt:
    logging.disable(logging.CRITICAL)
    number, seeds, minutes = given
    return hunt(MUTANTS[number], range(seeds), time.monotonic() + minutes * 60)


def main() -> int:
    """Hunt them all; 1 if one was not found."""
    parser = argparse.ArgumentParser("mutants", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX, help=f"at most for each (default {SEEDS_MAX})")
    parser.add_argument("--minutes", type=float, default=10.0, help="at most for each (default 10)")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--only", default="", help="those with this in their name")
    given = parser.parse_args()
    chosen = [number for number, one in enumerate(MUTANTS) if given.only in one.name]
    missed = 0
    with multiprocessing.get_context("spawn").Pool(given.workers, maxtasksperchild=1) as pool:
        for found in pool.imap(_hunt, [(number, given.seeds, given.minutes) for number in chosen]):
            missed += not found.seeds
            how = f"{found.seeds:5} seeds  {found.error[:90]}" if found.seeds else f"NOT FOUND in {found.tried} seeds"
            print(f"{found.name:42} {found.kind:7} {how}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} found")
    return min(1, missed)


if __name__ == "__main__":
    sys.exit(main())
