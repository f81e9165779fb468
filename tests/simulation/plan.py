"""What will happen in a world: who does what when, what goes wrong meanwhile, and when the power is cut.

Drawn from a seed, all of it, before anything runs; so a plan can be printed as one line of JSON, cut down to what
matters (``soak.py --shrink``) and run again.
"""

from random import Random
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from tests.simulation.troubles import OUTAGES, TROUBLES, Trouble

SAID: Final = (
    *("beth.anglin", "Beth.Anglin@example.com", "fred.luddy", "abel.tuter@example.com", "ana.ruiz2@example.com", ""),
    *("operations@example.com", "nobody.here", "ingrid.gone", "nobody@example.com"),  # these name nobody, or two
)
ASSIGNED: Final = ("beth.anglin", "fred.luddy", "abel.tuter", "ana.ruiz", "ingrid.gone", "")
AUTHORS: Final = ("ann", "ben@example.com", "Cy Doe")
NOTES: Final = (
    *("the same words", "the same words", "two\nlines", "[code]<b>bold</b>[/code]", "ends in blanks  \n"),
    *("2026-09-21 14:14:22 - Beth Anglin (Work notes)\nlooks like a header", "ann:\nlooks like one of ours"),
)
FIELDS: Final = ("title", "description", "severity", "status")
TEXTS: Final = ("title", "description")
SEVERITIES: Final = ("SEV-1", "SEV-2", "SEV-3", "SEV-4")
CLOSE_CODES: Final = ("Solution provided", "Workaround provided", "Resolved by caller")
BUSY_S: Final = 60.0
HOUR_S: Final = 3600.0
STEADY: Final = 0.3  # of the worlds with rules, the direction does not change
SELDOM: Final = 0.15
NOTES_ALIKE: Final = 0.3
EXCLUSIVE: Final = "exclusive"
DIRECTIONS: Final = ("bidirectional", "inbound", "outbound", "none", "disabled")
EVENTS: Final = (
    *("SendStarted", "SendSettled", "SendFailed", "Observed", "Merged", "LinkJoined", "LinkOpened"),
    *("IncidentEdited", "IncidentDeclared", "Hinted", "HintsSettled"),
)


class Deed(Struct, frozen=True, omit_defaults=True):
    """What somebody does. ``which`` counts incidents, or records, round.

    ``both``: the record gets ``value``, and then the incident ``second``; ``crossing``: the incident first, and the
    record while that is on its way.
    """

    at_s: float
    what: str
    which: int = 0
    field: str = ""
    value: str = ""
    second: str = ""


class Spell(Struct, frozen=True):
    """A fault for a while, as ``NAME[=VALUE][@PROBABILITY]``."""

    fault: str
    from_s: float
    to_s: float


class Cut(Struct, frozen=True, omit_defaults=True):
    """The power is cut. ``phase``: ``time`` (at ``at_s``), or, at the n-th time since ``at_s``,

    ``written``: a record with this ``event`` is written and not yet synced; ``synced``: it is on disk, and nobody
    knows; ``left``: a request that writes has left and not arrived; ``committed``: ServiceNow has done it, and nobody
    knows; ``opening``: at ``at_s``, and again at the next life's n-th use of the disk, while it opens its journal;
    ``snapshot``: a file of a snapshot is used.
    """

    at_s: float
    phase: str
    event: str = ""
    nth: int = 1


class Plan(Struct, frozen=True):
    """One world."""

    kind: str
    seed: int
    settings: dict[str, object]
    switches: dict[str, str]
    deeds: tuple[Deed, ...]
    spells: tuple[Spell, ...] = ()
    cuts: tuple[Cut, ...] = ()
    lasts_s: float = BUSY_S

    @property
    def line(self) -> str:
        """All of it, on one line."""
        return msgspec.json.encode(self).decode()


def draw(kind: str, seed: int) -> Plan:
    """The plan of one kind (``days``, ``people``, ``rules``, ``outage``, ``slow``) and seed."""
    return DRAWN[kind](seed, Random(f"plan {kind} {seed}"))


def _value(rng: Random, field: str, side: str, number: int) -> str:
    if field == "severity":
        return rng.choice(SEVERITIES)
    if field == "status":
        return rng.choice(("open", "open", "mitigated", "mitigated", "resolved"))
    tail = f" {'x' * 200}" if side != "both" and rng.random() < 0.1 else ""
    return f"{field} {number} by {side}{tail}"


def _deed(rng: Random, number: int, at_s: float, whats: tuple[str, ...]) -> Deed:
    what, which, field = rng.choice(whats), rng.randrange(100), rng.choice(FIELDS)
    match what:
        case "platform" | "external":
            return Deed(at_s, what, which, field, _value(rng, field, what, number))
        case "both" | "crossing":
            return Deed(
                at_s, what, which, field, _value(rng, field, "external", number), _value(rng, field, "platform", number)
            )
        case "same":
            value = _value(rng, field, "both", number)
            return Deed(at_s, "both", which, field, value, value)
        case "resolve":
            return Deed(at_s, what, which, "status", rng.choice(CLOSE_CODES))
        case "verdict":
            return Deed(at_s, what, which, value=rng.choice(("", f"edited meanwhile {number}")))
        case "rotate":
            return Deed(at_s, what, which, value=f"edited {number} before the secret changed")
        case "clock":
            return Deed(at_s, what, value=str(round(rng.uniform(1, 30), 1)))
        case "note" | "agent note":
            text = rng.choice(NOTES) if rng.random() < NOTES_ALIKE else f"{what} {number}"
            return Deed(at_s, what, which, value=text, second=rng.choice(AUTHORS if what == "note" else ASSIGNED[:2]))
        case "assign":
            return Deed(at_s, "platform", which, "assigned_to", rng.choice(SAID))
        case "agent assign":
            return Deed(at_s, "external", which, "assigned_to", rng.choice(ASSIGNED))
        case "forbidden":
            return Deed(at_s, "platform", which, "title", f"forbidden {number}")
    return Deed(at_s, what, number, value=f"{what}d {number}", second=rng.choice(SEVERITIES))


def _settings(rng: Random) -> dict[str, object]:
    return {
        "conflict_strategy": rng.choice(("last-write-wins", "last-write-wins", "ownership-priority", "manual-review")),
        "conflict_window": rng.choice(("5s", "5s", "1s", "always")),
        "max_concurrency": rng.choice((4, 4, 2, 1)),
        "rate_limit": rng.choice((10, 10, 5, 20)),
    }


def _switches(rng: Random) -> dict[str, str]:
    offers = {
        "webhook_timestamp": ("on", "off"),
        "webhook_payload": ("extended", "extended", "page"),
        "rule_mode": ("async", "async", "after"),
        "rule_skips_api_user": ("on", "off"),
        "failed_writes": ("kept", "undone"),
        "late_update_stamp": ("start", "commit"),
        "empty_list_404": ("off", "off", "on"),
        "new_defaults": ("base", "customer"),
    }
    return {name: rng.choice(choices) for name, choices in offers.items()}


def _spell(rng: Random, trouble: Trouble, until_s: float) -> Spell:
    from_s = rng.uniform(0.0, max(0.0, until_s - trouble.lasts_s[0]))
    return Spell(rng.choice(trouble.faults), round(from_s, 2), round(from_s + rng.uniform(*trouble.lasts_s), 2))


def _cut(rng: Random, until_s: float) -> Cut:
    at_s = round(rng.uniform(1, until_s), 2)
    phase = rng.choice(("time", "written", "written", "synced", "left", "committed", "opening", "snapshot"))
    event = rng.choice(EVENTS) if phase in ("written", "synced") else ""
    return Cut(at_s, phase, event, rng.randint(1, 15) if phase in ("opening", "snapshot") else rng.choice((1, 1, 2, 3)))


def _days(seed: int, rng: Random) -> Plan:
    """A busy minute on both sides, through a handful of troubles; each kind of trouble has its turn."""
    turn = TROUBLES[seed % len(TROUBLES)]
    troubles = [turn, *rng.sample(TROUBLES, rng.randint(0, 4))]
    chosen = {trouble.name: trouble for trouble in troubles}
    spells = tuple(_spell(rng, trouble, BUSY_S) for trouble in chosen.values())
    whats = ("platform", "platform", "external", "external", "both", "crossing", "same", "resolve", "declare", "create")
    deeds = [Deed(0.0, "declare", 0, value="declared 0", second="SEV-3"), Deed(0.2, "create", 0, value="created 0")]
    times = [rng.uniform(0, BUSY_S) for _ in range(rng.randint(6, 24))]
    first = spells[0]
    times += [rng.uniform(first.from_s, min(first.to_s, BUSY_S + 10)) for _ in range(8)]  # the turn finds work
    deeds += [_deed(rng, number, round(at_s, 2), (*turn.deeds, *whats)) for number, at_s in enumerate(times, 1)]
    for what in ("verdict", "verdict", "retry", "rotate", "clock"):
        if rng.random() < SELDOM:
            deeds.append(_deed(rng, len(deeds), round(rng.uniform(5, BUSY_S), 2), (what,)))
    cuts = [_cut(rng, BUSY_S) for _ in range(rng.choice((0, 1, 2, 2, 3, 4)))]
    settings = _settings(rng)
    if settings["conflict_strategy"] == "manual-review":  # somebody decides while the record goes on changing
        more = Random(f"verdicts of {seed}")
        times = [more.uniform(5, BUSY_S) for _ in range(6)]
        deeds += [Deed(round(at_s, 2), "verdict", more.randrange(100), value=f"meanwhile {at_s:.0f}") for at_s in times]
    return Plan(
        "days",
        seed,
        settings,
        _switches(rng),
        tuple(sorted(deeds, key=_when)),
        tuple(sorted(spells, key=lambda spell: spell.from_s)),
        tuple(sorted(cuts, key=lambda cut: cut.at_s)),
    )


def _people(seed: int, rng: Random) -> Plan:
    """Assignees and work notes on both sides, among other edits, through a handful of troubles."""
    days = _days(seed, rng)
    whats = ("note",) * 5 + ("agent note",) * 4 + ("assign",) * 3 + ("agent assign",) * 2
    deeds = list(days.deeds)
    deeds += [_deed(rng, number, round(rng.uniform(0, BUSY_S), 2), whats) for number in range(rng.randint(10, 30))]
    first = days.spells[0]
    times = [rng.uniform(first.from_s, min(first.to_s, BUSY_S + 10)) for _ in range(6)]
    deeds += [_deed(rng, 100 + number, round(at_s, 2), whats) for number, at_s in enumerate(times)]
    spells = days.spells
    if rng.random() < SELDOM:
        spells = (*spells, Spell("notes_doubled=0.5", 0.0, BUSY_S))
    return replace(days, kind="people", deeds=tuple(sorted(deeds, key=_when)), spells=spells)


def _rules(seed: int, rng: Random) -> Plan:
    """Other owners of fields, and other directions, from the start and midway, through a handful of troubles."""
    days = _days(seed, rng)
    times = [0.0] * rng.randint(0, 3) + [round(rng.uniform(5, BUSY_S), 2) for _ in range(rng.randint(0, 3))]
    deeds = [_ownership(rng, at_s) for at_s in times]
    settings = days.settings
    if rng.random() < STEADY:
        times = [rng.uniform(10, BUSY_S) for _ in range(6)]
        deeds += [_deed(rng, 200 + one, round(at_s, 2), ("platform", "external")) for one, at_s in enumerate(times)]
    else:
        settings = settings | {"sync_direction": rng.choice(("bidirectional", "bidirectional", "inbound", "outbound"))}
        times = [round(rng.uniform(5, BUSY_S - 6), 2) for _ in range(rng.randint(1, 3))]
        deeds += [Deed(at_s, "direct", value=rng.choice(DIRECTIONS)) for at_s in times]
        deeds.append(Deed(BUSY_S - 5, "direct", value=DIRECTIONS[seed % len(DIRECTIONS)]))
        times = [rng.uniform(BUSY_S - 5, BUSY_S) for _ in range(4)]
        deeds += [_deed(rng, 300 + one, round(at_s, 2), ("platform", "external")) for one, at_s in enumerate(times)]
    return replace(days, kind="rules", settings=settings, deeds=tuple(sorted((*deeds, *days.deeds), key=_when)))


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
        deeds.append(_deed(rng, number, at_s, ("platform",) if number % 2 else ("external",)))
    deeds += [_deed(rng, 90 + one, round(rng.uniform(down_s, up_s), 2), ("declare", "create")) for one in range(2)]
    spells, from_s = list[Spell](), down_s
    while from_s < up_s:
        to_s = min(up_s, from_s + rng.uniform(30, 900))
        spells.append(Spell(rng.choice(OUTAGES), round(from_s, 2), round(to_s, 2)))
        from_s = to_s
    if rng.random() < 0.5:
        spells.append(Spell(rng.choice(("webhook_lost=0.3", "webhook_delay=60@0.3")), 0.0, up_s))
    cuts = [_cut(rng, up_s) for _ in range(rng.choice((0, 0, 1, 2)))]
    settings = _settings(rng) | {"max_concurrency": 4, "rate_limit": 10}
    return Plan(
        "outage",
        seed,
        settings,
        _switches(rng),
        tuple(sorted(deeds, key=_when)),
        tuple(spells),
        tuple(sorted(cuts, key=lambda cut: cut.at_s)),
        lasts_s=up_s,
    )


def _slow(seed: int, rng: Random) -> Plan:
    """Every answer takes two seconds."""
    deeds = [Deed(0.0, "declare", number, value=f"declared {number}", second="SEV-3") for number in range(4)]
    deeds += [Deed(0.0, "create", number, value=f"created {number}") for number in range(4)]
    whats = ("platform", "external", "both", "crossing", "resolve")
    deeds += [_deed(rng, number, round(rng.uniform(20, 80), 2), whats) for number in range(20)]
    spells = (Spell("slow=2", 0.0, 1e9),)
    return Plan("slow", seed, {}, _switches(rng), tuple(sorted(deeds, key=_when)), spells, lasts_s=80.0)


def _when(deed: Deed) -> float:
    return deed.at_s


DRAWN: Final = {"days": _days, "outage": _outage, "people": _people, "rules": _rules, "slow": _slow}
