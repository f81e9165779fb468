"""Two integrations of one organization, on two instances or on one: every incident has one record in each, and no more.

A change in one reaches the other through the platform, and nothing goes round in circles. Values of texts are told
apart by their words, so for them it is also held that no edit was lost.
"""

from random import Random
from typing import Final

import trio

from syncd.core.model import Link
from syncd.simulator.instance import Instance, InstanceOptions
from syncd.simulator.outbound import WebhookTarget
from tests.simulation import manners, replay
from tests.simulation.ledger import Held, as_kept, was_held
from tests.simulation.places import COLUMN
from tests.simulation.plan import TEXTS, Plan
from tests.simulation.seams import EPOCH_S
from tests.simulation.world import ACCOUNT, CLOSE, INSTANCE_HOST, URL, World

BESIDE_HOST: Final = "127.0.0.1:9998"
OWN: Final = "own"
CREATED: Final = 201
AT_ONCE_S: Final = 0.1
FRESH_S_MAX: Final = 2.5  # a write may rest on a read so old, and so falls on what was edited meanwhile


async def begin(world: World, plan: Plan) -> None:
    """Configure the second integration."""
    host, instance = INSTANCE_HOST, world.instance
    if plan.beside == OWN:
        host, instance = BESIDE_HOST, _another(world, plan)
    await world.alive()
    body: dict[str, object] = {
        "organization_id": "default",
        "integration_type": "servicenow",
        "name": "Beside",
        "base_url": f"http://{host}",
        "credentials": {"username": ACCOUNT, "password": "sync-secret"},
        "external_defaults": CLOSE,
        **plan.settings,
    }
    answer = await world.ask("POST", "/api/v1/integrations", body)
    assert answer is not None
    assert answer.status_code == CREATED, answer.text
    made = answer.json()
    world.beside = made["id"]
    instance.outbound.targets.append(
        WebhookTarget(f"{URL}/api/v1/webhooks/{made['id']}", made["webhook_secret"]),
    )


def _another(world: World, plan: Plan) -> Instance:
    rng = Random(f"beside {plan.seed}")
    options = InstanceOptions(name="dev67890", incidents=0, clock_offset_s=rng.uniform(-120, 120))
    instance = Instance(options, lambda: EPOCH_S + trio.current_time(), rng)
    for name, value in plan.switches.items():
        instance.set_switch(name, value)
    world.add_instance(BESIDE_HOST, instance)
    return instance


def check(world: World) -> None:
    """The promises, for each incident and each of its records."""
    state, rows = world.state, world.rows()
    made_there = [row for row in rows.values() if not row["correlation_id"]]
    declared = world.ledger.events["IncidentDeclared"] - len(made_there)
    firsts = [values[0] for (_, field), values in world.ledger.platform.items() if field == "title"]
    assert sum(one.by_person for one in firsts) == declared, f"{len(firsts)} incidents, of which {declared} are ours"
    carried = [row["correlation_id"] for row in rows.values() if row["correlation_id"]]
    assert len(carried) == len(set(carried)), f"doubled: {sorted(carried)}"
    linked = [link.external_id for link in state.links.values()]
    assert sorted(linked) == sorted(rows), f"{set(rows) ^ set(linked)}: a record without a link, or a link without one"
    for incident_id in state.incidents:
        for name in (world.integration_id, world.beside):
            link = state.links.get(f"{name}/{incident_id}")
            assert link is not None, f"{incident_id} has no record under {name}"
            _check_equal(world, link)
    for incident_id in state.incidents:
        _check_no_loss(world, incident_id)
        _check_writes_are_few(world, incident_id)
    manners.check_one_at_a_time(world.way.exchanges)
    world.met["incident with two records"] += len(state.incidents)


async def check_quiet(world: World) -> None:
    """Nothing goes round in circles: what was said is said, and what both know needs no write."""
    before = world.writes()
    await world.replay_webhooks(1)
    for name in (world.integration_id, world.beside):
        await world.reconcile(name=name)
    await trio.sleep(20)
    assert world.writes() == before, "a replayed webhook or an idle reconcile wrote something"
    await replay.check(world)


def _check_equal(world: World, link: Link) -> None:
    incident, row = world.state.incidents[link.incident_id], world.rows()[link.external_id]
    for field in COLUMN:
        ours, theirs = world.ledger.meant(field, incident.value(field)), world.ledger.places.shown(row, field)
        assert as_kept(field, ours) == theirs, f"{link.id} {field}: {ours!r}, {theirs!r} there, {link.base[field]}"


def _records(world: World, incident_id: str) -> list[str]:
    names = (f"{name}/{incident_id}" for name in (world.integration_id, world.beside))
    return [world.state.links[name].external_id for name in names]


def _check_no_loss(world: World, incident_id: str) -> None:
    ledger, incident = world.ledger, world.state.incidents[incident_id]
    for field in TEXTS:
        platform = ledger.platform.get((incident_id, field), [])
        records = {sys_id: ledger.external.get((sys_id, field), []) for sys_id in _records(world, incident_id)}
        edit = _last_edit(platform)
        if edit is not None and incident.value(field) != edit.value:
            met = [was_held(one, as_kept(field, edit.value), edit.at - AT_ONCE_S) for one in records.values()]
            assert any(met) or _is_kept(world, incident_id, field, edit), f"lost: {field} of {incident_id}, {edit}"
        for sys_id, values in records.items():
            edit = _last_edit(values)
            if edit is None or values[-1].value == edit.value or was_held(platform, edit.value, edit.at - AT_ONCE_S):
                continue
            unseen = (one for one in ledger.writes if one.sys_id == sys_id and field in one.fields and one.at > edit.at)
            fell_on_it = any(one.left_at <= edit.at + FRESH_S_MAX for one in unseen)
            assert fell_on_it or _is_kept(world, incident_id, field, edit), f"lost: {field} of {sys_id}, {edit}"


def _is_kept(world: World, incident_id: str, field: str, edit: Held) -> bool:
    mine = [one for one in world.state.conflicts.values() if (one.incident_id, one.field) == (incident_id, field)]
    return any(edit.value in (one.platform, one.external) for one in mine)


def _check_writes_are_few(world: World, incident_id: str) -> None:
    ledger, records = world.ledger, _records(world, incident_id)
    edits = [values for (name, _), values in ledger.platform.items() if name == incident_id]
    edits += [values for (name, _), values in ledger.external.items() if name in records]
    allowed = 1 + sum(held.by_person for values in edits for held in values)
    for sys_id in records:
        count = sum(bool(one.fields) for one in ledger.writes if one.sys_id == sys_id)
        assert count <= allowed, f"{sys_id} was written {count} times, for {allowed - 1} edits"


def _last_edit(values: list[Held]) -> Held | None:
    return next((held for held in reversed(values) if held.by_person), None)
