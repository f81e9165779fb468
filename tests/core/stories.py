"""Stories about one incident and its record, told by real decisions: each ends as its name says."""

from msgspec.structs import replace

from syncd.core import hints
from syncd.core.deciding import merge_link
from syncd.core.events import (
    ClosingLearned,
    ConflictSettled,
    DeadLetterDiscarded,
    DifferenceAccepted,
    IncidentEdited,
    IntegrationChanged,
    LinkJoined,
    LinkParked,
    OwnershipChanged,
)
from syncd.core.explain import FieldExplained, explain
from syncd.core.model import Direction, FieldMapping, Halves, OwnershipRule, Settings, Side, Strategy
from syncd.core.reasons import Settling
from tests.core.promises import INTEGRATION
from tests.core.steps import (
    LINK,
    NOW,
    begin,
    create,
    edit,
    fail,
    known,
    landed,
    linked,
    look,
    pending,
    read,
    settle,
    the_link,
)
from tests.core.table import ACCOUNT
from tests.core.world import World


def told(world: World, field: str = "title") -> FieldExplained:
    (one,) = explain(world.state, world.state.incidents["INC-1"], field).fields
    return one


def under(world: World, **settings: object) -> World:
    """The same world under other settings."""
    changed: Settings = replace(world.state.integrations[INTEGRATION].settings, **settings)
    world.step(IntegrationChanged(INTEGRATION, changed), by="admin")
    return world


def clash(strategy: Strategy = "last-write-wins", apart_s: float = 100.0) -> World:
    """Both sides change the title without having met; ServiceNow's edit is the later one, if there is a later one."""
    world = under(linked(), conflict_strategy=strategy)
    world.now_s += 30
    edit_here(world, title="Here")
    world.now_s += apart_s
    there(world, short_description="There")
    read(world)
    return world


def edit_here(world: World, **changes: str) -> None:
    """A person's edit that no merge has seen."""
    world.step(IncidentEdited("INC-1", dict(changes)), by="user:ann")


def there(world: World, **columns: str) -> World:
    """An agent's edit, read and merged."""
    world.store(the_link(world).external_id, columns, "beth")
    read(world)
    return world


def joined(title: str, here: str = "Mail") -> World:
    """A record that a person links to an incident by hand."""
    world = World()
    world.act("declare", 1, 0)
    edit_here(world, title=here)
    world.store("r7", {"short_description": title, "description": "seen"}, "beth")
    seen, asked = world.observe("r7"), world.state.position
    world.step(LinkJoined(LINK, INTEGRATION, "INC-1", seen, asked=asked), by="user:ann")
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    return world


def adopted() -> World:
    """A create without a clear answer whose record is found by its correlation id."""
    world = pending()
    world.now_s += 1
    fail(world, attempt := known(create(world)), "ambiguous")
    look(world, landed(world, attempt))
    return world


def one_way(direction: Direction) -> World:
    return under(linked(), sync_direction=direction)


def merged(world: World) -> World:
    world.decide(lambda state, at_s: merge_link(state, at_s, LINK))
    return world


def not_out() -> World:
    world = one_way("inbound")
    edit(world, title="Here")
    return world


def as_read_before() -> World:
    """An edit to what ServiceNow was last seen to hold, while it was another value here."""
    world = shortened()
    edit(world, title="Mail is down")
    return world


def hidden() -> World:
    world = linked()
    del world.rows[the_link(world).external_id]["description"]
    there(world, short_description="News")
    return world


def delivered() -> World:
    world = linked()
    edit(world, title="VPN")
    settle(world, attempt := known(begin(world)), landed(world, attempt))
    return world


def by_person(winner: Side | None = "platform") -> World:
    world = clash("manual-review", apart_s=0.5)
    world.now_s += 60
    world.step(ConflictSettled("conflict-1", winner), by="user:ann")
    world.now_s += 1
    return merged(world)


def put_back(times: int) -> World:
    world = linked()
    world.step(OwnershipChanged(INTEGRATION, "title", OwnershipRule("platform", 1, exclusive=True)), by="admin")
    for number in range(times):
        there(world, short_description=f"There {number}")
        if number < times - 1:
            settle(world, attempt := known(begin(world)), landed(world, attempt))
    return world


def accepted(reason: Settling) -> World:
    """What becomes of an edit of a closed record (the decisions are in test_closing.py)."""
    world = linked()
    world.step(DifferenceAccepted(LINK, {"status": Halves("open", "1")}, reason), by="syncd")
    return merged(world)


def no_mapping() -> World:
    return there(linked(), state="42")


def shortened() -> World:
    world = linked()
    edit(world, title="Mail is down in all of Europe")
    settle(world, attempt := known(begin(world)), landed(world, attempt))
    return world


def not_kept() -> World:
    world = linked()
    edit(world, title="VPN")
    attempt = known(begin(world))
    world.store(the_link(world).external_id, {"short_description": "Something else"}, ACCOUNT)
    settle(world, attempt, world.observe(the_link(world).external_id))
    return world


def tried(outcome: str) -> World:
    world = linked()
    edit(world, title="VPN")
    fail(world, known(begin(world)), outcome, "words of ServiceNow")  # type: ignore[arg-type]
    return world


def discarded() -> World:
    world = tried("refused")
    (letter,) = world.state.dead_letters
    world.step(DeadLetterDiscarded(letter), by="user:ann")
    return world


def waiting() -> World:
    world = linked()
    edit(world, title="VPN")
    return world


def being_sent() -> World:
    world = waiting()
    begin(world)
    return world


def to_be_decided() -> World:
    world = linked()
    edit_here(world, title="VPN")
    return world


def parked() -> World:
    world = linked()
    world.step(LinkParked(LINK, "merging it failed twice: Boom"), by="integration:prod")
    return world


def closed_there() -> World:
    world = linked()
    world.step(LinkParked(LINK, "INC0010001 takes no edits", closed_there=True), by="integration:prod")
    return world


def imported(author: str) -> World:
    """An incident that came in with its record, which somebody had written before."""
    world = World()
    world.store("r7", {"short_description": "Printer", "state": "2"}, author)
    integration = world.state.integrations[INTEGRATION]
    for event in hints.bring_in(integration, world.observe("r7"), "INC-1", NOW):
        world.step(event, by="integration:prod")
    return merged(world)


def closed_for_us() -> World:
    """Closed here by an account that may not close there: it is resolved, and auto-close does the rest."""
    world = linked()
    world.step(ClosingLearned(INTEGRATION, may_close=False), by="syncd")
    edit(world, status="closed", resolution_code="Solution provided", resolution_notes="done")
    settle(world, attempt := known(begin(world)), landed(world, attempt))
    return world


def remapped() -> World:
    """The title is mapped to another column and back again, so its base is forgotten."""
    world = linked()
    elsewhere = FieldMapping("title", "u_title", (), "", "bidirectional")
    under(world, field_mapping=(elsewhere,))
    under(world, field_mapping=())
    return merged(world)
