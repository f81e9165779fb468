"""`im declare` and `im incident …`: the platform's incidents.

Every command is one request and one answer; which values are allowed is the daemon's to say.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import App, Parameter
from msgspec.structs import replace

from syncd.edges.cli.client import Json, Listing, path_of, read
from syncd.edges.cli.explain import explain
from syncd.edges.cli.happenings import gist
from syncd.edges.cli.render import age, clock, facts, table, when
from syncd.edges.cli.session import All, FreeText, Injected, Session, Whole, whole
from syncd.edges.cli.shapes import CloudEvent, Incident, IncidentLink, Note
from syncd.edges.cli.transport import WrongUsage
from syncd.errors import SyncdError

Status = Literal["open", "mitigated", "resolved", "closed", "canceled"]
Severity = Annotated[str | None, Parameter(name=["--severity", "--sev"], help="SEV-1 to SEV-4, or 1 to 4.")]
IfMatch = Annotated[int | None, Parameter(converter=whole, help="Only if the incident still has this version.")]

app = App(name="incident", help="Show and change incidents.")
app.command(explain)


def declare(
    *,
    title: Annotated[str, Parameter(allow_leading_hyphen=True)],
    severity: Annotated[str, Parameter(name=["--sev", "--severity"], help="SEV-1 to SEV-4, or 1 to 4.")],
    service: Annotated[FreeText, Parameter(help="What is affected.")] = None,
    description: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="A single - reads standard input.")
    ] = None,
    org: Annotated[
        str | None, Parameter(help="Its organization, else `default`; only integrations of the same one sync it.")
    ] = None,
    assigned_to: Annotated[FreeText, Parameter(help="Email or user name, as ServiceNow knows the person.")] = None,
    idempotency_key: Annotated[
        str | None, Parameter(help="The same key declares once, however often it is sent.")
    ] = None,
    session: Injected,
) -> int:
    """Declare an incident.

    Example: im declare --title "Checkout is down" --sev SEV-1 --service checkout
    """
    body: dict[str, Json] = {"title": title, "severity": severity}
    optional = {
        "service": service,
        "description": None if description is None else session.read_text(description),
        "organization_id": org,
        "assigned_to": assigned_to,
    }
    body |= {key: value for key, value in optional.items() if value is not None}
    headers = {"Idempotency-Key": idempotency_key or session.world.new_key()}
    answer = session.client.call("POST", path_of("incidents"), body=body, headers=headers)

    def confirmation() -> list[str]:
        made = read(answer.body, Incident)
        return [f"{made.id} declared ({made.severity}, {made.status})", f"next: im incident show {made.id}"]

    session.confirm(answer.body, confirmation)
    if org is None and not session.is_json:
        _hint_if_nobody_syncs(session, read(answer.body, Incident).organization_id)
    return 0


def _hint_if_nobody_syncs(session: Session, org: str | None) -> None:
    """Say so when no integration is of the organization that nobody named."""
    try:
        found = session.client.pages(path_of("integrations"), {"org": org}, limit=1)
    except SyncdError:
        return  # the incident is declared, whatever becomes of this question
    if not found.items:
        session.remark(f"no integration syncs the organization {org}; give --org, or see: im integration list")


@app.command(name="list")
def list_(  # noqa: PLR0913  one argument for each flag
    *,
    org: str | None = None,
    status: Status | None = None,
    severity: Severity = None,
    query: Annotated[
        str | None, Parameter(name=["--query", "-q"], allow_leading_hyphen=True, help="Text to find.")
    ] = None,
    integration: Annotated[str | None, Parameter(help="Linked under this integration.")] = None,
    updated_since: Annotated[str | None, Parameter(help="An RFC 3339 time.")] = None,
    limit: Whole = 100,
    everything: All = False,
    session: Injected,
) -> int:
    """List incidents.

    Example: im incident list --status open --severity SEV-1
    """
    found = session.client.pages(
        path_of("incidents"),
        {
            "organization_id": org,
            "status": status,
            "severity": f"SEV-{severity}" if severity in {"1", "2", "3", "4"} else severity,
            "q": query,
            "integration": integration,
            "updated_since": updated_since,
        },
        limit=None if everything else limit,
    )
    session.show_list(found, lambda: _incidents(found, session.now_s), empty="no incidents")
    return 0


def _incidents(found: Listing, now_s: float) -> str:
    return table(
        ["ID", "SEVERITY", "STATUS", "EXTERNAL", "UPDATED", "TITLE"],
        (
            [
                incident.id,
                incident.severity,
                incident.status,
                ", ".join(link.external_number or link.state or "-" for link in incident.links),
                age(incident.updated_at, now_s),
                incident.title,
            ]
            for incident in read(found.body, list[Incident])
        ),
    )


@app.command
def show(incident_id: str, /, *, session: Injected) -> int:
    """Show an incident and the ServiceNow records it is linked to.

    Example: im incident show INC-4Q7ZK2M9XD
    """
    answer = session.client.get(path_of("incidents", incident_id))
    session.show(answer.body, lambda: _card(read(answer.body, Incident), session.now_s))
    return 0


def _card(incident: Incident, now_s: float) -> str:
    lines: list[tuple[str, str | None]] = [
        ("incident", incident.id),
        ("title", incident.title),
        ("severity", incident.severity),
        ("status", incident.status),
        ("assigned to", incident.assigned_to),
        ("service", incident.service),
        ("organization", incident.organization_id),
        ("declared", when(incident.created_at, now_s)),
        ("updated", f"{when(incident.updated_at, now_s)} by {incident.updated_by}, version {incident.version}"),
    ]
    if incident.resolution_code or incident.resolution_notes:
        lines += [("resolution", incident.resolution_code), ("", incident.resolution_notes)]
    if incident.description:
        lines.append(("description", incident.description))
    lines += [("link" if at == 0 else "", _link(link)) for at, link in enumerate(incident.links)]
    return facts(lines if incident.links else [*lines, ("link", None)])


def _link(link: IncidentLink) -> str:
    number = link.external_number or "no number yet"
    where = f"\n{link.external_url}" if link.external_url else ""
    return f"{number} in {link.integration or link.integration_id} ({link.state}){where}"


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Edit:
    """The fields a person may change; an empty text clears those that may be empty."""

    title: FreeText = None
    description: Annotated[
        str | None, Parameter(allow_leading_hyphen=True, help="A single - reads standard input.")
    ] = None
    severity: Severity = None
    status: Status | None = None
    assigned_to: Annotated[
        FreeText, Parameter(help='Email or user name, as ServiceNow knows the person; "" clears it.')
    ] = None
    service: Annotated[FreeText, Parameter(help='"" clears it.')] = None
    resolution_code: FreeText = None
    resolution_notes: FreeText = None


@app.command
def update(incident_id: str, /, *, edit: Edit | None = None, if_match: IfMatch = None, session: Injected) -> int:
    """Change fields of an incident.

    Example: im incident update INC-4Q7ZK2M9XD --severity SEV-1 --assigned-to ana@example.com
    """
    if edit is None:
        raise WrongUsage("nothing to change", hint="give a field, such as --severity SEV-1")
    body: dict[str, Json] = {}
    if edit.description is not None:
        body["description"] = session.read_text(edit.description)
    required = {"title": edit.title, "severity": edit.severity, "status": edit.status}
    body |= {name: value for name, value in required.items() if value is not None}
    clearable = {
        "assigned_to": edit.assigned_to,
        "service": edit.service,
        "resolution_code": edit.resolution_code,
        "resolution_notes": edit.resolution_notes,
    }
    body |= {name: value or None for name, value in clearable.items() if value is not None}
    return _patch(session, incident_id, body, if_match=if_match, done="updated")


@app.command
def resolve(
    incident_id: str, /, *, code: FreeText = None, notes: FreeText = None, if_match: IfMatch = None, session: Injected
) -> int:
    """Mark an incident resolved; ServiceNow asks for a code and notes.

    Example: im incident resolve INC-4Q7ZK2M9XD --code "Solved (Permanently)" --notes "Rolled back 4.2"
    """
    return _settle(session, incident_id, "resolved", code, notes, if_match)


@app.command
def close(
    incident_id: str, /, *, code: FreeText = None, notes: FreeText = None, if_match: IfMatch = None, session: Injected
) -> int:
    """Close an incident. In ServiceNow a closed record is final.

    Example: im incident close INC-4Q7ZK2M9XD
    """
    return _settle(session, incident_id, "closed", code, notes, if_match)


def _settle(
    session: Session, incident_id: str, status: str, code: str | None, notes: str | None, if_match: int | None
) -> int:
    body: dict[str, Json] = {"status": status}
    if code is not None:
        body["resolution_code"] = code
    if notes is not None:
        body["resolution_notes"] = notes
    return _patch(session, incident_id, body, if_match=if_match, done=status)


def _patch(session: Session, incident_id: str, body: dict[str, Json], *, if_match: int | None, done: str) -> int:
    headers = {} if if_match is None else {"If-Match": f'"{if_match}"'}
    answer = session.client.call("PATCH", path_of("incidents", incident_id), body=body, headers=headers)

    def confirmation() -> list[str]:
        changed = read(answer.body, Incident)
        return [f"{changed.id} {done} ({changed.severity}, {changed.status}, version {changed.version})"]

    session.confirm(answer.body, confirmation)
    return 0


@app.command
def note(
    incident_id: str,
    text: Annotated[str, Parameter(allow_leading_hyphen=True, help="A single - reads standard input.")],
    /,
    *,
    author: FreeText = None,
    session: Injected,
) -> int:
    """Add a work note; notes are only ever added, and go to the work notes of the linked records.

    Example: im incident note INC-4Q7ZK2M9XD "Failed over to the second region"
    """
    body: dict[str, Json] = {"text": session.read_text(text)}
    if author is not None:
        body["author"] = author
    answer = session.client.call("POST", path_of("incidents", incident_id, "notes"), body=body)
    session.confirm(answer.body, lambda: [f"{read(answer.body, Note).id} added to {incident_id}"])
    return 0


@app.command
def notes(incident_id: str, /, *, limit: Whole = 100, everything: All = False, session: Injected) -> int:
    """List the work notes of an incident.

    Example: im incident notes INC-4Q7ZK2M9XD
    """
    found = session.client.pages(path_of("incidents", incident_id, "notes"), {}, limit=None if everything else limit)

    def rows() -> str:
        kept = read(found.body, list[Note])
        return table(
            ["ADDED", "AUTHOR", "TEXT"],
            ([when(note.created_at, session.now_s), note.author, note.text] for note in kept),
            wraps=True,
        )

    session.show_list(found, rows, empty="no notes")
    return 0


@app.command
def timeline(incident_id: str, /, *, limit: Whole = 100, everything: All = False, session: Injected) -> int:
    """Show what happened to an incident, on both sides: the newest 100 events, the newest last.

    Example: im incident timeline INC-4Q7ZK2M9XD
    """
    found = session.client.pages(
        path_of("incidents", incident_id, "timeline"), {"order": "newest"}, limit=None if everything else limit
    )
    found = replace(found, items=found.items[::-1])

    def rows() -> str:
        happened = read(found.body, list[CloudEvent])
        return table(
            ["TIME", "EVENT", "BY", "WHAT"],
            ([clock(event.time), event.type, event.by, _what(event, session.now_s)] for event in happened),
            wraps=True,
        )

    session.show_list(found, rows, empty="nothing happened yet", which="newest")
    return 0


def _what(event: CloudEvent, now_s: float) -> str:
    """What it carries, and the id of its change, under which the log has it."""
    return f"{gist(event, now_s)} [{event.trace}]" if event.trace else gist(event, now_s)
