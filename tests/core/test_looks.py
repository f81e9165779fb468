"""Two sides that seem to be equal are looked at once more, and no person's edit is settled on an old picture."""

import pytest
from msgspec.structs import replace

from syncd.core import hints
from syncd.core.deciding import merge_link
from syncd.core.events import Hinted, IncidentEdited
from syncd.core.looks import look_again, waits_for_look
from syncd.core.model import Conflict, Hint, Observation, Strategy
from syncd.core.sending import Offset
from tests.core.promises import INTEGRATION
from tests.core.steps import LINK, begin, edit, known, landed, linked, read, settle, the_link
from tests.core.world import World

LONG, CUT = "Mail is down in all of Europe", "Mail is down"


def apart(**settings: object) -> World:
    """An incident whose title ServiceNow has cut, so that the two sides are settled as different values."""
    world = linked()
    if settings:
        world.change(**settings)
    edit(world, title=LONG)
    settle(world, attempt := known(begin(world)), landed(world, attempt))
    world.hooks.clear()
    world.now_s += 60
    return world


def agent(world: World, title: str) -> None:
    """An agent's edit of which nobody tells us."""
    world.store(the_link(world).external_id, {"short_description": title}, "beth")
    world.hooks.clear()


def look(world: World) -> None:
    """The intake reads what hints name, and the link is merged."""
    world.act("read", 0, 0)
    world.act("answer", 0, 0)
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))


def hint(world: World) -> Hint | None:
    return world.state.hints.get(INTEGRATION, {}).get(the_link(world).external_id)


def title(world: World) -> str:
    return world.state.incidents["INC-1"].title


def conflicts(world: World) -> list[Conflict]:
    return list(world.state.conflicts.values())


def test_an_edit_to_what_servicenow_was_last_seen_to_hold_is_not_lost_to_an_agents_unseen_edit() -> None:
    world = apart()
    agent(world, "VPN")
    world.now_s += 30
    edit(world, title=CUT)
    look(world)
    (conflict,) = conflicts(world)
    assert (conflict.platform, conflict.external, conflict.decided) == (CUT, "VPN", "platform: later-edit")
    assert title(world) == CUT
    assert known(begin(world)).sent == {"title": CUT}


@pytest.mark.parametrize(
    ("strategy", "status", "stands"),
    [("manual-review", "pending", CUT), ("ownership-priority", "resolved", CUT)],
)
def test_the_strategy_decides_when_both_edits_lie_within_the_window(
    strategy: Strategy, status: str, stands: str
) -> None:
    world = apart(conflict_strategy=strategy)
    agent(world, "VPN")
    edit(world, title=CUT)
    look(world)
    (conflict,) = conflicts(world)
    assert (conflict.platform, conflict.external, conflict.status) == (CUT, "VPN", status)
    assert title(world) == stands


@pytest.mark.parametrize("direction", ["inbound", "outbound"])
def test_so_it_is_where_edits_spread_one_way_only(direction: str) -> None:
    world = apart()
    world.change(sync_direction=direction)
    agent(world, "VPN")
    edit(world, title=CUT)
    look(world)
    (conflict,) = conflicts(world)
    assert CUT in {conflict.platform, conflict.external}
    assert "VPN" in {conflict.platform, conflict.external}
    assert title(world) == ("VPN" if direction == "inbound" else CUT)


def test_where_the_look_confirms_it_both_sides_are_settled_without_a_write() -> None:
    world = apart()
    requests = world.requests
    edit(world, title=CUT)
    assert the_link(world).base["title"].reason == "read-again"
    assert (the_link(world).base["title"].platform, the_link(world).outbox) == (LONG, None)
    look(world)
    base = the_link(world).base["title"]
    assert (base.reason, base.platform, base.external) == ("converged", CUT, CUT)
    assert (hint(world), conflicts(world), world.requests) == (None, [], requests)
    agent(world, "VPN")  # who has seen the person's value
    read(world)
    assert (title(world), conflicts(world)) == ("VPN", [])


def test_an_edit_after_the_look_was_asked_for_waits_for_another_look() -> None:
    world = apart()
    edit(world, title="Elsewhere")
    world.act("read", 0, 0)  # nothing is hinted, so nothing is asked
    edit(world, title=CUT)
    world.act("read", 0, 0)
    edit(world, title="Elsewhere")
    edit(world, title=CUT)
    world.act("answer", 0, 0)
    assert the_link(world).base["title"].reason == "read-again"
    assert hint(world) is not None
    agent(world, "VPN")
    look(world)
    assert {one.external for one in conflicts(world)} == {"VPN"}


def test_an_edit_that_goes_back_meanwhile_waits_no_more() -> None:
    world = apart()
    edit(world, title=CUT)
    edit(world, title=LONG)
    assert the_link(world).base["title"].reason == "unchanged"
    assert not waits_for_look(the_link(world))


def test_a_conflict_that_waits_is_not_closed_by_an_old_picture() -> None:
    world = linked()
    world.change(conflict_strategy="manual-review")
    world.step(IncidentEdited("INC-1", {"title": "Here"}), by="ann")
    agent(world, "There")
    read(world)
    agent(world, "VPN")
    edit(world, title="There")
    assert [one.status for one in conflicts(world)] == ["pending"]
    look(world)
    (conflict,) = conflicts(world)
    assert (conflict.status, conflict.platform, conflict.external) == ("pending", "There", "VPN")


def test_the_read_that_a_write_rests_on_is_such_a_look() -> None:
    world = apart()
    edit(world, title=CUT, severity="SEV-1")
    attempt = known(begin(world))
    assert attempt.sent == {"severity": "SEV-1"}
    assert the_link(world).base["title"].reason == "converged"


def test_the_answer_of_a_write_is_such_a_look_for_what_was_edited_before_it_left() -> None:
    world = apart()
    edit(world, severity="SEV-1")
    attempt = known(begin(world))
    edit(world, title=CUT)
    settle(world, attempt, landed(world, attempt))
    assert the_link(world).base["title"].reason == "read-again"
    assert hint(world) is not None
    look(world)
    assert the_link(world).base["title"].reason == "converged"


def test_a_look_outlives_the_daemon_and_a_record_that_hides_its_count() -> None:
    world = apart()
    edit(world, title=CUT)
    world.act("crash", 0, 0)
    seen = world.observe(the_link(world).external_id)
    due = hints.due_hints(world.state, INTEGRATION, world.now_s)
    hidden = (type(seen)(external_id=seen.external_id, columns=seen.columns),)
    shown = hints.Read(world.state.position, tuple(due), hidden, frozenset(), (), Offset(0.0, 0.5))
    world.decide(lambda state, at_s: hints.settle_read(state, at_s, INTEGRATION, shown))
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    assert the_link(world).base["title"].reason == "converged"
    assert not waits_for_look(the_link(world))


def test_a_look_that_does_not_show_the_record_settles_nothing() -> None:
    world = apart()
    agent(world, "VPN")
    world.now_s += 30
    edit(world, title=CUT)
    while (due := hint(world)) is not None:
        world.now_s = max(world.now_s, due.next_at_s)
        unseen = hints.Read(world.state.position, (due,), (), frozenset(), (), Offset(0.0, 0.5))
        world.decide(lambda state, at_s, read=unseen: hints.settle_read(state, at_s, INTEGRATION, read))  # type: ignore[misc]
    assert the_link(world).gone_there
    edit(world, severity="SEV-1")  # a parked link is tried again when its incident is edited
    assert the_link(world).base["title"].reason == "read-again"
    look(world)
    (conflict,) = conflicts(world)
    assert (conflict.platform, conflict.external, title(world)) == (CUT, "VPN", CUT)


def test_a_look_of_our_own_forgets_nothing_of_a_webhook_that_waits() -> None:
    world = linked()
    sys_id = the_link(world).external_id
    told = Hint(
        sys_id, world.state.position + 1, "hook", mod_count=9, deleted=True, next_at_s=world.now_s, has_note=True
    )
    world.step(Hinted(INTEGRATION, sys_id, told), by="integration:prod")
    event = look_again(world.state, INTEGRATION, sys_id, world.now_s + 5)
    assert event.hint is not None
    assert (event.hint.mod_count, event.hint.deleted, event.hint.has_note) == (9, True, True)
    assert (event.hint.next_at_s, event.hint.position) == (world.now_s, world.state.position + 1)
    assert event.hint.trace == f"hook+look-{sys_id}"


def test_where_counts_are_hidden_a_look_from_before_our_write_does_not_undo_it() -> None:
    world = linked()
    old, asked = countless(world), world.state.position
    edit(world, title="VPN")
    attempt = known(begin(world, countless(world)))
    landed(world, attempt)
    settle(world, attempt, countless(world))
    told = Hint(old.external_id, world.state.position + 1, "hook", next_at_s=world.now_s)
    world.step(Hinted(INTEGRATION, old.external_id, told), by="integration:prod")
    due = tuple(hints.due_hints(world.state, INTEGRATION, world.now_s))
    late = hints.Read(asked, due, (old,), frozenset(), (), Offset(0.0, 0.5))
    world.decide(lambda state, at_s: hints.settle_read(state, at_s, INTEGRATION, late))
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    assert (title(world), conflicts(world)) == ("VPN", [])
    assert hint(world) is not None, "it is read again"


def test_where_counts_are_hidden_a_newer_stamp_tells_a_newer_picture() -> None:
    world = linked()
    asked = world.state.position
    edit(world, title="VPN")
    attempt = known(begin(world, countless(world)))
    landed(world, attempt)
    settle(world, attempt, countless(world))
    world.now_s += 2
    agent(world, "Printer")
    late = hints.Read(asked, (), (countless(world),), frozenset(), (), Offset(0.0, 0.5))
    world.decide(lambda state, at_s: hints.settle_read(state, at_s, INTEGRATION, late))
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    assert title(world) == "Printer"


def countless(world: World) -> Observation:
    """The record as an account sees it that may not read ``sys_mod_count``."""
    return replace(world.observe(the_link(world).external_id), mod_count=None)


def test_where_counts_are_hidden_no_write_rests_on_a_picture_that_a_look_of_the_same_second_may_belie() -> None:
    world = linked()
    world.now_s = float(int(world.now_s)) + 1.1
    agent(world, "Mouse")
    read(world)
    edit(world, title="VPN")
    asked = world.state.position
    told = Hint(the_link(world).external_id, world.state.position + 1, "hook", next_at_s=world.now_s)
    world.step(Hinted(INTEGRATION, told.external_id, told), by="integration:prod")
    due = tuple(hints.due_hints(world.state, INTEGRATION, world.now_s))
    other = hints.Read(world.state.position, due, (countless(world),), frozenset(), (), Offset(0.0, 0.5))
    agent(world, "Printer")
    world.decide(lambda state, at_s: hints.settle_read(state, at_s, INTEGRATION, other))
    assert begin(world, countless(world), asked) is None
    attempt = known(begin(world, countless(world)))
    (conflict,) = conflicts(world)
    assert (conflict.external, attempt.sent) == ("Printer", {"title": "VPN"})
