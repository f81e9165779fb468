"""The routes of incidents: declare, list, read, change, note, timeline."""

from collections.abc import Iterator
from typing import TypeAlias

import msgspec
from quart import Response, request

from syncd.core import finding, timeline, views
from syncd.core.fields import Fields, given, shown, time_s
from syncd.core.model import STATUSES, Incident
from syncd.core.requests import incident_changes, new_incident, new_note
from syncd.core.requests import severity as severity_of
from syncd.credentials import digest_of
from syncd.edges.api.answers import answer, body, filters, if_match, one_of, paged, problem, wanted_page
from syncd.edges.api.desk import Desk, caller
from syncd.edges.api.routes import Routes
from syncd.errors import Invalid, Malformed, Problem, Stale

KEY_LETTERS_MAX = 255
FILTERS = ("organization_id", "status", "severity", "q", "integration", "updated_since")
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
                key=f"{caller().source.principal} {key}" if key else "",
                body_digest=digest_of(msgspec.json.encode(wanted).decode()),
            )
        )
        headers = {"Location": f"/api/v1/incidents/{declared.incident_id}"}
        if declared.repeated:
            headers["Idempotent-Replayed"] = "true"
        return answer(declared.body, 201, headers)

    async def find() -> Response:
        page = wanted_page()
        chosen = _chosen(desk)
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
            response = problem(error, {"current": present})
            await desk.settled()
            return response
        return answer(after, headers={"ETag": f'"{after.version}"'})

    async def list_notes(incident_id: str) -> Response:
        page, _ = wanted_page(), filters()
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
        page, _ = wanted_page(), filters()
        incident = finding.incident(desk.state, incident_id)
        await desk.settled()  # the records below wait for the disk too, and without a deadline
        entries = timeline.entries(desk.state, await desk.journal.records(incident.positions), incident_id)
        return paged(page, enumerate(entries), key=lambda item: (float(item[0]), ""), show=lambda item: item[1])

    routes.add("POST", "/api/v1/incidents", "operate", declare)
    routes.add("GET", "/api/v1/incidents", "read", find)
    routes.add("GET", "/api/v1/incidents/<incident_id>", "read", show)
    routes.add("PATCH", "/api/v1/incidents/<incident_id>", "operate", edit)
    routes.add("GET", "/api/v1/incidents/<incident_id>/notes", "read", list_notes)
    routes.add("POST", "/api/v1/incidents/<incident_id>/notes", "operate", add_note)
    routes.add("GET", "/api/v1/incidents/<incident_id>/timeline", "read", show_timeline)


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


def _chosen(desk: Desk) -> Iterator[Numbered]:
    """The incidents that pass the query's filters, newest first, numbered in order of declaration."""
    state, found = desk.state, filters(*FILTERS)
    status = one_of(found, "status", STATUSES)
    graded = Fields({name: text for name, text in found.items() if name == "severity"}, ("severity",))
    severity = given(severity_of(graded), None)
    graded.done("the query")
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


def _since_s(text: str | None) -> float:
    if text is None:
        return float("-inf")
    try:
        return time_s(text.replace(" ", "+"))  # an unescaped + in a query arrives as a blank
    except (ValueError, OverflowError) as error:
        raise Invalid(f"updated_since: {error}", problems=(Problem("updated_since", str(error)),)) from error
