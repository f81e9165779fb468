"""What people decide about conflicts and dead letters: what it does, and when it is too late for it."""

from typing import TypeVar

import pytest

from syncd.core import deciding, ownership, registry, verdicts
from syncd.core.events import (
    ConflictSettled,
    DeadLetterDiscarded,
    DeadLetterRetried,
    IncidentDeclared,
    IncidentEdited,
    LinkOpened,
    LinkRemoved,
    SendStarted,
)
from syncd.core.fields import Fields
from syncd.core.model import SYNCED_FIELDS, Attempt, OwnershipRule, Side
from syncd.core.registry import SealedSecrets
from syncd.core.requests import Pair, read_pair
from syncd.core.settings import WantedSettings
from syncd.core.state import State
from syncd.core.verdicts import Verdict
from syncd.errors import Exists, Invalid, Refused, Stale, Unknown, WrongState
from tests.core.picture import AT_S, INC, INT, LINK, SYS_ID, apply, picture
from tests.core.steps import linked, read, the_link

T = TypeVar("T")


def settle(state: State, decide: verdicts.Decide[T]) -> T:
    """Decide and evolve, as the journal does."""
    change = decide(state, AT_S + state.position + 1)
    if change.events:
        apply(state, *change.events, stream=change.stream)
    return change.result


def merge(state: State) -> None:
    change = deciding.merge_link(state, AT_S + 100, LINK)
    apply(state, *change.events, stream=change.stream, by="syncd")


def test_the_platform_s_value_stands_and_waits_to_be_written() -> None:
    state = picture()
    made = settle(state, verdicts.resolve("conflict-1", Verdict("platform"), by="user:root"))
    assert made == state.conflicts["conflict-1"]
    assert (state.conflicts["conflict-1"].status, state.conflicts["conflict-1"].decided) == ("resolved", "platform")
    assert (state.conflicts["conflict-1"].version, state.conflicts["conflict-1"].resolved_by) == (2, "user:root")
    merge(state)
    assert state.incidents[INC].title == "Down here"
    assert state.links[LINK].outbox is not None
    assert state.waiting == {}


def test_the_external_value_stands_and_comes_in() -> None:
    state = picture()
    settle(state, verdicts.resolve("conflict-1", Verdict("external"), by="user:root"))
    merge(state)
    assert state.incidents[INC].title == "Down there"
    assert state.pending_conflicts(LINK) == {}


def test_a_value_of_its_own_replaces_both() -> None:
    state = picture()
    settled = settle(state, verdicts.resolve("conflict-1", Verdict(None, "  Down everywhere "), by="user:root"))
    assert settled == state.conflicts["conflict-1"]
    assert settled.decided == "value"
    assert state.incidents[INC].title == "Down everywhere"
    merge(state)
    assert state.incidents[INC].title == "Down everywhere"
    assert state.links[LINK].outbox is not None


def test_the_value_that_the_incident_has_is_no_edit_of_it() -> None:
    state = picture()
    change = verdicts.resolve("conflict-1", Verdict(None, "Down here"), by="user:root")(state, AT_S)
    assert change.events == (ConflictSettled("conflict-1", "platform", link_id=LINK),)


def test_ignoring_leaves_both_values_and_asks_no_more() -> None:
    state = picture()
    settle(state, verdicts.ignore("conflict-1", by="user:root"))
    assert state.conflicts["conflict-1"].status == "ignored"
    merge(state)
    assert state.incidents[INC].title == "Down here"
    assert "title" not in {field for field in SYNCED_FIELDS if state.links[LINK].base[field].reason == "later-edit"}
    assert state.waiting == {}


def test_a_conflict_of_a_link_that_is_gone_is_closed() -> None:
    state = apply(picture(), LinkRemoved(LINK), by="user:ann")
    one = state.conflicts["conflict-1"]
    assert (one.status, one.decided, one.version) == ("ignored", "unlinked", 2)
    assert (one.resolved_at_s, one.resolved_by) == (state.at_s, "user:ann")
    with pytest.raises(WrongState):
        verdicts.ignore("conflict-1", by="u")(state, AT_S)


def test_the_external_value_stands_even_if_its_edits_no_longer_spread() -> None:
    state = picture()
    settle(state, registry.update("prod", WantedSettings(sync_direction="outbound"), SealedSecrets()))
    settle(state, verdicts.resolve("conflict-1", Verdict("external"), by="user:root"))
    assert state.incidents[INC].title == "Down there"


@pytest.mark.parametrize(
    ("decide", "error"),
    [
        (verdicts.resolve("conflict-9", Verdict("platform"), by="u"), Unknown),
        (verdicts.resolve("conflict-1", Verdict("platform"), by="u", version=2), Stale),
        (verdicts.resolve("conflict-1", Verdict(None, ""), by="u"), Invalid),
        (verdicts.resolve("conflict-1", Verdict(None, None), by="u"), Invalid),
        (verdicts.resolve("conflict-1", Verdict(None, "x" * 501), by="u"), Invalid),
        (verdicts.ignore("conflict-1", by="u", version=2), Stale),
        (verdicts.retry("prod", "entry-9"), Unknown),
        (verdicts.discard("prod", "entry-9"), Unknown),
        (verdicts.retry("nowhere", "entry-2"), Unknown),
    ],
)
def test_a_verdict_that_cannot_be_is_refused(decide: verdicts.Decide[object], error: type[Refused]) -> None:
    with pytest.raises(error):
        decide(picture(), AT_S)


def test_a_settled_conflict_is_not_settled_again() -> None:
    state = picture()
    settle(state, verdicts.ignore("conflict-1", by="u"))
    for decide in (verdicts.ignore("conflict-1", by="u"), verdicts.resolve("conflict-1", Verdict("platform"), by="u")):
        with pytest.raises(WrongState, match="ignored already"):
            decide(state, AT_S)


def test_another_edit_of_the_field_makes_a_verdict_stale() -> None:
    state = apply(picture(), IncidentEdited(INC, {"title": "Down again"}))
    merge(state)
    assert state.conflicts["conflict-1"].version == 2
    with pytest.raises(Stale):
        verdicts.resolve("conflict-1", Verdict("platform"), by="u", version=1)(state, AT_S)


@pytest.mark.parametrize("raw", [{}, {"use": "both"}, {"use": "platform", "value": "x"}, {"use": None}, {"x": 1}])
def test_a_verdict_names_one_winner(raw: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        verdicts.read(Fields(raw))


def test_a_verdict_is_read_in_both_forms() -> None:
    assert verdicts.read(Fields({"use": "external"})) == Verdict("external")
    assert verdicts.read(Fields({"value": ""})) == Verdict(None, "")


def test_a_retry_frees_its_group_and_keeps_the_letter_until_it_is_delivered() -> None:
    state = picture()
    letter = settle(state, verdicts.retry("prod", "entry-2"))
    assert letter == state.dead_letters["entry-2"]
    assert state.links[LINK].held == {"severity": "entry-3"}
    assert LINK in state.dirty[INT]


def test_all_letters_are_retried_in_one_step() -> None:
    state = picture()
    change = verdicts.retry_all(INT)(state, AT_S)
    assert change.events == (DeadLetterRetried("entry-2", LINK), DeadLetterRetried("entry-3", LINK))
    assert [one.id for one in change.result] == ["entry-2", "entry-3"]


def test_a_discarded_letter_is_gone() -> None:
    state = picture()
    change = verdicts.discard("prod", "entry-2")(state, AT_S)
    assert change.events == (DeadLetterDiscarded("entry-2", LINK),)
    apply(state, *change.events)
    with pytest.raises(Unknown, match="delivered or discarded"):
        verdicts.retry("prod", "entry-2")(state, AT_S)


def test_an_unlinked_pair_stays_apart_and_both_sides_stay_as_they_are() -> None:
    state = picture()
    title = state.incidents[INC].title
    gone = settle(state, verdicts.unlink("prod", INC))
    assert gone.external_id == SYS_ID
    assert (state.links, state.kept_apart) == ({}, {SYS_ID: (INC,)})
    assert state.incidents[INC].title == title
    with pytest.raises(Unknown, match="not linked"):
        verdicts.unlink("prod", INC)(state, AT_S)


def test_a_link_whose_record_is_being_made_is_not_removed_meanwhile() -> None:
    state = apply(picture(), IncidentDeclared("INC-B", "New", "SEV-3"))
    name = f"{INT}/INC-B"
    apply(state, LinkOpened(name, INT, "INC-B"))
    attempt = Attempt(1, "create", {}, {}, AT_S)
    apply(state, SendStarted(name, attempt))
    with pytest.raises(WrongState, match="being made"):
        verdicts.unlink("prod", "INC-B")(state, AT_S)


def test_a_pair_may_be_linked_once() -> None:
    state = apply(picture(), LinkRemoved(LINK))
    verdicts.check_pair(state, state.integrations[INT], Pair(INC, SYS_ID))
    with pytest.raises(Unknown):
        verdicts.check_pair(state, state.integrations[INT], Pair("INC-9", SYS_ID))
    linked = picture()
    apply(linked, IncidentDeclared("INC-B", "New", "SEV-3"))
    for pair, words in ((Pair(INC, "6" * 32), f"{INC} is linked"), (Pair("INC-B", SYS_ID), f"linked to {INC}")):
        with pytest.raises(Exists, match=words):
            verdicts.check_pair(linked, linked.integrations[INT], pair)


def test_an_incident_of_another_organization_is_not_linked() -> None:
    state = apply(picture(), IncidentDeclared("INC-C", "New", "SEV-3"), stream="other")
    with pytest.raises(Invalid, match="organization"):
        verdicts.check_pair(state, state.integrations[INT], Pair("INC-C", "6" * 32))


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"incident_id": INC},
        {"external_id": SYS_ID},
        {"incident_id": INC, "external_id": "INC0010001"},
        {"incident_id": INC, "external_id": "a^ORactive=true"},
        {"incident_id": INC, "external_id": SYS_ID, "x": 1},
    ],
)
def test_a_pair_names_an_incident_and_a_sys_id(raw: dict[str, object]) -> None:
    with pytest.raises(Invalid):
        read_pair(Fields(raw))
    assert read_pair(Fields({"incident_id": INC, "external_id": SYS_ID})) == Pair(INC, SYS_ID)


@pytest.mark.parametrize(("use", "stands", "written"), [("platform", "Here", True), (None, "Here", False)])
def test_a_verdict_on_a_field_that_is_hidden_for_a_while_holds_when_it_is_shown_again(
    use: Side | None, stands: str, written: bool
) -> None:
    world = linked()
    world.change(conflict_strategy="manual-review", conflict_window="always")
    world.decide(ownership.change("prod", "title", OwnershipRule("external", 1)), by="admin")
    sys_id = the_link(world).external_id
    world.step(IncidentEdited("INC-1", {"title": "Here"}), by="ann")
    world.store(sys_id, {"short_description": "There"}, "beth")
    read(world)
    title = world.rows[sys_id].pop("short_description")
    world.rows[sys_id] |= {"description": "hidden", "sys_mod_count": "5"}
    read(world)
    verdict = verdicts.resolve("conflict-1", Verdict(use), by="ann") if use else verdicts.ignore("conflict-1", by="ann")
    world.decide(verdict, by="ann")
    read(world)
    world.rows[sys_id] |= {"short_description": title, "description": "shown", "sys_mod_count": "6"}
    read(world)
    assert (world.state.incidents["INC-1"].title, list(world.state.conflicts)) == (stands, ["conflict-1"])
    assert (the_link(world).outbox is not None) == written
