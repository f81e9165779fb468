"""What people decide about conflicts, dead letters and links, as decisions; the one write path then carries it out.

A verdict moves no value to ServiceNow and none from it, except a value that a person typed: it moves the base, marks
the link, and the ordinary merge does the rest (docs/sync.md, "Conflicts").
"""

from collections.abc import Callable
from typing import TypeVar

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from syncd.core import conflicts, finding
from syncd.core.events import Change, ConflictSettled, DeadLetterDiscarded, DeadLetterRetried, LinkRemoved
from syncd.core.fields import ANY, Fields, shown
from syncd.core.fold_links import decided_by
from syncd.core.model import Conflict, DeadLetter, Integration, Link, Side
from syncd.core.requests import Pair, checked_value
from syncd.core.state import State, link_id
from syncd.errors import Exists, Invalid, Problem, Stale, WrongState

T = TypeVar("T")
Decide = Callable[[State, float], Change[T]]


class Verdict(Struct, frozen=True):
    """Which side's value stands, or a value of its own (``side`` None)."""

    side: Side | None
    value: object = UNSET


def read(body: Fields) -> Verdict:
    """A verdict from a request's object: exactly one of ``use`` and ``value``; ``Invalid`` otherwise."""
    sides: tuple[Side, ...] = ("platform", "external")
    side = body.choice("use", sides)
    value = body.raw("value", ANY)
    way_out = 'send {"use": "platform"}, {"use": "external"} or {"value": …}'
    body.done("the verdict", least=1, most=1, hint=way_out)
    return Verdict(None if isinstance(side, UnsetType) else side, value)


def resolve(conflict_id: str, verdict: Verdict, *, by: str, version: int | None = None) -> Decide[Conflict]:
    """Settle a pending conflict. ``Stale`` for another ``version``, or when a value has changed since the conflict was
    last looked at; ``WrongState`` when it is settled already.
    """

    def decide(state: State, at_s: float) -> Change[Conflict]:
        conflict = _pending(state, conflict_id, version)
        winner: Side = verdict.side or "platform"
        value: str | UnsetType = UNSET
        if verdict.side is None:
            value = checked_value(conflict.field, verdict.value)
        elif verdict.side == "external" and _is_outbound_only(state, conflict):
            value = checked_value(conflict.field, conflict.external)  # no merge would take it over
        incident = state.incidents[conflict.incident_id]
        if value == (incident.value(conflict.field) or ""):
            value = UNSET  # effective changes only
        event = ConflictSettled(conflict.id, winner, value, link_id(conflict.integration_id, conflict.incident_id))
        return Change(incident.organization_id, (event,), _settled(conflict, event, by, at_s))

    return decide


def ignore(conflict_id: str, *, by: str, version: int | None = None) -> Decide[Conflict]:
    """Leave both values as they are; the conflict is not asked again until one of them changes."""

    def decide(state: State, at_s: float) -> Change[Conflict]:
        conflict = _pending(state, conflict_id, version)
        stream = state.incidents[conflict.incident_id].organization_id
        event = ConflictSettled(conflict.id, None, link_id=link_id(conflict.integration_id, conflict.incident_id))
        return Change(stream, (event,), _settled(conflict, event, by, at_s))

    return decide


def _pending(state: State, conflict_id: str, version: int | None) -> Conflict:
    conflict = finding.conflict(state, conflict_id)
    if conflict.status != "pending":
        raise WrongState(
            f"{conflict.id} is {conflict.status} already", hint="edit the incident if another value should stand"
        )
    now = conflicts.sides_now(state, conflict)
    picture = f"{conflict.field} is {shown(now[0])} on the platform and {shown(now[1])} in ServiceNow now"
    if version is not None and version != conflict.version:
        raise Stale(
            f"{conflict.id} has version {conflict.version}, and If-Match names {version}: {picture}",
            hint=f"look at it again (im conflict show {conflict.id}), then decide with If-Match: {conflict.version} "
            f"(--if-match {conflict.version})",
        )
    if now != (conflict.platform, conflict.external):
        settings = state.integrations[conflict.integration_id].settings
        again = "look at it again in a moment" if settings.runs else f"it is judged anew when {settings.handle} is on"
        raise Stale(f"{conflict.id} has moved on: {picture}", hint=f"{again}: im conflict show {conflict.id}")
    return conflict


def _is_outbound_only(state: State, conflict: Conflict) -> bool:
    """Edits over there do not spread, since the direction was changed while the conflict waited."""
    integration = state.integrations.get(conflict.integration_id)
    return integration is not None and integration.settings.sync_direction == "outbound"


def _settled(conflict: Conflict, event: ConflictSettled, by: str, at_s: float) -> Conflict:
    """The conflict as the fold will make it."""
    return replace(
        conflict,
        status="resolved" if event.winner else "ignored",
        decided=decided_by(event),
        version=conflict.version + 1,
        resolved_at_s=at_s,
        resolved_by=by,
    )


def retry(word: str, letter_id: str) -> Decide[DeadLetter]:
    """Read and decide anew what a dead letter stands for. It keeps its id, and goes when it is delivered."""

    def decide(state: State, _at_s: float) -> Change[DeadLetter]:
        within = finding.integration(state, word)
        letter = finding.dead_letter(state, within, letter_id)
        return Change(within.settings.organization_id, (DeadLetterRetried(letter.id, letter.link_id),), letter)

    return decide


def retry_all(word: str) -> Decide[list[DeadLetter]]:
    """The same for every dead letter of an integration, oldest first."""

    def decide(state: State, _at_s: float) -> Change[list[DeadLetter]]:
        within = finding.integration(state, word)
        letters = [one for one in state.dead_letters.values() if one.integration_id == within.id]
        events = tuple(DeadLetterRetried(one.id, one.link_id) for one in letters)
        return Change(within.settings.organization_id, events, letters)

    return decide


def discard(word: str, letter_id: str) -> Decide[DeadLetter]:
    """Give a dead letter up: the two sides stay different until the next edit of those fields."""

    def decide(state: State, _at_s: float) -> Change[DeadLetter]:
        within = finding.integration(state, word)
        letter = finding.dead_letter(state, within, letter_id)
        return Change(within.settings.organization_id, (DeadLetterDiscarded(letter.id, letter.link_id),), letter)

    return decide


def unlink(word: str, incident_id: str) -> Decide[Link]:
    """Part an incident from its record; both stay as they are, and apart until a person links them again.

    ``WrongState`` while the record is being made: it would be left behind without its incident.
    """

    def decide(state: State, _at_s: float) -> Change[Link]:
        within = finding.integration(state, word)
        link = finding.link(state, within, incident_id)
        if link.state == "pending" and link.in_flight is not None:
            raise WrongState(
                f"the record of {incident_id} is being made under {within.settings.handle} at this moment",
                hint=f"try again when it is there: im integration links {within.settings.handle}",
            )
        return Change(within.settings.organization_id, (LinkRemoved(link.id),), link)

    return decide


def check_pair(state: State, within: Integration, pair: Pair) -> None:
    """``Unknown``, ``Invalid`` or ``Exists`` when our side does not allow this pair; the record is not looked at."""
    incident, handle = finding.incident(state, pair.incident_id), within.settings.handle
    if incident.organization_id != within.settings.organization_id:
        message = (
            f"belongs to organization {incident.organization_id}, and {handle} to {within.settings.organization_id}"
        )
        raise Invalid(
            f"{incident.id} {message}",
            problems=(Problem("incident_id", message),),
            hint="link it under an integration of its own organization: im integration list",
        )
    taken = state.links.get(link_id(within.id, incident.id))
    if taken is not None:
        raise Exists(
            f"{incident.id} is linked under {handle} already, with {taken.external_number or 'a record to be made'}",
            hint=f"part them first: im integration unlink {handle} {incident.id}",
        )
    taken = state.links.get(state.link_of_record.get((within.id, pair.external_id), ""))
    if taken is not None:
        raise Exists(
            f"the record {taken.external_number or pair.external_id} is linked to {taken.incident_id} already",
            hint=f"part them first: im integration unlink {handle} {taken.incident_id}",
        )
