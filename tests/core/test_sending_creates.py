"""A create is never made twice: on record before it leaves, and looked up before it is repeated."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from syncd.core import sending
from syncd.core.deciding import merge_link
from syncd.core.events import IncidentEdited
from syncd.core.model import SYNCED_FIELDS, Failure
from tests.core.promises import INTEGRATION
from tests.core.steps import (
    LINK,
    NOW,
    QUOTA_S,
    begin,
    create,
    fail,
    known,
    landed,
    look,
    pending,
    settle,
    the_link,
)
from tests.core.table import ACCOUNT
from tests.core.world import World


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


def test_a_look_that_fails_after_a_crash_leaves_the_create_as_unclear_as_it_was() -> None:
    world = pending()
    crashed(world)
    world.decide(lambda state, _: sending.postpone(state, LINK, Failure("throttled", "words", 429), world.now_s + 1))
    assert sending.looks_up(the_link(world))
    assert create(world) is None


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
