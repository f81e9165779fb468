"""How far one side is behind the other: from an edit's stamp to the moment at which the other side is known to have it.

Measured from the journal's records alone, by the fold (``fold_lag.py``), so that a restart changes nothing about it.
Outbound the stamp is the platform's own. Inbound it is ServiceNow's, moved to our clock; it is a whole second, and its
beginning counts, so an inbound lag is told up to a second too long, and hardly ever too short.
"""

import math
from typing import Final

from msgspec import Struct

from syncd.core.histogram import Histogram

WINDOW_S: Final = 900.0
SLOT_S: Final = 60.0


class Slot(Struct, frozen=True):
    """The lags of one minute."""

    begin_s: float
    seen: Histogram


class Lag(Struct, frozen=True):
    """``slots``: the last 15 minutes, oldest first. ``past``: all before them."""

    slots: tuple[Slot, ...] = ()
    past: Histogram = Histogram()

    @property
    def all(self) -> Histogram:
        """Since the first one."""
        found = self.past
        for slot in self.slots:
            found |= slot.seen
        return found

    def after(self, lag_s: float, at_s: float) -> "Lag":
        """With one more, seen at a time. A clock that was set back counts in the newest slot."""
        slots, begin_s = self.slots, math.floor(at_s / SLOT_S) * SLOT_S
        if slots and slots[-1].begin_s >= begin_s:
            newest = Slot(slots[-1].begin_s, slots[-1].seen.after(lag_s))
            return Lag((*slots[:-1], newest), self.past)
        past, kept = self.past, []
        for slot in slots:
            if slot.begin_s > at_s - WINDOW_S - SLOT_S:
                kept.append(slot)
            else:
                past |= slot.seen
        return Lag((*kept, Slot(begin_s, Histogram().after(lag_s))), past)

    def lately(self, at_s: float) -> Histogram:
        """Those of the last 15 minutes, to the minute."""
        found = Histogram()
        for slot in self.slots:
            if slot.begin_s > at_s - WINDOW_S - SLOT_S:
                found |= slot.seen
        return found


class Lags(Struct, frozen=True):
    """Both directions of one integration."""

    outbound: Lag = Lag()
    inbound: Lag = Lag()
