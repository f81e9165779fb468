"""What every part of one instance stands on: its store, clock, chance, switches, faults, accounts and timers.

Owns nothing but the bundle and the timers. Never decides anything.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from syncd.simulator.accounts import Accounts
from syncd.simulator.clock import InstanceClock
from syncd.simulator.faults import Faults, Switches
from syncd.simulator.tables import Row, Store, Table

__all__ = ["Kernel", "Timers"]


class Timers:
    """Things that happen later, in order of time and then of arrival. Times are Unix seconds of the host's clock."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[], object]]] = []
        self._sequence = 0

    def at(self, at_s: float, action: Callable[[], object]) -> None:
        """Run ``action`` once time has reached ``at_s``."""
        self._sequence += 1
        heapq.heappush(self._heap, (at_s, self._sequence, action))

    def run_due(self, now_s: float) -> None:
        """Run everything that is due; what an action adds and is due as well runs too."""
        while self._heap and self._heap[0][0] <= now_s:
            heapq.heappop(self._heap)[2]()

    def next_at_s(self) -> float | None:
        """When the next action is due, or None."""
        return self._heap[0][0] if self._heap else None


@dataclass
class Kernel:
    """The bundle. ``name``: the instance's name, as in ``https://<name>.service-now.com``."""

    name: str
    api_user: str
    store: Store
    clock: InstanceClock
    random: Random
    accounts: Accounts
    switches: Switches = field(default_factory=Switches)
    timers: Timers = field(default_factory=Timers)
    number_last: int = 10000
    faults: Faults = field(init=False)

    def __post_init__(self) -> None:
        self.faults = Faults(self.random)

    @property
    def incidents(self) -> Table:
        """The incident table."""
        return self.store.tables["incident"]

    def next_number(self) -> str:
        """The next number of the counter; gaps are normal, repeats are not."""
        self.number_last += 1
        return f"INC{self.number_last:07d}"

    def incident(self, ref: str) -> Row:
        """An incident by sys_id or number; raises KeyError with the way out."""
        row = self.incidents.rows.get(ref)
        if row is None:
            row = next((one for one in self.incidents.rows.values() if one["number"] == ref.upper()), None)
        if row is None:
            raise KeyError(f"no incident {ref!r}; GET /control/incidents lists sys_ids and numbers")
        return row
