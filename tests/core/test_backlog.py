"""The queue in sync-status: what waits, what does not go by waiting, and when all of it will be gone."""

import pytest
from msgspec.structs import replace

from syncd.core import events as e
from syncd.core.events import DeadLetterRetried, LinkRemoved
from syncd.core.health import Counts
from syncd.core.lag import Lag
from syncd.core.model import Attempt, Failure, OutboxEntry
from syncd.core.state import State
from tests.core.picture import AT_S, INT, LINK, WAY_OUT, apply, integration, picture, shown


def test_the_oldest_entry_of_the_queue_has_an_age() -> None:
    state = apply(picture(), DeadLetterRetried("entry-2"))
    state = apply(state, LinkRemoved(LINK))
    assert shown(state, at_s=AT_S + 100).queue.oldest_age_s is None


def test_a_queue_says_when_it_will_be_clear_and_what_sets_its_pace() -> None:
    state = picture()
    for number in range(100):
        waits = replace(state.links[LINK], id=f"link-{number}", outbox=OutboxEntry(AT_S - 400, "trace"))
        state.links[waits.id] = waits
    queue = shown(state).queue
    assert (queue.outbox, queue.oldest_age_s, queue.clears_in_s, queue.paced_by) == (100, 400.0, 20.0, "rate_limit")
    assert any("100 changes wait to be written, the oldest for 400 s" in reason for reason in shown(state).reasons)
    slow = Counts(latency=Lag().after(2.0, AT_S))
    assert (shown(state, slow).queue.clears_in_s, shown(state, slow).queue.paced_by) == (100.0, "answers")
    ruled = Counts(hourly_limit=1000, remaining_budget=2, budget_resets_in_s=1800.0)
    assert (shown(state, ruled).queue.clears_in_s, shown(state, ruled).queue.paced_by) == (1819.8, "hourly-rule")
    away = shown(state, Counts(breaker="open")).queue
    assert (away.clears_in_s, away.paced_by) == (None, "instance")


def waits_for(failure: Failure | None = None, **link: object) -> State:
    """A link that waits to be written, as ``link`` says it stands."""
    state = picture()
    entry = OutboxEntry(AT_S - 7200, "trace", attempts=0 if failure is None else 2, failure=failure)
    state.links[LINK] = replace(state.links[LINK], outbox=entry, **link)
    return state


@pytest.mark.parametrize(
    "state",
    [
        waits_for(state="parked"),
        waits_for(state="parked", closed_there=True),
        waits_for(state="parked", gone_there=True),
        waits_for(Failure("gone", "not there")),  # not parked, as too many are not shown
    ],
)
def test_what_does_not_go_by_waiting_is_no_backlog_and_is_told_beside_it(state: State) -> None:
    told = shown(state)
    queue = told.queue
    assert (queue.outbox, queue.oldest_age_s, queue.clears_in_s, queue.paced_by) == (0, None, None, None)
    assert (queue.stalled, queue.retrying) == (1, 0)
    assert any("parked" in reason.lower() for reason in told.reasons)  # and never silently


def test_what_waits_while_the_direction_is_inbound_is_no_backlog() -> None:
    state = waits_for()
    apply(state, e.IntegrationChanged(INT, integration(sync_direction="inbound").settings, credentials={}))
    queue = shown(state).queue
    assert (queue.outbox, queue.stalled, queue.oldest_age_s) == (0, 1, None)


def test_a_paused_integration_keeps_its_queue_and_foretells_nothing() -> None:
    for counts in (Counts(halted="halted: a bug"), Counts(halted="refused", breaker="paused")):
        queue = shown(waits_for(), counts).queue
        assert (queue.outbox, queue.oldest_age_s, queue.clears_in_s, queue.paced_by) == (1, 7200.0, None, None)
    state = waits_for()
    apply(state, e.IntegrationChanged(INT, integration(enabled=False).settings, credentials={}))
    assert (shown(state).queue.outbox, shown(state).queue.clears_in_s) == (1, None)


def looked_for() -> State:
    """A create of two minutes ago that got no clear answer."""
    state = picture()
    attempt = Attempt(1, "create", {}, {}, AT_S - 30, ended_at_s=AT_S - 10)
    entry = OutboxEntry(AT_S - 118, "trace", attempts=1, next_at_s=AT_S + 5, failure=Failure("unconfirmed", "words"))
    state.links[LINK] = replace(state.links[LINK], state="pending", unsettled=(attempt,), outbox=entry)
    return state


def test_what_got_no_clear_answer_is_foretold_for_when_it_has_been_looked_for_long_enough() -> None:
    told = shown(looked_for())
    queue = told.queue
    assert (queue.clears_in_s, queue.paced_by, queue.looked_up, queue.oldest_looked_up) == (90.0, "look-ups", 1, True)
    assert any("1 create or note without a clear answer, looked for" in reason for reason in told.reasons)
    assert WAY_OUT.search(next(reason for reason in told.reasons if "clear answer" in reason))
    late = shown(looked_for(), at_s=AT_S + 400)
    assert late.queue.clears_in_s == 0.2


def test_the_next_try_of_what_failed_is_part_of_the_forecast() -> None:
    state = waits_for(Failure("unavailable", "no answer"))
    entry = state.links[LINK].outbox
    assert entry is not None
    state.links[LINK] = replace(state.links[LINK], outbox=replace(entry, next_at_s=AT_S + 40))
    queue = shown(state).queue
    assert (queue.clears_in_s, queue.paced_by, queue.looked_up) == (40.0, "next-try", 0)
