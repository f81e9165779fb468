"""When a queue will be clear, and what sets the pace: plain arithmetic over what is measured."""

from typing import Final, Literal, TypeAlias

from msgspec import Struct

REQUESTS_A_CHANGE: Final = 2.0  # a fresh read and the write; reads go in batches where they can

Pace: TypeAlias = Literal["rate_limit", "answers", "hourly-rule", "instance"]


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
    left: int | None,
    resets_in_s: float,
) -> Forecast:
    """How long until so many changes are written, if no more come.

    ``answers``: the instance does. ``answer_s``: the median time of an answer, 0 when none has come. ``left``,
    ``resets_in_s``: of an hourly rule, if there is one.
    """
    if not answers:
        return Forecast(None, "instance")
    requests, per_s = waiting * REQUESTS_A_CHANGE, rate
    paced_by: Pace = "rate_limit"
    if answer_s > 0 and concurrency / answer_s < rate:
        per_s, paced_by = concurrency / answer_s, "answers"
    clears_in_s = requests / per_s
    if left is not None and requests > left:
        clears_in_s, paced_by = max(clears_in_s, resets_in_s + (requests - left) / per_s), "hourly-rule"
    return Forecast(clears_in_s, paced_by)
