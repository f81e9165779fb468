"""How long to wait: backoff with full jitter, ``Retry-After``, and a token bucket's arithmetic. All in seconds."""

from typing import Final

from msgspec import Struct

FIRST_S: Final = 1.0
CAP_S_FRESH: Final = 15.0  # in an entry's first five minutes (contract section 9, "Daemon")
CAP_S: Final = 300.0
FRESH_S: Final = 300.0
RETRY_AFTER_S_MAX: Final = 3600.0
FLOOR_S: Final = 0.2
SPREAD_FROM: Final = 0.8  # of an hour's requests
HOUR_S: Final = 3600.0


def delay_s(attempt: int, age_s: float, jitter: float) -> float:
    """The wait before attempt ``attempt`` + 1 of something ``age_s`` old; ``jitter`` is drawn from 0..1."""
    cap_s = CAP_S_FRESH if age_s < FRESH_S else CAP_S
    return max(FLOOR_S, min(cap_s, FIRST_S * 2.0 ** min(attempt, 16)) * jitter)


class HourlyBudget(Struct, frozen=True):
    """What an instance's rule of so many requests an hour has left for us (docs/servicenow.md, "Limits").

    Its answers tell ``limit`` and ``reset_at_s``, the end of the hour on its own clock, but not how many are left: we
    count ours. ``limit`` None: no rule.
    """

    limit: int | None = None
    reset_at_s: float = 0.0
    used: int = 0

    def after(self, rule: tuple[int, float] | None, *, throttled: bool) -> "HourlyBudget":
        """The budget after an answer, with the rule that it told of, if any."""
        if rule is None:
            return self
        limit, reset_at_s = rule
        used = 1 if reset_at_s > self.reset_at_s + 1 else self.used + 1
        return HourlyBudget(limit, reset_at_s, limit if throttled else min(used, limit))

    @property
    def left(self) -> int | None:
        """Requests that are left in this hour; None without a rule."""
        return None if self.limit is None else self.limit - self.used

    def pause_s(self, now_s: float) -> float:
        """The pause before the next request: none until most of the hour's requests are used.

        An end that is further away than an hour is a clock that was set back, or no end at all.
        """
        if self.limit is None or now_s >= self.reset_at_s or self.used < self.limit * SPREAD_FROM:
            return 0.0
        return min(HOUR_S, self.reset_at_s - now_s) / max(1, self.limit - self.used + 1)


class Bucket(Struct, frozen=True):
    """A token bucket: ``tokens`` were there at ``at_s``."""

    tokens: float
    at_s: float

    def take(self, now_s: float, rate: float, room: float | None = None) -> tuple["Bucket", float]:
        """Take one token; returns the bucket after it and how long to wait before using it.

        It holds ``room`` at most; None: one second's worth (contract section 4).
        """
        room = max(1.0, rate if room is None else room)
        filled = min(room, self.tokens + max(0.0, now_s - self.at_s) * rate)
        return Bucket(filled - 1.0, now_s), max(0.0, (1.0 - filled) / rate)
