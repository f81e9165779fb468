"""What shows that a journal is older than ServiceNow's picture of us, and what only looks like it."""

import pytest
from msgspec.structs import replace

from syncd.core.behind import doubted, evidence, lost_incident, prefix_of
from syncd.core.events import LinkOpened
from syncd.core.model import Attempt, Link, Note, NoteAttempt, NoteEntry, Observation
from syncd.core.sending import Offset, looks_up
from syncd.core.state import link_id
from tests.core.promises import INTEGRATION
from tests.core.steps import linked, pending, the_link
from tests.core.table import ACCOUNT
from tests.core.world import World

HOUR_S = 3600.0
BEGUN = Attempt(7, "create", {}, {}, 1.0)


def judged(world: World, *shown: Observation, life_s: float = HOUR_S, skew_s: float = 0.0) -> str:
    """The verdict of a life that begins ``life_s`` after the journal's last word."""
    return evidence(
        world.state,
        world.state.integrations[INTEGRATION],
        shown,
        resumed_at_s=world.now_s,
        opened_at_s=world.now_s + life_s,
        offset=Offset(skew_s, 0.1),
    )


def made_for(incident_id: str) -> Observation:
    return Observation("r99", {}, number="INC0010099", correlation_id=f"{prefix_of(INTEGRATION)}{incident_id}")


def rewritten(world: World, after_s: float, **values: object) -> Observation:
    """The linked record, with a title of ours that the journal does not know."""
    seen = the_link(world).observed
    assert seen is not None
    columns = seen.columns | {"short_description": "of a later life"}
    changed = replace(seen, columns=columns, updated_by=ACCOUNT, updated_at_s=world.now_s + after_s)
    return replace(changed, **values)


def test_a_record_for_an_incident_that_nobody_knows_is_evidence() -> None:
    assert judged(linked(), made_for("INC-LATER")) == "INC0010099 was made for INC-LATER, which is not in the journal"
    assert judged(linked(), replace(made_for("INC-LATER"), correlation_id="syncd:int_other:INC-LATER")) == ""
    assert judged(linked(), replace(made_for("INC-LATER"), correlation_id="")) == ""


def test_a_record_that_is_yet_to_be_made_is_evidence_unless_it_was_begun() -> None:
    world = pending()
    link = the_link(world)
    assert "the journal has yet to make it" in judged(world, made_for(link.incident_id))
    for begun in (replace(link, in_flight=BEGUN), replace(link, unsettled=(BEGUN,))):
        world.state.links[link.id] = begun
        assert judged(world, made_for(link.incident_id)) == ""
    unopened = World()
    unopened.act("declare", 1, 0)
    (incident_id,) = unopened.state.incidents
    assert "the journal has yet to make it" in judged(unopened, made_for(incident_id))


@pytest.mark.parametrize(
    ("made_after_s", "words"),
    [(-60.0, ""), (60.0, "INC0010099 was made for INC-LATER, which is not in the journal"), (None, "was made for")],
)
def test_a_record_from_before_the_confirmation_is_none_and_a_later_one_is(
    made_after_s: float | None, words: str
) -> None:
    world = linked()
    one = world.state.integrations[INTEGRATION]
    world.state.integrations[INTEGRATION] = replace(one, doubted_at=1, doubted_at_s=world.now_s)
    at_s = None if made_after_s is None else world.now_s + 600.0 + made_after_s  # their clock is ahead
    found = judged(world, replace(made_for("INC-LATER"), created_at_s=at_s), skew_s=600.0)
    assert found == words or (bool(words) and words in found)


def test_a_record_that_is_linked_is_no_evidence_by_its_origin() -> None:
    world = linked()
    link = the_link(world)
    assert judged(world, replace(made_for(link.incident_id), external_id=link.external_id)) == ""


def test_an_incident_is_lost_to_a_restore_when_we_made_its_record_and_a_person_has_confirmed_it() -> None:
    world = linked()
    confirmed = replace(world.state.integrations[INTEGRATION], doubted_at=1, account=ACCOUNT)
    orphan = replace(made_for("INC-4Q7ZK2M9XD"), created_by=ACCOUNT)
    assert lost_incident(world.state, confirmed, orphan) == "INC-4Q7ZK2M9XD"
    assert lost_incident(world.state, replace(confirmed, doubted_at=0), orphan) == ""
    for other in (
        replace(orphan, created_by="beth.anglin"),  # a copy
        replace(orphan, correlation_id="syncd:int_other:INC-4Q7ZK2M9XD"),
        replace(orphan, correlation_id=f"{prefix_of(INTEGRATION)}INC-4Q7ZK2M9XD/../x"),
        replace(orphan, correlation_id=f"{prefix_of(INTEGRATION)}{the_link(world).incident_id}"),
    ):
        assert lost_incident(world.state, confirmed, other) == ""


def test_values_that_we_wrote_in_between_are_evidence() -> None:
    assert "has values that we wrote" in judged(linked(), rewritten(linked(), 1000.0))
    skewed = rewritten(linked(), 1600.0)
    assert "has values that we wrote" in judged(linked(), skewed, skew_s=600.0)


@pytest.mark.parametrize(
    ("after_s", "values"),
    [
        (60.0, {}),  # our last request, or what a rule made of it, may have come so late
        (HOUR_S + 10.0, {}),  # this life may have written it
        (1000.0, {"updated_by": "beth.anglin"}),
        (1000.0, {"updated_at_s": None}),
        (1000.0, {"external_id": "a stranger"}),
    ],
)
def test_what_can_come_about_otherwise_is_none(after_s: float, values: dict[str, object]) -> None:
    assert judged(linked(), rewritten(linked(), after_s, **values)) == ""


def test_a_late_write_of_ours_that_is_on_record_is_none() -> None:
    world = linked()
    link = the_link(world)
    seen = rewritten(world, 1000.0)
    for begun in (replace(link, in_flight=BEGUN), replace(link, unsettled=(BEGUN,))):
        world.state.links[link.id] = begun
        assert judged(world, seen) == ""


def test_columns_that_nobody_maps_are_none() -> None:
    world = linked()
    seen = the_link(world).observed
    assert seen is not None
    touched = replace(seen, updated_by=ACCOUNT, updated_at_s=world.now_s + 1000.0, mod_count=99)
    assert judged(world, touched) == ""


def test_what_is_doubted_is_looked_for_and_what_was_begun_stays_as_it_is() -> None:
    notes = [Note(f"note-{number}", text, "ann", 1.0, "platform") for number, text in enumerate(("a", "b", "b", "b"))]
    flying = NoteEntry("note-3", 1.0, "t", in_flight=NoteAttempt(3, "ann:\nb", 1.0))
    entries = (NoteEntry("note-1", 1.0, "t"), NoteEntry("note-2", 1.0, "t"), flying)
    link = doubted(Link("l", "i", "INC-1", 1.0, notes=entries), notes)
    assert looks_up(link)
    assert [entry.unsettled.known if entry.unsettled else None for entry in link.notes] == [0, 1, None]
    assert link.notes[2] == flying
    sent = doubted(Link("l", "i", "INC-1", 1.0, state="active", notes=entries[1:2]), notes[:3])
    assert not looks_up(sent)
    assert sent.notes[0].unsettled is not None
    assert sent.notes[0].unsettled.known == 1  # the record has one that says the same
    assert doubted(replace(link, in_flight=BEGUN, unsettled=()), notes).unsettled == ()


def test_what_came_back_through_one_integration_is_looked_for_before_another_makes_it() -> None:
    world = linked()
    incident_id = the_link(world).incident_id
    one = world.state.integrations[INTEGRATION]
    for name, doubted_at in (("int_sure", 0), ("int_doubting", 1)):
        world.state.integrations[name] = replace(one, id=name, doubted_at=doubted_at)
        world.step(LinkOpened(link_id(name, incident_id), name, incident_id), by="x")
        assert looks_up(world.state.links[link_id(name, incident_id)]) is (doubted_at > 0)
