"""The truth table of docs/sync.md, made from the code: every combination is decided, and rows that agree are joined.

``python -m tests.core.truth_table`` writes it anew between its marks (``make docs``); ``test_truth_table.py`` says when
that is due.
"""

import sys
from itertools import product
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import UNSET
from msgspec.structs import replace

from syncd.core.deciding import policy_for
from syncd.core.merge import HELD, Decision, Policy, Seen, decide
from syncd.core.model import FieldBase, Integration, OwnershipRule, Settings, Span
from tests.core.picture import integration

PAGE: Final = Path(__file__).parents[2] / "docs" / "sync.md"
BEGIN: Final = "<!-- truth table: made by `make docs`, checked by tests/core/test_truth_table.py -->"
END: Final = "<!-- end of the truth table -->"
HEAD: Final = ("edited", "owner", "strategy", "direction", "window", "outcome", "reason")

NOW, JUST_BEFORE, LONG_BEFORE = Span(100, 100), Span(96, 97), Span(40, 41)
ANY_TIME: Final = Span(0, 200)


class Situation(NamedTuple):
    """Who edited: the halves and values of both sides, and whose edit is the later one.

    ``is_old``: ServiceNow was last read before the platform's edit.
    """

    words: str
    platform: tuple[str | None, str]  # None: the half is not known
    external: tuple[str | None, str]
    later: str = ""
    is_old: bool = False


SITUATIONS: Final = (
    Situation("platform", ("a", "b"), ("a", "a")),
    Situation("ServiceNow", ("a", "a"), ("a", "c")),
    Situation("both, one later", ("a", "b"), ("a", "c"), "platform"),
    Situation("both, one later", ("a", "b"), ("a", "c"), "external"),
    Situation("both, order unknown", ("a", "b"), ("a", "c"), "unknown"),
    Situation("both, to the same", ("a", "b"), ("a", "b"), "unknown"),
    Situation("platform, to what was last read there", ("a", "b"), ("b", "b"), is_old=True),
    Situation("first link, both have a value", (None, "b"), (None, "c"), "unknown"),
    Situation("first link, ServiceNow's is empty", (None, "b"), (None, ""), "unknown"),
    Situation("first link, platform's is empty", (None, ""), (None, "c"), "unknown"),
)
AXES: Final[dict[str, tuple[str, ...]]] = {
    "edited": tuple(dict.fromkeys(one.words for one in SITUATIONS)),
    "owner": ("platform", "external", "platform, exclusive", "external, exclusive"),
    "strategy": ("last-write-wins", "ownership-priority", "manual-review"),
    "direction": ("bidirectional", "inbound", "outbound", "none", "disabled"),
    "window": ("within", "outside"),
}
Row = tuple[frozenset[str], ...]


def _decided(situation: Situation, policy: Policy, window: str) -> Decision:
    early = JUST_BEFORE if window == "within" else LONG_BEFORE
    spans = {"platform": (NOW, early), "external": (early, NOW), "unknown": (NOW, ANY_TIME)}
    at_platform, at_external = spans[situation.later] if situation.later else (NOW, NOW)
    (half, now), (there, shown) = situation.platform, situation.external
    return decide(
        Seen(UNSET if half is None else half, now, at_platform),
        Seen(UNSET if there is None else there, shown, at_external, is_old=situation.is_old),
        policy,
    )


def _under(owner: str, strategy: str, direction: str) -> Integration:
    settings: Settings = integration(conflict_strategy=strategy).settings
    way = {"enabled": False} if direction == "disabled" else {"sync_direction": direction}
    rule = OwnershipRule("platform" if "platform" in owner else "external", exclusive="exclusive" in owner)
    return replace(integration(), settings=replace(settings, **way), ownership={"title": rule})


def _outcome(decision: Decision, owner: str, direction: str) -> str:
    if decision.reason in HELD:
        return "waits for a person"
    if decision.winner is None:
        words = {
            "not-inbound": "nothing moves, settled on its own half",
            "not-outbound": "nothing moves, settled on its own half",
            "converged": "nothing to write, both halves move",
            "one-empty": "nothing moves, the difference is accepted",
            "read-again": "ServiceNow is read once more, then decided",
        }
        return words[decision.reason]
    if decision.reason == "later-edit":
        stands = "the later"
    elif decision.reason in {"owner", "order-unknown", "exclusive"} or (
        decision.reason == "first-link" and direction == "bidirectional"
    ):
        assert decision.winner is not None
        assert owner.startswith(decision.winner)
        stands = "the owner's"
    else:
        stands = "the platform's" if decision.winner == "platform" else "ServiceNow's"
    return f"{stands} stands" + ", the other is kept in a record" * decision.overruled


def cases() -> dict[tuple[str, ...], tuple[str, str]]:
    """Outcome and reason of every combination that can be; the window matters only where two edits have an order."""
    found: dict[tuple[str, ...], tuple[str, str]] = {}
    for situation, (owner, strategy, direction, window) in product(SITUATIONS, product(*list(AXES.values())[1:])):
        under = _under(owner, strategy, direction)
        case = (situation.words, owner, strategy, direction, window)
        if not under.settings.runs:
            found[case] = ("nothing is decided, until it is on again", "")
            continue
        decision = _decided(situation, policy_for(under, "title", FieldBase(), None, 0.0), window)
        outcome = (_outcome(decision, owner, direction), f"`{decision.reason}`")
        assert found.setdefault(case, outcome) == outcome, case  # whichever is later
    return found


def rows() -> list[tuple[Row, tuple[str, str]]]:
    """The combinations, those with one outcome joined along one axis after the other, the window first."""
    joined: dict[tuple[Row, tuple[str, str]], None] = {
        (tuple(frozenset([word]) for word in case), outcome): None for case, outcome in cases().items()
    }
    for axis in sorted(range(len(AXES)), key=lambda at: HEAD[at] != "window"):
        alike: dict[tuple[Row, tuple[str, str]], frozenset[str]] = {}
        for row, outcome in joined:
            rest = ((*row[:axis], frozenset(), *row[axis + 1 :]), outcome)
            alike[rest] = alike.get(rest, frozenset()) | row[axis]
        joined = {((*rest[:axis], words, *rest[axis + 1 :]), outcome): None for (rest, outcome), words in alike.items()}

    def place(one: tuple[Row, tuple[str, str]]) -> list[int]:
        return [min(words.index(word) for word in one[0][at]) for at, words in enumerate(AXES.values())]

    return sorted(joined, key=place)


def table() -> str:
    """As Markdown. A cell that would list every word of its axis says ``any``."""
    lines = [f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD)]
    for row, (outcome, reason) in rows():
        cells = [_cell(have, words) for have, words in zip(row, AXES.values(), strict=True)]
        lines.append(f"| {' | '.join([*cells, outcome, reason])} |")
    return "\n".join(lines)


def _cell(have: frozenset[str], words: tuple[str, ...]) -> str:
    return "any" if len(have) == len(words) else "; ".join(word for word in words if word in have)


def with_table(page: str) -> str:
    """The page with the table of today; ``ValueError`` where its marks are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        msg = f"the marks {BEGIN!r} and {END!r} are not in the page"
        raise ValueError(msg)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{len(rows())} rows written to {PAGE}\n")
