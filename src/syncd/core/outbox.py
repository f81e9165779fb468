"""Which links must be written now, and in what order (docs/sync.md, "Delivery")."""

import math
from typing import Final

from syncd.core.model import Link
from syncd.core.state import State

AGED_S: Final = 30.0  # what has waited so long goes by age, before any severity


def due_links(state: State, integration_id: str, at_s: float, limit: int, *, without: frozenset[str]) -> list[Link]:
    """Due entries in the order they should go: the aged ones by age, then by severity and age.

    ``without``: links that are being written right now.
    """
    waiting = (state.links[name] for name in state.outbox.get(integration_id, {}) if name not in without)
    due = [link for link in waiting if link.outbox is not None and link.outbox.next_at_s <= at_s]

    def rank(link: Link) -> tuple[bool, str, float, str]:
        since_s = link.outbox.since_s if link.outbox is not None else at_s
        aged = at_s - since_s >= AGED_S
        return (not aged, "" if aged else state.incidents[link.incident_id].severity, since_s, link.id)

    return sorted(due, key=rank)[:limit]


def next_due_at_s(state: State, integration_id: str, *, without: frozenset[str], after_s: float = -math.inf) -> float:
    """When the next entry is due, of those due later than ``after_s``; infinite when none waits."""
    waiting = (state.links[name].outbox for name in state.outbox.get(integration_id, {}) if name not in without)
    times = (entry.next_at_s for entry in waiting if entry is not None)
    return min((at_s for at_s in times if at_s > after_s), default=math.inf)
