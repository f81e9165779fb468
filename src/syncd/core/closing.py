"""Records that are closed in ServiceNow, or that our account may not close (docs/sync.md, "Closing").

A closed or cancelled record is read-only for most accounts: an edit is refused, or answered with success and dropped.
What then becomes of it is the integration's ``closed_policy``. Where our account may not close a record, it resolves
it, and ServiceNow's own auto-close does the rest. Both end in rest: nothing is written again until something is new.
"""

from collections.abc import Mapping
from typing import Final

from syncd.core.events import ClosingLearned, DifferenceAccepted, Event, LinkParked, NoteAdded, SendFailed
from syncd.core.lens import Lens, lens_of
from syncd.core.model import Attempt, Failure, Halves, Incident, Integration, Link, Observation
from syncd.core.state import State

SHUT: Final = frozenset({"closed", "canceled"})
RESOLVED, CLOSED, CANCELED, IN_PROGRESS = "6", "7", "8", "2"
SHUT_STATES: Final = frozenset({CLOSED, CANCELED})
DROPPED: Final = Failure("refused", "ServiceNow answered success and changed nothing", status=200)
VALUE_LETTERS_MAX: Final = 2000


def is_shut(record: Mapping[str, str]) -> bool:
    """The record is closed or cancelled."""
    return record.get("state") in SHUT_STATES


def is_dropped(lens: Lens, attempt: Attempt, echo: Observation) -> bool:
    """ServiceNow answered success and changed nothing, where each of the fields was to change."""
    if echo.mod_count is None or echo.mod_count != attempt.read_count:
        return False
    raws = {field: lens.raw_of(field, echo.columns) for field in attempt.sent}
    return all(
        raw == attempt.before.get(field) and lens.meaning(field, raw, attempt.sent[field]) != attempt.sent[field]
        for field, raw in raws.items()
    )


def columns_within_rights(columns: dict[str, str], integration: Integration) -> dict[str, str]:
    """What is written to close a record: where our account may not, it is resolved."""
    may_not = columns.get("state") == CLOSED and not integration.may_close
    return columns | {"state": RESOLVED} if may_not else columns


def columns_to_reopen(record: Mapping[str, str], integration: Integration) -> dict[str, str]:
    """What goes along with an edit that does not change the state of a closed record itself."""
    reopens = integration.settings.closed_policy == "reopen" and is_shut(record)
    return {"state": IN_PROGRESS} if reopens else {}


def is_as_near_as_may_be(field: str, value: str, record: Mapping[str, str], integration: Integration) -> bool:
    """Closed here and Resolved there: no more can be done by an account that may not close."""
    return (field, value, record.get("state")) == ("status", "closed", RESOLVED) and not integration.may_close


def left_to_autoclose(link: Link) -> Event:
    """Closed here and Resolved there settles the status, until one of them changes."""
    return DifferenceAccepted(link.id, {"status": Halves("closed", RESOLVED)}, "left-to-auto-close")


def waits_for_autoclose(link: Link) -> bool:
    """The link is settled as closed here and Resolved there."""
    base = link.base.get("status")
    return base is not None and (base.platform, base.external) == ("closed", RESOLVED)


def after_refusal(state: State, at_s: float, link: Link, attempt: Attempt, failure: Failure) -> tuple[Event, ...]:
    """What a refused or dropped write of one group means, if it is a matter of closing; nothing when it is not."""
    integration, incident = state.integrations[link.integration_id], state.incidents[link.incident_id]
    if "ACL Exception" not in failure.detail and failure != DROPPED:
        return ()
    again = SendFailed(link.id, failure, at_s, ambiguous=False)
    if link.observed is not None and is_shut(link.observed.columns):
        return _late_edit(link, attempt, integration, incident, failure, again)
    if attempt.columns.get("state") == CLOSED:
        return ClosingLearned(integration.id, may_close=False), again
    return ()


def was_not_closing(link: Link, attempt: Attempt, integration: Integration) -> tuple[Event, ...]:
    """To resolve instead of closing was refused as well: what we took for a matter of closing is something else."""
    resolves = (attempt.sent.get("status"), attempt.columns.get("state")) == ("closed", RESOLVED)
    is_told = not integration.may_close and link.observed is not None and not is_shut(link.observed.columns)
    return (ClosingLearned(integration.id, may_close=True),) if resolves and is_told else ()


def _late_edit(
    link: Link, attempt: Attempt, integration: Integration, incident: Incident, failure: Failure, again: SendFailed
) -> tuple[Event, ...]:
    policy = integration.settings.closed_policy
    if policy == "note":
        seen = link.observed.columns if link.observed is not None else {}
        lens = lens_of(integration.settings)
        halves = {field: Halves(value, lens.raw_of(field, seen)) for field, value in attempt.sent.items()}
        name = f"note-{integration.id.removeprefix('int_')}-late-{attempt.number}"
        told = NoteAdded(incident.id, name, _in_words(attempt, incident), "syncd", only_to=integration.id)
        return again, DifferenceAccepted(link.id, halves, "told-in-a-note"), told
    number = link.external_number or link.external_id
    what = ", ".join(attempt.sent)
    cannot = "cannot be reopened" if policy == "reopen" else "takes no edits"
    reason = (
        f"{number} is closed in ServiceNow and {cannot}: {failure.detail or failure.message}; the incident's {what} "
        "goes there when the record is open again, and is tried again with the next edit of the incident"
    )
    return (LinkParked(link.id, reason, closed_there=True),)


def _in_words(attempt: Attempt, incident: Incident) -> str:
    lines = ["Edited after this record was closed, which takes no edits:"]
    for field, value in attempt.sent.items():
        stamp = incident.stamps.get(field)
        by = f" (by {stamp.by})" if stamp is not None else ""
        cut = value if len(value) <= VALUE_LETTERS_MAX else f"{value[:VALUE_LETTERS_MAX]}…"
        lines.append(f"{field} is now {cut!r}{by}" if "\n" not in cut else f"{field} is now{by}:\n{cut}")
    return "\n".join(lines)
