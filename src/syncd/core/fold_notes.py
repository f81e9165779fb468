"""How work notes change State: who gets one, what is under way, and what has arrived.

Part of the fold (``fold.py``), with the same promise: no clock, no chance, no input or output.
"""

from collections.abc import Callable

from msgspec.structs import replace

from syncd.core import events as e
from syncd.core import links
from syncd.core.fold_links import drop_letter, mark, put_link, waiting_notes, wake
from syncd.core.model import Note, NoteEntry
from syncd.core.state import State


def note_added(state: State, record: e.Record, event: e.NoteAdded) -> None:
    written_at_s = record.at_s if event.written_at_s is None else event.written_at_s
    note = Note(event.note_id, event.text, event.author, written_at_s, event.origin, event.external_id, event.only_to)
    state.notes[event.incident_id] = (*state.notes.get(event.incident_id, ()), note)
    for name in state.links_of.get(event.incident_id, ()):
        wake(state, record, name)
        link = state.links[name]
        put_link(state, replace(link, notes=(*link.notes, *waiting_notes(state, record, link, (note,)))))
    mark(state, record, event.incident_id)


def note_named(state: State, _: e.Record, event: e.NoteNamed) -> None:
    state.notes[event.incident_id] = tuple(
        replace(note, external_id=event.external_id) if note.id == event.note_id else note
        for note in state.notes[event.incident_id]
    )


def note_send_started(state: State, record: e.Record, event: e.NoteSendStarted) -> None:
    _change(state, record, event, lambda entry: replace(entry, in_flight=event.attempt))


def note_send_failed(state: State, record: e.Record, event: e.NoteSendFailed) -> None:
    def after(entry: NoteEntry) -> NoteEntry:
        unsettled = entry.unsettled
        if event.ambiguous and entry.in_flight is not None:
            unsettled = replace(entry.in_flight, ended_at_s=record.at_s)
        return replace(
            entry,
            attempts=entry.attempts + 1,
            next_at_s=event.next_at_s,
            failure=event.failure,
            in_flight=None,
            unsettled=unsettled,
        )

    _change(state, record, event, after)


def note_sent(state: State, record: e.Record, event: e.NoteSent) -> None:
    link = links.without_note(state.links[event.link_id], event.note_id)
    count = link.known_count if event.mod_count is None else max(link.known_count or 0, event.mod_count)
    noted = links.noted_after(link, event.mod_count)
    put_link(state, replace(link, known_count=count, noted_count=noted, last_synced_at_s=record.at_s))
    for letter in state.letters_under(link.id):
        if letter.note_id == event.note_id:
            drop_letter(state, letter)
    mark(state, record, link.incident_id)


def notes_read(state: State, _: e.Record, event: e.NotesRead) -> None:
    for name, count in event.counts.items():
        if (link := state.links.get(name)) is not None:
            upto_s = max(link.noted_upto_s, event.upto_s.get(name, 0.0))
            noted = link.noted_count if count is None else max(link.noted_count or 0, count)
            state.links[name] = replace(link, noted_count=noted, noted_upto_s=upto_s)


def _change(
    state: State,
    record: e.Record,
    event: e.NoteSendStarted | e.NoteSendFailed,
    after: Callable[[NoteEntry], NoteEntry],
) -> None:
    link = state.links[event.link_id]
    notes = tuple(after(entry) if entry.note_id == event.note_id else entry for entry in link.notes)
    put_link(state, replace(link, notes=notes))
    mark(state, record, link.incident_id)
