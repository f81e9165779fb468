"""What is sent on a fresh read, and what each answer makes of the link."""

from collections.abc import Callable
from typing import Final

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from syncd.core import sending
from syncd.core.deciding import merge_link
from syncd.core.events import IncidentEdited
from syncd.core.model import SYNCED_FIELDS, Attempt, Failure, Halves, Link, Observation
from syncd.core.sending import Offset
from syncd.errors import Outcome
from tests.core.world import ACCOUNT, INTEGRATION, SETTINGS, World

LINK: Final = f"{INTEGRATION}/INC-1"
NOW: Final = Offset(0.0, 0.5)
QUOTA_S: Final = 60.0


def pending() -> World:
    """An incident whose link is open and whose record is not created yet."""
    world = World()
    world.act("declare", 1, 0)
    world.act("open", 0, 0)
    return world


def linked() -> World:
    """An incident with its record, all settled."""
    world = pending()
    world.quiet()
    assert the_link(world).state == "active"
    return world


def the_link(world: World) -> Link:
    return world.state.links[LINK]


def edit(world: World, **changes: str) -> None:
    """A person's edit, merged, so that the link waits to be written."""
    world.step(IncidentEdited("INC-1", dict(changes)), by="ann")
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))


def begin(world: World, seen: Observation | None = None, asked: int | None = None) -> Attempt | None:
    """Put the write on record, on a fresh read unless ``seen`` is given."""
    link = the_link(world)
    shown = seen if seen is not None else world.observe(link.external_id)
    at = world.state.position if asked is None else asked
    return world.decide(lambda state, at_s: sending.prepare_update(state, at_s, LINK, shown, at, NOW))


def read(world: World) -> None:
    """All records are read, and the link is merged."""
    world.act("sweep", 0, 0)
    world.act("answer", 0, 0)
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))


def create(world: World) -> Attempt | None:
    return world.decide(lambda state, at_s: sending.prepare_create(state, at_s, LINK))


def look(world: World, *found: Observation, looked_at_s: float | None = None) -> Attempt | None:
    at = world.now_s if looked_at_s is None else looked_at_s
    return world.decide(
        lambda state, at_s: sending.settle_lookup(state, at_s, LINK, list(found), at_s + 5, NOW, looked_at_s=at)
    )


def settle(world: World, attempt: Attempt, echo: Observation) -> None:
    world.decide(lambda state, at_s: sending.settle(state, at_s, LINK, attempt.number, echo, NOW))


def fail(world: World, attempt: Attempt, outcome: Outcome, detail: str = "") -> None:
    failure = Failure(outcome, "words", 403, detail)
    world.decide(lambda state, at_s: sending.fail(state, at_s, LINK, attempt.number, outcome, failure, world.now_s + 3))


def known(attempt: Attempt | None) -> Attempt:
    assert attempt is not None
    return attempt


def landed(world: World, attempt: Attempt) -> Observation:
    """ServiceNow does what the attempt says; the record after it."""
    external_id = the_link(world).external_id or "r9"
    world.store(external_id, attempt.columns, ACCOUNT)
    return world.observe(external_id)


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


def closed() -> World:
    """A closed record, which ServiceNow no longer lets us change, and does not say so."""
    world = linked()
    columns = {"state": "7", "close_code": "x", "close_notes": "y"}
    world.store(the_link(world).external_id, columns, "agent")
    world.quiet()
    return world


def test_a_write_that_servicenow_dropped_is_an_accepted_pair_and_a_letter_and_not_repeated() -> None:
    world = closed()
    edit(world, description="one more thing")
    attempt = known(begin(world))
    settle(world, attempt, landed(world, attempt))
    letter = next(iter(world.state.dead_letters.values()))
    assert (letter.error.kind, letter.fields, letter.operation) == ("not-kept", ("description",), "update")
    assert "'one more thing' became ''" in letter.error.message
    assert the_link(world).outbox is None
    assert (the_link(world).base["description"].platform, the_link(world).base["description"].external) == (
        "one more thing",
        "",
    )


def test_a_dropped_write_is_not_taken_for_a_cut_because_the_old_value_is_how_it_begins() -> None:
    world = closed()
    edit(world, title="Mail is down")  # it was "Mail"
    attempt = known(begin(world))
    settle(world, attempt, landed(world, attempt))
    assert [letter.fields for letter in world.state.dead_letters.values()] == [("title",)]


def test_a_longer_text_that_is_cut_to_the_same_value_again_is_no_letter() -> None:
    world = linked()
    for title in ("Mail is down in all of Europe", "Mail is down in all of Asia"):
        edit(world, title=title)
        attempt = known(begin(world))
        settle(world, attempt, landed(world, attempt))
    assert world.state.dead_letters == {}


def test_a_retried_not_kept_letter_is_written_again() -> None:
    world = closed()
    edit(world, description="more")
    attempt = known(begin(world))
    settle(world, attempt, landed(world, attempt))
    world.act("retry", 0, 0)
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    assert known(begin(world)).sent == {"description": "more"}


# -- creates -----------------------------------------------------------------------------------------------------------


def test_a_create_carries_the_correlation_id_and_what_is_not_empty() -> None:
    attempt = known(create(pending()))
    assert attempt.columns == {
        "short_description": "Mail",
        "impact": "1",
        "urgency": "2",
        "correlation_id": "syncd:int_1:INC-1",
    }
    assert attempt.sent == {"title": "Mail", "severity": "SEV-2", "status": "open"}


def test_a_template_that_fills_what_we_left_empty_is_taken_over() -> None:
    world = pending()
    attempt = known(create(world))
    world.store("r9", attempt.columns | {"description": "filled by a rule"}, ACCOUNT)
    settle(world, attempt, world.observe("r9"))
    assert world.state.incidents["INC-1"].description == "filled by a rule"
    assert world.state.dead_letters == {}


def test_a_status_that_moved_on_before_the_create_follows_as_an_update() -> None:
    world = pending()
    world.step(IncidentEdited("INC-1", {"status": "mitigated"}), by="ann")
    attempt = known(create(world))
    settle(world, attempt, landed(world, attempt))
    assert known(begin(world)).sent == {"status": "mitigated"}


def test_a_create_is_not_made_where_nothing_may_be_written() -> None:
    world = pending()
    world.change(sync_direction="inbound")
    assert create(world) is None


Unclear = Callable[[World], None]


def lost(world: World) -> None:
    fail(world, known(create(world)), "ambiguous")


def crashed(world: World) -> None:
    known(create(world))
    world.act("crash", 0, 0)


@pytest.mark.parametrize("end", [lost, crashed])
def test_an_unclear_create_is_looked_up_and_not_repeated_before_two_quotas(end: Unclear) -> None:
    world = pending()
    end(world)
    begun_s = world.now_s
    assert sending.looks_up(the_link(world))
    assert create(world) is None
    while world.now_s < begun_s + 2 * QUOTA_S - 11:
        assert look(world) is None
        world.now_s += 10
    world.now_s = begun_s + 2 * QUOTA_S
    again = known(look(world))
    assert again.columns["correlation_id"] == "syncd:int_1:INC-1"


def test_a_look_that_began_too_early_does_not_allow_another_create_however_late_its_answer() -> None:
    world = pending()
    lost(world)
    began_s = world.now_s + 5
    world.now_s += 10 * QUOTA_S
    assert look(world, looked_at_s=began_s) is None


def test_a_create_that_waited_long_before_it_left_is_looked_for_one_quota_after_its_end() -> None:
    world = pending()
    attempt = known(create(world))
    world.now_s += 10 * QUOTA_S
    fail(world, attempt, "ambiguous")
    world.now_s += QUOTA_S - 1
    assert look(world) is None
    world.now_s += 1
    assert look(world) is not None


def test_after_a_crash_the_first_look_never_repeats_the_create() -> None:
    world = pending()
    crashed(world)
    world.now_s += 10 * QUOTA_S
    assert look(world) is None
    world.now_s += QUOTA_S
    assert look(world) is not None


def test_a_record_that_is_found_is_adopted_with_what_was_sent() -> None:
    world = pending()
    attempt = known(create(world))
    landed(world, attempt)
    fail(world, attempt, "ambiguous")
    assert look(world, world.observe("r9")) is None
    link = the_link(world)
    assert (link.state, link.external_id, link.outbox, link.unsettled) == ("active", "r9", None, ())
    assert link.base["title"].platform == "Mail"


def test_adoption_takes_what_the_attempt_sent_that_made_the_record() -> None:
    world = pending()
    first = known(create(world))
    world.step(IncidentEdited("INC-1", {"title": "VPN"}), by="ann")
    fail(world, first, "ambiguous")
    world.now_s += 2 * QUOTA_S
    fail(world, known(look(world)), "ambiguous")
    landed(world, first)  # the first one after all
    look(world, world.observe("r9"))
    assert (the_link(world).base["title"].platform, the_link(world).base["title"].external) == ("Mail", "Mail")
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    assert known(begin(world)).sent == {"title": "VPN"}


def test_an_agents_edit_before_the_adoption_is_one_sided_and_comes_in() -> None:
    world = pending()
    attempt = known(create(world))
    landed(world, attempt)
    world.store("r9", {"state": "3"}, "agent")
    fail(world, attempt, "ambiguous")
    look(world, world.observe("r9"))
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    assert world.state.incidents["INC-1"].status == "mitigated"
    assert world.state.conflicts == {}


def test_of_two_records_with_our_id_the_older_is_adopted_and_never_one_that_is_linked() -> None:
    world = pending()
    attempt = known(create(world))
    landed(world, attempt)
    world.now_s += 5
    copy = replace(world.observe("r9"), external_id="r10", created_at_s=world.now_s)
    other = replace(copy, external_id="r8", correlation_id="syncd:int_1:inc-1", created_at_s=1.0)
    fail(world, attempt, "ambiguous")
    look(world, copy, other, world.observe("r9"))
    assert the_link(world).external_id == "r9"


def test_a_refused_create_names_all_fields_and_an_edit_tries_it_again() -> None:
    world = pending()
    fail(world, known(create(world)), "refused")
    letter = next(iter(world.state.dead_letters.values()))
    assert (letter.operation, letter.fields) == ("create", SYNCED_FIELDS)
    assert the_link(world).outbox is None
    world.step(IncidentEdited("INC-1", {"description": "d"}), by="ann")
    fail(world, known(create(world)), "refused")
    assert list(world.state.dead_letters) == [letter.id]
    world.step(IncidentEdited("INC-1", {"description": "e"}), by="ann")
    attempt = known(create(world))
    settle(world, attempt, landed(world, attempt))
    assert world.state.dead_letters == {}


def test_where_the_correlation_id_is_dropped_an_unclear_create_is_a_letter_and_never_a_second_post() -> None:
    world = pending()
    attempt = known(create(world))
    echo = replace(landed(world, attempt), correlation_id="")
    settle(world, attempt, echo)
    assert world.state.integrations[INTEGRATION].drops_correlation
    world.act("declare", 0, 2)
    world.act("open", 0, 0)
    name = next(link.id for link in world.state.links.values() if link.state == "pending")
    second = known(world.decide(lambda state, at_s: sending.prepare_create(state, at_s, name)))
    failure = Failure("ambiguous", "words")
    world.decide(lambda state, at_s: sending.fail(state, at_s, name, second.number, "ambiguous", failure, at_s))
    world.now_s += 3 * QUOTA_S
    at = world.now_s
    again = world.decide(
        lambda state, at_s: sending.settle_lookup(state, at_s, name, [], at_s + 5, NOW, looked_at_s=at)
    )
    assert again is None
    assert [letter.error.kind for letter in world.state.dead_letters.values()] == ["unconfirmed"]
    assert sending.looks_up(world.state.links[name])


# -- small rules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "asked", "stale"), [(1, 5, True), (1, 10, False), (2, 5, False), (3, 5, False), (None, 5, False)]
)
def test_an_answer_is_stale_only_with_a_lower_count_and_an_earlier_question(
    count: int | None, asked: int, stale: bool
) -> None:
    link = Link("l", INTEGRATION, "INC-1", 0.0, known_count=2, observed_at=10)
    assert sending.is_stale(link, Observation("r", {}, mod_count=count), asked) is stale


def test_only_what_a_mapped_column_shows_is_news() -> None:
    before = Observation("r", {"state": "1", "close_notes": ""}, mod_count=1)
    link = Link("l", INTEGRATION, "INC-1", 0.0, observed=before)
    assert not sending.news(link, Observation("r", {"state": "1", "close_notes": "x"}, mod_count=2))
    assert sending.news(link, Observation("r", {"state": "2"}, mod_count=1))
    assert sending.news(link, Observation("r", {}, mod_count=1))


def test_the_correlation_id_names_integration_and_incident() -> None:
    assert sending.correlation_id(Link("l", "int_7", "INC-9", 0.0)) == "syncd:int_7:INC-9"
    assert SETTINGS.transaction_quota == "60s"


def test_halves_that_are_not_known_stay_unknown_on_the_way_through_the_journal() -> None:
    assert Halves().platform is UNSET
