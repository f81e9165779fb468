"""Conflicts as people see them: both values, whose and when, which rule decided or holds, and what each choice writes.

A view: it decides nothing. What a person's verdict does is in ``verdicts.py``.
"""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct, UnsetType

from syncd.core.lens import lens_of
from syncd.core.letters import columns_for
from syncd.core.model import Conflict, Strategy
from syncd.core.state import State, link_id
from syncd.core.views import Time, optional_time, rfc3339

RULES: Final[Mapping[str, str]] = {
    "converged": "both sides became the same",
    "one-side-changed": "edits of one side only may spread, or the other went back to what it had been",
    "one-empty": "one side was empty, so the other stands",
    "first-link": "the two had not met before, so the owner's value stands",
    "not-inbound": "edits in ServiceNow may not spread",
    "not-outbound": "edits on the platform may not spread",
    "later-edit": "the later edit stands",
    "owner": "the owner's value stands, its priority is no less than the other side's 0",
    "exclusive": "the owner's value is put back after an edit of the other side",
    "order-unknown": "the stamps cannot tell which edit was later, so the owner's value stands",
    "held-for-review": "both edits lie within the window, so a person decides",
    "put-back-too-often": "the owner's value was put back again and again, and something undid it, so a person decides",
    "unchanged": "both sides are as they had been",
    "same-meaning": "both sides mean what they had meant",
}
BY_WINDOW: Final = frozenset(("held-for-review", "owner"))  # whichever edit was later


class Writes(Struct, frozen=True):
    """What one choice would write: fields of the incident, and columns of the record."""

    incident: dict[str, str]
    record: dict[str, str]


class WouldWrite(Struct, frozen=True):
    """What each choice would write as things stand."""

    use_platform: Writes
    use_external: Writes


class ConflictView(Struct, frozen=True):
    """A conflict with both values. `decided`: whose value stands, and by which rule; null while it is pending. Of a
    person it is `platform`, `external`, or `value` when neither stands. `integration`: its handle, or its id once it is
    deleted.

    `reason`: the word of docs/sync.md for what decided or holds; `rule`: the same in words, with the settings it rested
    on. ServiceNow stamps records and not fields: its edit lies between `external_from` (null: not known) and
    `external_at`. `would_write` is null once it is settled.
    """

    id: str
    integration_id: str
    integration: str
    incident_id: str
    external_id: str
    field: str
    base: str | None
    platform: str | None
    external: str | None
    platform_by: str
    external_by: str
    platform_at: Time | None
    external_from: Time | None
    external_at: Time | None
    strategy: Strategy
    status: Literal["pending", "resolved", "ignored"]
    decided: str | None
    version: int
    created_at: Time
    resolved_at: Time | None
    resolved_by: str | None
    reason: str | None
    rule: str | None
    would_write: WouldWrite | None


def view(state: State, one: Conflict) -> ConflictView:
    """A conflict with both values."""
    integration = state.integrations.get(one.integration_id)
    return ConflictView(
        id=one.id,
        integration_id=one.integration_id,
        integration=integration.settings.handle if integration is not None else one.integration_id,
        incident_id=one.incident_id,
        external_id=one.external_id,
        field=one.field,
        base=one.base,
        platform=one.platform,
        external=one.external,
        platform_by=one.platform_by,
        external_by=one.external_by,
        platform_at=rfc3339(one.platform_at_s) if one.platform_at_s > 0 else None,
        external_from=rfc3339(one.external_from_s) if one.external_from_s > 0 else None,
        external_at=rfc3339(one.external_at_s) if one.external_at_s > 0 else None,
        strategy=one.strategy,
        status=one.status,
        decided=one.decided or None,
        version=one.version,
        created_at=rfc3339(one.created_at_s),
        resolved_at=optional_time(one.resolved_at_s),
        resolved_by=one.resolved_by,
        reason=one.reason or None,
        rule=_rule(one),
        would_write=_would_write(state, one) if one.status == "pending" else None,
    )


def _rule(one: Conflict) -> str | None:
    owned = one.ownership
    if owned is None or one.reason not in RULES:
        return None
    how = f"priority {owned.priority}" + ", exclusive" * owned.exclusive
    is_open = one.reason in BY_WINDOW and 0 < one.external_from_s <= one.platform_at_s <= one.external_at_s
    doubt = "; the stamps cannot tell which edit was later" if is_open else ""
    is_far = one.reason == "later-edit" and one.strategy != "last-write-wins"
    rule = "the edits lie outside the window, so the later one stands" if is_far else RULES[one.reason]
    return f"{one.strategy}, window {one.window}, owner {owned.owner} ({how}): {rule}{doubt}"


def _would_write(state: State, one: Conflict) -> WouldWrite:
    incident, integration = state.incidents[one.incident_id], state.integrations[one.integration_id]
    seen = state.links[link_id(one.integration_id, one.incident_id)].observed
    spreads = integration.settings.sync_direction in {"outbound", "bidirectional"}
    columns = columns_for((one.field,), incident, integration, seen.columns if seen is not None else {})
    _, external = sides_now(state, one)
    return WouldWrite(
        use_platform=Writes({}, columns if spreads else {}),
        use_external=Writes({one.field: external or ""}, {}),
    )


def sides_now(state: State, one: Conflict) -> tuple[str | None, str | None]:
    """What both sides of a pending conflict hold at this moment, in platform terms; its merge may not have seen it."""
    link = state.links[link_id(one.integration_id, one.incident_id)]
    lens, said = lens_of(state.integrations[one.integration_id].settings), state.incidents[one.incident_id]
    raw = lens.raw_of(one.field, link.observed.columns if link.observed is not None else {})
    external = lens.meaning(one.field, raw, said.value(one.field) or "")
    shown = one.external if isinstance(external, UnsetType) else external  # hidden for a while: nobody knows better
    return state.incidents[one.incident_id].value(one.field) or "", shown
