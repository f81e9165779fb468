"""``explain`` says who made a value and what decided it as it was, and leaves open what nobody can know."""

from syncd.core.events import ClosingLearned
from syncd.core.views import rfc3339
from tests.core.promises import INTEGRATION
from tests.core.steps import begin, edit, known, landed, linked, settle, the_link
from tests.core.stories import (
    by_person,
    closed_for_us,
    edit_here,
    imported,
    merged,
    one_way,
    put_back,
    remapped,
    there,
    told,
    tried,
)
from tests.core.table import ACCOUNT


def test_a_person_s_verdict_for_servicenow_s_value_is_the_rule_that_decided() -> None:
    one = told(by_person("external"))
    assert (one.rule, one.conflict, one.platform) == ("decided-by-person", "conflict-1", "There")
    assert one.write is not None
    assert (one.write.to, one.write.at) == ("platform", one.platform_at)


def test_it_stays_the_rule_when_the_link_is_merged_again() -> None:
    world = by_person("external")
    world.now_s += 5
    there(world, description="news")
    assert told(world).rule == "decided-by-person"


def test_an_edit_after_the_verdict_is_its_own_reason() -> None:
    world = by_person("external")
    world.now_s += 5
    edit(world, title="Newer")
    assert (told(world).rule, told(world).conflict) == ("one-side-changed", None)
    settle(world, attempt := known(begin(world)), landed(world, attempt))
    assert told(world).rule == "one-side-changed"


def test_an_imported_value_is_its_author_s_and_not_ours() -> None:
    world = imported("beth")
    one = told(world)
    assert (one.rule, one.external_by) == ("joined", "beth")
    assert one.external_from is not None
    assert one.external_at is not None
    assert one.external_from < one.external_at


def test_a_value_that_we_wrote_stays_as_old_as_it_is_while_an_edit_here_waits() -> None:
    world = linked()
    before = told(world)
    assert (before.external_from, before.external_by) == (before.external_at, ACCOUNT)
    world.now_s += 60
    edit_here(world, title="Newer")
    one = told(merged(world))
    assert (one.external, one.external_by) == (before.external, ACCOUNT)
    assert (one.external_from, one.external_at) == (before.external_from, before.external_at)


def test_of_a_value_whose_author_nobody_saw_only_the_latest_possible_time_is_told() -> None:
    world = remapped()
    one = told(world)
    assert (one.rule, one.external_by, one.external_from) == ("converged", None, None)
    assert one.external_at == rfc3339(the_link(world).base["title"].decided_at_s)


def test_a_status_that_we_may_only_resolve_says_why_the_sides_differ() -> None:
    world = closed_for_us()
    one = told(world, "status")
    assert (one.platform, one.external, one.standing) == ("closed", "resolved", "accepted")
    assert one.rule == "left-to-auto-close"
    world.step(ClosingLearned(INTEGRATION, may_close=True), by="syncd")
    assert told(world, "status").rule == "left-to-auto-close"


def test_a_write_under_way_has_no_next_try() -> None:
    world = tried("unavailable")
    assert told(world).write is not None
    world.now_s += 60
    begin(world)
    one = told(world)
    assert (one.standing, one.write and one.write.next_attempt_at) == ("being-sent", None)


def test_what_is_put_back_in_vain_says_to_look_for_the_rule_that_undoes_it() -> None:
    one = told(put_back(4))
    assert (one.rule, one.standing) == ("put-back-too-often", "held-for-review")
    assert (one.way_out or "").startswith("see which rule of the instance does it; choose: im conflict resolve")


def test_a_value_that_another_one_replaced_where_it_was_is_found_again() -> None:
    world = one_way("inbound")
    edit(world, title="Here")
    world.now_s += 60
    there(world, short_description="There")
    one = told(world)
    assert (one.rule, one.conflict) == ("one-side-changed", "conflict-1")
    assert "im conflict show conflict-1" in (one.way_out or "")


def test_of_an_ignored_conflict_no_value_is_said_to_have_lost() -> None:
    one = told(by_person(None))
    assert (one.rule, one.standing, one.conflict, one.way_out) == ("decided-by-person", "accepted", "conflict-1", None)
