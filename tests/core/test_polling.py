"""How often polls may be, and what notes tell of."""

import pytest
from msgspec.structs import replace

from syncd.core.polling import Pace, pace, polled
from tests.core.world import SETTINGS, World


@pytest.mark.parametrize(
    ("asked", "rate", "hourly", "used_s", "why"),
    [
        ("2s", 10.0, None, 2.0, ""),
        ("2s", 10.0, 100_000, 2.0, ""),
        ("2s", 10.0, 3600, 2.0, ""),
        ("2s", 10.0, 100, 72.0, "ServiceNow allows 100 requests an hour, of which polls take half at most"),
        ("5m", 10.0, 100, 300.0, ""),
        ("1s", 0.5, None, 4.0, "rate_limit allows 0.5 requests a second, of which polls take half at most"),
        ("1s", 0.5, 1, 3600.0, "ServiceNow allows 1 requests an hour, of which polls take half at most"),
    ],
)
def test_an_interval_that_a_limit_does_not_allow_is_derived_from_that_limit(
    asked: str, rate: float, hourly: int | None, used_s: float, why: str
) -> None:
    found = pace(replace(SETTINGS, poll_interval=asked, rate_limit=rate), hourly)
    assert found is not None
    assert (found.used_s, found.reason) == (used_s, why)
    assert found.used_s >= found.asked_s


def test_off_is_no_pace() -> None:
    assert pace(SETTINGS, None) is None
    assert pace(replace(SETTINGS, poll_interval="3s"), None) == Pace(3.0, 3.0)


def test_nothing_is_told_of_an_integration_that_is_gone() -> None:
    state = World(1).state
    assert polled(state, "int_gone", 5.0).events == ()
