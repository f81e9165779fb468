"""How long to wait: backoff with full jitter, ``Retry-After``, and a token bucket's arithmetic. All in seconds."""

from typing import Final

from msgspec import Struct

FIRST_S: Final = 1.0
CAP_S_FRESH: Final = 15.0  # in an entry's first five minutes (contract section 9, "Daemon")
CAP_S: Final = 300.0
FRESH_S: Final = 300.0
RETRY_AFTER_S_MAX: Final = 3600.0
FLOOR_S: Final = 0.2


def delay_s(attempt: int, age_s: float, jitter: float) -> float:
    """The wait before attempt ``attempt`` + 1 of something ``age_s`` old; ``jitter`` is drawn from 0..1."""
    cap_s = CAP_S_FRESH if age_s < FRESH_S else CAP_S
    return max(FLOOR_S, min(cap_s, FIRST_S * 2.0 ** min(attempt, 16)) * jitter)


class Bucket(Struct, frozen=True):
    """A token bucket: ``tokens`` were there at ``at_s``. Holds one second's worth at most (contract section 4)."""

    tokens: float
    at_s: float

    def take(self, now_s: float, rate: float) -> tuple["Bucket", float]:
        """Take one token; returns the bucket after it and how long to wait before using it."""
        room = max(1.0, rate)
        filled = min(room, self.tokens + max(0.0, now_s - self.at_s) * rate)
        return Bucket(filled - 1.0, now_s), max(0.0, (1.0 - filled) / rate)
