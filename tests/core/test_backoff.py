"""Waiting: never too short, never longer than promised, and a bucket that keeps the rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.backoff import CAP_S, CAP_S_FRESH, FLOOR_S, FRESH_S, Bucket, HourlyBudget, delay_s

jitters = st.floats(0.0, 1.0)


@given(st.integers(0, 10_000), jitters)
def test_in_its_first_five_minutes_an_entry_waits_at_most_15_s(attempt: int, jitter: float) -> None:
    assert FLOOR_S <= delay_s(attempt, FRESH_S - 1, jitter) <= CAP_S_FRESH == 15.0


@given(st.integers(0, 10_000), jitters, st.floats(FRESH_S, 1e9))
def test_later_it_waits_at_most_five_minutes(attempt: int, jitter: float, age_s: float) -> None:
    assert FLOOR_S <= delay_s(attempt, age_s, jitter) <= CAP_S == 300.0


def test_the_wait_doubles_up_to_its_cap_under_full_jitter() -> None:
    assert [delay_s(attempt, 0.0, 1.0) for attempt in range(6)] == [1, 2, 4, 8, 15, 15]
    assert [delay_s(attempt, FRESH_S, 1.0) for attempt in (8, 9, 10)] == [256, 300, 300]
    assert delay_s(3, 0.0, 0.5) == 4
    assert delay_s(3, 0.0, 0.0) == FLOOR_S


def uses(rate: float, asked_at_s: list[float]) -> list[float]:
    """When each request may leave that asks at these times."""
    bucket, times = Bucket(max(1.0, rate), 0.0), []
    for at_s in asked_at_s:
        bucket, wait_s = bucket.take(at_s, rate)
        times.append(at_s + wait_s)
    return times


@pytest.mark.parametrize("rate", [0.5, 1.0, 10.0, 37.0])
def test_a_burst_takes_one_seconds_worth_and_the_rest_is_spaced_evenly(rate: float) -> None:
    times = uses(rate, [0.0] * 100)
    burst = int(max(1.0, rate))
    assert times[:burst] == [0.0] * burst
    gaps = [later - earlier for earlier, later in zip(times[burst:], times[burst + 1 :], strict=False)]
    assert gaps == pytest.approx([1.0 / rate] * len(gaps))


@given(st.floats(0.1, 100.0), st.lists(st.floats(0.0, 5.0), max_size=60))
def test_no_span_of_time_holds_more_than_the_rate_and_one_burst(rate: float, gaps_s: list[float]) -> None:
    asked, at_s = [], 0.0
    for gap_s in gaps_s:
        at_s += gap_s
        asked.append(at_s)
    times = uses(rate, asked)
    for start, first_s in enumerate(times):
        for count, last_s in enumerate(times[start:], start=1):
            assert count <= max(1.0, rate) + (last_s - first_s) * rate + 1 + 1e-6


def test_time_that_goes_back_gives_no_tokens() -> None:
    bucket, _ = Bucket(1.0, 100.0).take(100.0, 1.0)
    assert bucket.take(50.0, 1.0)[1] == 1.0


@given(st.integers(1, 5000), st.floats(0, 3600))
def test_an_hourly_rule_is_never_overrun_and_an_unused_one_slows_nobody(limit: int, begun_s: float) -> None:
    reset_s, now_s, made = 3600.0, begun_s, 0
    budget = HourlyBudget().after((limit, reset_s), throttled=False)
    assert limit < 5 or budget.pause_s(now_s) == 0.0
    while now_s < reset_s and made < 6000:
        now_s += budget.pause_s(now_s) + 1e-6
        if now_s >= reset_s:
            break
        made += 1
        budget = budget.after((limit, reset_s), throttled=False)
    assert made <= limit + 1
    assert budget.left is not None
    assert budget.left >= 0


def test_a_new_hour_brings_a_new_budget_and_a_429_uses_up_the_old_one() -> None:
    budget = HourlyBudget().after((100, 3600.0), throttled=False)
    assert budget.left == 99
    budget = budget.after((100, 3600.0), throttled=True)
    assert budget.left == 0
    assert budget.pause_s(3000.0) == 600.0
    assert budget.pause_s(3600.0) == 0.0
    assert budget.after((100, 7200.0), throttled=False).left == 99
    assert budget.after(None, throttled=False) == budget
    assert HourlyBudget().left is None


@pytest.mark.parametrize("far_s", [86_400.0, 1.8e12], ids=["our clock was set back", "an end in milliseconds"])
def test_an_hour_that_seems_to_end_in_days_holds_nothing_back_for_longer_than_an_hour(far_s: float) -> None:
    budget = HourlyBudget(100, 3600.0 + far_s, 95)
    assert budget.pause_s(3600.0) == 3600.0 / 6
    assert HourlyBudget(100, 3600.0 + far_s, 100).pause_s(3600.0) == 3600.0
