"""Drift as a pure question to the merge: what differs, why, what healing would do, and what is none."""

import pytest
from msgspec.structs import replace

from syncd.core import drift
from syncd.core import events as e
from syncd.core.deciding import merge_link
from syncd.core.drift import Downtime, Finding
from syncd.core.fold import evolve
from syncd.core.hints import Read
from syncd.core.model import Hint, Observation, OutboxEntry
from syncd.core.sending import Offset
from syncd.core.state import State
from tests.core.picture import AT_S, INC, INT, LINK, SYS_ID, integration, seen


def linked() -> State:
    """One settled pair, with nothing under way."""
    state = State()
    at = seen()
    began: tuple[e.Event, ...] = (
        e.IntegrationConfigured(integration(conflict_strategy="last-write-wins")),
        e.IncidentDeclared(INC, "Down", "SEV-3"),
        e.LinkJoined(LINK, INT, INC, at, {}, asked=2),
    )
    for number, event in enumerate(began, 1):
        evolve(state, e.Record(number, "acme", AT_S - 100, "ann", "t", (event,)))
    evolve(state, e.Record(9, "acme", AT_S - 99, "ann", "t", merge_link(state, AT_S - 99, LINK).events))
    link = replace(state.links[LINK], noted_count=3, known_count=3, outbox=None)
    state.links[LINK] = link
    if INT in state.outbox:
        state.outbox[INT].drop(LINK)
    return state


def read(*rows: Observation, missing: frozenset[str] = frozenset()) -> Read:
    return Read(100, (), rows, frozenset(), (), Offset(0.0, 0.5), missing=missing)


def found(state: State, one: Read, down: Downtime | None = None) -> list[Finding]:
    return drift.found_in(state, AT_S, state.integrations[INT], one, down)


def test_a_pair_that_agrees_has_no_drift_and_is_no_candidate() -> None:
    state = linked()
    assert found(state, read(seen())) == []
    assert drift.candidates(state, AT_S, state.integrations[INT], read(seen()), ()) == set()


def test_asking_changes_nothing() -> None:
    state = linked()
    before = state.links[LINK], state.incidents[INC], state.position
    found(state, read(seen(short_description="Up"), missing=frozenset({SYS_ID})))
    assert (state.links[LINK], state.incidents[INC], state.position) == before


@pytest.mark.parametrize(
    ("stamp_s", "cause"),
    [(AT_S - 50, "edit-while-down"), (AT_S - 90, "missed-webhook"), (AT_S, "missed-webhook"), (None, "missed-webhook")],
)
def test_the_stamp_tells_an_edit_while_down_from_a_missed_webhook(stamp_s: float | None, cause: str) -> None:
    changed = replace(seen(short_description="Up"), updated_at_s=stamp_s, mod_count=4)
    (one,) = found(linked(), read(changed), Downtime(AT_S - 60, AT_S - 40))
    assert (one.drift.field, one.drift.cause, one.drift.platform, one.drift.external) == ("title", cause, "Down", "Up")
    assert one.drift.action == "take over ServiceNow's value"
    assert one.weight == ""


@pytest.mark.parametrize(
    ("columns", "weight"),
    [
        ({"state": "7"}, "closes"),
        ({"state": "8"}, "closes"),
        ({"state": "6"}, "closes"),
        ({"state": "3"}, ""),
        ({"description": "x"}, ""),
    ],
)
def test_closing_is_weighed(columns: dict[str, str], weight: str) -> None:
    (one,) = found(linked(), read(replace(seen(**columns), mod_count=4)))
    assert one.weight == weight


def test_a_field_that_is_not_shown_any_more_is_weighed_and_left_alone() -> None:
    at = replace(seen(), mod_count=4)
    del (columns := dict(at.columns))["short_description"]
    (one,) = found(linked(), read(replace(at, columns=columns)))
    assert (one.drift.cause, one.drift.external, one.weight) == ("deleted-or-hidden", None, "hides")
    assert one.drift.action.startswith("none")


def test_a_raw_value_that_means_the_same_is_no_drift_but_is_to_be_read_again() -> None:
    state = linked()
    same = replace(seen(state="2"), mod_count=4)
    assert found(state, read(same)) == []
    assert drift.candidates(state, AT_S, state.integrations[INT], read(same), ()) == {SYS_ID}


@pytest.mark.parametrize("busy", ["hint", "dirty", "outbox"])
def test_what_is_named_by_a_hint_a_mark_or_an_outbox_entry_is_on_its_way(busy: str) -> None:
    state = linked()
    if busy == "hint":
        state.hints[INT] = {SYS_ID: Hint(SYS_ID, 1, "t")}
    elif busy == "dirty":
        state.dirty[INT] = {LINK: "t"}
    else:
        state.links[LINK] = replace(state.links[LINK], outbox=OutboxEntry(AT_S, "t"))
    changed = replace(seen(short_description="Up"), mod_count=4)
    assert found(state, read(changed, missing=frozenset())) == []
    assert found(state, read(missing=frozenset({SYS_ID}))) == []


@pytest.mark.parametrize(("age_s", "is_drift"), [(3.0, False), (60.0, False), (70.0, True)])
def test_where_there_are_polls_a_change_that_the_next_one_finds_is_none(age_s: float, is_drift: bool) -> None:
    state = linked()
    one = state.integrations[INT]
    state.integrations[INT] = replace(one, settings=replace(one.settings, poll_interval="1m"))
    changed = replace(seen(short_description="Up"), updated_at_s=AT_S - age_s, mod_count=4)
    assert bool(found(state, read(changed))) == is_drift


def test_a_record_that_two_looks_did_not_show_is_to_be_parked_and_one_that_is_parked_for_it_is_not_told_again() -> None:
    state = linked()
    (one,) = found(state, read(missing=frozenset({SYS_ID})))
    assert (one.drift.field, one.drift.cause, one.weight, one.place) == ("record", "deleted-or-hidden", "parks", LINK)
    evolve(state, e.Record(20, "acme", AT_S, "ann", "t", (e.LinkParked(LINK, "gone", gone_there=True),)))
    assert found(state, read(missing=frozenset({SYS_ID}))) == []


def test_a_value_that_is_nowhere_on_its_way_is_told() -> None:
    state = linked()
    state.incidents[INC] = replace(state.incidents[INC], title="Ours")
    (one,) = found(state, read(seen()))
    assert (one.drift.cause, one.drift.platform, one.drift.external) == ("undelivered", "Ours", "Down")


def test_a_copy_is_known_by_our_correlation_id_and_set_aside_once() -> None:
    state = linked()
    copy = Observation("6" * 32, {}, number="INC0010002", correlation_id=f"syncd:{INT}:{INC}")
    (one,) = drift.copies(state, state.integrations[INT], [copy])
    assert (one.drift.cause, one.drift.incident_id, one.drift.external) == ("duplicate", INC, "INC0010002")
    assert not drift.is_healed(state, INT, one.drift)
    evolve(state, e.Record(20, "acme", AT_S, "ann", "t", (e.DuplicateSetAside(INT, "6" * 32, INC),)))
    assert drift.is_healed(state, INT, one.drift)
    assert not list(drift.copies(state, state.integrations[INT], [copy]))


def test_long_texts_lose_their_end_in_a_report() -> None:
    long = replace(seen(description="x" * 5000), mod_count=4)
    (one,) = found(linked(), read(long))
    assert one.drift.external is not None
    assert one.drift.external.endswith("… (5000 letters)")
    assert len(one.drift.external) < 600
