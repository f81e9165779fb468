"""When a dead letter is tried again by itself, and when only a person may."""

import math

import pytest
from msgspec.structs import replace

from syncd.core import events as e
from syncd.core.letters import dead_letter, next_retry_at_s, retry_due
from syncd.core.model import Failure
from syncd.core.state import State
from tests.core.picture import AT_S, INT, LINK, apply, picture

HOUR_S = 3600.0
REFUSED = Failure("refused", "Operation Failed", 403, "aborted")


def refused_at(state: State, at_s: float, failure: Failure = REFUSED) -> float | None:
    """A further refusal of the severity; returns when it is tried again."""
    letter = dead_letter(
        state, state.links[LINK], "update", ("severity",), failure, at_s, attempts=1, hold=failure.kind == "refused"
    )
    apply(state, letter)
    return state.dead_letters[letter.letter.id].retry_at_s


def test_the_pause_begins_at_an_hour_and_doubles_up_to_a_day() -> None:
    state = picture()
    first_s = state.dead_letters["entry-3"].created_at_s
    at_s, pauses = first_s, []
    for _ in range(8):
        retry_at_s = refused_at(state, at_s)
        assert retry_at_s is not None
        pauses.append((retry_at_s - at_s) / HOUR_S)
        at_s = retry_at_s
    assert pauses == [1, 1, 2, 4, 8, 16, 24, 24]


@pytest.mark.parametrize("kind", ["not-kept", "unconfirmed"])
def test_what_may_be_there_or_was_kept_otherwise_is_never_tried_again_by_itself(kind: str) -> None:
    assert refused_at(picture(), AT_S, Failure(kind, "words")) is None


def test_those_whose_time_has_come_are_queued_and_no_others() -> None:
    state = picture()
    retry_at_s = refused_at(state, AT_S + 10)
    assert retry_at_s is not None
    assert next_retry_at_s(state, INT) == retry_at_s
    assert next_retry_at_s(state, "int_other") == math.inf
    assert retry_due(state, INT, retry_at_s - 1).events == ()
    change = retry_due(state, INT, retry_at_s)
    assert change.events == (e.DeadLetterRetried("entry-3", LINK),)
    apply(state, *change.events)
    assert next_retry_at_s(state, INT) == math.inf
    assert "severity" not in state.links[LINK].held
    assert "status" in state.links[LINK].held


def test_nothing_is_queued_where_nothing_may_be_written() -> None:
    state = picture()
    retry_at_s = refused_at(state, AT_S)
    assert retry_at_s is not None
    one = state.integrations[INT]
    state.integrations[INT] = replace(one, settings=replace(one.settings, sync_direction="inbound"))
    assert retry_due(state, INT, retry_at_s).events == ()
    assert retry_due(state, "int_gone", retry_at_s).events == ()
