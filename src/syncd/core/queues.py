"""Queues: what waits, in the order in which it goes, so that a look at one costs the same however long it is.

Parts of State: only the fold changes them, and replay makes them anew. Who goes next is asked through ``hints.py`` and
``outbox.py``.
"""

import math
from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Iterator
from heapq import merge
from itertools import chain
from typing import Final, Generic, Literal, TypeAlias, TypeVar

from msgspec import Struct, field

from syncd.core.model import SEVERITIES, NoteEntry, OutboxEntry

AGED_S: Final = 30.0  # what has waited so long goes by age, before any severity

Name = TypeVar("Name", bound=Hashable)
Place = TypeVar("Place", bound=tuple[object, ...])
Kind: TypeAlias = Literal["note", "write"]
Rank: TypeAlias = tuple[str, float, str, Kind]  # severity, waiting since, link and what of it
LaterPlace: TypeAlias = tuple[float, str, float, str, Kind]  # the next try, and the rank it will have
KINDS: Final[tuple[Kind, ...]] = ("note", "write")


class Line(Struct, Generic[Name, Place]):
    """Names in the order of their places: tuples that begin with what is compared first, no two alike."""

    places: dict[Name, Place] = {}
    order: list[Place] = []

    def put(self, name: Name, place: Place) -> None:
        """Give a name its place, or another one."""
        self.drop(name)
        self.places[name] = place
        insort(self.order, place)

    def drop(self, name: Name) -> None:
        """Forget a name, if it is there."""
        place = self.places.pop(name, None)
        if place is not None:
            del self.order[self.index(place)]

    def index(self, place: tuple[object, ...]) -> int:
        """How many places lie before this one, which may be the beginning of one."""
        return bisect_left(self.order, place)

    def between(self, begin: int, end: int) -> Iterator[Place]:
        """The places from one index to another."""
        return map(self.order.__getitem__, range(begin, end))


class Outbox(Struct):
    """The links of one integration that wait to be written; what of them may go is ``ready``, or has a time ``later``.

    What was due when the fold last came by is ready, and stays so should the clock be set back.
    """

    names: dict[str, None] = {}
    ready: Line[tuple[str, Kind], Rank] = field(default_factory=Line)
    later: Line[tuple[str, Kind], LaterPlace] = field(default_factory=Line)

    def __len__(self) -> int:
        """How many links wait."""
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        """Their names, in no order that means anything."""
        return iter(self.names)

    def put(self, name: str, severity: str, entries: Iterable[NoteEntry | OutboxEntry], at_s: float) -> None:
        """Let a link wait, or wait otherwise, as of ``at_s``. ``entries``: what of it may go next, of each kind one."""
        self.drop(name)
        self.names[name] = None
        for entry in entries:
            kind: Kind = "note" if isinstance(entry, NoteEntry) else "write"
            self.later.put((name, kind), (entry.next_at_s, severity, entry.since_s, name, kind))
        for place in self.later.order[: _upto(self.later, at_s)]:
            self.later.drop(place[-2:])
            self.ready.put(place[-2:], place[1:])

    def drop(self, name: str) -> None:
        """Forget a link, if it is there."""
        self.names.pop(name, None)
        for kind in KINDS:
            self.ready.drop((name, kind))
            self.later.drop((name, kind))

    def due(self, at_s: float, without: frozenset[str], limit: int) -> list[str]:
        """Which links should go at ``at_s``, first things first: the aged by age, the others by severity and age."""
        woken = Line[tuple[str, Kind], Rank](
            order=sorted(one[1:] for one in self.later.order[: _upto(self.later, at_s)])
        )
        aged: list[Iterator[Rank]] = []
        young: list[Iterator[Rank]] = []
        for line in (self.ready, woken):
            for severity in SEVERITIES:
                begin, end = line.index((severity,)), line.index((severity, math.inf))
                split = line.index((severity, math.nextafter(at_s - AGED_S, math.inf)))
                aged.append(line.between(begin, split))
                young.append(line.between(split, end))
        due: dict[str, None] = {}
        for _, _, name, _ in chain(merge(*aged, key=lambda rank: rank[1:]), merge(*young)):
            if len(due) >= limit:
                break
            if name not in without:
                due[name] = None  # a note and a write of one link go one after the other
        return list(due)

    def next_at_s(self, after_s: float, without: frozenset[str]) -> float:
        """When the first of those is due that are not due at ``after_s``; infinite when there is none."""
        places = self.later.between(_upto(self.later, after_s), len(self.later.order))
        return next((at_s for at_s, _, _, name, _ in places if name not in without), math.inf)


def _upto(line: Line[tuple[str, Kind], LaterPlace], at_s: float) -> int:
    return line.index((math.nextafter(at_s, math.inf),))
