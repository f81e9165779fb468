"""When a queue will be clear: what is said comes true under a rate, slow answers, and an hourly rule."""

import pytest

from syncd.core.backoff import HourlyBudget
from syncd.core.forecast import HOUR_S, REQUESTS_A_CHANGE, Forecast, forecast


def ahead(
    waiting: int,
    *,
    answers: bool = True,
    answer_s: float = 0.0,
    hourly_limit: int | None = None,
    left: int | None = None,
    resets_in_s: float = 0.0,
) -> Forecast:
    return forecast(
        waiting,
        answers=answers,
        rate=10.0,
        concurrency=4,
        answer_s=answer_s,
        hourly_limit=hourly_limit,
        left=left,
        resets_in_s=resets_in_s,
    )


def test_without_an_answer_nothing_is_foretold() -> None:
    assert ahead(1, answers=False) == Forecast(None, "instance")


def test_the_slower_of_the_rate_and_the_answers_sets_the_pace() -> None:
    assert ahead(100) == Forecast(20.0, "rate_limit")
    assert ahead(100, answer_s=0.1) == Forecast(20.0, "rate_limit")
    assert ahead(100, answer_s=4.0) == Forecast(200.0, "answers")


def under_the_rule(waiting: int, limit: int, left: int, resets_in_s: float) -> float:
    """How long it takes with the budget that the connection keeps to, request by request at 10 a second."""
    now_s, hour_ends_s, budget = 0.0, resets_in_s, HourlyBudget(limit, resets_in_s, limit - left)
    for _ in range(int(waiting * REQUESTS_A_CHANGE)):
        if budget.left == 0:
            now_s = max(now_s, hour_ends_s)
        now_s += max(0.1, budget.pause_s(now_s))
        if now_s >= hour_ends_s:
            hour_ends_s += HOUR_S
        budget = budget.after((limit, hour_ends_s), throttled=False)
    return now_s


@pytest.mark.parametrize(
    ("waiting", "limit", "left", "resets_in_s"),
    [
        (10_000, 1000, 100, 1800.0),  # hours and hours
        (10_000, 1000, 1000, 3600.0),
        (700, 1000, 500, 60.0),
        (300, 1000, 1000, 3600.0),  # all of it before the spread begins
        (45, 1000, 100, 1800.0),  # in this hour, but spread over what is left of it
        (5000, 100_000, 90_000, 3000.0),  # a rule that is wider than our own rate
    ],
)
def test_the_forecast_under_an_hourly_rule_is_what_the_connection_will_take(
    waiting: int, limit: int, left: int, resets_in_s: float
) -> None:
    told = ahead(waiting, hourly_limit=limit, left=left, resets_in_s=resets_in_s)
    assert told.clears_in_s == pytest.approx(under_the_rule(waiting, limit, left, resets_in_s), rel=0.1)
    is_wide = told.clears_in_s == waiting * REQUESTS_A_CHANGE / 10
    assert told.paced_by == ("rate_limit" if is_wide else "hourly-rule")
