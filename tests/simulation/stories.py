"""Stories that worlds live through: a plan carried out, and then the end, at which every promise must hold."""

import math
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Final

import trio
from msgspec import Struct

from syncd.simulator.faults import Armed
from syncd.simulator.rules import AbortRule
from syncd.simulator.wire import Refusal
from tests.simulation import hour, manners
from tests.simulation.ledger import shown
from tests.simulation.oracle import Oracle
from tests.simulation.plan import HOUR_S, SEVERITIES, Deed, Plan, Spell, draw
from tests.simulation.runner import Run, simulate
from tests.simulation.way import WAY_FAULTS
from tests.simulation.world import CLOSE, World

AGENTS: Final = ("beth.anglin", "fred.luddy")
PAIR_OF: Final = {"SEV-1": ("1", "1"), "SEV-2": ("2", "1"), "SEV-3": ("2", "2"), "SEV-4": ("3", "3")}
STATES_OF: Final = {"open": "12", "mitigated": "3", "resolved": "6"}
COLUMN_OF: Final = {"title": "short_description", "description": "description"}
ABORT_RULE: Final = "abort_rule"  # a trouble of ours: a business rule of the customer's that refuses some titles
FORBIDDEN: Final = AbortRule("No forbidden words", "short_descriptionLIKEforbidden")
LATEST_S: Final = 90.0  # after the last trouble something may still arrive, or become visible, for so long
REST_S_MAX: Final = 900.0  # until all is at rest after that: a slow probe, and the looks for an unclear create
LOOK_S: Final = 5.0
ON_THE_WAY_S_MAX: Final = 0.06  # from an edit to the write that carries it, where nothing is wrong


class Acknowledged(Struct, frozen=True):
    """An edit, or a new incident, that the platform answered with 2xx."""

    incident_id: str
    field: str
    value: str


class Teller:
    """Carries out one plan in one world."""

    def __init__(self, world: World, plan: Plan) -> None:
        self._world, self._plan = world, plan
        self._rng = Random(f"teller {plan.seed}")
        self._armed: list[Armed] = []
        self._acknowledged: list[Acknowledged] = []

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
                await self._do(deed)
            await trio.sleep_until(max(plan.lasts_s, trio.current_time()))
            nursery.cancel_scope.cancel()
        world.instance.disarm()
        world.way.disarm()
        world.sheathe()
        world.met += Counter({f"{name} in time": times for name, times in world.ledger.events.items()})
        for armed in self._armed:
            world.met[armed.name] += armed.strikes
        await world.alive()
        for one in self._acknowledged:
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
            else:
                self._world.arm_knife(cut)

    # Deeds

    async def _do(self, deed: Deed) -> None:
        match deed.what:
            case "declare":
                await self._declare(deed)
            case "create":
                self._world.instance.create_as(
                    AGENTS[0], {"short_description": deed.value, "impact": "2", "urgency": "2"}
                )
            case "external":
                rows = self._world.instance.incidents()
                if rows:
                    self._edit_record(rows[deed.which % len(rows)]["sys_id"], deed.field, deed.value)
            case _:
                await self._edit(deed)

    async def _declare(self, deed: Deed) -> None:
        await self._world.alive()
        body: dict[str, object] = {"title": deed.value, "severity": deed.second}
        answer = await self._world.ask("POST", "/api/v1/incidents", body)
        if answer is not None and answer.status_code == 201:
            self._acknowledged.append(Acknowledged(answer.json()["id"], "title", deed.value))

    async def _edit(self, deed: Deed) -> None:
        """Edit an incident, and before that, where both sides do, its record."""
        world = self._world
        await world.alive()
        incidents = list(world.state.incidents)
        if not incidents:
            return
        incident_id = incidents[deed.which % len(incidents)]
        value, body = deed.value, dict[str, object]()
        sys_id = world.ledger.record_of(incident_id)
        if deed.what in ("both", "crossing"):
            value = deed.second
        if deed.what == "both" and sys_id:
            self._edit_record(sys_id, deed.field, deed.value)
        if deed.what == "resolve":
            value = "resolved"
            body = {"resolution_code": deed.value, "resolution_notes": f"with {deed.value}"}
        is_edit = world.state.incidents[incident_id].value(deed.field) != value
        answer = await world.ask("PATCH", f"/api/v1/incidents/{incident_id}", {**body, deed.field: value})
        if is_edit and answer is not None and answer.status_code == 200:
            self._acknowledged.append(Acknowledged(incident_id, deed.field, value))
        if deed.what == "crossing" and sys_id:
            await trio.sleep(self._rng.uniform(0, ON_THE_WAY_S_MAX))
            self._edit_record(sys_id, deed.field, deed.value)

    def _edit_record(self, sys_id: str, field: str, value: str) -> None:
        fields: dict[str, object] = {COLUMN_OF.get(field, ""): value}
        if field == "severity":
            fields = dict(zip(("impact", "urgency"), PAIR_OF[value], strict=True))
        elif field == "status":
            row = self._world.instance.record(sys_id)
            if shown(row, "status") == value:
                return
            fields = {"state": self._rng.choice(STATES_OF[value]), **(CLOSE if value == "resolved" else {})}
        try:
            self._world.instance.edit_as(self._rng.choice(AGENTS), sys_id, fields)
        except Refusal:
            self._world.met["agent refused"] += 1


async def settle(world: World, plan: Plan) -> None:
    """At rest, after a reconcile and every verdict that waits for a person: all that was promised."""
    await trio.sleep(LATEST_S)
    await world.alive()
    await _rest(world)
    await world.reconcile()
    await _rest(world)
    await _decide(world, plan)
    rows = {row["sys_id"]: row for row in world.instance.incidents()}
    world.met += Oracle(world.ledger, world.way, world.state, rows).check()
    _check_letters(world, plan)
    settings = world.settings
    manners.check(world.way.exchanges, settings.rate_limit, settings.max_concurrency)
    before = world.writes()
    await world.replay_webhooks(1)
    await world.reconcile()
    await trio.sleep(20)
    assert world.writes() == before, "a replayed webhook or an idle reconcile wrote something"
    _count(world)


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


async def _decide(world: World, plan: Plan) -> None:
    """Persons look at what waits for them: conflicts under review, and dead letters whose cause is gone."""
    rng = Random(f"verdicts {plan.seed}")
    for conflict in [one for one in world.state.conflicts.values() if one.status == "pending"]:
        answer = await world.ask("POST", f"/api/v1/conflicts/{conflict.id}/resolve", _verdict(rng, conflict.field))
        assert answer is not None
        assert answer.status_code == 200, answer.text
        world.met["conflict resolved by a person"] += 1
    if world.state.dead_letters:
        answer = await world.ask("POST", f"/api/v1/integrations/{world.integration_id}/dlq/retry", b"")
        assert answer is not None
        assert answer.status_code == 200, answer.text
        world.met["dead letter retried"] += 1
    await trio.sleep(LOOK_S)
    await _rest(world)


def _verdict(rng: Random, field: str) -> dict[str, object]:
    typed = {"severity": rng.choice(SEVERITIES), "status": "mitigated"}.get(field, f"typed {rng.randrange(1000)}")
    return dict([rng.choice((("use", "platform"), ("use", "external"), ("value", typed)))])


def _check_letters(world: World, plan: Plan) -> None:
    """Outages make no dead letters; what a business rule refused does, and it can be delivered later."""
    is_forbidden = any(spell.fault == ABORT_RULE for spell in plan.spells)
    for letter in world.ledger.letters:
        assert is_forbidden, f"a dead letter: {letter}"
        assert letter.error.kind == "refused", letter
        assert FORBIDDEN.name in letter.error.detail, letter
    assert not world.state.dead_letters
    world.met[ABORT_RULE] += len(world.ledger.letters)


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
        met["rate_limit"] += one.retry_after_s is not None
    met["our write"] += len(world.ledger.writes)
    met += world.ledger.events


THEN: Final[Mapping[str, Callable[[World, Plan], None]]] = {"outage": hour.check}


def world_of(plan: Plan, met: Counter[str] | None = None) -> Callable[[Random], Callable[[], Awaitable[None]]]:
    """A plan as ``simulate`` takes it. ``met``: gets what was met."""

    async def story(world: World) -> None:
        await Teller(world, plan).tell()
        await settle(world, plan)
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
