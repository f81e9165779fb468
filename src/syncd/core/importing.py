"""Bringing existing records in: what becomes of each, how far an import is, and when it must stop.

A record comes in through ``hints.settle_read``, like every read; this module says which may, counts, and keeps the
place. Records that a page holds and their place in it are one record of the journal, so a crash neither doubles nor
loses any (docs/sync.md, "Import"). Looks at State only.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, Literal, TypeAlias, get_args

from msgspec import Struct

from syncd.core.beside import is_linked_beside, may_be_ours
from syncd.core.encoded_query import CHECKED, EncodedQuery, unchecked_fault
from syncd.core.events import (
    Change,
    Event,
    ImportAdvanced,
    ImportEnded,
    ImportStarted,
    IncidentDeclared,
    LinkJoined,
)
from syncd.core.fields import Fields, Form, given
from syncd.core.finding import integration as find_integration
from syncd.core.hints import Read, bring_in, claimed, comes_back, settle_read
from syncd.core.letters import has_maybe_created
from syncd.core.model import ImportRun, Integration, LeftOut, Observation, Severity, Status
from syncd.core.sending import CORRELATION_PREFIX, Offset
from syncd.core.settings import QUERY_FORM, query_fault
from syncd.core.state import State
from syncd.core.views import Time, optional_time, rfc3339
from syncd.errors import Unknown, WrongState

Fate: TypeAlias = Literal["imported", "adopted", "linked", "unlinked", "ours", "elsewhere", "unsure", "failed"]
WHY: Final[dict[Fate, str]] = {
    "unlinked": "a person unlinked it; to join it again: im integration link INTEGRATION INC SYS_ID",
    "ours": "it carries the correlation id of another incident, as copies do",
    "elsewhere": "another integration has an incident for it",
    "unsure": "it may be the record of a create without a clear answer; import again when that is settled",
    "failed": "it could not be brought in; the log has the cause",
}

_FORM: Final[Form] = {
    **QUERY_FORM,
    "description": "An encoded query: which existing records become incidents. Its answers are checked against it.",
    "pattern": f"^(?:{CHECKED.pattern})$",
    "minLength": 1,
}


class Candidate(Struct, frozen=True):
    """A record that ServiceNow says matches. ``shown``: the columns of the query, as far as it showed them."""

    seen: Observation
    shown: dict[str, str]


class Candidates(Struct, frozen=True):
    """A page of them, in the order of their ids. ``total``: how many match from the page on; 0: not told.

    ``unreadable``: the next record, when its answer alone cannot be read; instead of rows.
    """

    rows: tuple[Candidate, ...]
    is_last: bool
    total: int
    unreadable: Observation | None = None


class Coming(Struct, frozen=True):
    """A record that would come in, as its incident would be. `incident_id` is null for a new one."""

    external_id: str
    external_number: str
    incident_id: str | None
    title: str
    severity: Severity
    status: Status


class Tried(Struct, frozen=True):
    """A dry run: how an import would have ended, and the first of the records that it would have brought in."""

    run: ImportRun
    coming: tuple[Coming, ...] = ()


class WantedImport(Struct, frozen=True):
    """What a request asks for."""

    query: str
    dry_run: bool


def read_import(body: Fields) -> WantedImport:
    """What is to be brought in, from a request's object; ``Invalid`` with every fault."""
    query = body.word("query", _FORM, lambda text: query_fault(text) or unchecked_fault(text), required=True)
    dry_run = body.flag("dry_run")
    body.done("the import")
    return WantedImport(given(query, ""), dry_run is True)


def check_allowed(integration: Integration) -> None:
    """``WrongState`` where nothing may come in."""
    if not integration.settings.reads:
        handle = integration.settings.handle
        raise WrongState(
            f"nothing comes in through {handle}: it is disabled, or its direction is outbound or none",
            hint=f"im integration configure {handle} --enabled --direction bidirectional",
        )


def start(
    state: State, at_s: float, reference: str, wanted: WantedImport, *, run_id: str, by: str
) -> Change[ImportRun]:
    """Begin an import, or go on with one of the same query that did not come to its end."""
    integration = find_integration(state, reference)
    check_allowed(integration)
    present, handle = integration.importing, integration.settings.handle
    if present is not None and present.status == "running":
        if present.query == wanted.query:
            return Change("", (), result=present)
        raise WrongState(
            f"{present.id} is under way, with the query {present.query!r}",
            hint=f"wait for it, or stop it: POST /api/v1/integrations/{handle}/import/stop",
        )
    if present is not None and present.status == "stopped" and present.query == wanted.query:
        run = present
    else:
        run = ImportRun(id=run_id, query=wanted.query, by=by, started_at_s=at_s)
    stream = integration.settings.organization_id
    return Change(stream, (ImportStarted(integration.id, run),), result=run)


def last(state: State, reference: str) -> tuple[Integration, ImportRun]:
    """The last import of an integration; ``Unknown`` when there never was one."""
    integration = find_integration(state, reference)
    if integration.importing is None:
        handle = integration.settings.handle
        raise Unknown(
            f"nothing was imported through {handle} yet", hint=f"im integration import {handle} --query active=true"
        )
    return integration, integration.importing


def stop(state: State, reference: str, reason: str) -> Change[None]:
    """Stop an import; one that is over stays as it is. ``Unknown`` when there never was one."""
    integration, run = last(state, reference)
    if run.status != "running":
        return Change("", (), result=None)
    stream = integration.settings.organization_id
    return Change(stream, (ImportEnded(integration.id, "stopped", reason),), result=None)


def end(state: State, integration_id: str, run_id: str, reason: str) -> Change[None]:
    """The import came to its end, or cannot go on for a reason."""
    integration = state.integrations.get(integration_id)
    if integration is None or not is_running(integration, run_id):
        return Change("", (), result=None)
    ended = ImportEnded(integration_id, "stopped" if reason else "finished", reason)
    return Change(integration.settings.organization_id, (ended,), result=None)


def is_running(integration: Integration | None, run_id: str) -> bool:
    """This very import is under way."""
    run = integration.importing if integration is not None else None
    return run is not None and run.id == run_id and run.status == "running"


class ImportView(Struct, frozen=True, kw_only=True):
    """An import of existing records, so far. `counts` says what became of those that were looked at.

    `imported`: a new incident; `adopted`: its own incident, which lacked a record; `linked`: already. Of the others,
    which stay as they are, `left` names up to 50, with the reason. `total`: how many match, hidden ones included, null
    until that is known. `rate`: records a second; `remaining_s`: at that rate. A dry run changes nothing, and alone has
    `coming`: the first 20 of the records that would be imported or adopted.
    """

    id: str
    integration_id: str
    query: str
    dry_run: bool
    status: Literal["running", "finished", "stopped"]
    reason: str
    by: str
    started_at: Time
    finished_at: Time | None
    total: int | None
    checked: int
    counts: dict[str, int]
    left: list[LeftOut]
    coming: list[Coming]
    rate: float | None
    remaining_s: float | None


def view(integration: Integration, run: ImportRun) -> ImportView:
    """What the API shows of an import."""
    return _view(integration, run, dry_run=False, coming=())


def view_of_tried(integration: Integration, tried: Tried) -> ImportView:
    """What the API shows of a dry run."""
    return _view(integration, tried.run, dry_run=True, coming=tried.coming)


def _view(integration: Integration, run: ImportRun, *, dry_run: bool, coming: Sequence[Coming]) -> ImportView:
    took_s = run.at_s - run.since_s
    rate = (run.checked - run.since_checked) / took_s if took_s > 0 and run.checked > run.since_checked else None
    remaining = max(0, run.total - run.checked) if run.status == "running" else 0
    return ImportView(
        id=run.id,
        integration_id=integration.id,
        query=run.query,
        dry_run=dry_run,
        status=run.status,
        reason=run.reason,
        by=run.by,
        started_at=rfc3339(run.started_at_s),
        finished_at=optional_time(run.finished_at_s),
        total=run.total or None,
        checked=run.checked,
        counts={fate: run.counts.get(fate, 0) for fate in get_args(Fate)},
        left=list(run.left),
        coming=list(coming),
        rate=None if rate is None else round(rate, 1),
        remaining_s=None if rate is None else round(remaining / rate, 1),
    )


def fault_of(query: EncodedQuery, rows: Sequence[Candidate]) -> str:
    """Why a page is not to be used: the instance did not keep to the query; empty when it may be used."""
    faults = (query.fault_of({"number": row.seen.number, "sys_id": row.seen.external_id, **row.shown}) for row in rows)
    return next(filter(None, faults), "")


def fate_of(state: State, integration: Integration, seen: Observation) -> Fate:
    """What an import makes of a record, as things stand."""
    if (integration.id, seen.external_id) in state.link_of_record:
        return "linked"
    if seen.correlation_id.startswith(CORRELATION_PREFIX):
        if claimed(state, integration.id, seen) is not None:
            return "adopted"
        return "imported" if comes_back(state, integration, seen) else "ours"
    is_ours = seen.created_by != "" and seen.created_by == integration.account
    if may_be_ours(state, integration, seen) or (
        is_ours and any(has_maybe_created(one, integration) for one in state.dead_letters.values())
    ):
        return "unsure"
    if is_linked_beside(state, integration, seen):
        return "elsewhere"
    return "unlinked" if seen.external_id in state.kept_apart else "imported"


def take(
    state: State,
    at_s: float,
    integration_id: str,
    run_id: str,
    read: Read,
    rows: Sequence[Observation],
    total: int | None,
) -> Change[bool]:
    """Bring in what may come in of these records, in their order, and keep the place; False: it was stopped."""
    integration = state.integrations.get(integration_id)
    if integration is None or not integration.settings.reads or not is_running(integration, run_id) or not rows:
        return Change("", (), result=False)
    fates = {seen.external_id: fate_of(state, integration, seen) for seen in rows}
    events = settle_read(state, at_s, integration_id, read).events
    came = _came(events)
    for name, fate in fates.items():
        if fate in ("imported", "adopted") and name not in came:
            fates[name] = "ours"  # another record of this page has the same correlation id
    advanced = _advanced(integration_id, rows, fates, total)
    return Change(integration.settings.organization_id, (*events, advanced), result=True)


def pass_over(state: State, integration_id: str, run_id: str, seen: Observation) -> Change[bool]:
    """Go on behind a record that cannot be brought in."""
    integration = state.integrations.get(integration_id)
    if integration is None or not is_running(integration, run_id):
        return Change("", (), result=False)
    advanced = _advanced(integration_id, [seen], {seen.external_id: "failed"}, None)
    return Change(integration.settings.organization_id, (advanced,), result=True)


def _came(events: Sequence[Event]) -> frozenset[str]:
    return frozenset(event.observation.external_id for event in events if isinstance(event, LinkJoined))


def _advanced(
    integration_id: str, rows: Sequence[Observation], fates: dict[str, Fate], total: int | None
) -> ImportAdvanced:
    counts = Counter[str](fates.values())
    return ImportAdvanced(integration_id, rows[-1].external_id, dict(counts), total, tuple(left_out(rows, fates)))


def left_out(rows: Sequence[Observation], fates: dict[str, Fate]) -> list[LeftOut]:
    """The records among these that stay where they are, with the reason."""
    return [
        LeftOut(seen.external_id, seen.number, WHY[fates[seen.external_id]])
        for seen in rows
        if fates[seen.external_id] in WHY
    ]


def coming(
    state: State, integration: Integration, rows: Sequence[Observation], fates: dict[str, Fate], offset: Offset
) -> Iterator[Coming]:
    """Those of these records that would come in, as their incidents would be."""
    for seen in rows:
        if fates[seen.external_id] not in ("imported", "adopted"):
            continue
        link = claimed(state, integration.id, seen)
        if link is not None:
            there = state.incidents[link.incident_id]
            title, severity, status, incident_id = there.title, there.severity, there.status, there.id
        else:
            new = next(one for one in bring_in(integration, seen, "", offset) if isinstance(one, IncidentDeclared))
            title, severity, status = new.title, new.severity, new.status
            incident_id = comes_back(state, integration, seen)
        yield Coming(seen.external_id, seen.number, incident_id or None, title, severity, status)
