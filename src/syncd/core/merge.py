"""Three-way merge of one field: which side's value stands, and why (docs/sync.md, "How one field is decided").

``decide`` looks at both sides in platform terms and at what each was known to hold when the field was last settled.
It moves nothing: what a decision does to the two halves is the fold's business (``links.py``), so it is the same live
and in replay.
"""

from typing import Final, Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from syncd.core.model import Half, Halves, Side, Span, Strategy

Reason: TypeAlias = Literal[
    "unreadable",  # absent, or without a mapping: no decision and no write
    "unchanged",
    "same-meaning",  # only the raw value moved: New became In Progress
    "converged",  # both changed, to the same
    "read-again",  # they seem to be the same, on a picture from before the platform's edit: look first
    "one-side-changed",
    "one-empty",  # first link: the side that has something
    "first-link",  # first link, both have something: the owner
    "not-inbound",  # the ServiceNow side changed and may not spread
    "not-outbound",  # the platform side changed and may not spread
    "later-edit",
    "owner",  # ownership-priority
    "exclusive",  # the owner's value is put back
    "put-back-too-often",  # it was, again and again, and something undoes it each time: held for a person
    "order-unknown",  # last-write-wins, but the stamps cannot tell which was later: the owner
    "held-for-review",
]


STAYED: Final[frozenset[str]] = frozenset({"not-inbound", "not-outbound", "one-empty"})  # settled where it was made
HELD: Final[frozenset[Reason]] = frozenset({"held-for-review", "put-back-too-often"})  # a person must decide


class Seen(Struct, frozen=True):
    """One field on one side, in platform terms.

    ``half``: what this side was known to hold when it was last settled (UNSET: not known). ``now``: what it shows
    (UNSET: absent, or without a mapping). ``moved``: the raw value is another one, whatever it means.
    ``at``: when it came to show that, on our clock. ``is_old``: it was looked at before the other side's last edit.
    """

    half: Half
    now: Half
    at: Span
    moved: bool = False
    is_old: bool = False

    @property
    def changed(self) -> bool:
        """It differs from its own half."""
        return self.now != self.half


class Policy(Struct, frozen=True):
    """The rules for one field under one integration. ``window_s`` is ``inf`` for ``always``.

    ``exclusive``: the owner's value is put back after the other side's edit. ``is_worn``: that was in vain lately.
    """

    owner: Side
    priority: int = 1
    strategy: Strategy = "last-write-wins"
    window_s: float = 5.0
    inbound: bool = True
    outbound: bool = True
    exclusive: bool = False
    is_worn: bool = False


class Decision(Struct, frozen=True):
    """``winner`` None: nobody's value moves. ``overruled``: the loser had a value that a person must find."""

    winner: Side | None
    reason: Reason
    overruled: bool = False


NOTHING_SEEN: Final = Decision(None, "unreadable")


def decide(platform: Seen, external: Seen, policy: Policy) -> Decision:
    """Judge one field. Never raises. Exhaustively compared with a table in ``tests/core/test_merge.py``."""
    if isinstance(platform.now, UnsetType) or isinstance(external.now, UnsetType):
        return NOTHING_SEEN
    if not platform.changed and not external.changed:  # an echo ends here, and so does a value that ServiceNow cut
        return Decision(None, "same-meaning" if external.moved else "unchanged")
    if platform.now == external.now:  # no write will look once more whether that is still so
        return Decision(None, "read-again" if external.is_old and platform.changed else "converged")
    if policy.exclusive and _is_to_be_put_back(platform, external, policy):
        return (
            Decision(None, "put-back-too-often")
            if policy.is_worn
            else Decision(policy.owner, "exclusive", overruled=True)
        )
    first = isinstance(platform.half, UnsetType) and isinstance(external.half, UnsetType)
    if external.changed and not policy.inbound and not (first and policy.outbound):
        return Decision(None, "not-inbound") if not (platform.changed and policy.outbound) else _only("platform")
    if platform.changed and not policy.outbound and not (first and policy.inbound):
        return Decision(None, "not-outbound") if not external.changed else _only("external")
    if first:
        return _first_link(platform.now, external.now, policy)
    if not external.changed:
        return Decision("platform", "one-side-changed")
    if not platform.changed:
        return Decision("external", "one-side-changed")
    return _both_changed(platform.at, external.at, policy)


def _is_to_be_put_back(platform: Seen, external: Seen, policy: Policy) -> bool:
    """The side that does not own the field edited it, and the owner's value may spread.

    A half that is not known is no edit: that value was decided for, by a person too, and is not delivered yet.
    """
    other, spreads = (external, policy.outbound) if policy.owner == "platform" else (platform, policy.inbound)
    return spreads and other.changed and not isinstance(other.half, UnsetType)


def _only(side: Side) -> Decision:
    """Both changed, and only this side's edits may spread: it stands, and the other's value is kept in a record."""
    return Decision(side, "one-side-changed", overruled=True)


def _first_link(platform: str, external: str, policy: Policy) -> Decision:
    fuller: Side | None = None if platform and external else "platform" if platform else "external"
    if fuller is not None:  # an empty value never wipes out the other; where it may not spread, the difference stays
        spreads = policy.outbound if fuller == "platform" else policy.inbound
        return Decision(fuller if spreads else None, "one-empty")
    winner: Side = policy.owner
    if not policy.inbound or not policy.outbound:
        winner = "external" if policy.inbound else "platform"
    return Decision(winner, "first-link", overruled=True)


def _both_changed(platform_at: Span, external_at: Span, policy: Policy) -> Decision:
    nearest_s = max(platform_at.lo_s - external_at.hi_s, external_at.lo_s - platform_at.hi_s, 0.0)
    strategy = policy.strategy if nearest_s <= policy.window_s else "last-write-wins"
    if strategy == "manual-review":
        return Decision(None, "held-for-review")
    if strategy == "ownership-priority":
        return Decision(policy.owner, "owner", overruled=True)  # its priority is at least 0, the other side's is 0
    if platform_at.lo_s > external_at.hi_s:
        return Decision("platform", "later-edit", overruled=True)
    if external_at.lo_s > platform_at.hi_s:
        return Decision("external", "later-edit", overruled=True)
    return Decision(policy.owner, "order-unknown", overruled=True)


def halves_after(decision: Decision, platform_now: str, external_raw: str, half: Halves) -> Halves:
    """The pair base after a decision (decisions 5 and 6); ``platform_now`` is what the platform holds after it."""
    match decision.winner, decision.reason:
        case None, "converged" | "one-empty":
            return Halves(platform_now, external_raw)
        case None, "same-meaning" | "not-inbound":
            return Halves(half.platform, external_raw)
        case None, "not-outbound":
            return Halves(platform_now, half.external)
        case None, _:
            return half
        case "external", _:
            return Halves(platform_now, external_raw)  # taken over in the event that changes the incident
        case _, "one-side-changed" if not decision.overruled:
            return Halves(half.platform, external_raw)
        case _:
            return Halves(UNSET, external_raw)  # overruled: seen, and the winner not delivered yet
