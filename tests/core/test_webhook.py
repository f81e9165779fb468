"""A webhook is a hint, the same one is told once, and what has been read is no news."""

import pytest

from syncd.core.state import WEBHOOKS_REMEMBERED_S
from syncd.core.webhook import Webhook, accept_webhook
from syncd.errors import Unknown
from tests.core.test_hints import LINK, accept, linked, waiting


def test_a_webhook_is_read_and_its_body_never_applied() -> None:
    world = linked()
    assert not accept(world, sys_mod_count=7, updated_by="agent")
    assert waiting(world)["r2"].mod_count == 7
    assert world.state.incidents["INC-1"].title == "Mail"


def test_the_same_event_id_or_the_same_change_is_a_duplicate() -> None:
    world = linked()
    assert not accept(world, event_id="e1")
    assert accept(world, event_id="e1", sys_mod_count=9)
    assert not accept(world, sys_mod_count=8, operation="update")
    assert accept(world, sys_mod_count=8, operation="update")
    assert not accept(world, sys_mod_count=8, operation="delete")
    assert not accept(world, sys_id="r3", sys_mod_count=8, operation="update")


def test_bodies_with_neither_are_never_duplicates() -> None:
    world = linked()
    assert not accept(world, updated_on="2026-11-23 10:00:00")
    assert not accept(world, updated_on="2026-11-23 10:00:00")


def test_after_24_hours_the_same_webhook_is_no_duplicate_even_if_no_other_came_between() -> None:
    world = linked()
    accept(world, event_id="e1")
    world.now_s += WEBHOOKS_REMEMBERED_S
    assert accept(world, event_id="e1")
    world.now_s += 1
    assert not accept(world, event_id="e1")
    assert accept(world, event_id="e1")


def test_a_webhook_for_an_integration_that_is_gone_is_refused() -> None:
    world = linked()
    with pytest.raises(Unknown, match="int_9 is gone"):
        accept_webhook(world.state, 0.0, Webhook(sys_id="r"), integration_id="int_9", body="", trace="")


@pytest.mark.parametrize("operation", ["insert", "update", ""])
def test_what_was_read_already_settles_without_a_read(operation: str) -> None:
    world = linked()
    assert world.state.links[LINK].known_count == 0  # our own create: nobody has touched the record since
    accept(world, sys_mod_count=0, operation=operation)
    assert waiting(world) == {}


def test_a_delete_is_always_read() -> None:
    world = linked()
    accept(world, sys_mod_count=0, operation="delete")
    assert waiting(world)["r2"].deleted


def test_webhooks_of_one_record_join_into_one_hint_with_the_highest_count() -> None:
    world = linked()
    accept(world, sys_mod_count=5)
    accept(world, sys_mod_count=3)
    accept(world)
    assert [(hint.mod_count, hint.deleted) for hint in waiting(world).values()] == [(5, False)]
    assert waiting(world)["r2"].position == world.state.position
