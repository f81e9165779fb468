"""Stories that worlds are made of: who does what when, and what goes wrong meanwhile. All drawn from the seed."""

import sys
from collections.abc import Awaitable, Callable
from random import Random

import trio

from tests.simulation.runner import simulate
from tests.simulation.world import World

TROUBLES = (
    "request_lost=0.08",
    "answer_lost=0.08",
    "create_commits_then_reset=0.2",
    "create_visible_late=20@0.15",
    "patch_commits_then_500=0.1",
    "patch_500_without_commit=0.1",
    "create_500_without_commit=0.2",
    "webhook_lost=0.2",
    "webhook_doubled=0.2",
    "webhook_delay=8@0.2",
    "webhook_reordered=6@0.5",
    "empty_202=0.05",
    "semaphore_429=0.05",
    "truncated_200=cut@0.05",
    "gateway_timeout_504=0.05",
)
BUSY_S = 40.0
QUIET_S = 200.0  # an ambiguous create is looked for over two transaction quotas


async def troubled_days(world: World) -> None:
    """Edits on both sides through lost, doubled and reordered messages, lost answers and crashes; then quiet."""
    rng = world.rng
    for trouble in rng.sample(TROUBLES, rng.randint(0, 5)):
        world.instance.set_fault(trouble)
    crashes = sorted(rng.uniform(2, BUSY_S) for _ in range(rng.choice((0, 1, 1, 2))))
    deeds = sorted(rng.uniform(0, BUSY_S) for _ in range(rng.randint(4, 14)))
    await world.declare()
    for at_s in sorted(crashes + deeds):
        await trio.sleep_until(max(at_s, trio.current_time()))
        if at_s in crashes:
            if rng.random() < 0.5:
                await world.edit_platform()  # acknowledged this very instant: it must be on disk
            await world.crash()
            continue
        match rng.choice(("platform", "platform", "external", "external", "both", "declare", "create")):
            case "platform":
                await world.edit_platform()
            case "external":
                world.edit_external()
            case "both":
                world.edit_external()
                await world.edit_platform()
            case "declare":
                await world.declare()
            case _:
                world.create_external()
    world.instance.disarm()
    await trio.sleep(QUIET_S)
    await settle(world)


async def settle(world: World) -> None:
    """A reconcile, and then every promise that holds at rest: equal, nothing lost, nothing doubled, and quiet."""
    await world.reconcile()
    await trio.sleep(60)
    await world.check()
    before = world.writes()
    await world.replay_webhooks(1)
    await world.reconcile()
    await trio.sleep(20)
    assert world.writes() == before, "a replayed webhook or an idle reconcile wrote something"


def world_of(story: Callable[[World], Awaitable[None]]) -> Callable[[Random], Callable[[], Awaitable[None]]]:
    """A story as ``simulate`` takes it."""
    return lambda rng: lambda: World(rng).run(story)


if __name__ == "__main__":  # for test_determinism.py: digests of some seeds, from a process of its own
    for seed in map(int, sys.argv[1:]):
        run = simulate(world_of(troubled_days), seed)
        sys.stdout.write(f"{seed} {run.digest} {run.steps}\n")
