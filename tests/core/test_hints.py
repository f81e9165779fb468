"""A webhook makes a record be read, once is enough, and what the read shows goes the one way."""

import math
from functools import partial
from typing import Final

import pytest
from msgspec.structs import replace

from syncd.core import hints, sending
from syncd.core.deciding import merge_link
from syncd.core.events import IncidentEdited, LinkRemoved, Swept
from syncd.core.hints import Read
from syncd.core.model import Failure, Hint, Observation
from syncd.core.polling import look_at
from syncd.core.sending import Offset
from syncd.core.webhook import Webhook, accept_webhook
from tests.core.promises import INTEGRATION
from tests.core.table import ACCOUNT
from tests.core.world import World

LINK: Final = f"{INTEGRATION}/INC-1"


def linked() -> World:
    """An incident with its record ``r2``, all settled."""
    world = World()
    world.act("declare", 1, 0)
    world.act("open", 0, 0)
    world.quiet()
    assert world.state.links[LINK].external_id == "r2"
    return world


def accept(world: World, **values: object) -> bool:
    """A webhook for ``r2`` arrives; whether it was a duplicate."""
    webhook = Webhook(**{"sys_id": "r2", **values})  # type: ignore[arg-type] # each test gives what it is about
    return world.decide(
        lambda state, at_s: accept_webhook(state, at_s, webhook, integration_id=INTEGRATION, body="{}", trace="t")
    )


def waiting(world: World) -> dict[str, Hint]:
    return world.state.hints.get(INTEGRATION, {})


def answer(world: World, *rows: Observation, asked: int | None = None, wanted: bool = True, skew_s: float = 0.0) -> int:
    """The due hints are read, and these rows are shown."""
    due = tuple(hints.due_hints(world.state, INTEGRATION, world.now_s))
    at = world.state.position if asked is None else asked
    ids = tuple(f"W{world.state.position}{number}" for number in range(len(rows)))
    passing = frozenset(row.external_id for row in rows if wanted)
    read = Read(at, due, rows, passing, ids, Offset(skew_s, 0.5))
    return world.decide(lambda state, at_s: hints.settle_read(state, at_s, INTEGRATION, read))


def agent_edits(world: World, external_id: str = "r2", **columns: str) -> Observation:
    world.store(external_id, columns, "agent")
    return world.observe(external_id)


# -- which are due -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [None, 7], ids=["settles", "is behind"])
def test_records_that_are_told_of_all_the_time_are_all_read_in_their_turn(count: int | None) -> None:
    world = linked()
    names = [f"x{number}" for number in range(120)]
    for name in names:
        world.store(name, {"short_description": name}, "agent")
    read: set[str] = set()
    for _ in range(3):
        for name in names:
            world.now_s += 0.01
            accept(world, sys_id=name, sys_mod_count=count)
        due = tuple(hints.due_hints(world.state, INTEGRATION, world.now_s))
        read |= {hint.external_id for hint in due}
        asked, rows = world.state.position, tuple(world.observe(hint.external_id) for hint in due)
        for name in names:  # while the read is under way
            world.now_s += 0.01
            accept(world, sys_id=name, sys_mod_count=count)
        answered = Read(asked, due, rows, frozenset(), (), Offset())
        world.decide(partial(hints.settle_read, integration_id=INTEGRATION, read=answered))
    assert read == set(names)


def test_due_hints_are_the_oldest_50_and_later_ones_have_their_time() -> None:
    world = linked()
    for number in range(60):
        accept(world, sys_id=f"x{number}")
    due = hints.due_hints(world.state, INTEGRATION, world.now_s)
    assert [hint.external_id for hint in due] == [f"x{number}" for number in range(50)]
    assert hints.due_hints(world.state, INTEGRATION, world.now_s - 1) == []
    assert hints.next_hint_at_s(world.state, INTEGRATION) == world.now_s
    assert hints.next_hint_at_s(world.state, "int_9") == math.inf


# -- reads -------------------------------------------------------------------------------------------------------------


def test_a_read_settles_only_hints_journaled_before_it_left() -> None:
    world = linked()
    accept(world, sys_mod_count=1)
    asked, seen = world.state.position, agent_edits(world, short_description="Printer")
    due = tuple(hints.due_hints(world.state, INTEGRATION, world.now_s))
    accept(world, sys_mod_count=1, event_id="later")  # comes while the read is under way
    read = Read(asked, due, (seen,), frozenset(), (), Offset())
    world.decide(lambda state, at_s: hints.settle_read(state, at_s, INTEGRATION, read))
    assert list(waiting(world)) == ["r2"]
    answer(world, seen)
    assert waiting(world) == {}


def test_a_read_that_shows_less_than_the_hint_named_is_repeated_after_1_2_5_and_15_s() -> None:
    world = linked()
    accept(world, sys_mod_count=3)
    old = world.observe("r2")
    delays = []
    while waiting(world):
        answer(world, old)
        if waiting(world):
            delays.append(waiting(world)["r2"].next_at_s - world.now_s)
            assert hints.due_hints(world.state, INTEGRATION, world.now_s) == []
            world.now_s = waiting(world)["r2"].next_at_s
    assert delays == pytest.approx([1, 2, 5, 15])


def test_a_record_that_is_not_shown_is_looked_at_again_and_a_deleted_one_is_not() -> None:
    world = linked()
    accept(world, sys_id="x1")
    accept(world, sys_id="x2", operation="delete")
    answer(world)
    assert list(waiting(world)) == ["x1"]
    assert waiting(world)["x1"].tries == 1


def test_a_record_that_cannot_be_read_is_looked_at_on_and_on_until_it_can_unless_it_is_linked() -> None:
    world = linked()
    accept(world, sys_id="x1")
    accept(world, sys_id="r2", sys_mod_count=9)
    accept(world, sys_id="x3")
    for _ in range(10):
        due = tuple(hints.due_hints(world.state, INTEGRATION, world.now_s))
        read = Read(world.state.position, due, (), frozenset(), (), Offset(), unreadable=frozenset({"x1", "r2"}))
        world.decide(lambda state, at_s, read=read: hints.settle_read(state, at_s, INTEGRATION, read))  # type: ignore[misc]
        world.now_s += 300
    assert list(waiting(world)) == ["x1"]
    assert waiting(world)["x1"].unreadable
    before = dict(waiting(world))
    world.decide(lambda state, at_s: look_at(state, at_s, INTEGRATION, "x1"))
    assert waiting(world) == before, "it waits already"
    accept(world, sys_id="x1")
    assert not waiting(world)["x1"].unreadable


@pytest.mark.parametrize("settings", [{"sync_direction": "outbound"}, {"create_platform": False}])
def test_nobody_goes_on_asking_for_what_cannot_be_read_where_no_new_record_is_wanted(
    settings: dict[str, object],
) -> None:
    world = linked()
    world.change(**settings)
    accept(world, sys_id="x1")
    for _ in range(10):
        due = tuple(hints.due_hints(world.state, INTEGRATION, world.now_s))
        read = Read(world.state.position, due, (), frozenset(), (), Offset(), unreadable=frozenset({"x1"}))
        world.decide(lambda state, at_s, read=read: hints.settle_read(state, at_s, INTEGRATION, read))  # type: ignore[misc]
        world.now_s += 300
    assert waiting(world) == {}


def test_a_new_webhook_starts_the_rereads_anew() -> None:
    world = linked()
    accept(world, sys_mod_count=3)
    answer(world, world.observe("r2"))
    assert waiting(world)["r2"].tries == 1
    accept(world, sys_mod_count=4)
    assert (waiting(world)["r2"].tries, waiting(world)["r2"].next_at_s) == (0, world.now_s)


def test_a_postponed_hint_does_not_replace_a_newer_one() -> None:
    world = linked()
    accept(world, sys_mod_count=3)
    due = tuple(hints.due_hints(world.state, INTEGRATION, world.now_s))
    asked = world.state.position
    accept(world, sys_mod_count=4)
    read = Read(asked, due, (world.observe("r2"),), frozenset(), (), Offset())
    world.decide(lambda state, at_s: hints.settle_read(state, at_s, INTEGRATION, read))
    assert (waiting(world)["r2"].mod_count, waiting(world)["r2"].tries) == (4, 0)


def test_only_a_mapped_value_that_is_new_is_journaled_but_the_count_is_remembered() -> None:
    world = linked()
    accept(world, sys_mod_count=1)
    assert answer(world, agent_edits(world, u_other="x")) == 0
    assert world.state.links[LINK].known_count == 1
    assert answer(world, agent_edits(world, short_description="Printer")) == 1
    assert LINK in world.state.dirty[INTEGRATION]


def test_an_older_answer_that_comes_late_is_not_believed() -> None:
    world = linked()
    asked, old = world.state.position, agent_edits(world, short_description="Printer")
    newer = agent_edits(world, short_description="Mail")
    accept(world, sys_mod_count=2)
    answer(world, newer)  # shows nothing new, but was asked for later
    assert answer(world, old, asked=asked) == 0
    assert LINK not in world.state.dirty.get(INTEGRATION, {})


def test_a_picture_of_a_node_that_lags_behind_is_not_believed_and_asked_for_again() -> None:
    world = linked()
    before = world.observe("r2")
    agent_edits(world, short_description="VPN")
    accept(world)
    answer(world, world.observe("r2"))
    accept(world)  # no count in its body, like the product page's rule
    assert answer(world, before) == 0
    assert waiting(world)["r2"].tries == 1
    assert world.state.links[LINK].observed == world.observe("r2")


def test_a_record_that_stays_as_it_once_was_has_been_restored() -> None:
    world = linked()
    before = world.observe("r2")
    agent_edits(world, short_description="VPN")
    answer(world, world.observe("r2"))
    world.now_s += sending.NODE_LAG_S_MAX
    assert answer(world, before) == 1


def test_an_edit_of_a_restored_record_is_read_though_its_count_was_there_before() -> None:
    world = linked()
    row = dict(world.rows["r2"])
    for title in ("VPN", "Printer", "Fax"):
        agent_edits(world, short_description=title)
    answer(world, world.observe("r2"))
    world.rows["r2"] = row
    world.now_s += sending.NODE_LAG_S_MAX
    answer(world, world.observe("r2"))
    agent_edits(world, short_description="Elsewhere")
    count = world.observe("r2").mod_count
    accept(world, sys_mod_count=count)
    assert waiting(world)["r2"].mod_count == count
    assert answer(world, world.observe("r2")) == 1


def test_one_edit_dates_to_its_own_second_and_several_to_any_time_since_the_last_stamp() -> None:
    world = linked()
    world.now_s += 100
    first = agent_edits(world, short_description="Printer")
    answer(world, first, skew_s=0.0)
    edited = world.state.links[LINK].base["title"].edited
    assert edited is not None
    assert (edited.lo_s, edited.hi_s) == (first.updated_at_s - 0.5, first.updated_at_s + 1.5)  # type: ignore[operator]
    world.now_s += 100
    agent_edits(world, short_description="VPN")
    last = agent_edits(world, u_other="x")
    answer(world, last)
    edited = world.state.links[LINK].base["title"].edited
    assert edited is not None
    assert edited.lo_s == first.updated_at_s - 0.5  # type: ignore[operator]
    assert edited.by == "agent"


def test_the_instances_clock_is_taken_out_of_its_stamps() -> None:
    world = linked()
    seen = agent_edits(world, short_description="Printer")
    answer(world, replace(seen, updated_at_s=world.now_s + 600), skew_s=600.0)
    edited = world.state.links[LINK].base["title"].edited
    assert edited is not None
    assert edited.lo_s <= world.now_s <= edited.hi_s


def test_an_integration_that_was_deleted_while_it_was_read_is_left_alone() -> None:
    world = linked()
    read = Read(0, (), (world.observe("r2"),), frozenset(), (), Offset())
    assert hints.settle_read(world.state, 0.0, "int_9", read).events == ()


# -- records without a link --------------------------------------------------------------------------------------------


def stranger(world: World, external_id: str = "x1", by: str = "agent", **columns: str) -> Observation:
    """A record made in ServiceNow."""
    world.store(external_id, {"short_description": "Printer", **columns}, by)
    return world.observe(external_id)


def test_a_new_record_becomes_an_incident_with_both_sides_settled_and_nothing_to_write() -> None:
    world = linked()
    assert answer(world, stranger(world, state="3", description="d\r\n", impact="1", urgency="1")) == 1
    incident = list(world.state.incidents.values())[-1]
    assert (incident.title, incident.description, incident.severity, incident.status) == (
        "Printer",
        "d",
        "SEV-1",
        "mitigated",
    )
    link = world.state.links[f"{INTEGRATION}/{incident.id}"]
    assert (link.state, link.external_id) == ("active", "x1")
    world.decide(lambda state, at_s: merge_link(state, at_s, link.id))
    assert world.state.links[link.id].outbox is None
    assert incident.id not in world.state.unlinked.get(INTEGRATION, {})


def test_what_a_new_record_does_not_say_gets_our_default_and_stays_unsettled_by_us() -> None:
    world = linked()
    seen = Observation("x1", {"short_description": "", "state": "42"}, number="INC0007", created_at_s=world.now_s)
    answer(world, seen)
    incident = list(world.state.incidents.values())[-1]
    assert (incident.title, incident.severity, incident.status) == ("INC0007", "SEV-3", "open")
    name = f"{INTEGRATION}/{incident.id}"
    world.decide(lambda state, at_s: merge_link(state, at_s, name))
    assert world.state.links[name].outbox is None


@pytest.mark.parametrize(
    "change", [{"create_platform": False}, {"sync_direction": "outbound"}, {"enabled": False}], ids=str
)
def test_no_incident_is_made_where_the_settings_do_not_want_one(change: dict[str, object]) -> None:
    world = linked()
    world.change(**change)
    assert answer(world, stranger(world)) == 0


def test_no_incident_is_made_for_what_the_import_query_leaves_out() -> None:
    world = linked()
    assert answer(world, stranger(world), wanted=False) == 0


@pytest.mark.parametrize(("before_s", "is_new"), [(0.0, True), (2.0, True), (3.0, False)])
@pytest.mark.parametrize("skew_s", [0.0, 600.0])
def test_new_means_created_no_earlier_than_2_s_before_the_first_enabling(
    before_s: float, is_new: bool, skew_s: float
) -> None:
    world = linked()
    first_s = world.state.integrations[INTEGRATION].first_enabled_at_s
    assert first_s is not None
    seen = replace(stranger(world), created_at_s=first_s + skew_s - before_s)
    assert answer(world, seen, skew_s=skew_s) == is_new


def test_a_record_that_does_not_say_when_it_was_made_is_not_new() -> None:
    world = linked()
    assert answer(world, replace(stranger(world), created_at_s=None)) == 0


def test_disabling_and_enabling_again_does_not_move_the_mark() -> None:
    world = linked()
    first_s = world.state.integrations[INTEGRATION].first_enabled_at_s
    world.change(enabled=False)
    world.now_s += 1000
    world.change(enabled=True)
    assert world.state.integrations[INTEGRATION].first_enabled_at_s == first_s


def test_the_same_new_record_twice_in_one_answer_is_one_incident() -> None:
    world = linked()
    seen = stranger(world)
    answer(world, seen, seen)
    assert len(world.state.incidents) == 2


def pending(world: World) -> str:
    """A second incident whose create has no clear outcome; the name of its link."""
    world.act("declare", 0, 2)
    world.act("open", 0, 0)
    name = next(link.id for link in world.state.links.values() if link.state == "pending")
    attempt = world.decide(lambda state, at_s: sending.prepare_create(state, at_s, name))
    assert attempt is not None
    failure = Failure("ambiguous", "words")
    world.decide(lambda state, at_s: sending.fail(state, at_s, name, attempt.number, "ambiguous", failure, at_s))
    return name


def test_a_record_with_our_correlation_id_is_adopted_by_its_own_incident() -> None:
    world = linked()
    name = pending(world)
    incident_id = world.state.links[name].incident_id
    answer(world, stranger(world, correlation_id=f"syncd:{INTEGRATION}:{incident_id}", by=ACCOUNT))
    assert world.state.links[name].external_id == "x1"
    assert len(world.state.incidents) == 2


@pytest.mark.parametrize("owner", ["int_1:INC-1", "int_1:INC-77", "int_9:INC-1"])
def test_a_record_with_an_id_of_ours_that_nobody_waits_for_is_left_alone(owner: str) -> None:
    world = linked()
    assert answer(world, stranger(world, correlation_id=f"syncd:{owner}")) == 0
    assert len(world.state.incidents) == 1


def test_of_a_record_and_its_copy_in_one_answer_the_older_is_adopted() -> None:
    world = linked()
    name = pending(world)
    ours = f"syncd:{INTEGRATION}:{world.state.links[name].incident_id}"
    original = stranger(world, "x9", by=ACCOUNT, correlation_id=ours)
    world.now_s += 5
    copy = stranger(world, "x1", correlation_id=ours)
    answer(world, copy, original)
    assert world.state.links[name].external_id == "x9"


def test_while_a_create_is_unsettled_records_of_our_own_account_wait() -> None:
    world = linked()
    name = pending(world)
    seen = stranger(world, by=ACCOUNT)  # its correlation id was dropped
    accept(world, sys_id="x1", sys_mod_count=0)
    assert answer(world, seen) == 0
    assert waiting(world)["x1"].next_at_s == world.now_s + 1
    assert answer(world, stranger(world, "x2")) == 1  # an agent's record does not wait
    world.step(LinkRemoved(name), by="ann")
    world.now_s += 1
    assert answer(world, seen) == 1
    assert waiting(world) == {}


def test_an_unlinked_record_does_not_come_back_as_a_new_incident() -> None:
    world = linked()
    answer(world, stranger(world))
    name = f"{INTEGRATION}/{list(world.state.incidents)[-1]}"
    world.step(LinkRemoved(name), by="ann")
    assert answer(world, agent_edits(world, "x1", short_description="VPN")) == 0
    assert len(world.state.incidents) == 2


def test_the_mark_of_a_sweep_never_goes_back() -> None:
    world = linked()
    world.decide(lambda state, _: hints.swept(state, INTEGRATION, 200.0, Offset()))
    assert hints.swept(world.state, INTEGRATION, 100.0, Offset()).events == ()
    assert hints.swept(world.state, INTEGRATION, 300.0, Offset()).events == (Swept(INTEGRATION, 300.0),)


def test_a_clock_that_is_set_back_after_the_first_sweep_makes_no_new_record_an_old_one() -> None:
    world = linked()
    first_s = world.state.integrations[INTEGRATION].first_enabled_at_s
    assert first_s is not None
    world.decide(lambda state, at_s: hints.swept(state, INTEGRATION, at_s, Offset(5.0, 0.5)))
    set_back_s = 600.0  # so much more is the instance's clock ahead of ours from now on
    assert answer(world, replace(stranger(world), created_at_s=first_s + 5.0 + 1.0), skew_s=5.0 + set_back_s)
    assert not answer(world, replace(stranger(world), created_at_s=first_s + 5.0 - 3.0), skew_s=5.0 - set_back_s)


# -- any order, any number of times ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 1, 2, 0, 2), (2,), (0, 0, 0, 2, 2, 2)])
def test_webhooks_in_any_order_and_number_end_in_the_same_state(order: tuple[int, ...]) -> None:
    world = linked()
    agent_edits(world, short_description="Printer")
    agent_edits(world, description="d")
    agent_edits(world, state="3")
    world.step(IncidentEdited("INC-1", {"severity": "SEV-1"}), by="ann")
    hooks, world.hooks = world.hooks, []
    world.hooks = [hooks[index] for index in order]
    world.quiet()
    incident = world.state.incidents["INC-1"]
    assert (incident.title, incident.description, incident.severity, incident.status) == (
        "Printer",
        "d",
        "SEV-1",
        "mitigated",
    )
    assert world.requests == 2  # the create, and one update of what the platform changed
