"""How each event changes one link: pure functions from Link to Link, used by the fold and by decisions that look ahead.

The base moves here and nowhere else (docs/sync.md, "The base is a pair").
"""

from collections.abc import Iterable
from typing import Final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from syncd.core import untold
from syncd.core.events import FieldDecided, Merged, Observed, SendFailed, SendSettled, SendStarted
from syncd.core.lens import Lens
from syncd.core.looks import READ_AGAIN, looked
from syncd.core.merge import STAYED
from syncd.core.model import (
    UNSETTLED_ATTEMPTS_KEPT,
    Attempt,
    Conflict,
    FieldBase,
    Halves,
    Incident,
    Link,
    Observation,
    OutboxEntry,
    Span,
)
from syncd.core.reasons import Settling
from syncd.core.traces import join

PUT_BACKS_MAX: Final = 3  # so often within ``deciding.PUT_BACKS_S``, then a person is asked
_NO_RULE = frozenset({"unchanged", "unreadable", READ_AGAIN})  # the value is still what an earlier rule made it
_LAST_STAMP_S = 1.0  # ServiceNow stamps whole seconds: an edit lies anywhere in the second of its stamp


def edited_span(link: Link, seen: Observation, offset_s: float, offset_error_s: float) -> Span | None:
    """When the newest edit in ``seen`` happened, on our clock; None without a stamp.

    It lies in the stamp's own second if the count grew by exactly one, else anywhere since the last stamp we saw.
    """
    if seen.updated_at_s is None:
        return None
    before = link.observed
    known = link.known_count
    lo_s = seen.created_at_s or 0.0
    if before is not None and before.updated_at_s is not None:
        lo_s = before.updated_at_s
    if known is not None and seen.mod_count == known + 1:
        lo_s = seen.updated_at_s
    lo_s = min(lo_s, seen.updated_at_s)
    hi_s = seen.updated_at_s + _LAST_STAMP_S
    return Span(lo_s - offset_s - offset_error_s, hi_s - offset_s + offset_error_s, seen.updated_by)


def with_observation(
    link: Link,
    seen: Observation,
    position: int,
    at_s: float,
    offset_s: float,
    offset_error_s: float,
    lens: Lens,
    *,
    except_for: Iterable[str] = (),
) -> Link:
    """The link with a newer picture of its record. Fields in ``except_for`` are ours: they get no edit span."""
    base = dict(link.base)
    span = edited_span(link, seen, offset_s, offset_error_s)
    before = link.observed.columns if link.observed is not None else {}
    ours = frozenset(except_for)
    for field in lens.fields:
        raw = lens.raw_of(field, seen.columns)
        if field not in ours and raw != lens.raw_of(field, before):
            base[field] = replace(base.get(field, FieldBase()), edited=span)
    count = link.known_count if seen.mod_count is None else seen.mod_count  # a lower one: the record was restored
    return replace(
        link,
        observed=seen,
        observed_at=position,
        observed_at_s=at_s,
        known_count=count,
        external_number=seen.number or link.external_number,
        base=base,
    )


def after_observed(link: Link, event: Observed, position: int, at_s: float, lens: Lens) -> Link:
    """The link after a read that showed something new."""
    link = looked(link, event.asked)
    return with_observation(link, event.observation, position, at_s, event.offset_s, event.offset_error_s, lens)


def after_merged(link: Link, event: Merged, at_s: float, trace: str) -> Link:
    """The link after a merge: halves, reasons, and whether it must be written."""
    base = dict(link.base)
    for decided in event.decided:
        before = base.get(decided.field, FieldBase())
        still = decided.reason in _NO_RULE or (decided.reason == "same-meaning" and before.rule in STAYED)
        is_rule = not still and not _carries_out(decided, before)
        base[decided.field] = replace(
            before,
            platform=decided.halves.platform,
            external=decided.halves.external,
            reason=decided.reason,
            decided_at_s=at_s,
            put_backs=_put_backs(before, decided.reason, at_s),
            rule=decided.reason if is_rule else before.rule,
            ruled_at_s=at_s if is_rule else before.ruled_at_s,
            trace=trace if is_rule else before.trace,
            untold=untold.after(before, decided),
        )
    outbox = link.outbox
    if event.must_write and outbox is None:
        outbox = OutboxEntry(since_s=at_s, trace=trace, next_at_s=at_s)
    elif event.must_write and outbox is not None:
        outbox = replace(outbox, trace=join(outbox.trace, trace))  # they go in one write
    elif not event.must_write:
        outbox = None
    return replace(link, base=base, outbox=outbox)


def with_edits(link: Link, incident: Incident, trace: str) -> Link:
    """The link after a merge that let edits of the platform stand: each is the change that its field's rule is about.

    A merge decides nothing about a field that goes out again as it did before, so no decision of it tells. A value that
    the platform took over is no edit of it.
    """
    base = dict(link.base)
    for field, one in link.base.items():
        stamp, goes_out = incident.stamps.get(field), one.platform != (incident.value(field) or "")
        if one.reason == "one-side-changed" and goes_out and stamp is not None and stamp.at_s > one.ruled_at_s:
            base[field] = replace(one, rule="one-side-changed", ruled_at_s=stamp.at_s, trace=trace)
    return replace(link, base=base)


def _put_backs(before: FieldBase, reason: str, at_s: float) -> tuple[float, ...]:
    if reason != "exclusive":
        return before.put_backs
    return (*before.put_backs, at_s)[-PUT_BACKS_MAX:]


def _carries_out(decided: FieldDecided, before: FieldBase) -> bool:
    """It only moves what an earlier rule, or a person, had decided: the winner's half was not known until now."""
    is_open = isinstance(before.platform, UnsetType) != isinstance(before.external, UnsetType)
    return decided.reason == "one-side-changed" and is_open and before.rule not in {"", "not-inbound"}


def after_started(link: Link, event: SendStarted) -> Link:
    """The link with an attempt on record; one whose outcome never became known joins the unsettled ones."""
    return replace(link, in_flight=event.attempt, unsettled=_unsettled(link))


def _unsettled(link: Link, at_s: float | None = None) -> tuple[Attempt, ...]:
    older = link.unsettled
    if link.in_flight is not None:
        older = (*older, replace(link.in_flight, ended_at_s=at_s))
    return older[-UNSETTLED_ATTEMPTS_KEPT:]


def after_settled(link: Link, event: SendSettled, position: int, at_s: float, lens: Lens) -> Link:
    """The link after a write that is known to have happened: the base moves to (value sent, value echoed)."""
    echo, known = event.observation, link.known_count
    is_older = known is not None and echo.mod_count is not None and echo.mod_count < known
    seen = (
        link  # a read has shown what came after this write
        if is_older
        else with_observation(
            looked(link, event.attempt),
            echo,
            position,
            at_s,
            event.offset_s,
            event.offset_error_s,
            lens,
            except_for=event.halves,
        )
    )
    return replace(
        with_halves(
            seen,
            event.halves,
            at_s,
            "delivered",
            rule="created" if link.state == "pending" else None,
            trace=link.outbox.trace if link.outbox is not None else "",
        ),
        state="active",
        reason="",
        external_id=event.observation.external_id,
        noted_count=echo.mod_count if link.state == "pending" else noted_after(link, echo.mod_count),
        in_flight=None,
        outbox=None,
        last_synced_at_s=at_s,
        held={field: letter for field, letter in seen.held.items() if field not in event.halves},
    )


def after_failed(link: Link, event: SendFailed, at_s: float, trace: str) -> Link:
    """The link after an attempt that did not succeed, as far as can be known."""
    entry = link.outbox or OutboxEntry(since_s=at_s, trace=trace)
    return replace(
        link,
        in_flight=None,
        unsettled=_unsettled(link, at_s) if event.ambiguous else link.unsettled,
        outbox=replace(
            entry,
            attempts=entry.attempts + 1,
            next_at_s=event.next_at_s,
            failure=event.failure,
            separately=event.separately,
            reroute=event.reroute,
        ),
    )


def after_cleared(link: Link) -> Link:
    """The link with nothing to be written; an attempt whose outcome never became known may still land late."""
    return replace(link, unsettled=_unsettled(link), in_flight=None, outbox=None)


def with_halves(
    link: Link,
    halves: dict[str, Halves],
    at_s: float,
    reason: Settling,
    *,
    rule: Settling | None = None,
    trace: str = "",
) -> Link:
    """The link with a known base for some fields. ``rule``: what decided their values; None: what did before.

    ``trace``: of the change that the rule decided.
    """
    base = dict(link.base)
    for field, both in halves.items():
        before = base.get(field, FieldBase())
        base[field] = FieldBase(
            platform=both.platform,
            external=both.external,
            reason=reason,
            decided_at_s=at_s,
            put_backs=before.put_backs,
            rule=before.rule if rule is None else rule,
            ruled_at_s=before.ruled_at_s if rule is None else at_s,
            trace=before.trace if rule is None else trace,
            written_at_s=at_s if reason == "delivered" else before.written_at_s,
        )
    return replace(link, base=base)


def without_platform_half(link: Link, fields: Iterable[str]) -> Link:
    """The link with these fields undelivered, so that the next merge writes them if they still differ."""
    base = dict(link.base)
    for field in fields:
        base[field] = replace(base.get(field, FieldBase()), platform=UNSET)
    return replace(link, base=base)


def noted_after(link: Link, echo_count: int | None) -> int | None:
    """As of which count all notes are read after a write of ours: if only we have written since, nobody noted."""
    noted = link.noted_count
    return echo_count if noted is not None and echo_count == noted + 1 else noted


def without_note(link: Link, note_id: str) -> Link:
    """The link without a work note that waits no more."""
    return replace(link, notes=tuple(entry for entry in link.notes if entry.note_id != note_id))


def after_verdict(
    lens: Lens, link: Link, incident: Incident, conflict: Conflict, winner: str | None, at_s: float, trace: str
) -> Link:
    """The link after a person settled a conflict: the loser's half is seen and overruled, the winner's undelivered.

    Nobody wins (ignored): the difference is accepted on both halves. A refused write is tried again if it is to stand.
    Where the field is hidden for a while, the verdict is about the value that the conflict has.
    """
    field = conflict.field
    platform_now = incident.value(field) or ""
    external_now = lens.raw_of(field, link.observed.columns) if link.observed is not None else UNSET
    if isinstance(external_now, UnsetType):
        external_now = conflict.external_raw
    halves = Halves(
        UNSET if winner == "platform" else platform_now,
        UNSET if winner == "external" else external_now,
    )
    decided = with_halves(link, {field: halves}, at_s, "decided-by-person", rule="decided-by-person", trace=trace)
    held = {one: letter for one, letter in link.held.items() if one != field or winner != "platform"}
    edited = link.base.get(field, FieldBase()).edited  # the value over there is still its author's
    base = decided.base | {field: replace(decided.base[field], put_backs=(), edited=edited)}
    return replace(decided, base=base, held=held)
