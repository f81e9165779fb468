"""Stories that worlds live through: a plan carried out, and then the end, at which every promise must hold."""

import math
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Final

import trio

from syncd.simulator.faults import Armed
from syncd.simulator.rules import AbortRule
from tests.simulation import hour, manners, notes, pair, replay, runs
from tests.simulation.hands import Hands, verdict
from tests.simulation.kinds import draw
from tests.simulation.oracle import Oracle
from tests.simulation.plan import HOUR_S, Plan, Spell
from tests.simulation.runner import Run, simulate
from tests.simulation.way import WAY_FAULTS
from tests.simulation.world import ACCOUNT, World

ABORT_RULE: Final = "abort_rule"  # a trouble of ours: a business rule of the customer's that refuses some titles
HIDDEN_FIELD: Final = "hidden_field"  # and another: our account may not read this column
DISK_FULL: Final = "disk_full"  # and another: the daemon's disk has so many bytes left
FORBIDDEN: Final = AbortRule("No forbidden words", "short_descriptionLIKEforbidden")
LATEST_S: Final = 90.0  # after the last trouble something may still arrive, or become visible, for so long
REST_S_MAX: Final = 900.0  # until all is at rest after that: a slow probe, and the looks for an unclear create
LOOK_S: Final = 5.0
QUIET_S: Final = 60.0
ROUNDS: Final = 3  # what a verdict brings to one instance reaches the other, and may meet an edit there


class Teller:
    """Carries out one plan in one world."""

    def __init__(self, world: World, plan: Plan, hands: Hands) -> None:
        self._world, self._plan = world, plan
        self._rng = Random(f"teller {plan.seed}")
        self._hands = hands
        self._armed: list[Armed] = []

    async def tell(self) -> None:
        """Everything that is planned, at its time; then nothing is wrong any more."""
        world, plan = self._world, self._plan
        for name, value in plan.switches.items():
            world.instance.set_switch(name, value)
        async with trio.open_nursery() as nursery:
            for spell in plan.spells:
                nursery.start_soon(self._cast, spell)
            nursery.start_soon(self._cut_all)
            for deed in plan.deeds:
                await trio.sleep_until(max(deed.at_s, trio.current_time()))
                await self._hands.do(deed)
            await trio.sleep_until(max(plan.lasts_s, trio.current_time()))
            nursery.cancel_scope.cancel()
        self._hands.masses.show_all()
        world.instance.disarm()
        world.way.disarm()
        world.sheathe()
        world.met += Counter({f"{name} in time": times for name, times in world.ledger.events.items()})
        for armed in self._armed:
            world.met[armed.name] += armed.strikes
        await world.alive()
        for one in self._hands.acknowledged:
            kept = [held.value for held in world.ledger.platform[one.incident_id, one.field] if held.by_person]
            assert one.value in kept, f"acknowledged, and gone: {one}"

    async def _cast(self, spell: Spell) -> None:
        world = self._world
        await trio.sleep_until(spell.from_s)
        name = spell.fault.partition("=")[0].partition("@")[0]
        if name == ABORT_RULE:
            aborts = world.instance.rulebook.aborts
            aborts.append(FORBIDDEN)
            try:
                await trio.sleep_until(spell.to_s)
            finally:
                aborts.remove(FORBIDDEN)
            return
        if name == HIDDEN_FIELD:
            denied, column = world.instance.account(ACCOUNT).read_denied, ("incident", spell.fault.partition("=")[2])
            world.met[HIDDEN_FIELD] += 1
            denied.add(column)
            try:
                await trio.sleep_until(spell.to_s)
            finally:
                denied.discard(column)
            return
        if name == DISK_FULL:
            world.met[DISK_FULL] += 1
            world.fill_disk(int(spell.fault.partition("=")[2]))
            try:
                await trio.sleep_until(spell.to_s)
            finally:
                world.fill_disk(None)
            return
        place = world.way if name in WAY_FAULTS else world.instance.kernel.faults
        if place is world.way:
            armed = world.way.set_fault(spell.fault)
        else:
            world.instance.set_fault(spell.fault)
            armed = next(one for one in world.instance.kernel.faults.armed() if one.name == name)
        self._armed.append(armed)
        await trio.sleep_until(spell.to_s)
        if place.standing(name) is armed:
            place.disarm(name)

    async def _cut_all(self) -> None:
        for cut in self._plan.cuts:
            await trio.sleep_until(max(cut.at_s, trio.current_time()))
            await self._world.alive()
            if cut.phase == "time":
                self._world.met["cut time"] += 1
                self._world.cut_power(is_gentle=self._rng.random() < 0.5)
            elif cut.phase == "opening":
                self._world.cut_power_again(cut.nth)
            else:
                self._world.arm_knife(cut)


async def settle(world: World, plan: Plan, hands: Hands) -> None:
    """At rest, after a reconcile and every verdict that waits for a person: all that was promised."""
    await trio.sleep(LATEST_S)
    await world.alive()
    if plan.beside:
        await _settle_pair(world, plan)
        return
    await _turn_on(world, hands)
    await _rest(world)
    await _reconcile(world)
    await _rest(world)
    await _decide(world, plan, hands)
    rows = {row["sys_id"]: row for row in world.instance.incidents()}
    world.met += Oracle(world.ledger, world.way, world.state, rows).check()
    _check_letters(world, plan)
    notes.check(world, hands.noted)
    settings = world.settings
    manners.check(world.way.exchanges, settings.rate_limit, settings.max_concurrency, world.ledger.refused_at)
    if plan.kind == "runs":
        await runs.check(world, hands)
    before = world.writes()
    await world.replay_webhooks(1)
    await world.reconcile()
    await trio.sleep(20)
    assert world.writes() == before, "a replayed webhook or an idle reconcile wrote something"
    await replay.check(world)
    _count(world)


async def _settle_pair(world: World, plan: Plan) -> None:
    """The same for two integrations."""
    rng = Random(f"verdicts {plan.seed}")
    for _ in range(ROUNDS):
        await _rest(world)
        for name in (world.integration_id, world.beside):
            await world.reconcile(name=name)
        await _rest(world)
        await _settle_conflicts(world, rng)
        await trio.sleep(LOOK_S)
    await _rest(world)
    pair.check(world)
    await pair.check_quiet(world)
    _count(world)


async def _turn_on(world: World, hands: Hands) -> None:
    """Where the sync is off at the end, nothing is written; then it is on again, and the ordinary promises hold."""
    settings = world.settings
    direction = settings.sync_direction if settings.enabled else "disabled"
    world.met[f"ended {direction}"] += 1
    if not settings.runs:
        before = world.writes()
        await trio.sleep(QUIET_S)
        assert world.writes() == before, f"{direction}, and something was written"
        assert await hands.direct("bidirectional")


async def _reconcile(world: World) -> None:
    """A run that heals, and where it would do too much at once, a person who says that it may."""
    is_to_be_braked, before = world.silence.is_to_be_braked, world.writes()
    run = await world.reconcile()
    if run.stopped_by == "brake":
        assert world.writes() == before, f"{run.id} was stopped, and something was written"
        await _rest(world)
        run = await world.reconcile(forced=True)
    else:
        assert not is_to_be_braked, f"{run.id} went on: {run.status} {run.reason}"
    assert run.status == "finished", f"{run.id}: {run.status} {run.reason}"
    waiting = {(world.state.links[name].external_id, field) for name, field in world.state.waiting}  # for a person
    left = [one for place, one in world.silence.held.items() if place not in waiting]
    assert not left, f"nobody took over {left}"


async def _rest(world: World) -> None:
    """Wait until nothing is under way; it must come to that within a bounded time."""
    exchanges = world.way.exchanges
    told = [(one.answered_at or 0.0) + one.retry_after_s for one in exchanges if one.retry_after_s is not None]
    if world.way.is_ruled:  # and the daemon still believes that the rule holds, until the hour is over
        told.append(HOUR_S)
    until = max([trio.current_time(), *told]) + REST_S_MAX
    while not world.is_at_rest:
        assert trio.current_time() < until, f"not at rest: {world.unrest()}"
        await trio.sleep(LOOK_S)


async def _decide(world: World, plan: Plan, hands: Hands) -> None:
    """Persons look at what waits for them: conflicts under review, and dead letters whose cause is gone."""
    rng = Random(f"verdicts {plan.seed}")
    await _settle_conflicts(world, rng)
    if world.state.dead_letters and world.settings.writes:
        if rng.random() < 0.5:
            await hands.edit_what_was_refused()
        answer = await world.ask("POST", f"/api/v1/integrations/{world.integration_id}/dlq/retry", b"")
        assert answer is not None
        assert answer.status_code == 200, answer.text
        world.met["dead letter retried"] += 1
    await trio.sleep(LOOK_S)
    await _rest(world)
    await _settle_conflicts(world, rng)  # what was edited once more before it was sent again
    await trio.sleep(LOOK_S)
    await _rest(world)


async def _settle_conflicts(world: World, rng: Random) -> None:
    for conflict in [one for one in world.state.conflicts.values() if one.status == "pending"]:
        answer = await world.ask("POST", f"/api/v1/conflicts/{conflict.id}/resolve", verdict(rng, conflict.field))
        assert answer is not None
        assert answer.status_code == 200, answer.text
        world.met["conflict resolved by a person"] += 1


def _check_letters(world: World, plan: Plan) -> None:
    """Outages make no dead letters; what a business rule refused does, and it can be delivered later."""
    is_forbidden = any(spell.fault == ABORT_RULE for spell in plan.spells)
    for letter in world.ledger.letters:
        if letter.error.kind == "unresolved-person" and plan.kind == "people":
            held = world.ledger.platform[letter.incident_id, "assigned_to"]
            assert not all(world.people.names(one.value) or not one.value for one in held), letter
            continue
        assert is_forbidden, f"a dead letter: {letter}"
        assert letter.error.kind == "refused", letter
        assert FORBIDDEN.name in letter.error.detail, letter
    for letter in world.state.dead_letters.values():
        assigned = world.state.incidents[letter.incident_id].assigned_to or ""
        assert letter.fields == ("assigned_to",), letter
        assert not world.people.names(assigned), f"{letter}, and {assigned} can be found"
    kinds = Counter(letter.error.kind for letter in world.ledger.letters)
    world.met[ABORT_RULE] += kinds["refused"]
    world.met["unresolved person"] += kinds["unresolved-person"]


def _count(world: World) -> None:
    """What else was met, for ``test_worlds.py`` to see that it was met at all."""
    state, met = world.state, world.met
    met["conflict recorded"] += len(state.conflicts)
    met["torn tail recovered"] += world.torn
    met["life ended suddenly"] += world.crashes
    for one in world.way.exchanges:
        if one.writes and one.handled_at is not None and one.answered_at is None and one.life.died_at < math.inf:
            met["answer missed by death"] += 1
        met["create looked up"] += "correlation_id%3D" in one.target
        met["rate limit hit"] += one.retry_after_s is not None
    met["crash during compaction"] += met["cut snapshot"]
    met["our write"] += len(world.ledger.writes)
    met["answer lost after effect"] += sum(met[name] for name in met if name == "answer_lost" or "_commits_" in name)
    met["rate_limit"] += met["rate limit hit"]
    met += world.ledger.events
    met += world.silence.met


def _check_slow(world: World, _: Plan) -> None:
    """A slow answer is an answer."""
    assert world.met["SendFailed"] == 0


THEN: Final[Mapping[str, Callable[[World, Plan], None]]] = {"outage": hour.check, "slow": _check_slow}


def world_of(plan: Plan, met: Counter[str] | None = None) -> Callable[[Random], Callable[[], Awaitable[None]]]:
    """A plan as ``simulate`` takes it. ``met``: gets what was met."""

    async def story(world: World) -> None:
        hands = Hands(world, Random(f"hands {plan.seed}"))
        if plan.beside:
            await pair.begin(world, plan)
        await Teller(world, plan, hands).tell()
        await settle(world, plan, hands)
        if (then := THEN.get(plan.kind)) is not None:
            then(world, plan)
        if met is not None:
            met.update(world.met)

    return lambda rng: lambda: World(rng, plan.settings).run(story)


def run(plan: Plan, met: Counter[str] | None = None) -> Run:
    """Live through a plan. An error carries the line that shows it again, and the plan."""
    try:
        return simulate(world_of(plan, met), plan.seed)
    except BaseException as error:
        error.add_note(f'to see it again: make soak ARGS="--only {plan.kind}:{plan.seed}"\n{plan.line}')
        raise


if __name__ == "__main__":  # for test_determinism.py: digests of some seeds, from a process of its own
    for seed in map(int, sys.argv[1:]):
        done = run(draw("days", seed))
        sys.stdout.write(f"{seed} {done.digest} {done.steps}\n")
