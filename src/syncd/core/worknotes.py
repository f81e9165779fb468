"""Work notes between the two sides: which goes next, what it says there, whether it has arrived, and what comes in.

Notes are a log and not a value: they are only ever appended, in their order, each once and in a request of its own.
What cannot be repeated without harm is looked for first: a note without a clear answer is counted among the notes of
its record until it is there, or until no transaction that could have written it lives any more (docs/sync.md, "Work
notes").
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from syncd.core.events import (
    Change,
    Event,
    NoteAdded,
    NoteNamed,
    NoteSendFailed,
    NoteSendStarted,
    NoteSent,
    NotesRead,
    Observed,
)
from syncd.core.lens import lens_of
from syncd.core.letters import dead_letter
from syncd.core.model import (
    SHOWN_NOTE,
    DeadLetter,
    Failure,
    Integration,
    Link,
    Note,
    NoteAttempt,
    NoteEntry,
    Observation,
    SeenNote,
)
from syncd.core.outbox import first_note
from syncd.core.sending import Offset, is_over, news
from syncd.core.state import State
from syncd.errors import Outcome

NOTE_FIELDS: Final = ("work_notes",)
NOTHING: Final = Change[None]("", (), result=None)


class Pair(Struct, frozen=True):
    """A linked pair whose work notes have been read in ServiceNow, as of this count of its record."""

    link_id: str
    incident_id: str
    external_id: str
    mod_count: int | None


def taken_in(
    state: State, integration: Integration, pairs: Sequence[Pair], notes: Sequence[SeenNote], offset: Offset
) -> list[Event]:
    """What the notes of these records bring to their incidents, each once, and that they have been read.

    Ours are left out: what our account wrote, and what says the same as a note of the platform does there.
    """
    events: list[Event] = []
    by_record: dict[str, list[SeenNote]] = {}
    for seen in notes:
        by_record.setdefault(seen.external_id, []).append(seen)
    for pair in pairs if integration.settings.reads else ():
        events += _news_of(state, integration, pair, by_record.get(pair.external_id, ()), offset)
    if pairs:
        newest = {
            pair.link_id: max((seen.created_at_s or 0.0 for seen in by_record.get(pair.external_id, ())), default=0.0)
            for pair in pairs
        }
        events.append(NotesRead({pair.link_id: pair.mod_count for pair in pairs}, newest))
    return events


def _news_of(
    state: State, integration: Integration, pair: Pair, shown: Sequence[SeenNote], offset: Offset
) -> Iterator[Event]:
    """What the notes of one record bring.

    Whether our account may read the journal table can change at any time. Where it may not, the record shows all of its
    notes and no ids, under headers that change with a name or a time zone: so they are counted by their words. Where it
    may, a note that came in so far without an id gets its own.
    """
    present = state.notes.get(pair.incident_id, ())
    theirs = [note for note in present if note.origin == integration.id]
    known = {note.external_id for note in theirs}
    ours = {wording(note) for note in present if note.origin != integration.id}
    nameless = [note for note in theirs if note.external_id.startswith(SHOWN_NOTE)]
    had, counted = Counter(note.text for note in theirs), Counter[str]()
    for seen in shown:
        text = seen.text.replace("\r\n", "\n").replace("\r", "\n").rstrip()
        is_ours = text in ours or (integration.account != "" and seen.author == integration.account)
        if is_ours or seen.id in known or not text.strip():
            counted[text] += not is_ours
            continue
        known.add(seen.id)
        counted[text] += 1
        same = next((note for note in nameless if note.text == text), None)
        if seen.is_named and same is not None:
            nameless.remove(same)
            yield NoteNamed(pair.incident_id, same.id, seen.id)
        elif seen.is_named or counted[text] > had[text]:
            yield _taken_in(integration, pair.incident_id, seen, text, offset)


def _taken_in(integration: Integration, incident_id: str, seen: SeenNote, text: str, offset: Offset) -> NoteAdded:
    return NoteAdded(
        incident_id,
        f"note-{integration.id.removeprefix('int_')}-{seen.id}",
        text,
        seen.author,
        integration.id,
        seen.id,
        None if seen.created_at_s is None else seen.created_at_s - offset.s,
    )


def wording(note: Note) -> str:
    """What the record gets: ServiceNow knows one author only, our account, so the text names the real one.

    ``[code]`` would make ServiceNow render what follows as HTML.
    """
    text = note.text.replace("\r\n", "\n").replace("\r", "\n").rstrip()
    return f"{note.author}:\n{text}".replace("[code]", "[ code]").replace("[/code]", "[/ code]")


def maybe_there(notes: Iterable[Note], entries: Iterable[NoteEntry]) -> tuple[NoteEntry, ...]:
    """The entries for a record that existed before its link: it may have these notes from an earlier one.

    Each is looked for before it is sent, as if an earlier attempt had gone without an answer.
    """
    wordings, before = {note.id: wording(note) for note in notes}, Counter[str]()
    doubtful = []
    for entry in entries:
        text = wordings[entry.note_id]
        doubtful.append(replace(entry, unsettled=NoteAttempt(0, text, 0.0, known=before[text], ended_at_s=0.0)))
        before[text] += 1
    return tuple(doubtful)


def wording_of(state: State, link: Link) -> str:
    """What the next note of a link says there."""
    return wording(_note(state, link.incident_id, link.notes[0].note_id))


def would_send(state: State, letter: DeadLetter) -> dict[str, str]:
    """What a retry of a note's dead letter would send."""
    return {"work_notes": wording(_note(state, letter.incident_id, letter.note_id))}


def must_look(state: State, link: Link) -> bool:
    """The record must be looked at before the next note is sent.

    An earlier attempt may have arrived, or another note says the same, so that only their number tells them apart.
    """
    entry = link.notes[0]
    if entry.in_flight is not None or entry.unsettled is not None:
        return True
    text, waiting = wording_of(state, link), {one.note_id for one in link.notes}
    notes = state.notes.get(link.incident_id, ())
    return any(note.id not in waiting and wording(note) == text for note in notes)


def _note(state: State, incident_id: str, note_id: str) -> Note:
    return next(note for note in state.notes[incident_id] if note.id == note_id)


def prepare_note(
    state: State, at_s: float, name: str, note_id: str, shown: int | None, *, looked_at_s: float, next_at_s: float
) -> Change[NoteAttempt | None]:
    """Put the next note on record, or settle the one that may have arrived; None when there is nothing to send.

    ``shown``: how many notes of the record say exactly this, as of ``looked_at_s``; None when that cannot be seen.
    """
    link = state.links.get(name)
    entry = first_note(link)
    if link is None or entry is None or entry.note_id != note_id:
        return Change("", (), result=None)
    settings = state.integrations[link.integration_id].settings
    stream = settings.organization_id
    earlier = entry.in_flight or entry.unsettled
    if earlier is not None:
        if shown is not None and shown > earlier.known:
            return Change(stream, (NoteSent(name, note_id),), result=None)
        if entry.in_flight is not None or not is_over(
            earlier.started_at_s, earlier.ended_at_s, settings.transaction_quota, looked_at_s
        ):
            failure = Failure("unconfirmed", "the note got no clear answer; looking for it before repeating it")
            failed: Event = NoteSendFailed(name, note_id, failure, next_at_s, ambiguous=True)
            return Change(stream, (failed,), result=None)
        if shown is None:
            words = "the note got no clear answer, and our account may not read work notes, which would tell"
            return Change(stream, (_letter(state, link, entry, Failure("unconfirmed", words), at_s),), result=None)
    if not settings.writes:
        return Change("", (), result=None)
    known = earlier.known if earlier is not None else shown or 0
    attempt = NoteAttempt(state.position + 1, wording_of(state, link), at_s, known)
    return Change(stream, (NoteSendStarted(name, note_id, attempt),), result=attempt)


def _letter(state: State, link: Link, entry: NoteEntry, failure: Failure, at_s: float) -> Event:
    return dead_letter(
        state, link, "note", NOTE_FIELDS, failure, at_s, attempts=entry.attempts + 1, hold=True, note_id=entry.note_id
    )


def is_evident(link: Link | None, echo: Observation) -> bool:
    """The echo shows that something was written: a note counts as a change of its record.

    Who may not write notes gets the same 200, and on some instances a note moves no count: then a look tells.
    """
    return link is not None and echo.mod_count is not None and echo.mod_count > (link.known_count or 0)


def settle_note(
    state: State, at_s: float, name: str, number: int, echo: Observation, offset: Offset, shown: int | None
) -> Change[None]:
    """ServiceNow confirmed the note; what else the echo shows is an ordinary look at the record.

    ``shown``: how many notes say exactly this, if the echo alone was no evidence; None: that cannot be seen.
    """
    link = state.links.get(name)
    entry = _sent(link, number)
    if link is None or entry is None or entry.in_flight is None:
        return NOTHING
    if is_evident(link, echo) or (shown or 0) > entry.in_flight.known:
        events: list[Event] = [NoteSent(name, entry.note_id, echo.mod_count)]
    elif shown is None:
        words = "ServiceNow answered success, and neither the record nor its notes show whether it kept the note"
        events = [_letter(state, link, entry, Failure("unconfirmed", words, status=200), at_s)]
    else:
        words = "ServiceNow answered success but did not keep the note; our account may not write work notes"
        events = [_letter(state, link, entry, Failure("not-kept", words, status=200), at_s)]
    is_older = link.known_count is not None and echo.mod_count is not None and echo.mod_count < link.known_count
    if not is_older and news(lens_of(state.integrations[link.integration_id].settings), link, echo):
        events.append(Observed(name, echo, offset.s, offset.error_s, asked=number))
    return Change(state.integrations[link.integration_id].settings.organization_id, tuple(events), result=None)


def fail_note(
    state: State, at_s: float, name: str, number: int, outcome: Outcome, failure: Failure, next_at_s: float
) -> Change[None]:
    """The note was not sent, as far as can be known; one that is refused for good does not hold up those behind it."""
    link = state.links.get(name)
    entry = _sent(link, number)
    if link is None or entry is None:
        return NOTHING
    stream = state.integrations[link.integration_id].settings.organization_id
    if outcome == "refused":
        return Change(stream, (_letter(state, link, entry, failure, at_s),), result=None)
    failed = NoteSendFailed(name, entry.note_id, failure, next_at_s, ambiguous=outcome == "ambiguous")
    return Change(stream, (failed,), result=None)


def _sent(link: Link | None, number: int) -> NoteEntry | None:
    """The note that this attempt sent, if it is still the next one."""
    entry = first_note(link)
    return entry if entry is not None and entry.in_flight is not None and entry.in_flight.number == number else None


def postpone_note(state: State, name: str, note_id: str, failure: Failure, next_at_s: float) -> Change[None]:
    """The note could not even be tried: the record could not be looked at.

    An attempt that a crash left behind is as unclear as it was.
    """
    link = state.links.get(name)
    entry = first_note(link)
    if link is None or entry is None or entry.note_id != note_id:
        return NOTHING
    stream = state.integrations[link.integration_id].settings.organization_id
    is_open = entry.in_flight is not None
    return Change(stream, (NoteSendFailed(name, note_id, failure, next_at_s, ambiguous=is_open),), result=None)
