"""``decide`` against a table written from docs/sync.md, over every combination, and the algebra it must obey."""

import math
from collections.abc import Iterator
from itertools import product
from typing import Final, NamedTuple, get_args

import pytest
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from syncd.core.merge import Decision, Policy, Seen, decide, halves_after
from syncd.core.model import Half, Halves, Side, Span, Strategy

VALUES: Final[tuple[Half, ...]] = (UNSET, "", "a", "b", "c")
SIDES: Final[tuple[Side, ...]] = ("platform", "external")
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)
OPEN_WAYS: Final = {
    "bidirectional": (True, True),
    "inbound": (True, False),
    "outbound": (False, True),
    "none": (False, False),
}


class Order(NamedTuple):
    """How two edits lie in time. ``later``: the side whose edit is surely later; None if that cannot be known."""

    platform: Span
    external: Span
    window_s: float
    is_inside: bool
    later: Side | None


def span(lo_s: float, hi_s: float, by: str = "") -> Span:
    return Span(lo_s, hi_s, by)


ORDERS: Final = {
    "overlapping": Order(span(100, 100), span(99, 101), 5, True, None),
    "platform later, inside": Order(span(104, 104), span(100, 101), 5, True, "platform"),
    "external later, inside": Order(span(100, 100), span(103, 104), 5, True, "external"),
    "at the window's edge": Order(span(106, 106), span(100, 101), 5, True, "platform"),
    "platform later, outside": Order(span(120, 120), span(100, 101), 5, False, "platform"),
    "external later, outside": Order(span(100, 100), span(110, 111), 5, False, "external"),
    "touching": Order(span(101, 101), span(100, 101), 0, True, None),
    "external at any time": Order(span(100, 100), span(-math.inf, math.inf), 5, True, None),
    "far apart, window always": Order(span(100, 100), span(9000, 9001), math.inf, True, "external"),
}

# What is known of one side: "-" it shows nothing we can read; "=" what it was known to hold; "*" something else;
# "?" it shows something, and what it held is not known. One row for each pair, as docs/sync.md lists them.
SETTLED, PLATFORM, EXTERNAL, FIRST, BOTH = "settled", "platform changed", "external changed", "first link", "both"
ROWS: Final = {
    ("=", "="): SETTLED,
    ("*", "="): PLATFORM,
    ("?", "="): PLATFORM,
    ("=", "*"): EXTERNAL,
    ("=", "?"): EXTERNAL,
    ("?", "?"): FIRST,
    ("*", "*"): BOTH,
    ("*", "?"): BOTH,
    ("?", "*"): BOTH,
}
# What becomes of a row when edits spread one way only, or not at all. The loser of a first link is always recorded.
ONE_WAY: Final = {
    ("inbound", PLATFORM): Decision(None, "not-outbound"),
    ("inbound", EXTERNAL): Decision("external", "one-side-changed"),
    ("inbound", BOTH): Decision("external", "one-side-changed", overruled=True),
    ("inbound", FIRST): Decision("external", "first-link", overruled=True),
    ("outbound", PLATFORM): Decision("platform", "one-side-changed"),
    ("outbound", EXTERNAL): Decision(None, "not-inbound"),
    ("outbound", BOTH): Decision("platform", "one-side-changed", overruled=True),
    ("outbound", FIRST): Decision("platform", "first-link", overruled=True),
    ("none", PLATFORM): Decision(None, "not-outbound"),
    ("none", EXTERNAL): Decision(None, "not-inbound"),
    ("none", BOTH): Decision(None, "not-inbound"),
    ("none", FIRST): Decision(None, "not-inbound"),
}


def sign(half: Half, now: Half) -> str:
    if now is UNSET:
        return "-"
    if half is UNSET:
        return "?"
    return "=" if half == now else "*"


def by_table(
    platform: tuple[Half, Half], external: tuple[Half, Half], order: Order, owner: Side, strategy: Strategy, way: str
) -> Decision:
    """The decision as the documentation's tables give it, for (half, now) of both sides."""
    signs = (sign(*platform), sign(*external))
    if "-" in signs:
        return Decision(None, "unreadable")
    row = ROWS[signs]
    if row == SETTLED:
        return Decision(None, "unchanged")
    if platform[1] == external[1]:
        return Decision(None, "converged")
    if row == FIRST and way != "none" and "" in {platform[1], external[1]}:
        fuller: Side = "platform" if platform[1] else "external"
        spreads = dict(zip(("external", "platform"), OPEN_WAYS[way], strict=True))
        return Decision(fuller if spreads[fuller] else None, "one-empty")  # an empty value never wipes out the other
    if way != "bidirectional":
        return ONE_WAY[way, row]
    if row == FIRST:
        return Decision(owner, "first-link", overruled=True)
    if row != BOTH:
        return Decision("platform" if row == PLATFORM else "external", "one-side-changed")
    if order.is_inside and strategy == "manual-review":
        return Decision(None, "held-for-review")
    if order.is_inside and strategy == "ownership-priority":
        return Decision(owner, "owner", overruled=True)
    if order.later is None:
        return Decision(owner, "order-unknown", overruled=True)
    return Decision(order.later, "later-edit", overruled=True)


class Case(NamedTuple):
    """One field, one policy."""

    platform: Seen
    external: Seen
    policy: Policy


def cases(way: str, owner: Side, strategy: Strategy) -> Iterator[tuple[Case, Order]]:
    inbound, outbound = OPEN_WAYS[way]
    for order in ORDERS.values():
        policy = Policy(owner, 1, strategy, order.window_s, inbound, outbound)
        for platform_half, platform_now, external_half, external_now in product(VALUES, repeat=4):
            moved = external_half != external_now
            platform = Seen(platform_half, platform_now, order.platform)
            yield Case(platform, Seen(external_half, external_now, order.external, moved), policy), order


POLICIES: Final = [
    pytest.param(way, owner, strategy, id=f"{way}-{owner}-{strategy}")
    for way, owner, strategy in product(OPEN_WAYS, SIDES, STRATEGIES)
]


@pytest.mark.parametrize(("way", "owner", "strategy"), POLICIES)
def test_every_combination_is_decided_as_the_table_says(way: str, owner: Side, strategy: Strategy) -> None:
    for (platform, external, policy), order in cases(way, owner, strategy):
        wanted = by_table((platform.half, platform.now), (external.half, external.now), order, owner, strategy, way)
        assert decide(platform, external, policy) == wanted, (platform, external, policy)


@pytest.mark.parametrize(("way", "owner", "strategy"), POLICIES)
def test_equal_sides_are_not_settled_on_a_picture_from_before_the_platforms_edit(
    way: str, owner: Side, strategy: Strategy
) -> None:
    for (platform, external, policy), _ in cases(way, owner, strategy):
        on_old = decide(platform, replace(external, is_old=True), policy)
        if platform.now == external.now != UNSET and platform.changed:
            assert on_old == Decision(None, "read-again")
            before = Halves(platform.half, external.half)
            assert halves_after(on_old, str(platform.now), str(external.now), before) == before
        else:
            assert on_old == decide(platform, external, policy)


@pytest.mark.parametrize(("way", "owner", "strategy"), POLICIES)
def test_swapping_the_sides_swaps_the_decision(way: str, owner: Side, strategy: Strategy) -> None:
    other: dict[Side | None, Side | None] = {"platform": "external", "external": "platform", None: None}
    renamed = {"not-inbound": "not-outbound", "not-outbound": "not-inbound"}
    for (platform, external, policy), _ in cases(way, owner, strategy):
        decision = decide(platform, external, policy)
        mirrored = decide(
            external,
            platform,
            Policy(
                "external" if owner == "platform" else "platform",
                policy.priority,
                strategy,
                policy.window_s,
                policy.outbound,
                policy.inbound,
            ),
        )
        assert mirrored.winner == other[decision.winner]
        assert mirrored.overruled == decision.overruled
        if way != "none":  # which of the two closed ways is named makes no difference
            assert mirrored.reason == renamed.get(decision.reason, decision.reason)


def settled(case: Case, decision: Decision) -> Case:
    """Both sides after the decision: the halves it left, and the platform's value if the external one was taken over.

    The raw external value is its meaning here.
    """
    platform, external, policy = case
    if isinstance(platform.now, UnsetType) or isinstance(external.now, UnsetType):
        return case
    taken = external.now if decision.winner == "external" else platform.now
    halves = halves_after(decision, taken, external.now, Halves(platform.half, external.half))
    here, there = Seen(halves.platform, taken, platform.at), Seen(halves.external, external.now, external.at)
    return Case(here, there, policy)


def delivered(case: Case) -> Case:
    """After the platform's value was written and echoed as it is."""
    half = case.platform.now
    return Case(Seen(half, half, case.platform.at), Seen(half, half, case.external.at), case.policy)


@pytest.mark.parametrize(("way", "owner", "strategy"), POLICIES)
def test_a_second_look_changes_nothing_and_a_delivery_settles(way: str, owner: Side, strategy: Strategy) -> None:
    for case, _ in cases(way, owner, strategy):
        decision = decide(*case)
        after = settled(case, decision)
        again = decide(*after)
        if decision.reason in {"unreadable", "held-for-review"}:
            assert again == decision
        elif decision.winner == "platform":
            assert again == Decision("platform", "one-side-changed")  # until it is delivered
            assert settled(after, again) == after
            assert decide(*delivered(after)).reason == "unchanged"
        elif decision.winner == "external" or decision.reason in {"converged", "unchanged", "one-empty"}:
            assert again == Decision(None, "unchanged")
        else:
            assert again.winner is None
            assert decide(*settled(after, again)).winner is None


@pytest.mark.parametrize(("way", "owner", "strategy"), POLICIES)
def test_equal_values_are_never_written_and_a_closed_way_never_taken(way: str, owner: Side, strategy: Strategy) -> None:
    for case, _ in cases(way, owner, strategy):
        platform, external, policy = case
        decision = decide(*case)
        if platform.now == external.now or UNSET in (platform.now, external.now):
            assert decision.winner is None
        assert decision.winner != "external" or policy.inbound
        assert decision.winner != "platform" or policy.outbound


@pytest.mark.parametrize("owner", SIDES)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_edit_that_loses_is_flagged_for_a_conflict_record(owner: Side, strategy: Strategy) -> None:
    for case, _ in cases("bidirectional", owner, strategy):
        decision = decide(*case)
        loser = case.external if decision.winner == "platform" else case.platform
        if decision.winner is not None and loser.changed and loser.now:
            assert decision.overruled, case


def test_what_servicenow_cut_is_settled_and_not_an_edit() -> None:
    at = Span(100, 100)
    platform, external = Seen("a long title", "a long title", at), Seen("a long", "a long", at)
    assert decide(platform, external, Policy("platform")).reason == "unchanged"


def test_a_raw_value_that_moved_within_one_meaning_moves_only_the_external_half() -> None:
    at = Span(100, 100)
    decision = decide(Seen("open", "open", at), Seen("open", "open", at, moved=True), Policy("platform"))
    assert decision == Decision(None, "same-meaning")
    assert halves_after(decision, "open", "2", Halves("open", "1")) == Halves("open", "2")


def test_an_owners_priority_changes_no_decision_since_ties_go_to_the_owner() -> None:
    order = ORDERS["overlapping"]
    platform, external = Seen("a", "b", order.platform), Seen("a", "c", order.external)
    decisions = {
        decide(platform, external, Policy("external", priority, "ownership-priority")) for priority in (0, 1, 1000)
    }
    assert decisions == {Decision("external", "owner", overruled=True)}


def test_the_overruled_half_is_seen_and_the_winners_is_undelivered() -> None:
    decision = Decision("platform", "later-edit", overruled=True)
    assert halves_after(decision, "mine", "theirs", Halves("old", "old")) == Halves(UNSET, "theirs")


def test_so_it_is_when_only_the_winners_edits_may_spread() -> None:
    decision = Decision("platform", "one-side-changed", overruled=True)
    assert halves_after(decision, "mine", "theirs", Halves("old", "old")) == Halves(UNSET, "theirs")


def test_taking_the_external_value_over_moves_both_halves_at_once() -> None:
    decision = Decision("external", "later-edit", overruled=True)
    assert halves_after(decision, "theirs", "theirs, raw", Halves("old", "old")) == Halves("theirs", "theirs, raw")


# -- exclusive owners --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", OPEN_WAYS)
@pytest.mark.parametrize("owner", SIDES)
def test_an_exclusive_owner_is_put_back_exactly_where_the_other_side_edited_and_it_may_spread(
    way: str, owner: Side
) -> None:
    for case, _ in cases(way, owner, "manual-review"):
        platform, external, policy = case
        shared, exclusive = decide(*case), decide(platform, external, replace(policy, exclusive=True))
        other = external if owner == "platform" else platform
        spreads = policy.outbound if owner == "platform" else policy.inbound
        is_edit = other.half is not UNSET and other.now != other.half
        can_be_read = UNSET not in {platform.now, external.now}
        if can_be_read and platform.now != external.now and is_edit and spreads:
            assert exclusive == Decision(owner, "exclusive", overruled=True)
            worn = replace(policy, exclusive=True, is_worn=True)
            assert decide(platform, external, worn) == Decision(None, "put-back-too-often")
            after = settled(Case(platform, external, replace(policy, exclusive=True)), exclusive)
            again = decide(*after)
            assert again.reason == ("one-side-changed" if owner == "platform" else "unchanged")
            assert again.winner == ("platform" if owner == "platform" else None)
        else:
            assert exclusive == shared


def test_what_was_put_back_in_vain_moves_no_half() -> None:
    decision = Decision(None, "put-back-too-often")
    assert halves_after(decision, "mine", "theirs", Halves("mine", "old")) == Halves("mine", "old")
