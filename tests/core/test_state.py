"""The fold, and random histories of real decisions through it: nothing lost, nothing invented, nothing restless."""

import inspect
from typing import get_args, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from syncd.core import events as e
from syncd.core.state import _FOLDS
from tests.core.world import KINDS, RARE_KINDS, World

indexes = st.integers(0, 11)
acts = st.lists(st.tuples(st.sampled_from(KINDS), indexes, indexes), max_size=60)
rare_acts = st.lists(st.tuples(st.sampled_from(KINDS + RARE_KINDS), indexes, indexes), max_size=60)
skews = st.sampled_from((0.0, 37.0, -600.0))
unhurried = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def lived(history: list[tuple[str, int, int]], skew_s: float) -> World:
    world = World(skew_s)
    for kind, a, b in history:
        world.act(kind, a, b)
    return world


def test_every_kind_of_event_has_the_fold_that_takes_it() -> None:
    assert set(_FOLDS) == set(get_args(e.Event))
    for kind, fold in _FOLDS.items():
        assert get_type_hints(fold)["event"] is kind
        assert list(inspect.signature(fold).parameters)[2] == "event"


@unhurried
@given(acts, skews)
def test_after_quiet_both_sides_are_equal_or_the_difference_is_listed(
    history: list[tuple[str, int, int]], skew_s: float
) -> None:
    world = lived(history, skew_s)
    world.quiet()
    assert world.unlisted() == []


@unhurried
@given(acts)
def test_when_all_is_quiet_every_webhook_once_more_and_another_sweep_write_nothing(
    history: list[tuple[str, int, int]],
) -> None:
    world = lived(history, 0.0)
    world.quiet()
    requests, incidents = world.requests, {name: one.version for name, one in world.state.incidents.items()}
    world.hooks += world.seen_hooks
    world.quiet()
    assert world.requests == requests
    assert {name: one.version for name, one in world.state.incidents.items()} == incidents


@unhurried
@given(rare_acts, skews)
def test_the_work_lists_agree_with_the_links_and_replay_gives_the_same_state(
    history: list[tuple[str, int, int]], skew_s: float
) -> None:
    world = lived(history, skew_s)
    world.quiet()
    assert vars(world.replayed()) == vars(world.state)


@unhurried
@given(acts)
def test_no_incident_ever_gets_two_records(history: list[tuple[str, int, int]]) -> None:
    world = lived(history, 0.0)
    world.quiet()
    ours = [row["correlation_id"] for row in world.rows.values() if row.get("correlation_id")]
    assert len(ours) == len(set(ours))
