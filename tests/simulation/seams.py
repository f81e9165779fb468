"""The seams as the simulation replaces them: virtual time and seeded chance (see also disk.py and way.py)."""

import random

import trio

EPOCH_S = 1_790_000_000.0
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class SimClock:
    """Trio's virtual time as wall time, wrong by ``skew_s``."""

    def __init__(self, skew_s: float = 0.0) -> None:
        self.skew_s = skew_s

    def now_s(self) -> float:
        return EPOCH_S + trio.current_time() + self.skew_s


class SimIds:
    """Ids, jitter and nonces from one seeded generator."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    @property
    def rng(self) -> random.Random:
        return self._rng

    def word(self) -> str:
        return "".join(self._rng.choice(_LETTERS) for _ in range(10))

    def secret(self, size_bytes: int) -> bytes:
        return self._rng.randbytes(size_bytes)
