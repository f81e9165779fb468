"""Read-back shapes: whatever ServiceNow makes of a write comes to rest, is told in its place, and is not repeated."""

import pytest
import trio

from syncd.core.model import DeadLetter
from tests.actors.shapes import SHAPES, Letter, Shape
from tests.actors.stage import configure, declare, in_world, letters, lines, link, record, sync_status
from tests.simulation.runner import simulate
from tests.simulation.world import CLOSE, World


async def quiet(world: World) -> None:
    """No write in a quiet minute, a reconcile in its middle."""
    before = world.writes()
    began = trio.current_time()
    await trio.sleep(40)
    await world.reconcile()
    await trio.sleep(40)
    assert world.writes() == before, lines(world.instance, "POST", "PATCH", since_s=began)


async def play(world: World, shape: Shape, incident_id: str = "") -> str:
    """Let the shape happen to an incident, a new one unless it is named."""
    shape.prepare(world)
    if shape.defaults is not None:
        await configure(world, external_defaults={**CLOSE, **shape.defaults(world)})
    if not incident_id:
        incident_id = await declare(world, f"shape {shape.name}")
        await trio.sleep(10)
    await shape.act(world, incident_id)
    await trio.sleep(15)
    return incident_id


def is_like(letter: DeadLetter, wanted: Letter) -> bool:
    said = f"{letter.error.message} {letter.error.detail}"
    return (
        (letter.fields, letter.operation, letter.error.kind) == (wanted.fields, wanted.operation, wanted.kind)
        and wanted.words in said
        and wanted.remedy in letter.remedy
    )


@pytest.mark.parametrize("shape", SHAPES, ids=[shape.name for shape in SHAPES])
def test_each_shape_comes_to_rest_and_is_told(shape: Shape) -> None:
    async def story(world: World) -> None:
        incident_id = await play(world, shape)
        found = letters(world)
        for letter in found:
            assert any(is_like(letter, wanted) for wanted in shape.letters), letter
        assert len(found) == len(shape.letters)
        shown = link(world, incident_id)
        assert (shown.state, shape.reason in shown.reason) == (shape.link_state, True)
        if shown.external_id:
            row = record(world, incident_id)
            assert {name: row[name] for name in shape.shown} == shape.shown
        status = await sync_status(world)
        assert status["dlq"] == len(found)
        assert status["state"] == ("degraded" if found or shape.is_told else "healthy")
        await quiet(world)
        assert [one.id for one in letters(world)] == [one.id for one in found]

    simulate(lambda rng: lambda: World(rng).run(story), 5)


@in_world()
async def test_all_shapes_at_once_come_to_rest(world: World) -> None:
    *others, last = sorted(SHAPES, key=lambda shape: shape.link_state == "pending")  # whose rule refuses every create
    names = [await declare(world, f"shape {shape.name}") for shape in others]
    await trio.sleep(20)
    for shape, incident_id in zip(others, names, strict=True):
        await play(world, shape, incident_id)
    names.append(await play(world, last))
    await trio.sleep(60)
    await world.reconcile()  # what has become unreadable meanwhile is new, and tries what was refused once more
    await trio.sleep(20)
    await quiet(world)
    before = {letter.id for letter in letters(world)}
    assert len({letter.incident_id for letter in letters(world)}) >= 12
    states = [link(world, name).state for name in names]
    assert (states.count("parked"), states.count("pending")) == (2, 1)
    await quiet(world)
    assert {letter.id for letter in letters(world)} == before
