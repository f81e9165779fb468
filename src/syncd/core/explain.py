"""Why each synced field of an incident says what it says: the pair of values, who made them, the rule, the write.

A view of State: it decides nothing and remembers nothing, so it is as true after a restart as before. The words for
every reason are in ``reasons.py``.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from syncd.core.closing import waits_for_autoclose
from syncd.core.fold_links import CLOSE_DATA
from syncd.core.lens import lens_of
from syncd.core.looks import READ_AGAIN
from syncd.core.merge import HELD
from syncd.core.model import (
    EDITABLE_FIELDS,
    SYNCED_FIELDS,
    Conflict,
    DeadLetter,
    FieldBase,
    Half,
    Incident,
    Integration,
    Link,
    OutboxEntry,
    Side,
    Span,
    Stamp,
)
from syncd.core.reasons import RULES, STANDINGS, UNSYNCED, Standing, Unsynced, filled
from syncd.core.state import State
from syncd.core.views import DeliveryErrorView, Time, delivery_error, optional_time, rfc3339

UNKNOWN: Final = Span(-math.inf, math.inf)
TOLD_BY_LETTER: Final = frozenset(("dead-letter", "not-kept"))
MADE_BY_US: Final = frozenset(("created", "joined"))
UNDER_WAY: Final = frozenset(("waiting", "trying-again", "being-sent", "outcome-unknown", "dead-letter", "no-record"))


class WriteView(Struct, frozen=True):
    """What followed a decision. `to`: the side that got the value, or is to get it.

    `at`: when it had it, null while it has not. `became`: what ServiceNow made of the value, raw.
    """

    to: Side
    at: Time | None
    became: str | None
    attempts: int
    next_attempt_at: Time | None
    error: DeliveryErrorView | None


class FieldExplained(Struct, frozen=True, kw_only=True):
    """One field of one link.

    `base` and `base_external`: both halves, the second raw. `external`: what ServiceNow shows, in platform terms;
    null when it is hidden or means nothing here; `external_raw` is as it stands there. ServiceNow stamps records and
    not fields, so an edit there lies between `external_from` and `external_at`; null: not known. `trace`: the id of the
    change that `rule` decided, on everything that happened for it: in the timeline, and in the log.
    """

    field: str
    integration: str
    integration_id: str
    external_id: str | None
    external_number: str | None
    base: str | None
    base_external: str | None
    platform: str | None
    platform_by: str | None
    platform_at: Time | None
    external: str | None
    external_raw: str | None
    external_by: str | None
    external_from: Time | None
    external_at: Time | None
    rule: str | None
    why: str | None
    ruled_at: Time | None
    trace: str | None
    write: WriteView | None
    conflict: str | None
    dead_letter: str | None
    standing: Standing
    meaning: str
    way_out: str | None


class FieldNotSynced(Struct, frozen=True):
    """A field that no rule looks at, and why."""

    field: str
    platform: str | None
    reason: Unsynced
    why: str
    way_out: str | None


class Explanation(Struct, frozen=True):
    """An incident's fields under each of its links, oldest link first, and those that are not synced."""

    incident_id: str
    fields: list[FieldExplained]
    not_synced: list[FieldNotSynced]


def explain(state: State, incident: Incident, field: str | None = None) -> Explanation:
    """Everything there is to say about an incident's fields, or about one of its ``EDITABLE_FIELDS``."""
    wanted = [one for one in EDITABLE_FIELDS if field in {None, one}]
    links = [state.links[name] for name in state.links_of.get(incident.id, ())]
    conflicts = [one for one in state.conflicts.values() if one.incident_id == incident.id]
    looked_at = [
        _looked_at(state, link, incident, one, conflicts)
        for one in wanted
        for link in links
        if one in lens_of(state.integrations[link.integration_id].settings).fields
    ]
    synced = {*SYNCED_FIELDS, *(one.name for one in looked_at)}
    return Explanation(
        incident.id,
        [_explained(one) for one in looked_at],
        [_not_synced(state, incident, one) for one in wanted if one not in synced],
    )


def _not_synced(state: State, incident: Incident, field: str) -> FieldNotSynced:
    reason: Unsynced = "close-data" if field in CLOSE_DATA else "not-synced"
    names = {"FIELD": field}
    for name in state.links_of.get(incident.id, ())[:1]:
        names["INTEGRATION"] = state.integrations[state.links[name].integration_id].settings.handle
    words = UNSYNCED[reason]
    return FieldNotSynced(field, incident.value(field), reason, words.says, _way_out(words.way_out, names))


class _Field(Struct, frozen=True):
    """One field of one link, with all that State knows of it. ``now``, ``shown``: both sides in platform terms."""

    name: str
    link: Link
    integration: Integration
    base: FieldBase
    now: str
    raw: Half
    shown: Half
    stamp: Stamp
    conflict: Conflict | None
    letter: DeadLetter | None
    is_cut: bool
    is_waiting: bool
    is_dirty: bool


def _looked_at(state: State, link: Link, incident: Incident, name: str, conflicts: Sequence[Conflict]) -> _Field:
    lens, now = lens_of(state.integrations[link.integration_id].settings), incident.value(name) or ""
    raw = UNSET if link.observed is None else lens.raw_of(name, link.observed.columns)
    about = [one for one in conflicts if (one.integration_id, one.field) == (link.integration_id, name)]
    letters = [one for one in state.letters_under(link.id) if name in one.fields or one.operation == "create"]
    return _Field(
        name=name,
        link=link,
        integration=state.integrations[link.integration_id],
        base=link.base.get(name, FieldBase()),
        now=now,
        raw=raw,
        shown=lens.meaning(name, raw, now),
        stamp=incident.stamps.get(name, Stamp(incident.created_at_s, incident.updated_by)),
        conflict=about[-1] if about else None,
        letter=letters[-1] if letters else None,
        is_cut=lens.shows(name, raw, now),
        is_waiting=(link.id, name) in state.waiting,
        is_dirty=link.id in state.dirty.get(link.integration_id, {}),
    )


def _explained(one: _Field) -> FieldExplained:
    link, standing = one.link, _standing(one)
    rule, ruled_at_s = _rule(one)
    conflict = one.conflict if one.conflict is not None and _is_about(one.conflict, ruled_at_s) else None
    edited = _external_edit(one)
    names = {
        "INC": link.incident_id,
        "INTEGRATION": one.integration.settings.handle,
        "FIELD": one.name,
        "CONFLICT": conflict.id if conflict is not None else "",
        "ENTRY": one.letter.id if one.letter is not None else "",
    }
    words, ruling = STANDINGS[standing], RULES.get(rule or "")
    is_ignored = conflict is not None and conflict.status == "ignored"  # nobody lost
    of_rule = ruling.way_out if ruling is not None and not is_ignored else ""
    is_nearer = standing == "held-for-review" and rule in HELD  # it says why this one is held
    way_out = _way_out(of_rule if is_nearer else words.way_out or of_rule, names)
    if one.letter is not None and standing in TOLD_BY_LETTER:
        way_out = f"{one.letter.remedy}; {way_out}"
    return FieldExplained(
        field=one.name,
        integration=one.integration.settings.handle,
        integration_id=one.integration.id,
        external_id=link.external_id or None,
        external_number=link.external_number or None,
        base=_text(one.base.platform),
        base_external=_text(one.base.external),
        platform=one.now,
        platform_by=one.stamp.by or None,
        platform_at=rfc3339(one.stamp.at_s),
        external=_text(one.shown),
        external_raw=_text(one.raw),
        external_by=edited.by or None,
        external_from=rfc3339(edited.lo_s) if edited.lo_s > 0 else None,
        external_at=rfc3339(edited.hi_s) if math.isfinite(edited.hi_s) else None,
        rule=rule,
        why=None if ruling is None else ruling.says,
        ruled_at=rfc3339(ruled_at_s) if ruled_at_s > 0 else None,
        trace=_trace(one, standing) or None,
        write=_write(one, standing, ruled_at_s),
        conflict=names["CONFLICT"] or None,
        dead_letter=names["ENTRY"] or None,
        standing=standing,
        meaning=f"{words.says}: {link.reason}"
        if standing in ("parked", "closed-there") and link.reason
        else words.says,
        way_out=way_out,
    )


def _standing(one: _Field) -> Standing:
    """How the field stands now, whatever decided it; what stops everything comes first."""
    link = one.link
    if not one.integration.settings.runs:
        return "switched-off"
    if link.state == "parked":
        return "closed-there" if link.closed_there else "parked"
    if link.state == "pending":
        return _standing_of_create(one)
    if isinstance(one.raw, UnsetType):
        return "hidden"
    if isinstance(one.shown, UnsetType):
        return "no-mapping"
    if one.is_waiting:
        return "held-for-review"
    if one.name in link.held:
        return "discarded" if one.letter is None else "dead-letter"
    if link.in_flight is not None and one.name in link.in_flight.sent:
        return "being-sent"
    if one.base.reason == READ_AGAIN:
        return "to-be-decided"
    if one.shown == one.now:
        return "in-step"
    return _standing_apart(one)


def _standing_of_create(one: _Field) -> Standing:
    if one.letter is not None:
        return "dead-letter"
    if one.link.in_flight is not None:
        return "being-sent"
    return "outcome-unknown" if one.link.unsettled else "no-record"


def _standing_apart(one: _Field) -> Standing:
    """The sides mean different things, and nothing stops the field."""
    if (one.base.platform, one.base.external) == (one.now, one.raw):  # both halves say so: it is settled
        if one.letter is not None:
            return "not-kept"
        return "shortened" if one.is_cut else "accepted"
    outbox = one.link.outbox
    if one.is_dirty or outbox is None:
        return "to-be-decided" if one.is_dirty else "accepted"
    if outbox.failure is None:
        return "waiting"
    last = one.link.unsettled[-1] if one.link.unsettled else None
    is_unclear = last is not None and one.name in last.sent and last.started_at_s >= outbox.since_s
    return "outcome-unknown" if is_unclear else "trying-again"


def _rule(one: _Field) -> tuple[str | None, float]:
    """What decided the value, and when; (None, 0) when nothing had to be decided yet."""
    if one.link.state == "active" and isinstance(one.shown, UnsetType):
        return "unreadable", 0.0
    base = one.base
    if base.reason == READ_AGAIN:
        return READ_AGAIN, base.decided_at_s
    if one.name == "status" and base.reason == "delivered" and waits_for_autoclose(one.link):
        return "left-to-auto-close", base.decided_at_s
    is_base = base.platform == one.now
    goes_out = is_base if base.reason == "delivered" else not is_base and not one.is_dirty
    if base.reason in {"delivered", "one-side-changed"} and goes_out and one.stamp.at_s > base.ruled_at_s:
        return "one-side-changed", one.stamp.at_s  # edited again while an earlier decision was on its way
    return (base.rule or None), base.ruled_at_s


def _trace(one: _Field, standing: Standing) -> str:
    """The id of the change that made the field what it is, or is about to."""
    entry = one.link.outbox
    return entry.trace if standing in UNDER_WAY and entry is not None else one.base.trace


def _is_about(conflict: Conflict, ruled_at_s: float) -> bool:
    """The conflict waits, or its end is the decision that stands."""
    return conflict.status == "pending" or conflict.resolved_at_s == ruled_at_s


def _external_edit(one: _Field) -> Span:
    """Who made the value that ServiceNow shows, and when, as far as it can be known."""
    if isinstance(one.raw, UnsetType):
        return UNKNOWN
    base, ours = one.base, one.integration.account or "syncd"
    if base.edited is not None or base.reason == "":
        return base.edited or UNKNOWN
    if base.reason == "delivered" or base.written_at_s > 0:
        written_at_s = base.written_at_s or base.decided_at_s
        return Span(written_at_s, written_at_s, ours)
    return Span(-math.inf, base.decided_at_s, ours if base.rule in MADE_BY_US else "")


def _write(one: _Field, standing: Standing, ruled_at_s: float) -> WriteView | None:
    """What followed the decision: still under way, or done; None when nothing had to be written."""
    link, base = one.link, one.base
    if standing in UNDER_WAY:
        entry = link.outbox
        failure = one.letter.error if one.letter is not None else entry.failure if entry is not None else None
        tried = entry if entry is not None else one.letter
        return WriteView(
            to="external",
            at=None,
            became=None,
            attempts=tried.attempts if tried is not None else 0,
            next_attempt_at=None if standing == "being-sent" else _next_attempt_at(entry, one.letter),
            error=None if failure is None else delivery_error(failure),
        )
    if base.reason == "delivered":
        failure = one.letter.error if one.letter is not None else None
        error = None if failure is None else delivery_error(failure)
        return WriteView("external", rfc3339(base.decided_at_s), _text(base.external), 1, None, error)
    if base.rule and one.stamp.at_s in {ruled_at_s, base.decided_at_s}:  # taken over in the very step that decided
        return WriteView("platform", rfc3339(one.stamp.at_s), None, 1, None, None)
    return None


def _next_attempt_at(entry: OutboxEntry | None, letter: DeadLetter | None) -> str | None:
    if entry is not None:
        return rfc3339(entry.next_at_s)
    return None if letter is None else optional_time(letter.retry_at_s)


def _way_out(text: str, names: Mapping[str, str]) -> str | None:
    """A way out with the names at hand; none that speaks of a conflict when there is none."""
    return filled(text, names) if text and ("{CONFLICT}" not in text or names["CONFLICT"]) else None


def _text(half: Half) -> str | None:
    return half if isinstance(half, str) else None
