"""What is sent on a fresh read, and what each answer makes of the link."""

import pytest
from msgspec import UNSET

from syncd.core import sending
from syncd.core.deciding import merge_link
from syncd.core.events import Hinted, IncidentEdited
from syncd.core.lens import DEFAULT_LENS
from syncd.core.model import Attempt, Halves, Hint, Link, Observation
from tests.core.promises import INTEGRATION
from tests.core.steps import LINK, begin, edit, fail, known, landed, linked, read, settle, the_link
from tests.core.table import ACCOUNT
from tests.core.world import SETTINGS, World

# -- updates -----------------------------------------------------------------------------------------------------------


def test_only_what_differs_is_sent_and_the_attempt_is_on_record() -> None:
    world = linked()
    edit(world, title="VPN", severity="SEV-1")
    attempt = known(begin(world))
    assert attempt.sent == {"title": "VPN", "severity": "SEV-1"}
    assert attempt.columns == {"short_description": "VPN", "impact": "1", "urgency": "1"}
    assert the_link(world).in_flight == attempt


def test_edits_that_came_before_the_read_go_out_together_with_their_newest_value() -> None:
    world = linked()
    for number in range(500):
        edit(world, title=f"VPN {number}")
    assert known(begin(world)).columns == {"short_description": "VPN 499"}


def test_the_base_moves_to_what_was_sent_and_what_was_echoed_and_not_before() -> None:
    world = linked()
    edit(world, title="Mail is down in all of Europe")
    attempt = known(begin(world))
    assert the_link(world).base["title"].platform == "Mail"
    settle(world, attempt, landed(world, attempt))
    base = the_link(world).base["title"]
    assert (base.platform, base.external) == ("Mail is down in all of Europe", "Mail is down")
    assert the_link(world).outbox is None
    assert world.state.dead_letters == {}


def test_a_fresh_read_that_shows_the_value_already_ends_the_entry_without_a_write() -> None:
    world = linked()
    edit(world, title="VPN")
    world.store(the_link(world).external_id, {"short_description": "VPN"}, "agent")
    assert begin(world) is None
    assert the_link(world).outbox is None
    assert the_link(world).base["title"].reason == "converged"


def test_nothing_left_to_write_clears_the_entry_and_keeps_an_attempt_that_may_still_land() -> None:
    world = linked()
    edit(world, title="VPN")
    attempt = known(begin(world))
    world.act("crash", 0, 0)
    world.step(IncidentEdited("INC-1", {"title": "Mail"}), by="ann")  # back again
    assert begin(world) is None
    assert the_link(world).in_flight is None
    assert [one.number for one in the_link(world).unsettled] == [attempt.number]


def test_an_agents_edit_on_the_fresh_read_is_merged_and_the_rest_goes_out_on_the_same_read() -> None:
    world = linked()
    edit(world, title="VPN")
    world.store(the_link(world).external_id, {"state": "3"}, "agent")
    attempt = known(begin(world))
    assert attempt.sent == {"title": "VPN"}
    assert world.state.incidents["INC-1"].status == "mitigated"


def test_a_stale_read_neither_shows_nor_sends_anything_old() -> None:
    world = linked()
    external_id = the_link(world).external_id
    world.store(external_id, {"state": "1", "hold_reason": ""}, "agent")
    old, asked = world.observe(external_id), world.state.position
    world.store(external_id, {"state": "3", "hold_reason": "1"}, "agent")
    read(world)
    edit(world, status="open")
    attempt = known(begin(world, old, asked))
    assert attempt.columns == {"state": "2", "hold_reason": ""}  # the old row means open: it would have sent nothing
    assert the_link(world).observed == world.observe(external_id)


def test_nothing_is_decided_or_sent_while_the_integration_is_disabled() -> None:
    world = linked()
    edit(world, title="VPN")
    world.store(the_link(world).external_id, {"state": "3"}, "agent")
    before = the_link(world)
    world.change(enabled=False)
    assert begin(world) is None
    assert the_link(world).base == before.base
    assert world.state.incidents["INC-1"].status == "open"


def test_an_answer_that_comes_while_the_integration_is_disabled_settles_only_what_was_sent() -> None:
    world = linked()
    edit(world, title="VPN")
    attempt = known(begin(world))
    world.store(the_link(world).external_id, {"description": "seen"}, "agent")
    world.change(enabled=False)
    settle(world, attempt, landed(world, attempt))
    assert the_link(world).base["title"].platform == "VPN"
    assert world.state.incidents["INC-1"].description == ""
    assert LINK in world.state.dirty[INTEGRATION]
    world.change(enabled=True)
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    assert world.state.incidents["INC-1"].description == "seen"


def test_another_field_in_the_echo_is_an_ordinary_observation() -> None:
    world = linked()
    edit(world, title="VPN")
    attempt = known(begin(world))
    world.store(the_link(world).external_id, {"description": "seen"}, "agent")
    settle(world, attempt, landed(world, attempt))
    assert world.state.incidents["INC-1"].description == "seen"


def test_an_echo_that_is_older_than_a_read_does_not_hide_what_came_after() -> None:
    world = linked()
    edit(world, title="VPN")
    attempt = known(begin(world))
    echo = landed(world, attempt)
    world.store(the_link(world).external_id, {"short_description": "Printer"}, "agent")
    world.act("sweep", 0, 0)
    world.act("answer", 0, 0)  # the newer read comes first
    settle(world, attempt, echo)
    assert world.state.incidents["INC-1"].title == "Printer"


def test_an_answer_to_an_attempt_that_is_no_longer_in_flight_changes_nothing() -> None:
    world = linked()
    edit(world, title="VPN")
    attempt = known(begin(world))
    echo = landed(world, attempt)
    settle(world, attempt, echo)
    position = world.state.position
    settle(world, attempt, echo)
    fail(world, attempt, "refused")
    assert world.state.position == position


def test_an_answer_to_an_older_attempt_does_not_settle_the_newer_one() -> None:
    world = linked()
    edit(world, title="VPN")
    older = known(begin(world))
    world.act("crash", 0, 0)
    edit(world, title="Printer")
    newer = known(begin(world))
    settle(world, older, world.observe(the_link(world).external_id))
    fail(world, older, "refused")
    assert the_link(world).in_flight == newer


# -- late writes -------------------------------------------------------------------------------------------------------


def unclear(world: World, **changes: str) -> Attempt:
    """A write without a known outcome."""
    edit(world, **changes)
    attempt = known(begin(world))
    fail(world, attempt, "ambiguous")
    return attempt


def test_a_late_write_of_ours_is_no_edit_even_when_the_incident_has_moved_on() -> None:
    world = linked()
    attempt = unclear(world, status="mitigated")
    edit(world, status="open")
    landed(world, attempt)
    read(world)
    again = known(begin(world))
    assert again.sent == {"status": "open"}
    assert world.state.incidents["INC-1"].status == "open"
    assert world.state.conflicts == {}


def test_a_late_write_that_servicenow_cut_is_settled_and_not_sent_again() -> None:
    world = linked()
    attempt = unclear(world, title="Mail is down in all of Europe")
    landed(world, attempt)
    assert begin(world) is None
    assert (the_link(world).base["title"].platform, the_link(world).base["title"].external) == (
        "Mail is down in all of Europe",
        "Mail is down",
    )


def test_a_late_write_of_ours_beneath_an_agents_edit_of_another_field_is_no_edit() -> None:
    world = linked()
    attempt = unclear(world, title="VPN")
    edit(world, title="VPN in Europe")
    landed(world, attempt)
    world.store(the_link(world).external_id, {"description": "by an agent"}, "agent")
    read(world)
    assert world.state.conflicts == {}
    assert known(begin(world)).sent == {"title": "VPN in Europe"}


def test_what_a_write_of_ours_may_have_replaced_late_is_kept_where_nobody_can_tell() -> None:
    world = linked()
    attempt = unclear(world, status="mitigated")
    edit(world, status="open")
    landed(world, attempt)
    world.store(the_link(world).external_id, {"description": "by an agent"}, "agent")
    read(world)
    assert world.state.incidents["INC-1"].status == "mitigated"  # an agent may have chosen it
    assert [(one.platform, one.external) for one in world.state.conflicts.values()] == [("open", "mitigated")]


def test_a_text_of_ours_that_an_agent_set_alone_is_an_edit() -> None:
    world = linked()
    unclear(world, title="VPN")
    edit(world, title="VPN in Europe")
    world.store(the_link(world).external_id, {"short_description": "VPN"}, "agent")
    read(world)
    assert [one.external for one in world.state.conflicts.values()] == ["VPN"]


def test_a_write_of_ours_that_falls_on_a_value_under_review_leaves_it_in_the_conflict() -> None:
    world = linked()
    world.change(conflict_strategy="manual-review", conflict_window="always")
    edit(world, title="VPN")
    attempt = known(begin(world))  # it is on its way
    world.store(the_link(world).external_id, {"short_description": "Printer"}, "agent")
    read(world)
    assert [one.status for one in world.state.conflicts.values()] == ["pending"]
    settle(world, attempt, landed(world, attempt))
    kept = [(one.status, one.platform, one.external) for one in world.state.conflicts.values()]
    assert kept == [("resolved", "VPN", "Printer")]


def test_the_same_value_set_by_an_agent_is_an_edit() -> None:
    world = linked()
    unclear(world, status="mitigated")
    edit(world, status="open")
    world.store(the_link(world).external_id, {"state": "3"}, "agent")
    read(world)
    assert world.state.incidents["INC-1"].status == "mitigated"


def test_the_same_value_long_after_the_attempt_is_an_edit_whoever_stamped_the_record() -> None:
    world = linked()
    unclear(world, status="mitigated")
    edit(world, status="open")
    world.now_s += 3600
    world.store(the_link(world).external_id, {"short_description": "Printer"}, "agent")
    read(world)
    world.now_s += 3600
    world.store(the_link(world).external_id, {"state": "3"}, ACCOUNT)  # an agent's edit under our own write's stamp
    read(world)
    assert world.state.incidents["INC-1"].status == "mitigated"


# -- small rules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "asked", "at_s", "stale"),
    [
        (1, 5, 900.0, True),
        (1, 10, 900.0, False),
        (1, 10, 159.0, True),
        (1, 10, 160.0, False),
        (2, 5, 100.0, False),
        (3, 5, 100.0, False),
        (None, 5, 100.0, False),
    ],
)
def test_an_answer_is_stale_with_a_lower_count_and_an_earlier_question_or_soon_after_the_newer_one(
    count: int | None, asked: int, at_s: float, stale: bool
) -> None:
    link = Link("l", INTEGRATION, "INC-1", 0.0, known_count=2, observed_at=10, observed_at_s=100.0)
    assert sending.is_stale(link, Observation("r", {}, mod_count=count), asked, at_s) is stale


def test_a_node_that_lags_behind_takes_nobodys_edit_back_and_nothing_rests_on_what_it_shows() -> None:
    world = linked()
    before = world.observe(the_link(world).external_id)
    edit(world, status="mitigated")
    settle(world, known(begin(world)), landed(world, known(the_link(world).in_flight)))
    edit(world, status="open")
    assert begin(world, before) is None  # it has not heard of our write: to it the record is open already
    entry = the_link(world).outbox
    assert entry is not None
    assert entry.next_at_s == world.now_s + sending.REREAD_S
    assert known(begin(world)).sent == {"status": "open"}


def test_nothing_is_written_over_an_edit_that_a_webhook_told_of_and_the_read_does_not_show() -> None:
    world = linked()
    external_id = the_link(world).external_id
    edit(world, title="VPN")
    before = world.observe(external_id)
    world.store(external_id, {"short_description": "Printer"}, "agent")
    told = Hint(external_id, world.state.position + 1, "t", mod_count=world.observe(external_id).mod_count)
    world.step(Hinted(INTEGRATION, external_id, told), by="webhook")
    assert begin(world, before) is None
    assert world.state.conflicts == {}
    known(begin(world))  # read again, and now the agent's value is found, and kept in a record
    assert [one.external for one in world.state.conflicts.values()] == ["Printer"]


def test_only_what_a_mapped_column_shows_is_news() -> None:
    before = Observation("r", {"state": "1", "close_notes": ""}, mod_count=1)
    link = Link("l", INTEGRATION, "INC-1", 0.0, observed=before)
    assert not sending.news(DEFAULT_LENS, link, Observation("r", {"state": "1", "close_notes": "x"}, mod_count=2))
    assert sending.news(DEFAULT_LENS, link, Observation("r", {"state": "2"}, mod_count=1))
    assert sending.news(DEFAULT_LENS, link, Observation("r", {}, mod_count=1))


def test_the_correlation_id_names_integration_and_incident() -> None:
    assert sending.correlation_id(Link("l", "int_7", "INC-9", 0.0)) == "syncd:int_7:INC-9"
    assert SETTINGS.transaction_quota == "60s"


def test_halves_that_are_not_known_stay_unknown_on_the_way_through_the_journal() -> None:
    assert Halves().platform is UNSET
