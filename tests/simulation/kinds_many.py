"""Kinds of worlds in which much changes at once, and nobody announces it."""

from random import Random
from typing import Final

from tests.simulation.draws import drawn_cut, drawn_deed, drawn_settings, drawn_spell, drawn_switches
from tests.simulation.plan import BUSY_S, SEVERITIES, Deed, Plan, when
from tests.simulation.troubles import TROUBLES

MASSES: Final = ("resolve", "clear", "vanish", "hide", "resolve", "clear", "blind")
NOTICED: Final = ("", "cut", "", "unstamped", "cut unstamped")
MASS_S: Final = 20.0
SHUN: Final = ("hidden_field", "abort_rule")  # they have something of their own to say about the same fields
MODES: Final = ("heal", "heal", "heal", "report", "dry-run")


def brake(seed: int, rng: Random) -> Plan:
    """A dozen and more of links, most of which change at once without a word, and what people then do about it."""
    many = rng.randint(14, 18)
    deeds = []
    for number in range(many):
        what, at_s = rng.choice(("declare", "create")), round(rng.uniform(0, 3), 2)
        deeds.append(Deed(at_s, what, number, value=f"{what}d {number}", second=rng.choice(SEVERITIES)))
    mass, noticed = MASSES[seed % len(MASSES)], NOTICED[seed % len(NOTICED)]
    if mass in ("clear", "hide"):
        deeds.append(Deed(8.0, "describe"))
    deeds.append(Deed(MASS_S, "mass", rng.randint(13, many), value=mass, second=noticed))
    if "cut" not in noticed:
        deeds.append(Deed(MASS_S + 2.0, "reconcile", value="heal"))
    times = [round(rng.uniform(MASS_S, BUSY_S), 2) for _ in range(rng.randint(1, 3))]
    deeds += [Deed(at_s, "reconcile", value=rng.choice(MODES)) for at_s in times]
    after = rng.choice(("force", "undo", ""))
    if after == "force":
        deeds += [Deed(at_s, "reconcile", value="heal", second="force") for at_s in (BUSY_S - 20, BUSY_S - 10)]
    elif after == "undo":
        deeds.append(Deed(round(rng.uniform(BUSY_S - 20, BUSY_S), 2), "undo"))
    singles = [rng.uniform(MASS_S - 10, BUSY_S) for _ in range(rng.randint(0, 4))]
    whats = ("platform", "external", "both")
    deeds += [drawn_deed(rng, 100 + one, round(at_s, 2), whats) for one, at_s in enumerate(singles)]
    spells, cuts = [], []
    if rng.random() < 0.5:
        trouble = rng.choice([one for one in TROUBLES if one.name not in SHUN])
        spells.append(drawn_spell(rng, trouble, BUSY_S))
    if rng.random() < 0.5:
        cuts.append(drawn_cut(rng, BUSY_S))
    return Plan(
        "brake",
        seed,
        drawn_settings(rng) | {"rate_limit": 20, "max_concurrency": 4},
        drawn_switches(rng),
        tuple(sorted(deeds, key=when)),
        tuple(spells),
        tuple(cuts),
    )
