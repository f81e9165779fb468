"""How long things took, counted in classes: enough for percentiles, and of a bounded size whatever happens.

A value is told as the upper bound of its class, never more than a tenth above it, and never more than the longest one.
"""

from bisect import bisect_left
from itertools import chain
from typing import Final

from msgspec import Struct

_STEPS: Final = (
    *(
        10,
        11,
        12,
        13,
        14,
        15,
        16,
        18,
        20,
        22,
        24,
        25,
        27,
        30,
        33,
        36,
        40,
        44,
        47,
        50,
        55,
        60,
        65,
        70,
        75,
        80,
        85,
        90,
        95,
    ),
)
_FIRST, _LAST = -5, 5  # from a tenth of a millisecond to eleven days
BOUNDS_S: Final = tuple(float(f"{step}e{power}") for power in range(_FIRST, _LAST) for step in _STEPS)


class Histogram(Struct, frozen=True):
    """``counts``: by class, the index of its upper bound in ``BOUNDS_S``; one more than there are: longer than that."""

    counts: dict[int, int] = {}
    sum_s: float = 0.0
    max_s: float = 0.0

    def after(self, took_s: float) -> "Histogram":
        """With one more."""
        took_s = max(0.0, took_s)
        place, counts = bisect_left(BOUNDS_S, took_s), self.counts.copy()
        counts[place] = counts.get(place, 0) + 1
        return Histogram(counts, self.sum_s + took_s, max(self.max_s, took_s))

    def __or__(self, other: "Histogram") -> "Histogram":
        """Of both together."""
        counts = dict(self.counts)
        for place, count in other.counts.items():
            counts[place] = counts.get(place, 0) + count
        return Histogram(counts, self.sum_s + other.sum_s, max(self.max_s, other.max_s))

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts.values())

    def quantile(self, share: float) -> float:
        """So long took at most this share of them, 0..1; 0 when there were none."""
        wanted, passed = share * self.count, 0
        for place, count in sorted(self.counts.items()):
            passed += count
            if passed >= wanted:
                return min(self.max_s, BOUNDS_S[place]) if place < len(BOUNDS_S) else self.max_s
        return 0.0

    def up_to(self, bounds_s: tuple[float, ...]) -> list[int]:
        """How many took at most so long, for each of some bounds, which must be among ``BOUNDS_S``, in their order."""
        found, passed, classes = [], 0, chain(sorted(self.counts.items()), ((len(BOUNDS_S) + 1, 0),))
        place, count = next(classes)
        for bound_s in bounds_s:
            while place < len(BOUNDS_S) and BOUNDS_S[place] <= bound_s:
                passed += count
                place, count = next(classes)
            found.append(passed)
        return found
