"""Integrations start, stop, pause and fail, each by itself and visibly."""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest
import trio

from syncd.actors import dead_letters, intake, integration, reconciler, sender
from syncd.actors.integration import RunningIntegration
from syncd.actors.roster import END_S_MAX
from syncd.errors import WrongState
from tests.actors.stage import (
    AGENT,
    INTEGRATIONS,
    ask,
    asked,
    configure,
    create_record,
    declare,
    declared,
    edit,
    edit_record,
    in_seconds,
    in_world,
    incident,
    incident_of,
    lines,
    link,
    record,
    restart,
    second_instance,
    sync_status,
)
from tests.simulation.runner import simulate
from tests.simulation.world import INSTANCE_HOST, URL, WEBHOOK_SECRET, World

LOGIN = {"username": "svc.sync", "password": "a new one"}


class Bug:
    """Raises in the simulator's place, so often, which is no failure that the actors expect."""

    def __init__(self, times: int) -> None:
        self.times = times

    def __call__(self, _: object) -> None:
        if self.times > 0:
            self.times -= 1
            raise RuntimeError("a bug")


@in_world()
async def test_disabled_and_enabled_again_nothing_is_lost(world: World) -> None:
    both, theirs = await declared(world, "both"), await declared(world, "theirs")
    await configure(world, enabled=False)
    await trio.sleep(1)
    requests = sum(world.instance.counts.values())
    await edit(world, both, title="edited here while it was off")
    edit_record(world, theirs, short_description="edited there while it was off")
    new = await declare(world, "declared while it was off")
    sys_id = create_record(world, "made while it was off")
    await trio.sleep(400)
    assert sum(world.instance.counts.values()) == requests
    status = await sync_status(world)
    assert status["state"] == "paused"
    assert "--enabled" in str(status["reasons"])
    with pytest.raises(WrongState):
        await world.reconcile()
    await configure(world, enabled=True)
    await trio.sleep(15)
    assert record(world, both)["short_description"] == "edited here while it was off"
    assert incident(world, theirs).title == "edited there while it was off"
    assert link(world, new).state == "active"
    assert incident_of(world, sys_id)
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_direction_none_decides_nothing_and_bidirectional_makes_up_for_it(world: World) -> None:
    incident_id = await declared(world)
    await configure(world, sync_direction="none")
    await edit(world, incident_id, title="here")
    edit_record(world, incident_id, description="there")
    await trio.sleep(60)
    assert incident(world, incident_id).description == ""
    await configure(world, sync_direction="bidirectional")
    await trio.sleep(15)
    assert record(world, incident_id)["short_description"] == "here"
    assert incident(world, incident_id).description == "there"


@in_world()
async def test_wrong_credentials_pause_and_new_ones_resume(world: World) -> None:
    incident_id = await declared(world)
    account = world.instance.account("svc.sync")
    account.password = LOGIN["password"]
    began = trio.current_time()
    await edit(world, incident_id, title="waits")
    await trio.sleep(10)
    status = await sync_status(world)
    assert status["state"] == "paused"
    assert "credentials" in str(status["reasons"])
    await trio.sleep(400)
    asked = lines(world.instance, "GET", "POST", "PATCH", since_s=began)
    assert len(asked) <= 2 + 1
    await configure(world, credentials=LOGIN)
    await trio.sleep(10)
    assert record(world, incident_id)["short_description"] == "waits"
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_credentials_that_are_right_again_are_found_by_the_slow_probe(world: World) -> None:
    incident_id = await declared(world)
    account = world.instance.account("svc.sync")
    account.password = "changed by mistake"
    await edit(world, incident_id, title="waits")
    await trio.sleep(30)
    account.password = "sync-secret"
    await trio.sleep(330)
    assert record(world, incident_id)["short_description"] == "waits"


@in_world(credentials={"username": "svc.sync", "password": "wrong from the start"})
async def test_credentials_that_were_never_right_are_shown_to_the_instance_a_few_times_only(world: World) -> None:
    """Without a link or an incident, too: an account that is tried every second is soon locked."""
    await trio.sleep(400)
    assert len(lines(world.instance, "GET", "POST", "PATCH")) <= 2 + 1
    status = await sync_status(world)
    assert status["state"] == "paused"
    for number in range(30):
        await declare(world, f"incident {number}")
    await trio.sleep(400)
    assert len(lines(world.instance, "GET", "POST", "PATCH")) <= 2 + 1 + 2


@in_world()
async def test_new_settings_start_the_integration_anew_at_once(world: World) -> None:
    world.instance.arm("slow", 60)
    incident_id = await declare(world)
    await trio.sleep(5)
    world.instance.disarm()
    await configure(world, rate_limit=3)
    await trio.sleep(200)
    assert link(world, incident_id).state == "active"
    assert len(world.instance.incidents()) == 1


@in_world()
async def test_an_actor_that_crashes_is_started_again_and_loses_nothing(world: World) -> None:
    incident_id = await declared(world)
    world.instance.on_request.append(Bug(2))
    edit_record(world, incident_id, description="by an agent")
    await edit(world, incident_id, title="by an engineer")
    await trio.sleep(60)
    assert incident(world, incident_id).description == "by an agent"
    assert record(world, incident_id)["short_description"] == "by an engineer"
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_an_actor_that_crashes_five_times_halts_its_integration_alone(world: World) -> None:
    other, other_id = await second_instance(world)
    incident_id = await declared(world)
    world.instance.on_request.append(Bug(10_000))
    await edit(world, incident_id, title="waits")
    await trio.sleep(120)
    status = await sync_status(world)
    assert status["state"] == "paused"
    assert "sender failed 5 times" in str(status["reasons"])
    requests = sum(world.instance.counts.values())
    await declare(world, "elsewhere", organization_id="other")
    await trio.sleep(120)
    assert sum(world.instance.counts.values()) == requests
    assert len(other.incidents()) == 1
    assert (await sync_status(world, other_id))["state"] == "healthy"
    world.instance.on_request.clear()
    with pytest.raises(WrongState):
        await world.reconcile()
    await configure(world, rate_limit=9)  # a person has looked
    await trio.sleep(10)
    assert record(world, incident_id)["short_description"] == "waits"
    assert (await sync_status(world))["state"] == "healthy"


class FailingActor:
    """A bug in one actor of one integration: raises ``times`` times where the actor looks for its work."""

    PLACES: ClassVar[dict[str, tuple[object, str, Callable[[Sequence[Any]], object]]]] = {
        "intake": (intake, "due_hints", lambda given: given[1]),
        "router": (integration, "run_router", lambda given: given[0]),
        "sender": (sender, "due_links", lambda given: given[1]),
        "reconciler": (reconciler, "next_run_at_s", lambda given: given[1]),
        "dead letters": (dead_letters, "next_retry_at_s", lambda given: given[1]),
        "prober": (integration, "run_prober", lambda given: given[0]._name),
    }

    def __init__(self, actor: str, integration_id: str, times: float, patch: pytest.MonkeyPatch) -> None:
        self.times = times
        place, name, whose = self.PLACES[actor]
        sound = getattr(place, name)

        def failing(*given: object, **named: object) -> object:
            if whose(given) in {integration_id, "integration:demo"} and self.times > 0:
                self.times -= 1
                raise LookupError("a bug")
            return sound(*given, **named)

        patch.setattr(place, name, failing)


ACTORS = tuple(FailingActor.PLACES)


@pytest.mark.parametrize("actor", ACTORS)
def test_any_actor_that_crashes_is_started_again_and_loses_nothing(actor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(world: World) -> None:
        incident_id = await declared(world)
        bug = FailingActor(actor, world.integration_id, 3, monkeypatch)
        await restart(world)  # the router and the reconciler look for work when they start
        edit_record(world, incident_id, description="by an agent")
        await edit(world, incident_id, title="by an engineer")
        sys_id = create_record(world)
        await trio.sleep(60)
        assert bug.times == 0
        assert incident(world, incident_id).description == "by an agent"
        assert record(world, incident_id)["short_description"] == "by an engineer"
        assert incident_of(world, sys_id)
        assert (await sync_status(world))["state"] == "healthy"

    simulate(lambda rng: lambda: World(rng).run(story), 3)


@pytest.mark.parametrize("actor", ACTORS)
def test_any_actor_that_crashes_five_times_halts_its_integration_alone_and_says_the_way_out(
    actor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(world: World) -> None:
        other, other_id = await second_instance(world)
        other.set_webhook(f"{URL}/api/v1/webhooks/{other_id}", WEBHOOK_SECRET)
        ours, theirs = await declared(world), await declare(world, "theirs", organization_id="other")
        bug = FailingActor(actor, world.integration_id, math.inf, monkeypatch)
        await restart(world)
        edit_record(world, ours, description="by an agent")
        await edit(world, ours, title="by an engineer")
        await trio.sleep(90)
        status = await sync_status(world)
        assert status["state"] == "paused"
        (reason,) = status["reasons"] if isinstance(status["reasons"], list) else []
        assert f"demo {actor} failed 5 times, at last with LookupError: a bug" in reason
        assert "im integration configure demo --no-enabled, and then --enabled" in reason
        requests = sum(world.instance.counts.values())
        for number in range(3):
            await edit(world, theirs, title=f"title {number}")
            sys_id = link(world, theirs, other_id).external_id
            other.edit_as(AGENT, sys_id, {"description": f"description {number}"})
            await trio.sleep(5)
            assert other.record(sys_id)["short_description"] == f"title {number}"
            assert incident(world, theirs).description == f"description {number}"
        assert (await sync_status(world, other_id))["state"] == "healthy"
        assert sum(world.instance.counts.values()) == requests
        bug.times = 0
        await configure(world, enabled=False)
        await configure(world, enabled=True)
        await trio.sleep(10)
        assert incident(world, ours).description == "by an agent"
        assert record(world, ours)["short_description"] == "by an engineer"
        assert (await sync_status(world))["state"] == "healthy"

    simulate(lambda rng: lambda: World(rng).run(story), 3)


@pytest.mark.parametrize("deleted", [False, True])
def test_actors_that_do_not_end_hold_up_nobody_else_and_make_way_when_they_have(
    deleted: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run, may_end = RunningIntegration.run, trio.Event()

    async def does_not_end(actors: RunningIntegration) -> None:
        try:
            await run(actors)
        finally:
            if actors._handle == "demo":
                with trio.CancelScope(shield=True):
                    await may_end.wait()

    async def change(world: World) -> None:
        if deleted:
            await ask(world, "DELETE", f"{INTEGRATIONS}/{world.integration_id}", status=204)
        else:
            await configure(world, rate_limit=9)
        await declare(world, "waits")

    async def guarded(world: World) -> None:
        try:
            await story(world)
        finally:
            may_end.set()

    async def story(world: World) -> None:
        monkeypatch.setattr(RunningIntegration, "run", does_not_end)
        await restart(world)
        await trio.sleep(5)
        requests = sum(world.instance.counts.values())
        await change(world)
        other, other_id = await second_instance(world)
        await declare(world, "theirs", organization_id="other")
        await trio.sleep(END_S_MAX)
        assert len(other.incidents()) == 1
        assert (await sync_status(world, other_id))["state"] == "healthy"
        assert sum(world.instance.counts.values()) == requests  # two sets of actors would write twice
        if not deleted:
            status = await sync_status(world)
            assert status["state"] == "paused"
            assert status["reasons"] == [
                "halted: its actors did not end within 10 s, and it starts anew when they have; if it stays so, "
                'restart the daemon; see docs/operations.md, "Paused: halted"'
            ]
            with pytest.raises(WrongState):
                await world.reconcile()
            await configure(world, rate_limit=8)
            await trio.sleep(5)
        may_end.set()
        await trio.sleep(10)
        assert len(world.instance.incidents()) == (0 if deleted else 1)
        assert world.house is not None
        assert world.integration_id not in world.house.roster._running or not deleted
        if not deleted:
            assert (await sync_status(world))["state"] == "healthy"

    simulate(lambda rng: lambda: World(rng).run(guarded), 3)
    assert [one.message for one in caplog.records if one.levelname == "ERROR"] == ["integration halted"]


@pytest.mark.parametrize("wait_s", [0.0, 0.02, 0.05, 0.5])
def test_an_integration_is_deleted_with_work_under_way(wait_s: float, caplog: pytest.LogCaptureFixture) -> None:
    async def story(world: World) -> None:
        _, other_id = await second_instance(world)
        names = [await declare(world, f"incident {number}") for number in range(10)]
        await trio.sleep(10)
        gone = world.integration_id
        for name in names:
            edit_record(world, name, description="by an agent")
            await edit(world, name, title="by an engineer")
        create_record(world)
        await trio.sleep(wait_s)
        await ask(world, "DELETE", f"{INTEGRATIONS}/{gone}", status=204)
        await trio.sleep(1)
        requests = sum(world.instance.counts.values())
        await edit(world, names[0], title="afterwards")
        await trio.sleep(60)
        assert sum(world.instance.counts.values()) == requests
        assert not world.state.links
        for queue in (world.state.hints, world.state.dirty, world.state.outbox, world.state.unlinked):
            assert gone not in queue
        assert len(world.state.incidents) >= 10
        assert (await sync_status(world, other_id))["state"] == "healthy"
        await restart(world)
        assert gone not in world.state.integrations

    with caplog.at_level(logging.ERROR):
        simulate(lambda rng: lambda: World(rng).run(story), 5)
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR], "an actor tripped over it"


@in_world()
async def test_credentials_that_do_not_open_halt_their_integration_alone(world: World) -> None:
    other, other_id = await second_instance(world)
    incident_id = await declared(world)
    world.forget_key()
    await restart(world)
    await configure_other(world, other_id)
    await edit(world, incident_id, title="waits")
    await declare(world, "elsewhere", organization_id="other")
    await trio.sleep(60)
    status = await sync_status(world)
    assert status["state"] == "paused"
    assert "sealed under master key" in str(status["reasons"])
    assert (await sync_status(world, other_id))["state"] == "healthy"
    assert len(other.incidents()) == 1
    await configure(world, credentials={"username": "svc.sync", "password": "sync-secret"})
    await trio.sleep(10)
    assert record(world, incident_id)["short_description"] == "waits"


async def configure_other(world: World, integration_id: str) -> None:
    login = {"credentials": {"username": "svc.sync", "password": "sync-secret"}}
    await ask(world, "PATCH", f"{INTEGRATIONS}/{integration_id}", login)


@in_world()
async def test_without_credentials_nothing_is_asked_and_with_them_what_waited_goes(world: World) -> None:
    made = await asked(
        world,
        "POST",
        INTEGRATIONS,
        {"name": "Bare", "organization_id": "bare", "base_url": f"http://{INSTANCE_HOST}"},
        status=201,
    )
    create_record(world)
    await trio.sleep(310)  # the world's own integration has made its start, and seen a record
    world.instance.reset_counts()
    incident_id = await declare(world, "waits", organization_id="bare")
    await trio.sleep(600)
    assert sum(world.instance.counts.values()) == 0
    status = await sync_status(world, str(made["id"]))
    assert status["reasons"] == ["no credentials; run: im integration configure bare --username … --password-file …"]
    credentials = {"username": "svc.sync", "password": "sync-secret"}
    await asked(world, "PATCH", f"{INTEGRATIONS}/{made['id']}", {"credentials": credentials})
    await trio.sleep(10)
    assert [row["short_description"] for row in world.instance.incidents()] == ["Printer on fire", "waits"]
    assert world.state.links[f"{made['id']}/{incident_id}"].state == "active"


@in_world()
async def test_an_instance_at_an_address_where_nobody_is_shows_as_down_and_is_probed(world: World) -> None:
    await declared(world)
    world.instances.clear()
    await declare(world, "waits")
    await trio.sleep(60)
    status = await sync_status(world)
    assert status["state"] == "down"
    assert "cannot be reached" in str(status["reasons"])


@in_world(seed=2)
async def test_reads_and_writes_never_outnumber_what_was_allowed_at_once(world: World) -> None:
    world.instance.arm("slow", 1)
    for number in range(20):
        await declare(world, f"incident {number}")
        create_record(world)
    await trio.sleep(30)
    asked = [in_seconds(one) for one in lines(world.instance, "GET", "POST", "PATCH")]
    assert len(asked) > 20
    for at in asked:
        assert sum(at - 0.99 < other <= at for other in asked) <= 4
