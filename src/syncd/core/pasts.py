"""Which records say something about an incident: the positions behind its timeline, as far as history is kept.

They are kept in pieces, so that one more costs the same however many there are, and the oldest pieces go when history
has ended behind them.
"""

from itertools import chain
from typing import Final

from msgspec.structs import replace

from syncd.core.model import Incident

PIECE: Final = 64


def with_position(incident: Incident, position: int, history_from: int) -> Incident:
    """The incident with one more record about it; what lies before ``history_from`` may be forgotten."""
    if incident.positions[-1:] == (position,):
        return incident
    newest, earlier, forgotten = incident.positions, incident.earlier, incident.forgotten
    if len(newest) >= PIECE:
        newest, earlier = (), (*earlier, newest)
    while earlier and earlier[0][-1] < history_from:
        forgotten += len(earlier[0])
        earlier = earlier[1:]
    return replace(incident, positions=(*newest, position), earlier=earlier, forgotten=forgotten)


def positions_of(incident: Incident) -> tuple[int, ...]:
    """The positions that are remembered, oldest first."""
    return (*chain.from_iterable(incident.earlier), *incident.positions)
