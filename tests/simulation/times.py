"""When something happened in the world's own time, from the daemon's wall clock, which may be set back meanwhile."""

import math
from typing import Final

EDGE_S: Final = 0.001


class Times:
    """``epoch_s``: what the daemon's clock showed at 0, from the start or since it was last set."""

    def __init__(self, epoch_s: float) -> None:
        self._epochs = [(-math.inf, epoch_s)]

    def set_clock(self, at: float, epoch_s: float) -> None:
        """From ``at`` on the clock shows another time."""
        self._epochs.append((at, epoch_s))

    def at(self, at_s: float, upto: float) -> float:
        """When the clock showed this for the last time by ``upto``, which is when it was heard of at the latest."""
        found = self._candidates(at_s)
        return max((one for one in found if one <= upto + EDGE_S), default=min(found))

    def latest(self, at_s: float) -> float:
        """When the clock showed this for the last time."""
        return max(self._candidates(at_s))

    def _candidates(self, at_s: float) -> list[float]:
        ends = [from_at for from_at, _ in self._epochs[1:]] + [math.inf]
        found = []
        for (from_at, epoch_s), to_at in zip(self._epochs, ends, strict=True):
            at = at_s - epoch_s
            if from_at - EDGE_S <= at <= to_at + EDGE_S:
                found.append(at)
        return found or [at_s - self._epochs[-1][1]]
