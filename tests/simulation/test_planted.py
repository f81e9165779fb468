"""The worlds find bugs: each of these, planted in the daemon, is found within a few seeds.

Here each is looked for where it shows soonest. ``make mutants`` tells how many seeds it takes without that help.
"""

import pytest

from tests.simulation.mutants import MUTANTS, Mutant, hunt, likely_seeds

SEEDS_MAX = 24


@pytest.mark.parametrize("mutant", [one for one in MUTANTS if not one.is_shy], ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    found = hunt(mutant, likely_seeds(mutant, SEEDS_MAX))
    assert found.seeds, f"a daemon that {mutant.name} lived through all of it"
