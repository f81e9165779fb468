"""What sync-status says: one state, the reasons with their ways out, and the figures behind them."""

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from syncd.core import deciding, status
from syncd.core import events as e
from syncd.core.events import DeadLetterDiscarded, DeadLetterRetried, IncidentEdited, LinkRemoved, Observed
from syncd.core.lag import Lag
from syncd.core.model import Attempt, Failure, OutboxEntry, Rule
from syncd.core.run import Run
from syncd.core.state import State
from syncd.core.status import Counts, StatusView
from syncd.core.troubles import REMEDIES, Trouble
from tests.core.picture import AT_S, INC, INT, LINK, apply, integration, picture, seen

ROOT = Path(__file__).parents[2]
WAY_OUT = re.compile(r"\bim (integration|incident|conflict|journal) ")
PAGE = re.compile(r'see (docs/[a-z]+\.md), "([^"]+)"')


def shown(state: State, counts: Counts | None = None, at_s: float = AT_S) -> StatusView:
    return status.status(state, state.integrations[INT], counts or Counts(), at_s)


def test_the_status_counts_what_waits_for_a_person() -> None:
    state = picture()
    shown = status.status(state, state.integrations[INT], Counts(), AT_S + 100)
    assert (shown.state, shown.dlq, shown.conflicts) == ("degraded", 2, 1)
    assert shown.links == {"total": 1, "active": 1, "pending": 0, "parked": 0}
    assert any("im integration dlq prod" in reason for reason in shown.reasons)
    assert any("im conflict list --integration prod" in reason for reason in shown.reasons)


def test_the_oldest_entry_of_the_queue_has_an_age() -> None:
    state = apply(picture(), DeadLetterRetried("entry-2"))
    state = apply(state, LinkRemoved(LINK))
    assert status.status(state, state.integrations[INT], Counts(), AT_S + 100).queue.oldest_age_s is None


def test_a_state_without_a_mapping_is_shown_and_does_not_hide_what_is_worse() -> None:
    state = apply(picture(), Observed(LINK, seen(state="99")))
    shown = status.status(state, state.integrations[INT], Counts(breaker="open"), AT_S)
    assert shown.state == "down"
    words = "1 record with status '99', which has no mapping: left alone; see: im incident show "
    assert any(reason.startswith(words) for reason in shown.reasons)


def test_status_counts_in_plain_words_and_rounds_what_nobody_needs() -> None:
    state = picture()
    shown = status.status(state, state.integrations[INT], Counts(), AT_S + 100.123456)
    assert any(reason.startswith("2 dead letters; see") for reason in shown.reasons)
    assert any(reason.startswith("1 conflict waits for a person") for reason in shown.reasons)
    apply(state, DeadLetterDiscarded("entry-2"))
    shown = status.status(state, state.integrations[INT], Counts(), AT_S)
    assert any(reason.startswith("1 dead letter; see") for reason in shown.reasons)
    apply(state, DeadLetterRetried("entry-3"), IncidentEdited(INC, {"title": "Other", "severity": "SEV-1"}))
    merge = deciding.merge_link(state, AT_S + 50, LINK)
    apply(state, *merge.events, stream=merge.stream)
    age_s = status.status(state, state.integrations[INT], Counts(), AT_S + 500.123456).queue.oldest_age_s
    assert age_s is not None
    assert age_s == round(age_s, 1)


def every_reason() -> list[str]:
    """The reasons of many states, so that each sentence of theirs is among them."""
    found = []
    for settings in ({"enabled": False}, {"sync_direction": "none"}, {}):
        state = picture()
        apply(state, e.IntegrationChanged(INT, integration(**settings).settings, credentials={}))
        found += shown(state).reasons
    state = apply(picture(), Observed(LINK, seen(state="99")))
    del (columns := dict(seen().columns))["short_description"]
    apply(state, Observed(LINK, replace(seen(), columns=columns | {"state": "99"})))
    waits = OutboxEntry(AT_S - 1000, "trace", failure=Failure("gone", "not there"))
    state.links[LINK] = replace(state.links[LINK], outbox=waits, state="parked")
    state.links["shut"] = replace(state.links[LINK], state="parked", closed_there=True, outbox=OutboxEntry(AT_S, "t"))
    base = replace(state.links[LINK].base["title"], platform="closed", external="6")
    state.links["shut"] = replace(state.links["shut"], base={"status": base})
    state.links["gone"] = replace(state.links[LINK], gone_there=True)
    missed = OutboxEntry(AT_S, "trace", attempts=2, failure=Failure("gone", "not there"))
    state.links["unshown"] = replace(state.links[LINK], state="active", outbox=missed)
    state.set_aside[INT] = {"copy": "INC-1"}
    state.integrations[INT] = replace(state.integrations[INT], rules={"write": Rule("1"), "delete": Rule("", ("x",))})
    for by in ("brake", "answers"):
        state.runs[INT] = {
            "run-9": Run("run-9", INT, "heal", "manual", AT_S, status="stopped", stopped_by=by, reason=by)
        }
        found += shown(state, Counts()).reasons
    for counts in (
        Counts(halted="halted: a bug"),
        Counts(halted="refused", breaker="paused"),
        Counts(breaker="open", trouble="no answer"),
        Counts(
            trouble="no answer", braked="it would close 30 of 30 links", query_faults=("ServiceNow ignores the range",)
        ),
    ):
        found += shown(state, counts).reasons
    return found


def test_every_reason_ends_with_a_command_or_with_the_heading_that_helps() -> None:
    reasons = every_reason()
    assert len(set(reasons)) >= 15
    for reason in reasons:
        page = PAGE.search(reason)
        assert WAY_OUT.search(reason) or page, reason
        if page is not None:
            assert re.search(rf"^#+ {re.escape(page[2])}$", (ROOT / page[1]).read_text(), re.MULTILINE), reason


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


def test_errors_are_told_with_what_to_do_about_each() -> None:
    met = Trouble(AT_S, "throttled", "too many requests", 429, times=3)
    (error,) = shown(picture(), Counts(troubles=(met,))).last_errors
    assert (error.kind, error.status, error.times, error.at) == ("throttled", 429, 3, "2026-09-21T14:13:20.000000Z")
    assert "im integration configure prod --rate-limit" in error.remedy


@pytest.mark.parametrize("kind", REMEDIES)
def test_every_remedy_names_a_command(kind: str) -> None:
    (error,) = shown(picture(), Counts(troubles=(Trouble(AT_S, kind, "words"),))).last_errors
    assert WAY_OUT.search(error.remedy)


def test_an_error_that_names_its_own_way_out_leads_there() -> None:
    met = Trouble(AT_S, "paused", "the journal is older", way_out='see docs/operations.md, "After a restore"')
    (error,) = shown(picture(), Counts(troubles=(met,))).last_errors
    assert error.remedy == met.way_out


def test_what_a_closed_record_refused_is_found_among_the_links() -> None:
    (error,) = shown(picture(), Counts(troubles=(Trouble(AT_S, "refused", "Operation Failed"),))).last_errors
    assert "im integration dlq prod" in error.remedy
    assert "im integration links prod" in error.remedy


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
