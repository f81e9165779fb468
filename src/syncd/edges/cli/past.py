"""What `im journal replay` shows: everything as it was after a position, or one incident with how it came to be so.

The same views as those of the API, over a State that was read from the files: no daemon, and no socket.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from syncd.core import conflicts, finding, timeline, views
from syncd.core.capture import digest
from syncd.core.explain import Explanation, explain
from syncd.core.model import Incident
from syncd.core.pasts import positions_of
from syncd.core.state import State
from syncd.edges.cli.client import Json, read
from syncd.edges.cli.explain import Explanation as Told
from syncd.edges.cli.explain import cards
from syncd.edges.cli.happenings import gist
from syncd.edges.cli.render import clock, facts, table, tree
from syncd.edges.cli.session import Session
from syncd.edges.cli.shapes import CloudEvent
from syncd.journal.past import Past, records_at, state_at
from syncd.seams import Disk


class IntegrationThen(Struct, frozen=True):
    """What waited under an integration. ``outbox``, ``dirty``: links; ``unlinked``: incidents without a link yet."""

    id: str
    handle: str
    enabled: bool
    sync_direction: str
    links: Mapping[str, int]
    hints: int
    dirty: int
    outbox: int
    unlinked: int


class Then(Struct, frozen=True):
    """Everything, in numbers. ``state_digest`` is equal for equal states; ``snapshot``: it was read from this one."""

    position: int
    at: str
    snapshot: int
    state_digest: str
    incidents: Mapping[str, int]
    integrations: list[IntegrationThen]
    conflicts: Mapping[str, int]
    dead_letters: int
    tokens: int
    passed_over: tuple[str, ...]


class IncidentThen(Struct, frozen=True):
    """One incident. ``kept_from``: what happened to it before this position is no longer kept; None: all is."""

    position: int
    at: str
    incident: views.IncidentView
    notes: list[views.NoteView]
    links: list[views.LinkView]
    explanation: Explanation
    conflicts: list[conflicts.ConflictView]
    dead_letters: list[views.DeadLetterView]
    kept_from: int | None
    timeline: list[timeline.CloudEvent]


def replay(session: Session, disk: Disk, folder: Path, until: int | None, incident_id: str) -> int:
    """Show the past."""
    past = state_at(disk, folder, until)
    if not incident_id:
        body = msgspec.json.encode(everything(past))
        session.show(body, lambda: facts(tree(read(body, dict[str, Json]), session.now_s)))
        return 0
    incident = finding.incident(past.state, incident_id)
    body = msgspec.json.encode(_one(disk, folder, past.state, incident))
    session.show(body, lambda: _card(body, session.now_s))
    return 0


def everything(past: Past) -> Then:
    """A State in numbers."""
    state = past.state
    return Then(
        position=state.position,
        at=views.rfc3339(state.at_s),
        snapshot=past.snapshot,
        state_digest=digest(state),
        incidents=Counter(one.status for one in state.incidents.values()),
        integrations=[
            IntegrationThen(
                id=one.id,
                handle=one.settings.handle,
                enabled=one.settings.enabled,
                sync_direction=one.settings.sync_direction,
                links=Counter(link.state for link in state.links_under(one.id)),
                hints=len(state.hints.get(one.id, ())),
                dirty=len(state.dirty.get(one.id, ())),
                outbox=len(state.outbox.get(one.id, ())),
                unlinked=len(state.unlinked.get(one.id, ())),
            )
            for one in state.integrations.values()
        ],
        conflicts=Counter(one.status for one in state.conflicts.values()),
        dead_letters=len(state.dead_letters),
        tokens=len(state.tokens),
        passed_over=past.passed_over,
    )


def _one(disk: Disk, folder: Path, state: State, incident: Incident) -> IncidentThen:
    links = [state.links[name] for name in state.links_of.get(incident.id, ())]
    told = positions_of(incident)
    records = records_at(disk, folder, told)
    is_whole = len(records) == len(told) + incident.forgotten
    found = [one for one in state.conflicts.values() if one.incident_id == incident.id]
    return IncidentThen(
        position=state.position,
        at=views.rfc3339(state.at_s),
        incident=views.incident(state, incident),
        notes=[views.note(note) for note in state.notes.get(incident.id, ())],
        links=[views.link(state, link) for link in links],
        explanation=explain(state, incident),
        conflicts=[conflicts.view(state, one) for one in found],
        dead_letters=[views.dead_letter(state, one) for link in links for one in state.letters_under(link.id)],
        kept_from=None if is_whole or not records else records[0].position,
        timeline=timeline.entries(state, records, incident.id),
    )


def _card(body: bytes, now_s: float) -> str:
    shown = read(body, dict[str, Json])
    happened = read(msgspec.json.encode(shown.pop("timeline")), list[CloudEvent])
    why = read(msgspec.json.encode(shown.pop("explanation")), Told)
    rows = ([clock(one.time), one.type, one.by, gist(one, now_s)] for one in happened)
    events = table(["TIME", "EVENT", "BY", "WHAT"], rows, wraps=True)
    return "\n\n".join([facts(tree(shown, now_s)), *cards(why, now_s), events])
