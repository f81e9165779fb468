"""How a daemon has to behave towards an instance, whatever the instance does: checked on the log of the way.

Every life of the daemon begins anew: what an earlier one was told to wait for, it cannot know; but for refused logins,
once they are on disk. A change of settings is no beginning.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from tests.simulation.way import Exchange

HOUR_S: Final = 3600.0
SLOW_PROBE_S: Final = 300.0
TRIES_ON_A_401: Final = 2
SLACK_S: Final = 0.001
PROBE_S_MAX: Final = 15.0


def check(exchanges: Sequence[Exchange], rate: float, concurrency: int, kept: Sequence[float]) -> None:
    """The promises that hold in every world. ``kept``: when refused logins were put on record."""
    lives: dict[int, list[Exchange]] = {}
    for one in exchanges:
        lives.setdefault(one.life.number, []).append(one)
    for mine in lives.values():
        check_rate([one.left_at for one in mine], rate)
        check_concurrency(mine, concurrency)
        check_retry_after(mine)
        check_one_at_a_time(mine)
    check_refused_logins(exchanges, kept)


def check_rate(times: Sequence[float], rate: float) -> None:
    """In any stretch of time no more than the rate gives, and a burst of one second's worth."""
    for seconds in (0, 1, 2, 10, 60):
        number = int(rate * (1 + seconds))
        for first, later in zip(times, times[number:], strict=False):
            took_s = later - first
            assert took_s >= seconds - SLACK_S, f"{number + 1} requests within {took_s:.3f} s, from {first:.3f} on"


def check_concurrency(exchanges: Iterable[Exchange], concurrency: int) -> None:
    """Never more requests at once than allowed, as far as answers came."""
    steps = [(one.left_at, 1) for one in exchanges if one.answered_at is not None]
    steps += [(one.answered_at, -1) for one in exchanges if one.answered_at is not None]
    under_way = 0
    for at, step in sorted(steps):
        under_way += step
        assert under_way <= concurrency, f"{under_way} requests at once at {at:.3f}"


def check_one_at_a_time(exchanges: Iterable[Exchange]) -> None:
    """A record gets its changes one after the other: the next leaves when the last was answered."""
    last: dict[str, Exchange] = {}
    for one in sorted((one for one in exchanges if one.method == "PATCH" and one.answered_at is not None), key=_left):
        before = last.get(one.record)
        is_next = before is None or one.left_at >= _answered(before)
        assert is_next, f"{one.record} got a PATCH at {one.left_at:.3f}, while another was under way"
        last[one.record] = one


def check_retry_after(exchanges: Iterable[Exchange]) -> None:
    """After a 429 with ``Retry-After`` no request leaves until it is over."""
    told = [one for one in exchanges if one.status == 429 and one.retry_after_s is not None and one.answered_at]
    for one in exchanges:
        for before in told:
            came_at, retry_after_s = before.answered_at or 0.0, before.retry_after_s or 0.0
            over_at = came_at + min(HOUR_S, retry_after_s)
            assert not came_at + SLACK_S < one.left_at < over_at - SLACK_S, (
                f"a {one.method} at {one.left_at:.3f}, told at {came_at:.3f} to wait for {retry_after_s:.0f} s"
            )


def check_refused_logins(exchanges: Iterable[Exchange], kept: Sequence[float]) -> None:
    """Two refusals, at once or one after the other, then only the slow probe: an account is locked soon."""
    in_order = sorted((one for one in exchanges if one.answered_at is not None), key=_answered)
    tries, refused_at, life = 0, -SLOW_PROBE_S, 0
    for one in in_order:
        if one.life.number != life and not any(refused_at - SLACK_S <= at <= one.left_at for at in kept):
            tries, refused_at = 0, -SLOW_PROBE_S
        life = one.life.number
        if one.status == 401:
            is_under_way = one.left_at < refused_at - SLACK_S  # with the one before
            is_hasty = not is_under_way and tries >= TRIES_ON_A_401 and one.left_at < refused_at + SLOW_PROBE_S - 1.0
            assert not is_hasty, f"try {tries + 1} with refused credentials, {one.left_at - refused_at:.1f} s later"
            tries, refused_at = tries + 1, _answered(one)
        elif one.is_good and one.left_at >= refused_at:
            tries = 0


def check_probes(exchanges: Sequence[Exchange], from_s: float, to_s: float) -> None:
    """While an instance is down: at least every 15 s somebody looks, and only one at a time."""
    down = sorted((one for one in exchanges if from_s <= one.left_at <= to_s), key=_left)
    assert down, "nobody looked at all"
    before = [_answered(one) for one in exchanges if one.left_at < from_s]
    free_at = max([from_s, *before])
    for one in down:
        assert one.left_at - free_at <= PROBE_S_MAX + SLACK_S, f"nobody looked from {free_at:.1f} to {one.left_at:.1f}"
        assert one.left_at >= free_at - SLACK_S, f"another request at {one.left_at:.3f}, before the last was answered"
        free_at = one.answered_at if one.answered_at is not None else one.left_at
    assert to_s - free_at <= PROBE_S_MAX + SLACK_S


def _answered(exchange: Exchange) -> float:
    return exchange.answered_at or 0.0


def _left(exchange: Exchange) -> float:
    return exchange.left_at
