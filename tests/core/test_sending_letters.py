"""What ServiceNow refuses, or does not keep: held group by group, told to a person, and tried again."""

import pytest

from syncd.core import sending
from syncd.core.deciding import merge_link
from syncd.core.events import IncidentEdited
from syncd.core.model import Failure, Observation
from syncd.errors import Outcome
from tests.core.steps import LINK, begin, edit, fail, known, landed, linked, read, settle, the_link
from tests.core.world import World

# -- refusals and dead letters -----------------------------------------------------------------------------------------


def test_a_refused_write_of_several_groups_is_sent_again_one_by_one_and_only_the_bad_one_is_held() -> None:
    world = linked()
    edit(world, title="VPN", description="d", status="resolved")
    sent = []
    for _ in range(10):
        if the_link(world).outbox is None:
            world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
        attempt = begin(world) if the_link(world).outbox is not None else None
        if attempt is None:
            break
        sent.append(tuple(attempt.sent))
        if "status" in attempt.sent:
            fail(world, attempt, "refused")
        else:
            settle(world, attempt, landed(world, attempt))
    assert sent[0] == ("title", "description", "status")
    assert sent[-1] == ("status",)
    letter = next(iter(world.state.dead_letters.values()))
    assert (letter.fields, letter.operation, letter.error.message) == (("status",), "update", "words")
    assert the_link(world).held == {"status": letter.id}
    row = world.rows[the_link(world).external_id]
    assert (row["short_description"], row["description"], row["state"]) == ("VPN", "d", "1")


def test_after_the_refused_group_the_others_still_go_out() -> None:
    world = linked()
    edit(world, title="VPN", description="d")
    fail(world, known(begin(world)), "refused")
    fail(world, known(begin(world)), "refused")  # the title alone
    assert the_link(world).held.keys() == {"title"}
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    assert known(begin(world)).sent == {"description": "d"}


def refused(world: World) -> str:
    """A status that ServiceNow refused; the id of its letter."""
    edit(world, status="resolved")
    fail(world, known(begin(world)), "refused", "mandatory: Resolution code")
    return next(iter(world.state.dead_letters))


def test_a_held_field_is_not_sent_again_while_the_others_flow() -> None:
    world = linked()
    refused(world)
    edit(world, title="VPN")
    assert known(begin(world)).sent == {"title": "VPN"}


def test_a_letter_keeps_its_id_over_a_failed_retry_and_counts_its_attempts() -> None:
    world = linked()
    letter_id = refused(world)
    world.act("retry", 0, 0)
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    fail(world, known(begin(world)), "refused")
    assert list(world.state.dead_letters) == [letter_id]
    assert world.state.dead_letters[letter_id].attempts == 2


def test_a_retry_reads_and_decides_anew_and_never_sends_an_old_value() -> None:
    world = linked()
    refused(world)
    world.step(IncidentEdited("INC-1", {"status": "canceled"}), by="ann")
    world.act("retry", 0, 0)
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    assert known(begin(world)).sent == {"status": "canceled"}


def test_an_edit_of_the_field_frees_it_and_its_delivery_removes_the_letter() -> None:
    world = linked()
    refused(world)
    edit(world, status="mitigated")
    attempt = known(begin(world))
    settle(world, attempt, landed(world, attempt))
    assert world.state.dead_letters == {}
    assert the_link(world).held == {}


def test_new_settings_free_what_was_refused_under_the_old_ones() -> None:
    world = linked()
    refused(world)
    world.change(external_defaults={"close_code": "Solution provided"})
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    assert known(begin(world)).columns == {"state": "6", "close_code": "Solution provided"}


def test_a_letter_goes_when_the_direction_keeps_the_edit_on_its_own_side() -> None:
    world = linked()
    refused(world)
    world.change(sync_direction="inbound")
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    assert world.state.dead_letters == {}
    assert the_link(world).held == {}


def test_a_discarded_letter_leaves_the_difference_until_the_next_edit_of_that_field() -> None:
    world = linked()
    refused(world)
    world.act("discard", 0, 0)
    edit(world, title="VPN")
    assert known(begin(world)).sent == {"title": "VPN"}
    edit(world, status="canceled")
    assert "status" in known(begin(world)).sent


def test_missing_mandatory_fields_name_the_setting_that_would_give_them() -> None:
    world = linked()
    letter_id = refused(world)
    assert "external_defaults" in world.state.dead_letters[letter_id].remedy


@pytest.mark.parametrize("outcome", ["unavailable", "throttled", "gone", "paused"])
def test_an_outage_makes_no_letter_and_leaves_the_entry_for_later(outcome: Outcome) -> None:
    world = linked()
    edit(world, title="VPN")
    fail(world, known(begin(world)), outcome)
    entry = the_link(world).outbox
    assert entry is not None
    assert (entry.attempts, entry.next_at_s) == (1, world.now_s + 3)
    assert the_link(world).unsettled == ()
    assert world.state.dead_letters == {}


def test_a_record_that_cannot_be_read_postpones_its_entry() -> None:
    world = linked()
    edit(world, title="VPN")
    world.decide(lambda state, _: sending.postpone(state, LINK, Failure("not-shown", "words", 404), world.now_s + 9))
    entry = the_link(world).outbox
    assert entry is not None
    assert (entry.attempts, entry.next_at_s) == (1, world.now_s + 9)


# -- not kept ----------------------------------------------------------------------------------------------------------


def dropped(world: World) -> Observation:
    """ServiceNow answers success and does nothing; the record after it."""
    return world.observe(the_link(world).external_id)


def test_a_write_that_servicenow_dropped_is_an_accepted_pair_and_a_letter_and_not_repeated() -> None:
    world = linked()
    edit(world, description="one more thing")
    attempt = known(begin(world))
    settle(world, attempt, dropped(world))
    letter = next(iter(world.state.dead_letters.values()))
    assert (letter.error.kind, letter.fields, letter.operation) == ("not-kept", ("description",), "update")
    assert "'one more thing' became ''" in letter.error.message
    assert the_link(world).outbox is None
    assert (the_link(world).base["description"].platform, the_link(world).base["description"].external) == (
        "one more thing",
        "",
    )


def test_a_dropped_write_is_not_taken_for_a_cut_because_the_old_value_is_how_it_begins() -> None:
    world = linked()
    edit(world, title="Mail is down")  # it was "Mail"
    attempt = known(begin(world))
    settle(world, attempt, dropped(world))
    assert [letter.fields for letter in world.state.dead_letters.values()] == [("title",)]


def test_a_longer_text_that_is_cut_to_the_same_value_again_is_no_letter() -> None:
    world = linked()
    for title in ("Mail is down in all of Europe", "Mail is down in all of Asia"):
        edit(world, title=title)
        attempt = known(begin(world))
        settle(world, attempt, landed(world, attempt))
    assert world.state.dead_letters == {}


def test_a_retried_not_kept_letter_is_written_again() -> None:
    world = linked()
    edit(world, description="more")
    attempt = known(begin(world))
    settle(world, attempt, dropped(world))
    world.act("retry", 0, 0)
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    assert known(begin(world)).sent == {"description": "more"}


def test_a_retry_keeps_what_an_agent_chose_meanwhile_in_a_record() -> None:
    world = linked()
    world.change(sync_direction="outbound")
    edit(world, description="more")
    attempt = known(begin(world))
    settle(world, attempt, dropped(world))
    world.store(the_link(world).external_id, {"description": "an agent's"}, "ben")
    read(world)
    world.act("retry", 0, 0)
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    assert known(begin(world)).sent == {"description": "more"}
    assert [(one.field, one.external) for one in world.state.conflicts.values()] == [("description", "an agent's")]


def test_what_servicenow_did_not_keep_is_in_a_record_when_an_agent_chooses_something_else() -> None:
    world = linked()
    edit(world, description="more")
    attempt = known(begin(world))
    settle(world, attempt, dropped(world))
    world.store(the_link(world).external_id, {"description": "an agent's"}, "ben")
    read(world)
    assert world.state.incidents["INC-1"].description == "an agent's"
    assert [(one.field, one.platform) for one in world.state.conflicts.values()] == [("description", "more")]
