"""Which links must be written now, and in what order (docs/sync.md, "Delivery")."""

import math
from collections.abc import Iterator

from syncd.core.model import Attempt, Link, NoteAttempt, NoteEntry, OutboxEntry
from syncd.core.state import State


def first_note(link: Link | None) -> NoteEntry | None:
    """The note of a link that goes next; None when none waits, or its record is not there yet."""
    return link.notes[0] if link is not None and link.state == "active" and link.notes else None


def due_note(link: Link, at_s: float) -> NoteEntry | None:
    """The note of a link that goes now, before its fields: a closed record takes none."""
    entry = first_note(link)
    return entry if entry is not None and entry.next_at_s <= at_s else None


def entries_of(link: Link) -> Iterator[OutboxEntry | NoteEntry]:
    """All that a link's record has not got yet: its notes in their order, then its fields."""
    yield from link.notes
    if link.outbox is not None:
        yield link.outbox


def looked_for(link: Link, entry: OutboxEntry | NoteEntry) -> Attempt | NoteAttempt | None:
    """The attempt without a clear answer that is looked for before a create or a note is sent again; None: none is."""
    if isinstance(entry, NoteEntry):
        return None if entry.in_flight is not None else entry.unsettled
    is_open = link.state == "pending" and link.in_flight is None and link.unsettled
    return link.unsettled[-1] if is_open else None


def next_entries(link: Link) -> tuple[OutboxEntry | NoteEntry, ...]:
    """What of a link may go next: its first note, and its fields or its create."""
    return tuple(entry for entry in (first_note(link), link.outbox) if entry is not None)


def due_links(state: State, integration_id: str, at_s: float, limit: int, *, without: frozenset[str]) -> list[Link]:
    """Links with something due in the order they should go: the aged ones by age, then by severity and age.

    ``without``: links that are being written right now.
    """
    outbox = state.outbox.get(integration_id)
    return [] if outbox is None else [state.links[name] for name in outbox.due(at_s, without, limit)]


def next_due_at_s(state: State, integration_id: str, after_s: float, *, without: frozenset[str]) -> float:
    """When the next entry is due, of those not due yet at ``after_s``; infinite when none waits."""
    outbox = state.outbox.get(integration_id)
    return math.inf if outbox is None else outbox.next_at_s(after_s, without)
