"""One incident with its link, and the steps of a write one by one."""

from typing import Final

from syncd.core import sending
from syncd.core.deciding import merge_link
from syncd.core.events import IncidentEdited
from syncd.core.model import Attempt, Failure, Link, Observation
from syncd.core.sending import Offset
from syncd.errors import Outcome
from tests.core.promises import INTEGRATION
from tests.core.table import ACCOUNT
from tests.core.world import World

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
