"""Rules of ownership as decisions, what a conflict then says, and whose records count as ours on one instance."""

import pytest
from msgspec.structs import replace

from syncd.core import conflicts, deciding, hints, ownership, sending, verdicts
from syncd.core.events import (
    IncidentDeclared,
    IncidentEdited,
    IntegrationConfigured,
    LinkOpened,
    Merged,
    Observed,
    OwnershipChanged,
    SendStarted,
)
from syncd.core.hints import Read
from syncd.core.model import Attempt, Observation, OwnershipRule
from syncd.core.sending import Offset
from syncd.core.state import State, link_id
from syncd.core.verdicts import Verdict
from syncd.errors import Stale, Unknown
from tests.core.picture import AT_S, INC, INT, LINK, apply, integration, picture, seen
from tests.core.world import World

EXCLUSIVE = OwnershipRule("platform", 10, exclusive=True)


def change(state: State, field: str, rule: OwnershipRule | None) -> ownership.OwnershipView:
    """Decide and evolve, as the journal does."""
    made = ownership.change("prod", field, rule)(state, AT_S)
    if made.events:
        apply(state, *made.events)
    return made.result


def merge(state: State, at_s: float = AT_S + 100) -> Merged:
    """Merge the link, dirty or not."""
    merged, _ = deciding.plan(state.links[LINK], state.incidents[INC], state.integrations[INT], state, at_s)
    apply(state, merged, by="integration:prod")
    return merged


def put_back(state: State, number: int) -> None:
    """An agent edits the title again; it is merged, and what was decided is delivered."""
    count = (state.links[LINK].known_count or 0) + 1
    shown = replace(seen(short_description=f"by an agent, {number}"), mod_count=count)
    apply(state, Observed(LINK, shown))
    merge(state, AT_S + 60.0 * number)


def test_the_fold_keeps_a_rule_until_it_is_restored() -> None:
    state = picture()
    view = change(state, "severity", EXCLUSIVE)
    assert (view.owner, view.priority, view.exclusive, view.default) == ("platform", 10, True, False)
    assert ownership.rule_of(state.integrations[INT], "severity") == EXCLUSIVE
    assert ownership.change("prod", "severity", EXCLUSIVE)(state, AT_S).events == ()
    change(state, "severity", None)
    assert ownership.rule_of(state.integrations[INT], "severity") == OwnershipRule("platform")
    assert state.integrations[INT].ownership == {}
    with pytest.raises(Unknown, match="colour"):
        ownership.change("prod", "colour", EXCLUSIVE)(state, AT_S)


def test_a_new_rule_marks_what_waits_for_a_person_and_what_is_not_delivered() -> None:
    state = picture()
    state.dirty.clear()
    apply(state, OwnershipChanged(INT, "severity", EXCLUSIVE))
    assert list(state.dirty[INT]) == [LINK]


def test_a_new_rule_marks_what_was_refused() -> None:
    """An edit that ServiceNow refused waits for a person; under an exclusive owner it is put back."""
    world = World()
    world.act("declare", 0, 0)
    world.quiet()
    world.act("platform edit", 1, 12)  # somebody whom ServiceNow does not know
    world.quiet()
    (letter,) = world.state.dead_letters.values()
    assert (letter.fields, world.state.links[letter.link_id].outbox) == (("assigned_to",), None)
    rule = OwnershipRule("external", 10, exclusive=True)
    world.decide(ownership.change("prod", "assigned_to", rule), by="ann")
    world.quiet()
    assert world.state.incidents[letter.incident_id].assigned_to is None
    assert world.state.dead_letters == {}


def test_it_is_put_back_three_times_an_hour_and_then_a_person_is_asked() -> None:
    state = picture()
    change(state, "title", EXCLUSIVE)
    merge(state)
    for number in range(3):
        put_back(state, number)
    assert len(state.links[LINK].base["title"].put_backs) == 3
    put_back(state, 3)
    (pending,) = state.pending_conflicts(LINK).values()
    assert (pending.reason, pending.external) == ("put-back-too-often", "by an agent, 3")
    merge(state, AT_S + 7200)  # an hour later it still waits: only a person or another rule ends that
    assert state.pending_conflicts(LINK)
    change(state, "title", OwnershipRule("platform"))
    assert merge(state).decided[0].reason == "held-for-review"  # the integration's strategy decides again
    change(state, "title", EXCLUSIVE)
    apply(state, *verdicts.resolve(pending.id, Verdict("external"), by="user:root")(state, AT_S).events)
    merge(state)
    assert state.incidents[INC].title == "by an agent, 3"  # and a person's verdict is not put back
    assert state.links[LINK].base["title"].put_backs == ()


def test_a_field_that_is_put_back_seldom_is_put_back_each_time() -> None:
    state = picture()
    change(state, "title", EXCLUSIVE)
    for number in range(0, 300, 25):
        put_back(state, number)
        assert not state.pending_conflicts(LINK), number


def test_a_conflict_tells_its_rule_and_what_each_choice_would_write() -> None:
    state = picture()
    rule = OwnershipRule("external", 7)
    change(state, "title", rule)
    apply(state, IncidentEdited(INC, {"title": "Down again"}))
    merge(state)
    shown = conflicts.view(state, state.conflicts["conflict-1"])
    assert shown.reason == "held-for-review"
    assert shown.rule is not None
    assert shown.rule.startswith("manual-review, window 5s, owner external (priority 7): ")
    assert shown.would_write is not None
    assert shown.would_write.use_platform == conflicts.Writes({}, {"short_description": "Down again"})
    assert shown.would_write.use_external == conflicts.Writes({"title": "Down there"}, {})
    inbound = replace(state.integrations[INT].settings, sync_direction="inbound")
    state.integrations[INT] = replace(state.integrations[INT], settings=inbound)
    shown = conflicts.view(state, state.conflicts["conflict-1"])
    assert shown.would_write is not None
    assert shown.would_write.use_platform == conflicts.Writes({}, {})  # it may not spread, so it stays where it is
    apply(state, *verdicts.ignore("conflict-1", by="u")(state, AT_S).events)
    assert conflicts.view(state, state.conflicts["conflict-1"]).would_write is None


def test_a_verdict_on_values_that_are_not_merged_yet_is_refused_with_them() -> None:
    state = apply(picture(), IncidentEdited(INC, {"title": "Down again"}))
    for decide in (verdicts.resolve("conflict-1", Verdict("platform"), by="u"), verdicts.ignore("conflict-1", by="u")):
        with pytest.raises(Stale, match="'Down again' on the platform and 'Down there' in ServiceNow now"):
            decide(state, AT_S)
    merge(state)
    assert verdicts.resolve("conflict-1", Verdict("platform"), by="u")(state, AT_S).result.status == "resolved"


def test_a_verdict_for_the_platform_frees_a_write_that_was_refused() -> None:
    for side, held in (("platform", {}), ("external", {"title": "entry-2"})):
        state = picture()
        state.links[LINK] = replace(state.links[LINK], held={"title": "entry-2"})
        verdict = Verdict("platform" if side == "platform" else "external")
        apply(state, *verdicts.resolve("conflict-1", verdict, by="u")(state, AT_S).events)
        assert state.links[LINK].held == held


# -- two integrations on one instance ----------------------------------------------------------------------------------


def read_by(state: State, integration_id: str, shown: Observation) -> State:
    """An integration reads an unlinked record that passes its import query."""
    read = Read(state.position, (), (shown,), frozenset({shown.external_id}), ("W1",), Offset(0.0, 0.5))
    change = hints.settle_read(state, AT_S + state.position, integration_id, read)
    return apply(state, *change.events) if change.events else state


def stranger(**values: object) -> Observation:
    """A new record, made by our account and without a correlation id."""
    made = {"external_id": "9" * 32, "created_by": "api", "updated_by": "api", "created_at_s": AT_S + 50, **values}
    return replace(seen(), **made)


def beside(state: State, **settings: object) -> str:
    """Another integration with the same instance."""
    apply(state, IntegrationConfigured(integration("int_B", "beside", **settings)))
    return "int_B"


def test_a_record_of_another_integration_is_never_a_new_incident() -> None:
    state = picture()
    other = beside(state)
    claimed = stranger(correlation_id=f"{sending.CORRELATION_PREFIX}{INT}:INC-A")
    linked = seen()
    for shown in (claimed, linked, replace(linked, created_by="ann")):
        read_by(state, other, replace(shown, created_at_s=AT_S + 50))
    assert list(state.incidents) == [INC]


def test_a_record_waits_while_another_integration_does_not_know_what_its_create_made() -> None:
    state = picture()
    other = beside(state)
    apply(state, IncidentDeclared("INC-B", "New", "SEV-3"))
    name = link_id(INT, "INC-B")
    apply(state, LinkOpened(name, INT, "INC-B"))
    apply(state, SendStarted(name, Attempt(1, "create", {}, {}, AT_S)))
    read_by(state, other, stranger())
    assert list(state.incidents) == [INC, "INC-B"]
    assert list(state.hints[other]) == ["9" * 32]  # to be looked at again
    read_by(state, other, stranger(created_by="ann"))
    assert len(state.incidents) == 3  # what others made does not wait


def test_a_record_of_another_organization_comes_in_unless_our_account_made_it() -> None:
    for created_by, comes_in in (("ann", True), ("api", False)):
        state = picture()
        other = beside(state, organization_id="umbrella")
        read_by(state, other, replace(seen(), created_by=created_by, created_at_s=AT_S + 50))
        assert (len(state.incidents) == 2) == comes_in


def test_an_integration_with_another_instance_knows_nothing_of_it() -> None:
    state = picture()
    other = beside(state, base_url="https://other.service-now.com")
    read_by(state, other, replace(seen(), created_at_s=AT_S + 50))
    assert len(state.incidents) == 2
