"""What an incident remembers of its past is bounded by the history that is kept, and one more costs the same."""

from msgspec.structs import replace

from syncd.core.events import HistoryEnded, IncidentDeclared, NoteAdded, Record
from syncd.core.fold import evolve
from syncd.core.model import Incident
from syncd.core.pasts import PIECE, positions_of, with_position
from syncd.core.state import State

INCIDENT = Incident("INC-1", "default", "Down", "", "SEV-3", "open", 1.0, 1.0, "ann", positions=(1,), begun_at=1)


def told(state: State, *positions: int) -> Incident:
    for position in positions:
        note = NoteAdded("INC-1", f"note-{position}", "text", "ann")
        evolve(state, Record(position, "default", 1.0, "ann", "", (note, replace(note, note_id=f"more-{position}"))))
    return state.incidents["INC-1"]


def begun() -> State:
    declared = IncidentDeclared("INC-1", "Down", "SEV-3")
    return evolve(State(), Record(1, "default", 1.0, "ann", "", (declared,)))


def test_every_record_is_remembered_once_and_in_order() -> None:
    incident = told(begun(), *range(2, 1000))
    assert positions_of(incident) == tuple(range(1, 1000))
    assert (incident.forgotten, incident.begun_at) == (0, 1)


def test_one_more_position_copies_one_piece_however_many_there_are() -> None:
    incident = INCIDENT
    for position in range(2, 100 * PIECE):
        incident = with_position(incident, position, 0)
        assert len(incident.positions) <= PIECE
    assert len(incident.earlier) < 100
    assert max(map(len, incident.earlier)) == PIECE


def test_what_lies_before_the_kept_history_is_forgotten_with_the_next_change_and_counted() -> None:
    state = begun()
    told(state, *range(2, 1000))
    evolve(state, Record(1000, "daemon", 1.0, "syncd", "", (HistoryEnded(900),)))
    incident = told(state, 1001)
    kept = positions_of(incident)
    assert set(range(900, 1000)) | {1001} <= set(kept)
    assert len(kept) <= 101 + PIECE
    assert (incident.forgotten, incident.begun_at) == (1000 - len(kept), 1)


def test_history_does_not_begin_earlier_again() -> None:
    state = begun()
    for position, first in ((2, 900), (3, 800)):
        evolve(state, Record(position, "daemon", 1.0, "syncd", "", (HistoryEnded(first),)))
    assert state.history_from == 900
