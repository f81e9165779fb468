"""``explain``: for every rule a story that ends in it, for every standing one that stands so, by real decisions."""

from collections.abc import Callable
from typing import Final, get_args

import pytest

from syncd.core.explain import explain
from syncd.core.merge import Reason
from syncd.core.model import EDITABLE_FIELDS, SYNCED_FIELDS
from syncd.core.reasons import RULES, STANDINGS, Settling, Standing
from tests.core.steps import (
    begin,
    edit,
    known,
    landed,
    linked,
    pending,
    settle,
)
from tests.core.stories import (
    accepted,
    adopted,
    as_read_before,
    being_sent,
    by_person,
    clash,
    closed_there,
    delivered,
    discarded,
    hidden,
    joined,
    no_mapping,
    not_kept,
    not_out,
    one_way,
    parked,
    put_back,
    shortened,
    there,
    to_be_decided,
    told,
    tried,
    under,
    waiting,
)
from tests.core.table import ACCOUNT
from tests.core.world import SETTINGS, World

Told = tuple[World, str]
Story = Callable[[], Told]

# "unchanged" and "delivered" decide nothing: what did before is still what explains the value.
RULE_STORIES: Final[dict[str, Story]] = {
    "same-meaning": lambda: (there(linked(), state="2"), "status"),
    "converged": lambda: (joined("Mail"), "title"),
    "read-again": lambda: (as_read_before(), "title"),
    "one-side-changed": lambda: (there(linked(), short_description="There"), "title"),
    "one-empty": lambda: (joined("Mail"), "description"),
    "first-link": lambda: (joined("Printer"), "title"),
    "later-edit": lambda: (clash(), "title"),
    "owner": lambda: (clash("ownership-priority", apart_s=0.5), "title"),
    "order-unknown": lambda: (clash(apart_s=0.0), "title"),
    "held-for-review": lambda: (clash("manual-review", apart_s=0.5), "title"),
    "decided-by-person": lambda: (by_person(), "title"),
    "told-in-a-note": lambda: (accepted("told-in-a-note"), "status"),
    "left-to-auto-close": lambda: (accepted("left-to-auto-close"), "status"),
    "exclusive": lambda: (put_back(1), "title"),
    "put-back-too-often": lambda: (put_back(4), "title"),
    "not-inbound": lambda: (there(one_way("outbound"), short_description="There"), "title"),
    "not-outbound": lambda: (not_out(), "title"),
    "unreadable": lambda: (hidden(), "description"),
    "created": lambda: (linked(), "title"),
    "joined": lambda: (adopted(), "title"),
}
OVERRULING: Final = frozenset(
    {
        *("first-link", "later-edit", "owner", "order-unknown", "exclusive"),
        *("held-for-review", "put-back-too-often", "decided-by-person"),
    }
)
NO_RULES: Final = frozenset({"unchanged", "delivered"})


@pytest.mark.parametrize("rule", sorted(set(get_args(Reason)) | set(get_args(Settling))))
def test_every_rule_is_told_after_what_it_decides(rule: str) -> None:
    if rule in NO_RULES:
        assert told(delivered()).rule == "one-side-changed"
        return
    world, field = RULE_STORIES[rule]()
    one = told(world, field)
    assert (one.rule, one.why) == (rule, RULES[rule].says)
    assert "{" not in (one.way_out or "")
    if rule in {
        "first-link",
        "later-edit",
        "owner",
        "exclusive",
        "put-back-too-often",
        "order-unknown",
        "held-for-review",
        "decided-by-person",
    }:
        assert one.conflict is not None
        assert one.conflict in (one.way_out or "")


STANDING_STORIES: Final[dict[str, Story]] = {
    "in-step": lambda: (linked(), "title"),
    "shortened": lambda: (shortened(), "title"),
    "not-kept": lambda: (not_kept(), "title"),
    "accepted": lambda: (not_out(), "title"),
    "held-for-review": lambda: (clash("manual-review", apart_s=0.5), "title"),
    "waiting": lambda: (waiting(), "title"),
    "trying-again": lambda: (tried("unavailable"), "title"),
    "being-sent": lambda: (being_sent(), "title"),
    "outcome-unknown": lambda: (tried("ambiguous"), "title"),
    "dead-letter": lambda: (tried("refused"), "title"),
    "discarded": lambda: (discarded(), "title"),
    "to-be-decided": lambda: (to_be_decided(), "title"),
    "no-record": lambda: (pending(), "title"),
    "parked": lambda: (parked(), "title"),
    "closed-there": lambda: (closed_there(), "title"),
    "hidden": lambda: (hidden(), "description"),
    "no-mapping": lambda: (no_mapping(), "status"),
    "switched-off": lambda: (under(linked(), enabled=False), "title"),
}


@pytest.mark.parametrize("standing", get_args(Standing))
def test_every_standing_is_told_while_it_lasts(standing: Standing) -> None:
    world, field = STANDING_STORIES[standing]()
    one = told(world, field)
    assert one.standing == standing
    why = {"parked": ": merging it failed twice: Boom", "closed-there": ": INC0010001 takes no edits"}
    assert one.meaning == STANDINGS[standing].says + why.get(standing, "")
    assert "{" not in (one.way_out or "")


def test_both_values_halves_and_authors_are_told() -> None:
    world = there(linked(), short_description="There")
    one = told(world)
    assert (one.platform, one.external, one.external_raw) == ("There", "There", "There")
    assert (one.base, one.base_external) == ("There", "There")
    assert (one.platform_by, one.external_by) == ("integration:prod", "beth")
    assert one.external_from is not None
    assert one.external_at is not None
    assert one.external_from < one.external_at
    assert (one.external_number, one.integration) == ("INC00r2", SETTINGS.handle)
    assert one.write is not None
    assert (one.write.to, one.write.at) == ("platform", one.ruled_at)


def test_the_write_that_followed_is_told_with_what_servicenow_made_of_it() -> None:
    one = told(shortened())
    assert one.write is not None
    assert (one.write.to, one.write.became, one.write.error) == ("external", "Mail is down", None)
    assert (one.external_by, one.rule) == (ACCOUNT, "one-side-changed")
    kept = told(not_kept())
    assert kept.write is not None
    assert kept.write.error is not None
    assert "kept something else" in kept.write.error.message
    assert f"im integration dlq-retry prod {kept.dead_letter}, or edit title" in (kept.way_out or "")


@pytest.mark.parametrize("outcome", ["unavailable", "refused"])
def test_a_write_that_failed_is_told_in_servicenows_words_with_the_next_try(outcome: str) -> None:
    one = told(tried(outcome))
    assert one.write is not None
    assert one.write.error is not None
    assert (one.write.at, one.write.attempts, one.write.error.message) == (None, 1, "words")
    assert one.write.next_attempt_at is not None


def test_an_edit_that_follows_a_conflict_is_its_own_reason() -> None:
    world = clash("ownership-priority", apart_s=0.5)
    assert told(world).rule == "owner"
    world.now_s += 60
    edit(world, title="Newer")
    settle(world, attempt := known(begin(world)), landed(world, attempt))
    one = told(world)
    assert (one.rule, one.conflict) == ("one-side-changed", None)


def test_a_rule_outlives_the_delivery_of_its_value_and_a_restart() -> None:
    world = clash("ownership-priority", apart_s=0.5)
    settle(world, attempt := known(begin(world)), landed(world, attempt))
    one = told(world)
    assert (one.rule, one.standing, one.conflict) == ("owner", "in-step", "conflict-1")
    again = world.replayed()
    assert explain(again, again.incidents["INC-1"]) == explain(world.state, world.state.incidents["INC-1"])


def test_a_field_that_is_readable_again_is_told_by_the_rule_before() -> None:
    world = hidden()
    there(world, description="back")
    assert told(world, "description").rule != "unreadable"


def test_every_field_is_told_once_for_each_link_or_said_to_be_unsynced() -> None:
    world = linked()
    whole = explain(world.state, world.state.incidents["INC-1"])
    assert [one.field for one in whole.fields] == list(SYNCED_FIELDS)
    assert {one.field for one in whole.not_synced} == set(EDITABLE_FIELDS) - set(SYNCED_FIELDS)
    assert {one.reason for one in whole.not_synced} == {"not-synced", "close-data"}
    (service,) = (one for one in whole.not_synced if one.field == "service")
    assert service.way_out == (
        f"map it: im integration field-mapping set {SETTINGS.handle} service --external-field u_…"
    )
