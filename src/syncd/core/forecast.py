"""When a queue will be clear, and what sets the pace: plain arithmetic over what is measured."""

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from syncd.core.backoff import SPREAD_FROM

HOUR_S: Final = 3600.0
REQUESTS_A_CHANGE: Final = 2.0  # a fresh read and the write; reads go in batches where they can

Pace: TypeAlias = Literal["rate_limit", "answers", "hourly-rule", "instance", "next-try", "look-ups"]


class Forecast(Struct, frozen=True):
    """``clears_in_s``: None while that depends on the instance alone. ``paced_by``: what would have to be faster."""

    clears_in_s: float | None
    paced_by: Pace


def forecast(
    waiting: int,
    *,
    answers: bool,
    rate: float,
    concurrency: int,
    answer_s: float,
    hourly_limit: int | None,
    left: int | None,
    resets_in_s: float,
) -> Forecast:
    """How long until so many changes are written, if no more come.

    ``answers``: the instance does. ``answer_s``: the median time of an answer, 0 when none has come. ``hourly_limit``,
    ``left``, ``resets_in_s``: of an hourly rule, if there is one: how many requests it allows an hour and has left in
    this one, and when that ends.
    """
    if not answers:
        return Forecast(None, "instance")
    requests, per_s = waiting * REQUESTS_A_CHANGE, rate
    paced_by: Pace = "rate_limit"
    if answer_s > 0 and concurrency / answer_s < rate:
        per_s, paced_by = concurrency / answer_s, "answers"
    clears_in_s = requests / per_s
    if hourly_limit is not None and left is not None:
        ruled_s = _under_rule_s(requests, per_s, max(1, hourly_limit), left, resets_in_s)
        if ruled_s > clears_in_s:
            clears_in_s, paced_by = ruled_s, "hourly-rule"
    return Forecast(clears_in_s, paced_by)


def not_before(found: Forecast, *, next_try_in_s: float, looked_up_in_s: float) -> Forecast:
    """The forecast with what has a time of its own, and would not go earlier however fast the others do.

    ``next_try_in_s``: the last of the next tries of what failed; ``looked_up_in_s``: when what got no clear answer has
    been looked for long enough.
    """
    waits: tuple[tuple[float, Pace], ...] = ((looked_up_in_s, "look-ups"), (next_try_in_s, "next-try"))
    for in_s, pace in waits:
        if found.clears_in_s is not None and in_s > found.clears_in_s:
            found = Forecast(in_s, pace)
    return found


def _under_rule_s(requests: float, per_s: float, limit: int, left: int, resets_in_s: float) -> float:
    """How long so many requests take under an hourly rule: what this hour has left, whole hours, and the last one."""
    if requests <= left:
        return _within_hour_s(requests, per_s, limit, left, resets_in_s)
    hours, last = divmod(requests - left, limit)
    return resets_in_s + hours * HOUR_S + _within_hour_s(last, per_s, limit, limit, HOUR_S)


def _within_hour_s(requests: float, per_s: float, limit: int, left: int, ends_in_s: float) -> float:
    """How long they take in an hour that has ``left``: its last fifth is spread over what is left of the hour."""
    free = max(0.0, left - limit * (1 - SPREAD_FROM))
    if requests <= free:
        return requests / per_s
    return free / per_s + max(0.0, ends_in_s - free / per_s) * (requests - free) / (left - free + 1)
