"""Which links must be written now, and in what order (docs/sync.md, "Delivery")."""

import math
from collections.abc import Iterator
from typing import Final

from syncd.core.model import Link, NoteEntry, OutboxEntry
from syncd.core.state import State

AGED_S: Final = 30.0  # what has waited so long goes by age, before any severity


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


def _next_entries(link: Link) -> Iterator[OutboxEntry | NoteEntry]:
    if (note := first_note(link)) is not None:
        yield note
    if link.outbox is not None:
        yield link.outbox


def due_links(state: State, integration_id: str, at_s: float, limit: int, *, without: frozenset[str]) -> list[Link]:
    """Links with something due in the order they should go: the aged ones by age, then by severity and age.

    ``without``: links that are being written right now.
    """
    waiting = (state.links[name] for name in state.outbox.get(integration_id, {}) if name not in without)
    due = [(link, since_s) for link in waiting if (since_s := _since_s(link, at_s)) is not None]

    def rank(one: tuple[Link, float]) -> tuple[bool, str, float, str]:
        link, since_s = one
        aged = at_s - since_s >= AGED_S
        return (not aged, "" if aged else state.incidents[link.incident_id].severity, since_s, link.id)

    return [link for link, _ in sorted(due, key=rank)[:limit]]


def _since_s(link: Link, at_s: float) -> float | None:
    """Since when the oldest of what is due has waited; None when nothing is."""
    return min((entry.since_s for entry in _next_entries(link) if entry.next_at_s <= at_s), default=None)


def next_due_at_s(state: State, integration_id: str, *, without: frozenset[str], after_s: float = -math.inf) -> float:
    """When the next entry is due, of those due later than ``after_s``; infinite when none waits."""
    links = (state.links[name] for name in state.outbox.get(integration_id, {}) if name not in without)
    times = (entry.next_at_s for link in links for entry in _next_entries(link))
    return min((at_s for at_s in times if at_s > after_s), default=math.inf)
