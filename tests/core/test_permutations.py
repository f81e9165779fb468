"""Webhooks in any order and number: 200 drawn histories, each told in ten ways, end alike, with as many writes."""

from random import Random
from typing import Final, NamedTuple

import pytest

from syncd.core.events import IncidentEdited
from tests.core.world import World

HISTORIES: Final = 200
WAYS: Final = 10
PARTS: Final = 4
RECORDS: Final = 3
AGENT: Final = {
    "short_description": ("Printer", "Mail again", "VPN"),
    "description": ("since noon", "since nine", ""),
    "state": ("1", "2", "3"),
    "urgency": ("1", "2", "3"),
}
PLATFORM: Final = {
    "title": ("Down", "Down again"),
    "description": ("by an engineer", "by another"),
    "severity": ("SEV-1", "SEV-4"),
    "status": ("open", "mitigated"),
}


class End(NamedTuple):
    """What a history came to, without ids, positions and times."""

    incidents: tuple[tuple[str | None, ...], ...]
    records: tuple[tuple[str, ...], ...]
    overruled: tuple[tuple[str | None, ...], ...]
    writes: int


def history(seed: int) -> World:
    """Three pairs, edited on both sides; nobody has told of anything yet."""
    rng, world = Random(f"history {seed}"), World()
    for number in range(RECORDS):
        world.act("declare", number, 0)
    world.act("open", 0, 0)
    world.quiet()
    for _ in range(rng.randint(3, 9)):
        world.now_s += rng.uniform(0, 8)
        if rng.random() < 0.7:
            column = rng.choice(sorted(AGENT))
            world.store(rng.choice(sorted(world.rows)), {column: rng.choice(AGENT[column])}, "agent")
        else:
            field = rng.choice(sorted(PLATFORM))
            incident_id, value = rng.choice(sorted(world.state.incidents)), rng.choice(PLATFORM[field])
            if world.state.incidents[incident_id].value(field) != value:
                world.step(IncidentEdited(incident_id, {field: value}), by="ann")
    return world


def told(world: World, rng: Random | None) -> End:
    """Deliver its webhooks: once and in order, or shuffled and doubled with reads in between; then let it rest."""
    hooks, world.hooks = world.hooks, []
    if rng is not None:
        hooks = [hook for hook in hooks for _ in range(rng.choice((1, 1, 2, 3)))]
        rng.shuffle(hooks)
    for hook in hooks:
        world._accept(hook)
        if rng is not None and rng.random() < 0.3:  # a read leaves, and its answer comes later
            world.act("read", 0, 0)
        if rng is not None and rng.random() < 0.3:
            world.act("answer", rng.randrange(4), 0)
    world.quiet()
    written = world.requests
    for hook in hooks:  # and all of it once more, when everything is settled
        world._accept(hook)
    world.quiet()
    assert world.requests == written, "webhooks that were told again wrote something"
    return end_of(world)


def end_of(world: World) -> End:
    state = world.state
    fields = ("title", "description", "severity", "status")
    columns = ("short_description", "description", "priority", "state")
    overruled = [(one.field, one.platform, one.external, one.status, one.decided) for one in state.conflicts.values()]
    return End(
        tuple(tuple(one.value(field) for field in fields) for _, one in sorted(state.incidents.items())),
        tuple(tuple(row[name] for name in columns) for _, row in sorted(world.rows.items())),
        tuple(sorted(overruled, key=str)),
        world.requests,
    )


@pytest.mark.parametrize("part", range(PARTS))
def test_two_thousand_permutations_and_doublings_of_webhooks_change_neither_the_end_nor_the_number_of_writes(
    part: int,
) -> None:
    overruled = updates = 0
    for seed in range(part, HISTORIES, PARTS):
        once = told(history(seed), None)
        for way in range(WAYS):
            assert told(history(seed), Random(f"{seed} told {way}")) == once, (seed, way)
        overruled, updates = overruled + len(once.overruled), updates + once.writes - RECORDS
    assert min(overruled, updates) > 0, "these histories hardly ever meet"
