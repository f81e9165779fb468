"""Lag: from an edit's stamp to the other side, over the last 15 minutes, by the fold alone."""

import pytest
from msgspec.structs import replace

from syncd.core import events as e
from syncd.core.health import Counts
from syncd.core.lag import SLOT_S, WINDOW_S, Lag, Lags
from syncd.core.model import Attempt, Halves, NoteAttempt, Span
from syncd.core.state import State
from syncd.core.status import status
from tests.core.picture import AT_S, INC, INT, LINK, apply, integration, picture, seen
from tests.core.promises import INTEGRATION
from tests.core.steps import begin, create, edit, known, landed, linked, pending, settle


def outbound(state: State) -> list[float]:
    lag = state.lags.get(INTEGRATION, Lags()).outbound
    return [lag.all.max_s] if lag.all.count == 1 else [lag.all.sum_s, lag.all.count]


def test_the_window_holds_15_minutes_and_the_whole_holds_everything() -> None:
    lag = Lag()
    for minute in range(60):
        lag = lag.after(float(minute), AT_S + 60.0 * minute)
    at_s = AT_S + 60.0 * 59
    assert 15 <= lag.lately(at_s).count <= 16
    assert lag.lately(at_s).max_s == 59.0
    assert lag.all.count == 60
    assert len(lag.slots) <= WINDOW_S / SLOT_S + 1
    assert lag.lately(at_s + WINDOW_S + SLOT_S + 60).count == 0


def test_a_clock_that_was_set_back_loses_nothing() -> None:
    lag = Lag().after(1.0, AT_S).after(2.0, AT_S - 3600)
    assert lag.lately(AT_S).count == 2
    assert lag.after(-5.0, AT_S).all.count == 3


def test_outbound_counts_from_the_edit_to_the_answer_that_confirms_it() -> None:
    world = linked()
    before = world.state.lags[INTEGRATION].outbound.all
    edit(world, title="Mail is down")
    edited_at_s = world.state.incidents["INC-1"].stamps["title"].at_s
    attempt = known(begin(world))
    world.now_s += 3.0
    settle(world, attempt, landed(world, attempt))
    after = world.state.lags[INTEGRATION].outbound.all
    assert after.count == before.count + 1
    assert abs(after.sum_s - before.sum_s - (world.state.at_s - edited_at_s)) < 1e-6
    assert after.sum_s - before.sum_s >= 3.0


def test_an_edit_made_after_the_request_left_is_not_what_it_delivered() -> None:
    world = linked()
    before = world.state.lags[INTEGRATION].outbound.all
    edit(world, title="first")
    attempt = known(begin(world))
    world.now_s += 5.0
    edit(world, title="second")
    settle(world, attempt, landed(world, attempt))
    assert world.state.lags[INTEGRATION].outbound.all.sum_s - before.sum_s >= 5.0


def test_a_create_counts_from_the_declaration() -> None:
    world = pending()
    declared_at_s = world.state.incidents["INC-1"].created_at_s
    world.now_s += 2.0
    attempt = known(create(world))
    settle(world, attempt, landed(world, attempt))
    lag = world.state.lags[INTEGRATION].outbound.all
    assert (lag.count, lag.sum_s) == (1, world.state.at_s - declared_at_s)


@pytest.mark.parametrize(
    ("stamp_s", "waited_s"),
    [(100.0, 10.0), (3.5, 105.0 + 1.0), (-500.0, None)],  # the link is 4 s old at 110
)
def test_inbound_counts_from_the_beginning_of_the_stamps_second(stamp_s: float, waited_s: float | None) -> None:
    state = picture()
    link = state.links[LINK]
    assert link.created_at_s == AT_S + 4
    edited = Span(AT_S + stamp_s, AT_S + stamp_s + 1, "ann")
    state.links[LINK] = replace(link, base=link.base | {"title": replace(link.base["title"], edited=edited)})
    state.position = 109
    taken = e.FieldDecided("title", "one-side-changed", Halves("Down there", "Down there"), "Down there")
    apply(state, e.Merged(LINK, (taken,)))
    lag = state.lags.get(INT, Lags()).inbound.all
    assert (lag.count, lag.sum_s) == ((0, 0.0) if waited_s is None else (1, waited_s))
    shown = status(state, state.integrations[INT], Counts(), state.at_s).lag.inbound
    assert (shown is None) == (waited_s is None)


def test_a_new_record_counts_from_its_creation_and_an_older_one_that_is_brought_in_does_not() -> None:
    for created_at_s, count in ((AT_S + 5, 1), (AT_S - 5000, 0)):
        state = apply(State(), e.IntegrationConfigured(integration()))
        made = replace(seen(), created_at_s=created_at_s)
        apply(
            state,
            e.IncidentDeclared(INC, "Down", "SEV-3", origin=INT),
            e.LinkJoined(LINK, INT, INC, made, offset_s=0.0, offset_error_s=0.0),
        )
        assert state.lags.get(INT, Lags()).inbound.all.count == count


def test_a_pair_that_a_person_joined_counts_from_the_joining() -> None:
    state = picture()
    link = replace(state.links[LINK], created_at_s=AT_S + 500)
    state.links[LINK] = replace(link, in_flight=Attempt(7, "update", {"severity": "SEV-3"}, {}, AT_S + 501))
    state.position = 510
    apply(state, e.SendSettled(LINK, 7, seen(), {"severity": Halves("SEV-3", "3")}))
    lag = state.lags[INT].outbound.all
    assert lag.sum_s == state.at_s - (AT_S + 500)


def test_a_verdict_counts_from_the_verdict_and_not_from_the_edit_before_it() -> None:
    state = picture()
    base = state.links[LINK].base
    ruled = replace(base["title"], rule="decided-by-person", ruled_at_s=AT_S + 900)
    attempt = Attempt(7, "update", {"title": "Down here"}, {}, AT_S + 901)
    state.links[LINK] = replace(state.links[LINK], base=base | {"title": ruled}, in_flight=attempt)
    state.position = 910
    apply(state, e.SendSettled(LINK, 7, seen(), {"title": Halves("Down here", "Down here")}))
    assert state.lags[INT].outbound.all.sum_s == state.at_s - (AT_S + 900)


def test_notes_count_both_ways() -> None:
    state = picture()
    apply(state, e.NoteAdded(INC, "note-1", "rolled back", "ann"))
    added_at_s = state.at_s
    apply(state, e.NoteSendStarted(LINK, "note-1", NoteAttempt(1, "rolled back", state.at_s)))
    apply(state, e.NoteSent(LINK, "note-1"))
    assert state.lags[INT].outbound.all.sum_s == state.at_s - added_at_s
    apply(state, e.NoteAdded(INC, "note-2", "seen", "beth", INT, "j1", written_at_s=state.at_s - 2.0))
    assert state.lags[INT].inbound.all.sum_s == 3.0
    apply(state, e.NoteAdded(INC, "note-3", "of last year", "beth", INT, "j2", written_at_s=AT_S - 9e6))
    assert state.lags[INT].inbound.all.count == 1


def test_the_lag_of_a_deleted_integration_is_gone() -> None:
    state = picture()
    apply(state, e.NoteAdded(INC, "note-2", "seen", "beth", INT, "j1", written_at_s=state.at_s))
    assert INT in state.lags
    apply(state, e.IntegrationDeleted(INT))
    assert INT not in state.lags
