"""How dead letters change State: what is held while one lies there, and what frees it.

Part of the fold (``fold.py``), with the same promise: no clock, no chance, no input or output. A field that a letter
holds is not sent. It is freed by an edit of it (``fold_links.py``), and here: by a retry, by other settings, by a
change of the record, and by the success of another letter that was refused in the same words, since what was in the
way has gone. A discarded letter keeps its hold until the next edit.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from syncd.core import events as e
from syncd.core import links, untold
from syncd.core.fold_links import drop_letter, enqueue, mark, put_letter, put_link, stain, wake
from syncd.core.model import DeadLetter, NoteEntry
from syncd.core.state import State


def dead_lettered(state: State, record: e.Record, event: e.DeadLettered) -> None:
    letter = event.letter
    if letter.id not in state.dead_letters:
        state.last_number += 1
    put_letter(state, letter)
    link = state.links[letter.link_id]
    if letter.operation == "note":
        put_link(state, links.without_note(link, letter.note_id))
    elif event.hold:
        if letter.error.kind == "unconfirmed":
            link = links.after_cleared(link)  # it may still have happened
        link = replace(link, held=link.held | dict.fromkeys(letter.fields, letter.id), in_flight=None, outbox=None)
        put_link(state, link)
        stain(state, record, link.id)  # other groups may still be waiting
    elif letter.error.kind == "not-kept":
        put_link(state, untold.kept_here(link, letter.fields))
    mark(state, record, letter.incident_id)


def letter_retried(state: State, record: e.Record, event: e.DeadLetterRetried) -> None:
    letter = state.dead_letters[event.letter_id]
    _requeue(state, record, letter)
    mark(state, record, letter.incident_id)


def letter_discarded(state: State, record: e.Record, event: e.DeadLetterDiscarded) -> None:
    letter = state.dead_letters[event.letter_id]
    drop_letter(state, letter)
    mark(state, record, letter.incident_id)


def free(state: State, record: e.Record, letters: Iterable[DeadLetter]) -> None:
    """Try these again, short of those that only a person may: something has changed that may have been their cause."""
    for letter in letters:
        if letter.retry_at_s is not None:
            _requeue(state, record, letter)


def alike(state: State, gone: Iterable[DeadLetter]) -> list[DeadLetter]:
    """The letters that were refused in the same words as these, which have just been delivered."""
    words = {(one.integration_id, one.error.status, one.error.message, one.error.detail) for one in gone}
    return [
        one
        for one in (state.dead_letters.values() if words else ())
        if (one.integration_id, one.error.status, one.error.message, one.error.detail) in words
    ]


def _requeue(state: State, record: e.Record, letter: DeadLetter) -> None:
    """Let a letter's change be read and decided anew. The letter stays until that has succeeded."""
    put_letter(state, replace(letter, retry_at_s=None))
    wake(state, record, letter.link_id)
    link = state.links[letter.link_id]
    link = replace(link, held={field: held for field, held in link.held.items() if held != letter.id})
    if letter.operation == "note":
        if all(entry.note_id != letter.note_id for entry in link.notes):
            entry = NoteEntry(letter.note_id, record.at_s, record.trace, next_at_s=record.at_s)
            put_link(state, replace(link, notes=(*link.notes, entry)))
    elif letter.operation == "create":
        drops = state.integrations[link.integration_id].drops_correlation
        enqueue(state, record, replace(link, unsettled=()) if drops else link)  # a person has looked for the record
    else:
        put_link(state, links.without_platform_half(link, letter.fields))
        stain(state, record, link.id)
