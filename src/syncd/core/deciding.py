"""One link's merge: what both sides show against the base, field by field, as one ``Merged`` event.

Looks at State only; reading ServiceNow and writing to it happen elsewhere. Everything that changes a value, webhook,
reconcile, dead-letter retry and conflict resolution alike, ends here (docs/architecture.md, "One write path").
"""

import math
from collections.abc import Mapping
from itertools import islice
from typing import Final

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from syncd.core import links, looks, untold
from syncd.core.duration import duration_s
from syncd.core.events import Change, FieldDecided, LinkOpened, Merged
from syncd.core.lens import Lens, lens_of
from syncd.core.merge import HELD, Decision, Policy, Seen, decide, halves_after
from syncd.core.model import (
    Attempt,
    Conflict,
    FieldBase,
    Half,
    Halves,
    Incident,
    Integration,
    Link,
    Observation,
    Span,
    Stamp,
)
from syncd.core.ownership import rule_of
from syncd.core.state import State, link_id

ANY_TIME: Final = Span(-math.inf, math.inf)
LINKS_A_STEP: Final = 200
PUT_BACKS_S: Final = 3600.0
CUT_LETTERS_MIN: Final = 100  # no column of ours is shorter, so what was cut is at least so long
LATE_WRITE_S: Final = 150.0  # twice the usual transaction quota, and some


def policy_for(integration: Integration, field: str, base: FieldBase, waiting: Conflict | None, at_s: float) -> Policy:
    """The rules for one field. ``waiting``: its conflict under review, so that the window no longer matters."""
    settings, rule = integration.settings, rule_of(integration, field)
    always = waiting is not None or settings.conflict_window == "always"
    again = len(base.put_backs) == links.PUT_BACKS_MAX and at_s - base.put_backs[0] < PUT_BACKS_S
    direction = next((one.direction for one in settings.field_mapping if one.field == field), "bidirectional")
    return Policy(
        owner=rule.owner,
        priority=rule.priority,
        strategy=settings.conflict_strategy,
        window_s=math.inf if always else duration_s(settings.conflict_window),
        inbound=settings.reads and direction != "outbound",
        outbound=settings.writes and direction != "inbound",
        exclusive=rule.exclusive,
        is_worn=again or (waiting is not None and waiting.reason == "put-back-too-often"),
    )


def late_write(lens: Lens, link: Link, field: str, raw: Half, account: str, now: str) -> str | None:
    """What we had sent, if ``raw`` is what an attempt of ours without a known outcome made: a late write, not an edit.

    ``now``: the platform's value, in doubt the one that was sent.
    """
    seen, edited = link.observed, link.base.get(field, FieldBase()).edited
    if seen is None or isinstance(raw, UnsetType):
        return None
    attempts = (*link.unsettled, *((link.in_flight,) if link.in_flight else ()))
    landed = [one for one in attempts if field in one.sent and _lands_in(one, edited or ANY_TIME)]
    if account and seen.updated_by != account:
        landed = [one for one in landed if _lies_beneath(lens, one, field, raw, seen)]
    sent = [one.sent[field] for one in reversed(landed) if lens.shows(field, raw, one.sent[field])]
    return now if now in sent else sent[0] if sent else None


def _lies_beneath(lens: Lens, attempt: Attempt, field: str, raw: Half, seen: Observation) -> bool:
    """Somebody else wrote the record last, and our text is in it all the same: ours landed before theirs.

    Only with room for two writes, and only where the text itself tells: a severity or a status, or a few words that
    ours begins with, they may have chosen themselves.
    """
    shown = lens.meaning(field, raw, attempt.sent[field])
    if not lens.lenses[field].is_text or not isinstance(shown, str):
        return False
    has_room = attempt.read_count is None or seen.mod_count is None or seen.mod_count > attempt.read_count + 1
    return has_room and (shown == attempt.sent[field] or len(shown) >= CUT_LETTERS_MIN)


def _lands_in(attempt: Attempt, span: Span) -> bool:
    """The attempt may have landed within this span; later than that it is somebody else's edit."""
    left_at_s = attempt.started_at_s if attempt.ended_at_s is None else attempt.ended_at_s
    return span.lo_s <= left_at_s + LATE_WRITE_S and attempt.started_at_s <= span.hi_s


def plan(
    link: Link, incident: Incident, integration: Integration, state: State, at_s: float
) -> tuple[Merged, tuple[str, ...]]:
    """The merge of a link as it stands, and the fields to be written. Never raises on what either side shows."""
    seen = link.observed
    if seen is None:  # not created yet: what is in the outbox stays there
        return Merged(link.id, (), must_write=link.outbox is not None), ()
    waiting = state.pending_conflicts(link.id)
    decided: list[FieldDecided] = []
    conflicts: list[Conflict] = []
    to_write: list[str] = []
    number = state.last_number
    lens = lens_of(integration.settings)
    for field in lens.fields:
        base = link.base.get(field, FieldBase())
        raw = lens.raw_of(field, seen.columns)
        platform, external, halves = _sides(lens, link, incident, field, base, raw, integration.account)
        policy = policy_for(integration, field, base, waiting.get(field), at_s)
        decision = decide(platform, external, policy)
        is_in_doubt = decision.winner == "external" and _may_be_ours(lens, link, field, raw, base)
        if is_in_doubt or untold.is_lost_with(decision.winner, base, platform.at):
            decision = replace(decision, overruled=True)
        value: str | UnsetType = UNSET
        if isinstance(raw, str) and isinstance(platform.now, str):
            taken = external.now if decision.winner == "external" else platform.now
            halves = halves_after(decision, str(taken), raw, halves)
            if decision.winner == "platform" and base.untold:
                halves = replace(halves, platform=UNSET)  # an edit back to what had stayed is to spread as well
            value = str(taken) if decision.winner == "external" else UNSET
        if decision.winner == "platform" and field not in link.held:
            to_write.append(field)
        unnoticed = decision.reason in ("unchanged", base.reason) and looks.READ_AGAIN not in (
            decision.reason,
            base.reason,
        )
        if halves != Halves(base.platform, base.external) or not isinstance(value, UnsetType) or not unnoticed:
            decided.append(FieldDecided(field, decision.reason, halves, value))
        conflict = _conflict(link, integration, field, platform, external, decision, waiting, at_s, number + 1)
        if conflict is not None:
            number += conflict.id not in state.conflicts
            conflicts.append(conflict)
    return Merged(link.id, tuple(decided), tuple(conflicts), bool(to_write)), tuple(to_write)


def _may_be_ours(lens: Lens, link: Link, field: str, raw: Half, base: FieldBase) -> bool:
    """Nobody can tell whether a write of ours landed late or somebody chose the same: what it replaces is kept."""
    attempts = (*link.unsettled, *((link.in_flight,) if link.in_flight else ()))
    mine = (one for one in attempts if field in one.sent and _lands_in(one, base.edited or ANY_TIME))
    return isinstance(raw, str) and any(lens.shows(field, raw, one.sent[field]) for one in mine)


def _sides(
    lens: Lens, link: Link, incident: Incident, field: str, base: FieldBase, raw: Half, account: str
) -> tuple[Seen, Seen, Halves]:
    """Both sides of a field in platform terms, and the halves they are compared with."""
    half_platform, half_external = base.platform, base.external
    now = incident.value(field) or ""
    if raw != half_external and not isinstance(half_external, UnsetType):
        sent = late_write(lens, link, field, raw, account, now)
        if sent is not None:  # if the platform has moved on since that attempt, its value must be written again
            half_platform, half_external = now if sent == now else UNSET, raw
    stamp = incident.stamps.get(field, Stamp(incident.created_at_s, incident.updated_by))
    platform = Seen(half_platform, now, Span(stamp.at_s, stamp.at_s, stamp.by))
    known, external_now = lens.meaning(field, half_external, now), lens.meaning(field, raw, now)
    if lens.is_unfilled(field, raw):  # nothing to take over: a first link fills it, else it is as it was
        is_first = isinstance(half_platform, UnsetType) and isinstance(half_external, UnsetType)
        known, external_now = UNSET if is_first else "", ""
    external = Seen(
        known,
        external_now,
        base.edited or ANY_TIME,
        moved=raw != half_external,
        is_old=not looks.shows_since(link, stamp),
    )
    return platform, external, Halves(half_platform, half_external)


def _conflict(  # noqa: PLR0913, PLR0917 one conflict has this many witnesses
    link: Link,
    integration: Integration,
    field: str,
    platform: Seen,
    external: Seen,
    decision: Decision,
    waiting: Mapping[str, Conflict],
    at_s: float,
    number: int,
) -> Conflict | None:
    """The conflict record this decision makes, changes or closes; None when there is nothing to tell."""
    before = waiting.get(field)
    held = decision.reason in HELD
    if before is not None and held and (before.platform, before.external) == (platform.now, external.now):
        return None
    if before is None and not held and not decision.overruled:
        return None
    if decision.reason in {"unreadable", looks.READ_AGAIN}:
        return None  # hidden for a while, or to be looked at: nothing is settled by that
    decided = "" if held else f"{decision.winner or 'nobody'}: {decision.reason}"
    if before is not None and not held and not decision.overruled:
        # It closes by itself, maybe because a write of ours that was under way fell on the other value: it keeps both.
        return replace(
            before,
            status="resolved",
            decided=decided,
            version=before.version + 1,
            resolved_at_s=at_s,
            resolved_by="syncd",
        )
    known = link.observed
    return Conflict(
        id=before.id if before is not None else f"conflict-{number}",
        integration_id=link.integration_id,
        incident_id=link.incident_id,
        external_id=link.external_id,
        field=field,
        base=_text(external.half) if isinstance(platform.half, UnsetType) else _text(platform.half),
        platform=_text(platform.now),
        external=_text(external.now),
        platform_by=platform.at.by,
        external_by=external.at.by or (known.updated_by if known else ""),
        platform_at_s=platform.at.hi_s,
        external_at_s=_known_s(external.at, known.updated_at_s if known else None),
        strategy=integration.settings.conflict_strategy,
        status="pending" if held else "resolved",
        decided=decided,
        created_at_s=before.created_at_s if before is not None else at_s,
        version=before.version + 1 if before is not None else 1,
        resolved_at_s=None if held else at_s,
        resolved_by=None if held else "syncd",
        reason=decision.reason,
        window=integration.settings.conflict_window,
        ownership=rule_of(integration, field),
        external_raw=lens_of(integration.settings).raw_of(field, known.columns) if known else UNSET,
        external_from_s=external.at.lo_s if math.isfinite(external.at.lo_s) else 0.0,
    )


def _text(half: Half) -> str | None:
    return half if isinstance(half, str) else None


def _known_s(span: Span, stamp_s: float | None) -> float:
    """A finite time for a span that may reach back for ever."""
    return span.hi_s if math.isfinite(span.hi_s) else stamp_s or 0.0


def merge_link(state: State, at_s: float, name: str) -> Change[bool]:
    """Merge a dirty link. The result says whether there was anything to merge; the mark goes in the same step."""
    link = state.links.get(name)
    if link is None or name not in state.dirty.get(link.integration_id, {}):
        return Change("", (), result=False)
    integration = state.integrations[link.integration_id]
    if not integration.settings.runs:
        return Change("", (), result=False)
    merged, _ = plan(link, state.incidents[link.incident_id], integration, state, at_s)
    look = looks.after_merge(state, link, merged, at_s)
    return Change(integration.settings.organization_id, (merged, *look), result=True)


def open_links(state: State, integration_id: str) -> Change[None]:
    """Open a link for every incident that is to get a record here."""
    integration = state.integrations.get(integration_id)
    waiting = state.unlinked.get(integration_id, {})
    settings = integration.settings if integration is not None else None
    if integration is None or settings is None or not (waiting and settings.writes and settings.create_external):
        return Change("", (), result=None)
    opened = tuple(
        LinkOpened(link_id(integration_id, incident_id), integration_id, incident_id, trace)
        for incident_id, trace in islice(waiting.items(), LINKS_A_STEP)
    )
    return Change(integration.settings.organization_id, opened, result=None)
