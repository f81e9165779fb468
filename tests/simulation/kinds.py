"""The kinds of worlds, each a plan drawn from its seed."""

from random import Random
from typing import Final

from msgspec.structs import replace

from tests.simulation.draws import drawn_cut, drawn_deed, drawn_settings, drawn_spell, drawn_switches
from tests.simulation.kinds_many import brake
from tests.simulation.plan import BUSY_S, DIRECTIONS, EXCLUSIVE, FIELDS, HOUR_S, Deed, Plan, Spell, when
from tests.simulation.troubles import OUTAGES, TROUBLES

STEADY: Final = 0.3  # of the worlds with rules, the direction does not change
LAST_S: Final = 60.0
SELDOM: Final = 0.15
OWNED: Final = 0.25
PLACES: Final = {
    "description": "u_details",
    "severity": "u_sev",
    "title": "short_description",
}
ALONE: Final = ("stale_read", "rate_limit", "hidden_field", "abort_rule", "unauthorized_401")  # they need one instance
OLD_ONES: Final = "category=hardware"
RUNS: Final = ("dry-run", "report", "heal")
SCRIPTS: Final = ("retitle", "resolve", "clear")
ON_BOTH_SIDES: Final = ("platform", "external")


def draw(kind: str, seed: int) -> Plan:
    """The plan of one kind (a word of ``DRAWN``) and seed."""
    return DRAWN[kind](seed, Random(f"plan {kind} {seed}"))


def _days(seed: int, rng: Random) -> Plan:
    """A busy minute on both sides, through a handful of troubles; each kind of trouble has its turn."""
    turn = TROUBLES[seed % len(TROUBLES)]
    troubles = [turn, *rng.sample(TROUBLES, rng.randint(0, 4))]
    chosen = {trouble.name: trouble for trouble in troubles}
    spells = tuple(drawn_spell(rng, trouble, BUSY_S) for trouble in chosen.values())
    whats = ("platform", "platform", "external", "external", "both", "crossing", "same", "resolve", "declare", "create")
    deeds = [Deed(0.0, "declare", 0, value="declared 0", second="SEV-3"), Deed(0.2, "create", 0, value="created 0")]
    times = [rng.uniform(0, BUSY_S) for _ in range(rng.randint(6, 24))]
    first = spells[0]
    times += [rng.uniform(first.from_s, min(first.to_s, BUSY_S + 10)) for _ in range(8)]  # the turn finds work
    deeds += [drawn_deed(rng, number, round(at_s, 2), (*turn.deeds, *whats)) for number, at_s in enumerate(times, 1)]
    for what in ("verdict", "verdict", "retry", "rotate", "clock"):
        if rng.random() < SELDOM:
            deeds.append(drawn_deed(rng, len(deeds), round(rng.uniform(5, BUSY_S), 2), (what,)))
    cuts = [drawn_cut(rng, BUSY_S) for _ in range(rng.choice((0, 1, 2, 2, 3, 4)))]
    settings = drawn_settings(rng)
    if settings["conflict_strategy"] == "manual-review":  # somebody decides while the record goes on changing
        more = Random(f"verdicts of {seed}")
        times = [more.uniform(5, BUSY_S) for _ in range(6)]
        deeds += [Deed(round(at_s, 2), "verdict", more.randrange(100), value=f"meanwhile {at_s:.0f}") for at_s in times]
    return Plan(
        "days",
        seed,
        settings,
        drawn_switches(rng),
        tuple(sorted(deeds, key=when)),
        tuple(sorted(spells, key=lambda spell: spell.from_s)),
        tuple(sorted(cuts, key=lambda cut: cut.at_s)),
    )


def _people(seed: int, rng: Random) -> Plan:
    """Assignees and work notes on both sides, among other edits, through a handful of troubles."""
    days = _days(seed, rng)
    whats = ("note",) * 5 + ("agent note",) * 4 + ("assign",) * 3 + ("agent assign",) * 2
    deeds = list(days.deeds)
    deeds += [drawn_deed(rng, number, round(rng.uniform(0, BUSY_S), 2), whats) for number in range(rng.randint(10, 30))]
    first = days.spells[0]
    times = [rng.uniform(first.from_s, min(first.to_s, BUSY_S + 10)) for _ in range(6)]
    deeds += [drawn_deed(rng, 100 + number, round(at_s, 2), whats) for number, at_s in enumerate(times)]
    spells = days.spells
    if rng.random() < SELDOM:
        spells = (*spells, Spell("notes_doubled=0.5", 0.0, BUSY_S))
    more = Random(f"owners of {seed}")
    if more.random() < OWNED:
        deeds.append(replace(_ownership(more, round(more.uniform(0, BUSY_S), 2)), field="assigned_to"))
    return replace(days, kind="people", deeds=tuple(sorted(deeds, key=when)), spells=spells)


def _rules(seed: int, rng: Random) -> Plan:
    """Other owners of fields, and other directions, from the start and midway, through a handful of troubles."""
    days = _days(seed, rng)
    times = [0.0] * rng.randint(0, 3) + [round(rng.uniform(5, BUSY_S), 2) for _ in range(rng.randint(0, 3))]
    deeds = [_ownership(rng, at_s) for at_s in times]
    settings = days.settings
    if rng.random() < STEADY:
        times = [rng.uniform(10, BUSY_S) for _ in range(6)]
        deeds += [
            drawn_deed(rng, 200 + one, round(at_s, 2), ("platform", "external")) for one, at_s in enumerate(times)
        ]
    else:
        settings = settings | {"sync_direction": rng.choice(("bidirectional", "bidirectional", "inbound", "outbound"))}
        times = [round(rng.uniform(5, BUSY_S - 6), 2) for _ in range(rng.randint(1, 3))]
        deeds += [Deed(at_s, "direct", value=rng.choice(DIRECTIONS)) for at_s in times]
        deeds.append(Deed(BUSY_S - 5, "direct", value=DIRECTIONS[seed % len(DIRECTIONS)]))
        times = [rng.uniform(BUSY_S - 5, BUSY_S) for _ in range(4)]
        deeds += [
            drawn_deed(rng, 300 + one, round(at_s, 2), ("platform", "external")) for one, at_s in enumerate(times)
        ]
    more = Random(f"start of {seed}")
    if more.random() < SELDOM:  # nothing goes on at first, and some day it does
        settings = settings | more.choice(({"sync_direction": "none"}, {"enabled": False}))
        deeds.append(Deed(round(more.uniform(3, BUSY_S / 2), 2), "direct", value="bidirectional"))
    return replace(days, kind="rules", settings=settings, deeds=tuple(sorted((*deeds, *days.deeds), key=when)))


def _runs(seed: int, rng: Random) -> Plan:
    """Runs of every kind, records that change without a word, and old ones that somebody brings in."""
    days = _days(seed, rng)
    deeds = [Deed(0.0, "old", number, value=f"old {number}") for number in range(rng.randint(2, 5))]
    times = [round(rng.uniform(2, BUSY_S), 2) for _ in range(rng.randint(2, 6))]
    deeds += [Deed(at_s, "reconcile", value=rng.choice(RUNS), second=rng.choice(("", "", "force"))) for at_s in times]
    times = [round(rng.uniform(8, BUSY_S), 2) for _ in range(rng.randint(1, 3))]
    stamped = ("", "", "unstamped")
    deeds += [Deed(at_s, "mass", 1, value=rng.choice(SCRIPTS), second=rng.choice(stamped)) for at_s in times]
    for _ in range(rng.choice((0, 1, 2, 2))):
        dry = rng.choice(("", "", "dry"))
        deeds.append(Deed(round(rng.uniform(2, BUSY_S), 2), "import", value=OLD_ONES, second=dry))
    return replace(days, kind="runs", deeds=tuple(sorted((*deeds, *days.deeds), key=when)))


def _mapped(seed: int, rng: Random) -> Plan:
    """Fields that stand in columns of the customer's own, from the start or from midway on, and go back again."""
    days = _days(seed, rng)
    times = [0.0] * rng.randint(0, 2) + [round(rng.uniform(5, BUSY_S), 2) for _ in range(rng.randint(1, 4))]
    deeds = [_mapping(rng, at_s) for at_s in times]
    times = [round(rng.uniform(3, BUSY_S), 2) for _ in range(rng.randint(4, 10))]
    deeds += [
        replace(drawn_deed(rng, 400 + one, at_s, ("platform", "external", "both"))) for one, at_s in enumerate(times)
    ]
    return replace(days, kind="mapped", deeds=tuple(sorted((*deeds, *days.deeds), key=when)))


def _mapping(rng: Random, at_s: float) -> Deed:
    field = rng.choice(tuple(PLACES))
    direction = rng.choice(("bidirectional", "bidirectional", "inbound", "outbound"))
    return Deed(at_s, "map", field=field, value=rng.choice((PLACES[field], PLACES[field], "")), second=direction)


def _pair(seed: int, rng: Random) -> Plan:
    """Two integrations of one organization, on one instance or on two, through a trouble or two."""
    deeds = [Deed(1.0, "declare", 0, value="declared 0", second="SEV-3"), Deed(1.2, "create", 0, value="created 0")]
    deeds.append(Deed(1.4, "create", 2, value="created 2"))
    times = [round(rng.uniform(2, BUSY_S), 2) for _ in range(rng.randint(8, 24))]
    whats = (*ON_BOTH_SIDES, *ON_BOTH_SIDES, "both", "crossing", "same", "declare", "create")
    deeds += [drawn_deed(rng, number, at_s, whats) for number, at_s in enumerate(times, 10)]
    troubles = rng.sample([one for one in TROUBLES if one.name not in ALONE], rng.randint(0, 2))
    spells = [drawn_spell(rng, trouble, BUSY_S) for trouble in troubles]
    cuts = [drawn_cut(rng, BUSY_S) for _ in range(rng.choice((0, 0, 1, 2)))]
    return Plan(
        "pair",
        seed,
        drawn_settings(rng),
        drawn_switches(rng),
        tuple(sorted(deeds, key=when)),
        tuple(spells),
        tuple(sorted(cuts, key=lambda cut: cut.at_s)),
        beside=("own", "same")[seed % 2],
    )


def _ownership(rng: Random, at_s: float) -> Deed:
    owner = rng.choice(("platform", "external", "external", ""))
    rule = f"{rng.choice((0, 1, 10))} {rng.choice((EXCLUSIVE, ''))}".strip()
    return Deed(at_s, "own", field=rng.choice(FIELDS), value=owner, second=rule)


def _outage(seed: int, rng: Random) -> Plan:
    """An hour without the instance, in all its shapes, and two hundred edits on both sides of twenty incidents."""
    deeds = [Deed(0.0, "declare", number, value=f"declared {number}", second="SEV-3") for number in range(10)]
    deeds += [Deed(0.0, "create", number, value=f"created {number}") for number in range(10)]
    down_s, up_s = 60.0, 60.0 + HOUR_S
    for number in range(260):  # some set what is there already, and are no edits
        at_s = round(rng.uniform(down_s, up_s), 2)
        deeds.append(drawn_deed(rng, number, at_s, ("platform",) if number % 2 else ("external",)))
    deeds += [drawn_deed(rng, 90 + one, round(rng.uniform(down_s, up_s), 2), ("declare", "create")) for one in range(2)]
    spells, from_s = list[Spell](), down_s
    while from_s < up_s:
        to_s = min(up_s, from_s + rng.uniform(30, 900))
        spells.append(Spell(rng.choice(OUTAGES), round(from_s, 2), round(to_s, 2)))
        from_s = to_s
    if rng.random() < 0.5:
        spells.append(Spell(rng.choice(("webhook_lost=0.3", "webhook_delay=60@0.3")), 0.0, up_s))
    more = Random(f"clock of {seed}")
    for _ in range(more.choice((0, 1, 2, 4))):
        at_s = round(more.uniform(down_s, up_s - LAST_S), 2)
        deeds.append(Deed(at_s, "clock", value=str(round(more.uniform(1, 30), 1))))
    cuts = [drawn_cut(rng, up_s) for _ in range(rng.choice((0, 0, 1, 2)))]
    settings = drawn_settings(rng) | {"max_concurrency": 4, "rate_limit": 10}
    return Plan(
        "outage",
        seed,
        settings,
        drawn_switches(rng),
        tuple(sorted(deeds, key=when)),
        tuple(spells),
        tuple(sorted(cuts, key=lambda cut: cut.at_s)),
        lasts_s=up_s,
    )


def _slow(seed: int, rng: Random) -> Plan:
    """Every answer takes two seconds."""
    deeds = [Deed(0.0, "declare", number, value=f"declared {number}", second="SEV-3") for number in range(4)]
    deeds += [Deed(0.0, "create", number, value=f"created {number}") for number in range(4)]
    whats = ("platform", "external", "both", "crossing", "resolve")
    deeds += [drawn_deed(rng, number, round(rng.uniform(20, 80), 2), whats) for number in range(20)]
    spells = (Spell("slow=2", 0.0, 1e9),)
    return Plan("slow", seed, {}, drawn_switches(rng), tuple(sorted(deeds, key=when)), spells, lasts_s=80.0)


DRAWN: Final = {
    "days": _days,
    "outage": _outage,
    "people": _people,
    "rules": _rules,
    "slow": _slow,
    "brake": brake,
    "runs": _runs,
    "mapped": _mapped,
    "pair": _pair,
}
