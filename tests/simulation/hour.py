"""What an hour's outage must look like on the way: often looked at, by one request at a time, and soon over."""

from typing import Final

from tests.simulation import manners
from tests.simulation.ledger import Held
from tests.simulation.plan import Plan
from tests.simulation.world import World

NOTICED_S: Final = 150.0  # a request may be under way for 70 s, and three outages make it sure
RESUMED_S_MAX: Final = 20.0
DRAINED_S_MAX: Final = 60.0  # twenty incidents, within ten requests a second, after the longest pause of an entry
CONNECTING_S: Final = 10.0
SETTLING_S_MAX: Final = 150.0  # for a create whose outcome was not clear
RECONCILED_S: Final = 85.0  # what is written later was found by a reconcile run, since its webhook was lost
EDITS_MIN: Final = 200


def check(world: World, plan: Plan) -> None:
    """The promises of the contract about an instance that is down."""
    down_s, up_s = plan.spells[0].from_s, plan.lasts_s
    exchanges = world.way.exchanges
    for number in sorted({one.life.number for one in exchanges}):
        mine = [one for one in exchanges if one.life.number == number]
        until = min(mine[-1].left_at, up_s)
        since = max(down_s, mine[0].left_at) + NOTICED_S
        if until - since > manners.PROBE_S_MAX:
            manners.check_probes(mine, since, until)
            world.met["down, and looked at"] += 1
    good = min(one.answered_at for one in exchanges if one.is_good and one.answered_at and one.left_at >= up_s)
    assert good <= up_s + manners.PROBE_S_MAX + CONNECTING_S, f"first looked at {good - up_s:.1f} s after it came back"
    writes = [one.at for one in world.ledger.writes if one.at > up_s]
    assert min(writes) <= good + RESUMED_S_MAX, f"delivery resumed {min(writes) - good:.1f} s after the first answer"
    created = {write.sys_id for write in world.ledger.writes if write.at > down_s and "title" in write.fields}
    late = [one for one in world.ledger.writes if up_s + DRAINED_S_MAX < one.at < up_s + RECONCILED_S]
    late = [one for one in late if one.at > good + DRAINED_S_MAX and one.sys_id not in created]
    assert not late, f"the last update came {late[-1].at - good:.1f} s after the first good answer"
    assert max(writes) <= good + SETTLING_S_MAX
    edits = sum(held.by_person and down_s <= held.at <= up_s for values in _values(world) for held in values)
    assert edits >= EDITS_MIN, f"{edits} edits are not what was planned"
    world.met["edit during the outage"] += edits


def _values(world: World) -> list[list[Held]]:
    return [*world.ledger.platform.values(), *world.ledger.external.values()]
