"""Runs and imports once the troubles are over: a dry run changes nothing, a second one finds nothing, old records once.

Takes State as it is seen from outside, and what the way and the ledger saw.
"""

from typing import Final

import trio

from tests.simulation.hands import Hands
from tests.simulation.plan import Deed
from tests.simulation.world import World

DRIFTING: Final = 2  # records that a script changes, so that there is something to find
WRITTEN_S: Final = 5.0


async def check(world: World, hands: Hands) -> None:
    """Let two records drift, and look with each kind of run: only the one that heals changes anything."""
    _check_imports(world, hands)
    await hands.do(Deed(0.0, "mass", DRIFTING, value="retitle"))
    drifting = len(world.silence.held)
    before, writes = _picture(world), world.writes()
    for mode in ("dry-run", "report"):
        run = await world.reconcile(mode)
        assert run.status == "finished", f"{run.id}: {run.status} {run.reason}"
        assert len(run.drifts) >= drifting, f"{mode} found {run.drifts} of {drifting}"
        assert not any(one.healed for one in run.drifts), f"{mode} healed {run.drifts}"
        assert _picture(world) == before, f"{mode} changed something"
    healing = await world.reconcile()
    assert all(one.healed for one in healing.drifts), f"not healed: {healing.drifts}"
    assert not world.silence.held, f"nobody took over {world.silence.held}"
    await trio.sleep(WRITTEN_S)
    again = await world.reconcile()
    assert not again.drifts, f"the second run found {again.drifts}"
    assert world.writes() == writes, "drift that came in was written"
    world.met["second run found nothing"] += 1


def _picture(world: World) -> object:
    """All that a run may not change unless it heals."""
    state = world.state
    return (
        *(dict(state.incidents), dict(state.links), dict(state.conflicts), dict(state.dead_letters)),
        *(dict(state.notes), world.writes(), world.ledger.events["Merged"]),
    )


def _check_imports(world: World, hands: Hands) -> None:
    """An old record is an incident once an import was acknowledged, one alone, and none before anybody asked."""
    state, started = world.state, world.ledger.events["ImportStarted"]
    linked = [sys_id for _, sys_id in state.link_of_record if sys_id in world.ledger.old]
    assert started or not linked, f"{linked} came in, and nobody asked"
    if hands.imported:
        assert set(linked) == world.ledger.old, f"left out of an import: {world.ledger.old - set(linked)}"
        world.met["old record imported"] += len(linked)
    world.met["old record left alone"] += len(world.ledger.old) - len(linked)
