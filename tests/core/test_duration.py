"""Durations as people write them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.duration import duration_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("5s", 5),
        ("10m", 600),
        ("1h", 3600),
        ("2d", 172_800),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("0s", 0),
    ],
)
def test_a_number_and_a_unit_are_so_many_seconds(text: str, seconds: float) -> None:
    assert duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "5 s", "-5s", "5S", "1e3s", "5s,", "five", "5sec", ".5s", "5.s", "ms", "٣s"]
)
def test_anything_else_is_refused_and_the_message_says_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write a number and a unit") as caught:
        duration_s(text)
    assert repr(text) in str(caught.value)


@given(st.text(max_size=20))
def test_no_text_gives_anything_but_a_finite_time_or_a_refusal(text: str) -> None:
    try:
        seconds = duration_s(text)
    except ValueError:
        return
    assert 0.0 <= seconds < math.inf


def test_a_number_too_large_to_be_a_time_is_refused() -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration_s("9" * 400 + "d")
