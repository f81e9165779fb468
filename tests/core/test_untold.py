"""A value that the other side never had is kept in a record by whatever takes its place, and nothing else is."""

import pytest

from syncd.core.events import ClosingLearned, DifferenceAccepted, IncidentEdited
from syncd.core.model import Conflict, Direction, Halves
from syncd.core.reasons import Settling
from tests.core.promises import INTEGRATION
from tests.core.steps import LINK, begin, edit, known, landed, linked, read, settle, the_link
from tests.core.table import ACCOUNT
from tests.core.world import World


def there(world: World, **columns: str) -> None:
    """An agent's edit, read and merged."""
    world.store(the_link(world).external_id, columns, "beth")
    read(world)


def apart(direction: Direction, there_: str = "", here: str = "") -> World:
    """Edits of the title that stayed where they were made; then both may spread again."""
    world = linked()
    world.change(sync_direction=direction)
    if there_:
        there(world, short_description=there_)
    if here:
        world.change(sync_direction="inbound")
        edit(world, title=here)
    world.change(sync_direction="bidirectional")
    world.now_s += 60
    return world


def deliver(world: World) -> None:
    settle(world, attempt := known(begin(world)), landed(world, attempt))


def kept(world: World) -> list[tuple[str | None, str | None, str]]:
    conflicts: list[Conflict] = list(world.state.conflicts.values())
    return [(one.platform, one.external, one.decided) for one in conflicts]


def title(world: World) -> str:
    return world.state.incidents["INC-1"].title


def not_kept() -> World:
    """ServiceNow answered success, and a rule of it made something else of the title."""
    world = linked()
    edit(world, title="VPN")
    attempt = known(begin(world))
    world.store(the_link(world).external_id, {"short_description": "[P] mine"}, ACCOUNT)
    settle(world, attempt, world.observe(the_link(world).external_id))
    assert [one.error.kind for one in world.state.dead_letters.values()] == ["not-kept"]
    world.now_s += 60
    return world


def test_what_servicenow_did_not_keep_is_in_a_record_once_an_agents_edit_takes_its_place() -> None:
    world = not_kept()
    there(world, short_description="Printer")
    assert (title(world), kept(world)) == ("Printer", [("VPN", "Printer", "external: one-side-changed")])
    assert world.state.dead_letters == {}


def test_what_servicenow_made_of_it_is_no_value_of_anybodys() -> None:
    world = not_kept()
    edit(world, title="Mail")
    deliver(world)
    assert (title(world), kept(world)) == ("Mail", [])


@pytest.mark.parametrize("reason", ["told-in-a-note", "left-to-auto-close"])
def test_so_it_is_with_what_a_closed_record_did_not_take(reason: Settling) -> None:
    world = linked()
    edit(world, title="VPN")
    there(world, description="closed")
    world.step(DifferenceAccepted(LINK, {"title": Halves("VPN", "Mail")}, reason), by="integration:prod")
    there(world, short_description="Printer")
    assert (title(world), kept(world)) == ("Printer", [("VPN", "Printer", "external: one-side-changed")])


@pytest.mark.parametrize(("state", "records"), [("7", []), ("2", [("closed", "open", "external: one-side-changed")])])
def test_so_it_is_with_what_was_left_to_auto_close_unless_it_comes(
    state: str, records: list[tuple[str, str, str]]
) -> None:
    world = linked()
    world.change(external_defaults={"close_code": "Solution provided", "close_notes": "done"})
    world.step(ClosingLearned(INTEGRATION, may_close=False), by="integration:prod")
    edit(world, status="closed")
    deliver(world)
    base = the_link(world).base["status"]
    assert (base.platform, base.external, world.state.dead_letters) == ("closed", "6", {})
    there(world, state=state)
    assert kept(world) == records


def test_a_title_that_was_cut_had_arrived() -> None:
    world = linked()
    edit(world, title="Mail is down in all of Europe")
    deliver(world)
    there(world, short_description="Printer")
    assert (title(world), kept(world)) == ("Printer", [])


def test_a_value_that_had_stayed_there_and_is_edited_again_there_makes_no_record() -> None:
    world = apart("outbound", there_="Printer")
    there(world, short_description="VPN")
    assert (title(world), kept(world)) == ("VPN", [])


def test_a_value_that_had_stayed_here_and_is_edited_again_here_makes_no_record() -> None:
    world = apart("inbound", here="Printer")
    edit(world, title="VPN")
    deliver(world)
    assert (title(world), kept(world)) == ("VPN", [])


def test_what_stayed_on_one_side_is_kept_when_the_other_sides_edit_takes_its_place() -> None:
    world = apart("outbound", there_="Printer")
    edit(world, title="VPN")
    deliver(world)
    assert kept(world) == [("VPN", "Printer", "platform: one-side-changed")]
    edit(world, title="Mail")
    deliver(world)
    there(world, short_description="Fax")
    assert len(kept(world)) == 1, "both had agreed since"


def test_what_stayed_on_both_sides_is_kept_whichever_is_replaced() -> None:
    here = apart("outbound", there_="Printer", here="Fax")
    edit(here, title="VPN")
    assert kept(here) == [("VPN", "Printer", "platform: one-side-changed")]
    other = apart("outbound", there_="Printer", here="Fax")
    there(other, short_description="VPN")
    assert kept(other) == [("Fax", "VPN", "external: one-side-changed")]


def test_an_edit_away_and_back_since_the_other_sides_stayed_is_meant_and_kept() -> None:
    world = apart("outbound", there_="Printer")
    world.step(IncidentEdited("INC-1", {"title": "VPN"}), by="ann")
    world.step(IncidentEdited("INC-1", {"title": "Mail"}), by="ann")
    there(world, short_description="Fax")
    assert (title(world), kept(world)) == ("Fax", [("Mail", "Fax", "external: one-side-changed")])


def test_an_edit_away_and_back_to_what_had_stayed_spreads_at_last() -> None:
    world = apart("inbound", here="Printer")
    edit(world, title="VPN")
    edit(world, title="Printer")
    assert known(begin(world)).sent == {"title": "Printer"}


def test_an_edit_back_to_the_old_value_after_one_that_overruled_an_agents_goes_there() -> None:
    world = linked()
    edit(world, title="VPN")
    world.change(sync_direction="outbound")
    there(world, short_description="Printer")
    edit(world, title="Mail")
    assert kept(world) == [("VPN", "Printer", "platform: one-side-changed")]
    assert known(begin(world)).sent == {"title": "Mail"}


def test_a_write_whose_echo_was_hidden_may_not_have_been_kept() -> None:
    world = linked()
    edit(world, title="VPN")
    attempt = known(begin(world))
    row = world.rows[the_link(world).external_id]
    shown = row.pop("short_description")
    settle(world, attempt, world.observe(the_link(world).external_id))
    assert kept(world) == []
    row["short_description"] = shown
    there(world, description="shown again")
    assert (title(world), kept(world)) == ("Mail", [("VPN", "Mail", "external: one-side-changed")])


def test_it_outlives_what_decides_nothing_and_a_restart() -> None:
    world = apart("outbound", there_="Printer")
    row = world.rows[the_link(world).external_id]
    shown = row.pop("short_description")
    there(world, description="hidden")
    row["short_description"] = shown
    world.rows[the_link(world).external_id] = row | {"description": "shown again", "sys_mod_count": "9"}
    world.act("crash", 0, 0)
    read(world)
    assert the_link(world).base["title"].untold == ("external",)
    edit(world, title="VPN")
    assert kept(world) == [("VPN", "Printer", "platform: one-side-changed")]
    assert INTEGRATION in world.state.integrations
