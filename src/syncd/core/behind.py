"""A journal that is older than what ServiceNow shows: restored from a backup, or cut short by a repair.

It would send again what a later life had sent, and take its own later writes for somebody else's edits. So before an
integration makes its first read or write, the instance is asked for records that this journal's future has left there.
What counts as evidence cannot come about otherwise: every write is on record before its request leaves.
"""

import re
from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from syncd.core.duration import duration_s
from syncd.core.events import Change, JournalBehind
from syncd.core.lens import lens_of
from syncd.core.model import Attempt, Integration, Link, Note, NoteAttempt, NoteEntry, Observation
from syncd.core.sending import CORRELATION_PREFIX, QUOTAS_LOOKED_UP, Offset, news
from syncd.core.state import State, link_id
from syncd.core.worknotes import wording

MARGIN_S: Final = 600.0  # before the journal's last word: the machine it is restored on may have another clock
_INCIDENT_ID: Final = re.compile(r"INC-[0-9A-Z]{10}")
LATE_S: Final = 5.0  # beyond the longest time in which a request of ours may still have taken effect


def prefix_of(integration_id: str) -> str:
    """How the correlation ids of an integration's records begin."""
    return f"{CORRELATION_PREFIX}{integration_id}:"


def evidence(
    state: State,
    integration: Integration,
    shown: Iterable[Observation],
    *,
    resumed_at_s: float,
    opened_at_s: float,
    offset: Offset,
) -> str:
    """What shows that we wrote there after the journal's last word; empty if nothing does.

    ``resumed_at_s``: when that was. ``opened_at_s``: when this life began, in which we may have written since.
    A record that was made before a person confirmed it is none again; after another restore there are later ones, or
    the confirmation itself is gone.
    """
    for seen in shown:
        is_confirmed = seen.created_at_s is not None and seen.created_at_s - offset.s <= integration.doubted_at_s
        if not is_confirmed and (words := _by_its_origin(state, integration, seen)):
            return words
        updated_at_s = None if seen.updated_at_s is None else seen.updated_at_s - offset.s
        late_s = resumed_at_s + QUOTAS_LOOKED_UP * duration_s(integration.settings.transaction_quota) + LATE_S
        link = state.links.get(state.link_of_record.get((integration.id, seen.external_id), ""))
        if (
            link is not None
            and updated_at_s is not None
            and late_s < updated_at_s < opened_at_s - LATE_S
            and integration.account not in {"", None}
            and seen.updated_by == integration.account
            and link.in_flight is None
            and not link.unsettled
            and news(lens_of(integration.settings), link, seen)
        ):
            return f"{_called(seen)} has values that we wrote, and the journal does not know of that"
    return ""


def _by_its_origin(state: State, integration: Integration, seen: Observation) -> str:
    """A record that we made, and of which the journal does not know that it was even begun."""
    prefix = prefix_of(integration.id)
    if not seen.correlation_id.startswith(prefix) or (integration.id, seen.external_id) in state.link_of_record:
        return ""
    incident_id = seen.correlation_id.removeprefix(prefix)
    link = state.links.get(link_id(integration.id, incident_id))
    if incident_id not in state.incidents:
        return f"{_called(seen)} was made for {incident_id}, which is not in the journal"
    is_to_come = link is None and incident_id in state.unlinked.get(integration.id, {})
    if is_to_come or (link is not None and link.state == "pending" and not link.in_flight and not link.unsettled):
        return f"{_called(seen)} was made for {incident_id}, and the journal has yet to make it"
    return ""


def lost_incident(state: State, integration: Integration, seen: Observation) -> str:
    """The incident that we made a record for, and that a restore which a person has confirmed took away; or empty."""
    prefix = prefix_of(integration.id)
    incident_id = seen.correlation_id.removeprefix(prefix)
    is_lost = (
        integration.doubted_at > 0
        and seen.correlation_id.startswith(prefix)
        and _INCIDENT_ID.fullmatch(incident_id) is not None
        and incident_id not in state.incidents
        and (not integration.account or seen.created_by == integration.account)  # copies are somebody else's
    )
    return incident_id if is_lost else ""


def _called(seen: Observation) -> str:
    return seen.number or f"record {seen.external_id}"


def found_behind(state: State, _at_s: float, integration_id: str, words: str) -> Change[None]:
    """Put it on record: nothing is read or written there until a person has confirmed the address."""
    integration = state.integrations.get(integration_id)
    if integration is None or integration.behind:
        return Change("", (), result=None)
    return Change(integration.settings.organization_id, (JournalBehind(integration_id, words),), result=None)


def doubted(link: Link, notes: Iterable[Note]) -> Link:
    """The link with everything that it has yet to make as if it had been begun, with unknown outcome, long ago.

    So its record and its notes are looked for before they are made.
    """
    present, waiting = list(notes), {entry.note_id for entry in link.notes}
    wordings = {note.id: wording(note) for note in present}
    said = [wordings[note.id] for note in present if note.id not in waiting]
    entries: list[NoteEntry] = []
    for entry in link.notes:
        if entry.in_flight is None and entry.unsettled is None:
            text = wordings[entry.note_id]
            attempt = NoteAttempt(0, text, 0.0, known=said.count(text), ended_at_s=0.0)
            entries.append(replace(entry, unsettled=attempt))
            said.append(text)
        else:
            entries.append(entry)
    is_to_come = link.state == "pending" and link.in_flight is None and not link.unsettled
    begun = (Attempt(0, "create", {}, {}, 0.0, ended_at_s=0.0),) if is_to_come else link.unsettled
    return replace(link, notes=tuple(entries), unsettled=begun)
