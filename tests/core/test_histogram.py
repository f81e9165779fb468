"""Classes of durations: percentiles within a tenth, never flattering, of a bounded size."""

import math

from hypothesis import given
from hypothesis import strategies as st

from syncd.core.histogram import BOUNDS_S, Histogram

durations = st.lists(st.floats(0.0, 900_000.0), min_size=1, max_size=200)


def of(values: list[float]) -> Histogram:
    found = Histogram()
    for value in values:
        found = found.after(value)
    return found


@given(values=durations, share=st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_never_too_short_and_at_most_a_tenth_too_long(values: list[float], share: float) -> None:
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    told = of(values).quantile(share)
    assert exact <= told <= max(exact * 1.12, BOUNDS_S[0])


@given(values=durations)
def test_counts_under_bounds_are_those_of_the_values(values: list[float]) -> None:
    bounds = (0.1, 0.5, 1.0, 5.0, 60.0, 3600.0)
    found = of(values)
    assert found.up_to(bounds) == [sum(value <= bound for value in values) for bound in bounds]
    assert (found.count, found.max_s) == (len(values), max(values))


@given(one=durations, other=durations)
def test_two_of_them_together_are_one_of_all(one: list[float], other: list[float]) -> None:
    assert (of(one) | of(other)).counts == of(one + other).counts


def test_nothing_has_no_percentile_and_what_is_longer_than_all_classes_is_its_own() -> None:
    assert Histogram().quantile(0.5) == 0.0
    assert of([9e9]).quantile(0.5) == 9e9
    assert of([9e9]).up_to((1.0,)) == [0]
    assert of([-1.0]).max_s == 0.0
    assert tuple(sorted(set(BOUNDS_S))) == BOUNDS_S
