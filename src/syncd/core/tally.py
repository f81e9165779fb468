"""What the links of one integration add up to: counted in one pass, a piece at a time if there are many.

A view: links are frozen, so a list of them is a picture of one moment, however long the counting takes.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct, UnsetType, field

from syncd.core import closing
from syncd.core.lens import Lens
from syncd.core.model import Attempt, Link, NoteAttempt
from syncd.core.outbox import entries_of, looked_for
from syncd.core.parking import has_failed

LOOKS: Final = 2  # a record that was not shown only once may be there the next time


class Tally(Struct):
    """``waiting``: what is to be written, notes and fields each on their own; the oldest since ``oldest_since_s``.

    ``retrying``: entries whose last attempt failed; the last of their next tries is at ``next_try_at_s``.
    ``looked_for``: the attempts without a clear answer that are looked for before their create or note is sent again;
    ``is_oldest_looked_for``: what waits longest is one of these. ``stalled``: what does not go by waiting, since its
    link is parked or its record is not shown; not among the others. ``gone``: linked records that are not shown any
    more; ``unshown``: those whose links were not parked, because so many at once are not shown.
    ``parked``: links that wait for a person; ``shut``: those that only wait for a closed record.
    ``unmapped``: values without a mapping, with an incident to look at each. ``unread``: columns that are not shown.
    """

    lens: Lens
    total: int = 0
    states: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    retrying: int = 0
    next_try_at_s: float = 0.0
    looked_for: list[Attempt | NoteAttempt] = []
    is_oldest_looked_for: bool = False
    stalled: int = 0
    oldest_since_s: float | None = None
    inflight: int = 0
    gone: int = 0
    unshown: int = 0
    parked: int = 0
    shut: int = 0
    awaits_autoclose: int = 0
    unmapped: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: dict[tuple[str, str], str] = {}
    unread: Counter[str] = field(default_factory=Counter)
    _known: dict[tuple[str, str], bool] = {}

    def add(self, link: Link) -> None:
        """Count one more of the integration's links."""
        self.total += 1
        self.states[link.state] += 1
        if link.outbox is not None or link.notes:
            self._add_waiting(link)
        if link.in_flight is not None:
            self.inflight += 1
        if link.state == "parked":
            self.shut += link.closed_there
            self.gone += link.gone_there
            self.parked += has_failed(link)
        if "status" in link.base and closing.waits_for_autoclose(link):
            self.awaits_autoclose += 1
        if link.observed is not None:
            self._add_shown(link, link.observed.columns)

    def _add_waiting(self, link: Link) -> None:
        self.inflight += sum(note.in_flight is not None for note in link.notes)
        looks = max((one.attempts for one in entries_of(link) if one.failure and one.failure.kind == "gone"), default=0)
        if looks or link.state == "parked":
            self.stalled += sum(1 for _ in entries_of(link))
            self.unshown += looks >= LOOKS and link.state != "parked"
            return
        for entry in entries_of(link):
            self.waiting += 1
            self.retrying += entry.failure is not None
            self.next_try_at_s = max(self.next_try_at_s, entry.next_at_s)
            if (attempt := looked_for(link, entry)) is not None:
                self.looked_for.append(attempt)
            if self.oldest_since_s is None or entry.since_s < self.oldest_since_s:
                self.oldest_since_s, self.is_oldest_looked_for = entry.since_s, attempt is not None

    def _add_shown(self, link: Link, columns: Mapping[str, str]) -> None:
        for name, one in self.lens.lenses.items():
            raw = one.raw(columns)
            if isinstance(raw, UnsetType):
                self.unread[name] += 1
            elif raw and (not one.is_text or raw.isspace()) and self._is_unmapped(name, raw, columns):
                self.unmapped[name, raw] += 1
                self.examples.setdefault((name, raw), link.incident_id)

    def _is_unmapped(self, name: str, raw: str, columns: Mapping[str, str]) -> bool:
        """Asked once for each of the few values that such a field has."""
        known = self._known.get((name, raw))
        if known is None:
            known = self._known[name, raw] = bool(self.lens.unmapped(name, columns))
        return known


def tally_of(links: Iterable[Link], lens: Lens) -> Tally:
    """All of them at once."""
    tally = Tally(lens)
    for link in links:
        tally.add(link)
    return tally
