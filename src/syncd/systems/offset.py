"""How far an instance's clock is from ours."""

from syncd.core.sending import Offset


class OffsetMeter:
    """The instance's clock minus ours, narrowed down over many ``Date`` headers, each of which is a whole second."""

    def __init__(self) -> None:
        self._lo_s = self._hi_s = 0.0
        self._answers = 0

    def add(self, date_at_s: float, left_at_s: float, came_at_s: float) -> None:
        """One answer: its ``Date``, and when on our clock its request left and it came."""
        lo_s, hi_s = date_at_s - came_at_s, date_at_s + 1.0 - left_at_s
        if self._answers and max(lo_s, self._lo_s) <= min(hi_s, self._hi_s):
            lo_s, hi_s = max(lo_s, self._lo_s), min(hi_s, self._hi_s)
        self._lo_s, self._hi_s = lo_s, hi_s
        self._answers += 1

    @property
    def is_known(self) -> bool:
        """Whether there was an answer with a ``Date``."""
        return self._answers > 0

    @property
    def offset(self) -> Offset:
        """The middle of what is possible; an error of at most 1 s, which is also what we assume before any answer."""
        if not self._answers:
            return Offset()
        return Offset((self._lo_s + self._hi_s) / 2, min(1.0, (self._hi_s - self._lo_s) / 2))
