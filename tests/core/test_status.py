"""What sync-status says: one state, the reasons with their ways out, and the figures behind them."""

import pytest

from syncd.core import deciding
from syncd.core.events import DeadLetterDiscarded, DeadLetterRetried, IncidentEdited
from syncd.core.health import Counts
from syncd.core.troubles import REMEDIES, Trouble
from tests.core.picture import AT_S, INC, LINK, WAY_OUT, apply, picture, shown


def test_the_status_counts_what_waits_for_a_person() -> None:
    state = picture()
    told = shown(state, at_s=AT_S + 100)
    assert (told.state, told.dlq, told.conflicts) == ("degraded", 2, 1)
    assert told.links == {"total": 1, "active": 1, "pending": 0, "parked": 0}
    assert any("im integration dlq prod" in reason for reason in told.reasons)
    assert any("im conflict list --integration prod" in reason for reason in told.reasons)


def test_status_counts_in_plain_words_and_rounds_what_nobody_needs() -> None:
    state = picture()
    told = shown(state, at_s=AT_S + 100.123456)
    assert any(reason.startswith("2 dead letters; see") for reason in told.reasons)
    assert any(reason.startswith("1 conflict waits for a person") for reason in told.reasons)
    apply(state, DeadLetterDiscarded("entry-2"))
    told = shown(state)
    assert any(reason.startswith("1 dead letter; see") for reason in told.reasons)
    apply(state, DeadLetterRetried("entry-3"), IncidentEdited(INC, {"title": "Other", "severity": "SEV-1"}))
    merge = deciding.merge_link(state, AT_S + 50, LINK)
    apply(state, *merge.events, stream=merge.stream)
    age_s = shown(state, at_s=AT_S + 500.123456).queue.oldest_age_s
    assert age_s is not None
    assert age_s == round(age_s, 1)


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
