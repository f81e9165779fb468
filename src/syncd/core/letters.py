"""Dead letters: changes that ServiceNow does not take, each with its words, a remedy, and what would be sent now.

A letter stands for a group of fields, a create or a work note, never for a value: whoever tries it again reads and
decides anew (docs/operations.md, "Dead letters"). What was refused is tried again by itself on a slow schedule, and at
once when its cause may have gone (``fold_letters.py``).
"""

import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from syncd.core import closing, mapping
from syncd.core.events import Change, DeadLettered, DeadLetterRetried
from syncd.core.groups import Group
from syncd.core.lens import lens_of
from syncd.core.model import DeadLetter, Failure, Incident, Integration, Link, Operation
from syncd.core.state import State

RETRY_FIRST_S: Final = 3600.0
RETRY_CAP_S: Final = 24 * 3600.0
RETRIES_A_STEP: Final = 50
CODES_SHOWN: Final = 20
CODE_LETTERS_MAX: Final = 60
RETRIED_KINDS: Final = frozenset({"refused", "unresolved-person"})
GROUP_RULE: Final = "Abort changes on group"

_REMEDY: Final = {
    "refused": "correct the record, the incident or the integration's settings, then retry this entry",
    "unconfirmed": "look for it in ServiceNow; if it is not there, retry this entry, else discard it",
    "unresolved-person": "assign somebody whom ServiceNow knows by one e-mail address or user name, or correct the "
    "person there and retry this entry; it is tried again by itself as well",
    "not-kept": "see what ServiceNow kept; edit the field again, or discard this entry to accept the difference",
}


class Inquiry(Struct, frozen=True):
    """What the instance was asked about a write that it did not take.

    ``close_codes``: those that it has. ``member_of``: the assignee's groups, None when they are not known.
    ``about_person``: what these say, in words.
    """

    close_codes: Sequence[str] = ()
    member_of: Sequence[Group] | None = None
    about_person: str = ""


NOTHING_ASKED: Final = Inquiry()


def dead_letter(  # noqa: PLR0913 a letter has this many particulars
    state: State,
    link: Link,
    operation: Operation,
    fields: tuple[str, ...],
    failure: Failure,
    at_s: float,
    *,
    attempts: int,
    hold: bool,
    note_id: str = "",
    inquiry: Inquiry = NOTHING_ASKED,
) -> DeadLettered:
    """A letter for a change of this link, or the one it has already, renewed.

    ``attempts``: those of this round.
    """
    before = state.letter_for(link.id, fields, operation, note_id)
    created_at_s = before.created_at_s if before is not None else at_s
    letter = DeadLetter(
        id=before.id if before is not None else f"entry-{state.last_number + 1}",
        integration_id=link.integration_id,
        link_id=link.id,
        incident_id=link.incident_id,
        external_id=link.external_id,
        operation=operation,
        fields=fields,
        error=failure,
        remedy=_remedy(link, failure, state.integrations[link.integration_id].settings.handle, inquiry),
        attempts=(before.attempts if before is not None else 0) + attempts,
        created_at_s=created_at_s,
        last_attempt_at_s=at_s,
        note_id=note_id,
        retry_at_s=_retry_at_s(created_at_s, at_s) if failure.kind in RETRIED_KINDS else None,
    )
    return DeadLettered(letter, hold)


def _retry_at_s(created_at_s: float, at_s: float) -> float:
    """After an hour, then twice as late each time, up to a day."""
    return at_s + min(RETRY_CAP_S, max(RETRY_FIRST_S, at_s - created_at_s))


def _remedy(link: Link, failure: Failure, handle: str, inquiry: Inquiry) -> str:
    close_codes = inquiry.close_codes
    code = link.in_flight.columns.get("close_code", "") if link.in_flight is not None else ""
    if code and close_codes and code not in close_codes:
        known = ", ".join(repr(one[:CODE_LETTERS_MAX]) for one in close_codes[:CODES_SHOWN])
        return (
            f"ServiceNow has no close code {code!r}; it has {known}: give one of them with im incident update "
            f"{link.incident_id} --resolution-code, or in external_defaults"
        )
    if "mandatory" in failure.detail and code and not close_codes:
        return (
            f"ServiceNow may not know the close code {code!r}: give one that it has, with im incident update "
            f"{link.incident_id} --resolution-code, or in external_defaults"
        )
    rule = f'ServiceNow\'s rule "{GROUP_RULE}" takes only members of the assignment group'
    about = [rule] if GROUP_RULE in failure.detail else []
    if inquiry.about_person and "mandatory" not in failure.detail:
        about.append(inquiry.about_person)
    if about:
        return (
            f"{'; '.join(about)}: add the person to the group or change the group there, or assign a member, with "
            f"im incident update {link.incident_id} --assigned-to"
        )
    if "mandatory" in failure.detail:
        return "give the mandatory fields through external_defaults (im integration configure), then retry this entry"
    if failure.kind == "unconfirmed" and not link.external_id:
        pair = f"{handle} {link.incident_id}"
        return (
            "look for it in ServiceNow; if it is not there, retry this entry, else link it: "
            f"im integration unlink {pair}, then im integration link {pair} SYS_ID"
        )
    return _REMEDY[failure.kind]


def has_maybe_created(letter: DeadLetter, integration: Integration) -> bool:
    """It stands for a create of this integration that may have made a record which nobody can recognize."""
    is_its = letter.integration_id == integration.id
    return is_its and letter.operation == "create" and letter.error.kind == "unconfirmed"


def next_retry_at_s(state: State, integration_id: str) -> float:
    """When the next letter is tried again by itself; infinite when none will be."""
    line = state.retry_lines.get(integration_id)
    return line.order[0][0] if line is not None and line.order else math.inf


def retry_due(state: State, integration_id: str, at_s: float) -> Change[int]:
    """Try again those whose time has come, a few at a time; the result is their number."""
    integration = state.integrations.get(integration_id)
    if integration is None or not integration.settings.writes:
        return Change("", (), result=0)
    line = state.retry_lines.get(integration_id)
    first = line.order[:RETRIES_A_STEP] if line is not None else ()
    due = [letter_id for retry_at_s, letter_id in first if retry_at_s <= at_s]
    events = tuple(DeadLetterRetried(one, state.dead_letters[one].link_id) for one in due)
    return Change(integration.settings.organization_id, events, result=len(due))


def columns_for(
    fields: tuple[str, ...], incident: Incident, integration: Integration, record: mapping.Columns
) -> dict[str, str]:
    """The columns that make a record show the incident's present values of these fields."""
    columns = lens_of(integration.settings).put({field: incident.value(field) or "" for field in fields}, record)
    if "status" in fields:
        columns |= mapping.close_data(
            incident.status,
            record,
            integration.settings.external_defaults,
            incident.resolution_code,
            incident.resolution_notes,
        )
    return closing.columns_within_rights(columns, integration)
