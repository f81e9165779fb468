"""The routes of incidents: declare, list, read, change, note, timeline, explain."""

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

import msgspec
from quart import Response, request

from syncd.callers import digest_of
from syncd.core import finding, timeline, views
from syncd.core.explain import Explanation, explain
from syncd.core.fields import MOMENT, shown, time_s
from syncd.core.model import EDITABLE_FIELDS, SEVERITIES, STATUSES, Incident, Severity
from syncd.core.pasts import positions_of
from syncd.core.requests import SEVERITY_TEXT, incident_changes, new_incident, new_note, severity_of
from syncd.edges.api import examples
from syncd.edges.api.answers import (
    IF_MATCH,
    LINK,
    PAGE,
    answer,
    body,
    filters,
    if_match,
    one_of,
    paged,
    problem,
    wanted_page,
)
from syncd.edges.api.description import ETAG, LOCATION, TEXT, Answer, Description, Parameter
from syncd.edges.api.desk import Desk, caller
from syncd.edges.api.routes import Routes
from syncd.errors import Invalid, Malformed, Problem, Stale, Unknown

TOPIC: Final = "Incidents"
BASE: Final = "/api/v1/incidents"
ONE: Final = f"{BASE}/<incident_id>"
KEY_LETTERS_MAX: Final = 255
FILTERS: Final = (
    Parameter("organization_id", "Of this organization.", TEXT),
    Parameter("status", "In this status.", one_of(STATUSES)),
    Parameter("severity", "Of this severity.", SEVERITY_TEXT),
    Parameter("q", "With these letters in title, description, id or record number, in any case.", TEXT),
    Parameter("integration", "With a link under this integration: id, handle or name.", TEXT),
    Parameter("updated_since", "Changed at this time or later.", MOMENT),
)
IDEMPOTENCY_KEY: Final = Parameter(
    "Idempotency-Key",
    "Any text of yours: the same again within 24 h gives the first answer again, and declares nothing.",
    {"type": "string", "pattern": f"^[!-~](?:[ -~]{{0,{KEY_LETTERS_MAX - 2}}}[!-~])?$", "format": "idempotency-key"},
)
REPLAYED: Final = Parameter("Idempotent-Replayed", "`true` when this is an earlier answer.", one_of(("true",)))
DECLARE: Final = Description(
    topic=TOPIC,
    summary="Declare an incident",
    notes="It is made in ServiceNow too, under every integration of its organization that wants it.",
    takes=new_incident,
    example=examples.NEW_INCIDENT,
    headers=(IDEMPOTENCY_KEY,),
    answers=(Answer(views.IncidentView, 201, (LOCATION, REPLAYED), example=examples.INCIDENT),),
)
LIST: Final = Description(
    topic=TOPIC,
    summary="List incidents",
    notes="The newest first.",
    query=(*FILTERS, *PAGE),
    answers=(Answer(list[views.IncidentView], headers=(LINK,), example=[examples.INCIDENT]),),
    refuses=(Unknown,),
)
SHOW: Final = Description(
    topic=TOPIC,
    summary="Show an incident",
    answers=(Answer(views.IncidentView, headers=(ETAG,), example=examples.INCIDENT),),
)
EDIT: Final = Description(
    topic=TOPIC,
    summary="Change an incident",
    notes="Changes the fields that are named, and no other; null or an empty text clears one.",
    takes=incident_changes,
    example=examples.CHANGES,
    headers=(IF_MATCH,),
    answers=(Answer(views.IncidentView, headers=(ETAG,), example=examples.INCIDENT),),
    refuses=(Stale,),
)
LIST_NOTES: Final = Description(
    topic=TOPIC,
    summary="List the work notes of an incident",
    notes="The oldest first.",
    query=PAGE,
    answers=(Answer(list[views.NoteView], headers=(LINK,)),),
)
ADD_NOTE: Final = Description(
    topic=TOPIC,
    summary="Add a work note to an incident",
    notes="Notes are only ever added. The author is whoever calls, unless another one is named.",
    takes=new_note,
    example=examples.NEW_NOTE,
    answers=(Answer(views.NoteView, 201, example=examples.NOTE),),
)
ORDER: Final = Parameter("order", "Which comes first.", {**one_of(("oldest", "newest")), "default": "oldest"})
TIMELINE: Final = Description(
    topic=TOPIC,
    summary="Show what happened to an incident",
    notes="Both sides, as CloudEvents 1.0, the oldest first unless asked otherwise: `im.incident.*` and `im.sync.*`.",
    query=(ORDER, *PAGE),
    answers=(Answer(list[timeline.CloudEvent], headers=(LINK,)),),
)
FIELD: Final = Parameter("field", "This field only.", one_of(EDITABLE_FIELDS))
EXPLAIN: Final = Description(
    topic=TOPIC,
    summary="Explain the fields of an incident",
    notes="For each field and link: both values, who made them, the rule that decided, and what followed.",
    query=(FIELD,),
    answers=(Answer(Explanation),),
)
Numbered: TypeAlias = tuple[int, Incident]


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put them into the application."""

    async def declare() -> Response:
        wanted = new_incident(await body())
        key = _idempotency_key()
        declared = await desk.change(
            desk.platform.declare(
                wanted,
                incident_id=f"INC-{desk.ids.word()}",
                by=caller().by,
                key=f"{caller().source.principal} {digest_of(key)}" if key else "",
                body_digest=digest_of(msgspec.json.encode(wanted).decode()),
            )
        )
        headers = {"Location": f"{BASE}/{declared.incident_id}"}
        if declared.repeated:
            headers["Idempotent-Replayed"] = "true"
        return answer(declared.body, 201, headers)

    async def find() -> Response:
        page, found = wanted_page(), filters(*FILTERS, *PAGE)
        chosen = _chosen(desk, found)
        return await desk.shown(
            lambda: paged(
                page,
                chosen,
                key=lambda item: (float(item[0]), ""),
                show=lambda item: views.incident(desk.state, item[1]),
                down=True,
            )
        )

    async def show(incident_id: str) -> Response:
        incident = finding.incident(desk.state, incident_id)
        response = await desk.show(views.incident(desk.state, incident))
        response.headers["ETag"] = f'"{incident.version}"'
        return response

    async def edit(incident_id: str) -> Response:
        version, changes = if_match(), incident_changes(await body())
        try:
            after = await desk.change(desk.platform.edit(incident_id, changes, by=caller().by, version=version))
        except Stale as error:
            present = views.incident(desk.state, finding.incident(desk.state, incident_id))
            response = problem(error, present)
            await desk.settled()
            return response
        return answer(after, headers={"ETag": f'"{after.version}"'})

    async def list_notes(incident_id: str) -> Response:
        page, _ = wanted_page(), filters(*PAGE)
        finding.incident(desk.state, incident_id)
        notes = list(enumerate(desk.state.notes.get(incident_id, ())))
        return await desk.shown(
            lambda: paged(page, notes, key=lambda item: (float(item[0]), ""), show=lambda item: views.note(item[1]))
        )

    async def add_note(incident_id: str) -> Response:
        wanted = new_note(await body())
        note_id = f"note-{desk.ids.word()}"
        note = await desk.change(desk.platform.add_note(incident_id, wanted, note_id=note_id, by=caller().by))
        return answer(views.note(note), 201)

    async def show_timeline(incident_id: str) -> Response:
        page, is_down = wanted_page(), filters(ORDER, *PAGE).get("order") == "newest"
        incident = finding.incident(desk.state, incident_id)
        await desk.settled()  # the records below wait for the disk too, and without a deadline
        entries = await _history(desk, incident)
        numbered = list(enumerate(entries))
        return paged(
            page,
            reversed(numbered) if is_down else numbered,
            key=lambda item: (float(item[0]), ""),
            show=lambda item: item[1],
            down=is_down,
        )

    async def show_why(incident_id: str) -> Response:
        field = filters(FIELD).get("field")
        return await desk.show(explain(desk.state, finding.incident(desk.state, incident_id), field))

    routes.add("POST", BASE, "operate", declare, DECLARE)
    routes.add("GET", BASE, "read", find, LIST)
    routes.add("GET", ONE, "read", show, SHOW)
    routes.add("PATCH", ONE, "operate", edit, EDIT)
    routes.add("GET", f"{ONE}/notes", "read", list_notes, LIST_NOTES)
    routes.add("POST", f"{ONE}/notes", "operate", add_note, ADD_NOTE)
    routes.add("GET", f"{ONE}/timeline", "read", show_timeline, TIMELINE)
    routes.add("GET", f"{ONE}/explain", "read", show_why, EXPLAIN)


async def _history(desk: Desk, incident: Incident) -> list[timeline.CloudEvent]:
    """What is kept of an incident's past; the first entry says so where that is not all of it."""
    told = positions_of(incident)
    kept = [position for position in told if position >= desk.journal.first_position]
    entries = timeline.entries(desk.state, await desk.journal.records(kept), incident.id)
    if (removed := incident.forgotten + len(told) - len(kept)) and (oldest := await desk.journal.since(0, 1)):
        entries.insert(0, timeline.beginning(incident, oldest[0], removed))
    return entries


def _idempotency_key() -> str:
    """The key that was sent; empty without one."""
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return ""
    if not given.isascii() or not given.isprintable() or not 0 < len(given) <= KEY_LETTERS_MAX:
        raise Malformed(
            f"Idempotency-Key {shown(given)} cannot be used",
            hint=f"send 1 to {KEY_LETTERS_MAX} printable ASCII letters, such as a UUID",
        )
    return given


def _chosen(desk: Desk, found: Mapping[str, str]) -> Iterator[Numbered]:
    """The incidents that pass the query's filters, newest first, numbered in order of declaration."""
    state, status = desk.state, found.get("status")
    severity = _severity(found["severity"]) if "severity" in found else None
    under = finding.integration(state, found["integration"]).id if "integration" in found else None
    since_s = _since_s(found.get("updated_since"))
    words = found.get("q", "").casefold()
    organization = found.get("organization_id")

    def is_wanted(one: Incident) -> bool:
        return (
            (organization is None or one.organization_id == organization)
            and (status is None or one.status == status)
            and (severity is None or one.severity == severity)
            and one.updated_at_s >= since_s
            and (under is None or any(state.links[name].integration_id == under for name in _links(one)))
            and (not words or words in _text_of(one))
        )

    def _links(one: Incident) -> tuple[str, ...]:
        return state.links_of.get(one.id, ())

    def _text_of(one: Incident) -> str:
        numbers = " ".join(state.links[name].external_number for name in _links(one))
        return f"{one.id}\n{one.title}\n{one.description}\n{numbers}".casefold()

    # Incidents are never removed and keep their place in the dict, so the number of one is its place for ever.
    numbered = list(enumerate(state.incidents.values()))
    return (item for item in reversed(numbered) if is_wanted(item[1]))


def _severity(word: str) -> Severity:
    severity = severity_of(word)
    if severity is None:
        fault = f"{shown(word)} is not a severity; give one of {', '.join(SEVERITIES)}"
        raise Invalid(f"severity: {fault}", problems=(Problem("severity", fault),))
    return severity


def _since_s(text: str | None) -> float:
    if text is None:
        return float("-inf")
    try:
        return time_s(text.replace(" ", "+"))  # an unescaped + in a query arrives as a blank
    except (ValueError, OverflowError) as error:
        raise Invalid(f"updated_since: {error}", problems=(Problem("updated_since", str(error)),)) from error
