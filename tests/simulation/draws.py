"""What single things are drawn: a deed and its value, a trouble's spell, a cut of the power, settings and switches."""

from random import Random
from typing import Final

from tests.simulation.plan import FIELDS, SEVERITIES, Cut, Deed, Spell
from tests.simulation.troubles import Trouble

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
CLOSE_CODES: Final = ("Solution provided", "Workaround provided", "Resolved by caller")
NOTES_ALIKE: Final = 0.3
EVENTS: Final = (
    *("SendStarted", "SendSettled", "SendFailed", "Observed", "Merged", "LinkJoined", "LinkOpened"),
    *("IncidentEdited", "IncidentDeclared", "Hinted", "HintsSettled"),
)


def drawn_value(rng: Random, field: str, side: str, number: int) -> str:
    if field == "severity":
        return rng.choice(SEVERITIES)
    if field == "status":
        return rng.choice(("open", "open", "mitigated", "mitigated", "resolved"))
    tail = f" {'x' * 200}" if side != "both" and rng.random() < 0.1 else ""
    return f"{field} {number} by {side}{tail}"


def drawn_deed(rng: Random, number: int, at_s: float, whats: tuple[str, ...]) -> Deed:
    what, which, field = rng.choice(whats), rng.randrange(100), rng.choice(FIELDS)
    match what:
        case "platform" | "external":
            return Deed(at_s, what, which, field, drawn_value(rng, field, what, number))
        case "both" | "crossing":
            return Deed(
                at_s,
                what,
                which,
                field,
                drawn_value(rng, field, "external", number),
                drawn_value(rng, field, "platform", number),
            )
        case "same":
            value = drawn_value(rng, field, "both", number)
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


def drawn_settings(rng: Random) -> dict[str, object]:
    return {
        "conflict_strategy": rng.choice(("last-write-wins", "last-write-wins", "ownership-priority", "manual-review")),
        "conflict_window": rng.choice(("5s", "5s", "1s", "always")),
        "max_concurrency": rng.choice((4, 4, 2, 1)),
        "rate_limit": rng.choice((10, 10, 5, 20)),
    }


def drawn_switches(rng: Random) -> dict[str, str]:
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


def drawn_spell(rng: Random, trouble: Trouble, until_s: float) -> Spell:
    from_s = rng.uniform(0.0, max(0.0, until_s - trouble.lasts_s[0]))
    return Spell(rng.choice(trouble.faults), round(from_s, 2), round(from_s + rng.uniform(*trouble.lasts_s), 2))


def drawn_cut(rng: Random, until_s: float) -> Cut:
    at_s = round(rng.uniform(1, until_s), 2)
    phase = rng.choice(("time", "written", "written", "synced", "left", "committed", "opening", "snapshot"))
    event = rng.choice(EVENTS) if phase in ("written", "synced") else ""
    return Cut(at_s, phase, event, rng.randint(1, 15) if phase in ("opening", "snapshot") else rng.choice((1, 1, 2, 3)))
