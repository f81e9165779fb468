"""What an instance has told us holds over every change of settings, and for all who sign in there alike."""

from collections.abc import Sequence

import pytest
import trio

from syncd.simulator.instance import RequestLine
from tests.actors.stage import (
    INTEGRATIONS,
    asked,
    configure,
    declare,
    declared,
    edit,
    in_seconds,
    in_world,
    lines,
    record,
    restart,
    second_instance,
    second_integration,
    sync_status,
)
from tests.simulation import manners
from tests.simulation.world import World

NEW = {"username": "svc.sync", "password": "another password now"}
HOUR_S = 3600.0


def refused(world: World, since_s: float) -> list[RequestLine]:
    return [line for line in lines(world.instance, "GET", "POST", "PATCH", since_s=since_s) if line.status == 401]


def asked_at(world: World, since_s: float = 0.0) -> Sequence[float]:
    return [in_seconds(one) for one in lines(world.instance, "GET", "POST", "PATCH", since_s=since_s)]


async def change_settings(world: World, times: int, every_s: float, integration_id: str = "") -> None:
    """Each starts the integration anew."""
    for number in range(times):
        body = {"conflict_window": f"{number % 7 + 1}s"}
        await asked(world, "PATCH", f"{INTEGRATIONS}/{integration_id or world.integration_id}", body)
        await trio.sleep(every_s)


async def throttled(world: World) -> float:
    """Work that meets a 429; returns when the instance may be asked again."""
    await declared(world)
    world.instance.set_fault("rate_limit=1")
    world.instance.set_switch("rate_flush_s", "0")
    for number in range(6):
        await declare(world, f"incident {number}")
    await trio.sleep(10)
    (last,) = [one for one in world.way.exchanges if one.retry_after_s is not None][-1:]
    assert last.answered_at is not None
    assert last.retry_after_s is not None
    assert last.retry_after_s > 60
    return last.answered_at + last.retry_after_s


@in_world()
async def test_no_change_of_settings_shortens_a_retry_after(world: World) -> None:
    over_at = await throttled(world)
    began = trio.current_time()
    await change_settings(world, 10, 5)
    await configure(world, enabled=False)
    await configure(world, enabled=True)
    await trio.sleep(20)
    assert asked_at(world, began) == []
    world.instance.disarm()
    await trio.sleep_until(over_at + 30)
    assert asked_at(world, over_at - 1)
    assert min(asked_at(world, began)) >= over_at - manners.SLACK_S
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_a_retry_after_holds_for_all_integrations_of_that_account_and_for_no_other_instance(world: World) -> None:
    beside = await second_integration(world, organization_id="beside")
    other, other_id = await second_instance(world)
    await trio.sleep(10)
    over_at = await throttled(world)
    began = trio.current_time()
    await declare(world, "waits", organization_id="beside")
    await declare(world, "goes", organization_id="other")
    await change_settings(world, 3, 5, beside)
    assert asked_at(world, began) == []
    assert [row["short_description"] for row in other.incidents()] == ["goes"]
    assert (await sync_status(world, other_id))["state"] == "healthy"
    world.instance.disarm()
    await trio.sleep_until(over_at + 30)
    assert "waits" in [row["short_description"] for row in world.instance.incidents()]


@in_world()
async def test_no_change_of_settings_but_new_credentials_is_a_reason_to_try_refused_ones_again(world: World) -> None:
    incident_id = await declared(world)
    began = trio.current_time()
    world.instance.account("svc.sync").password = NEW["password"]
    await edit(world, incident_id, title="waits")
    await trio.sleep(5)
    await change_settings(world, 20, 5)
    assert len(refused(world, began)) == 2
    status = await sync_status(world)
    assert status["state"] == "paused"
    assert "credentials were refused" in str(status["reasons"])
    await change_settings(world, 40, 5)
    assert len(refused(world, began)) == 3, "after five minutes one more"
    await configure(world, credentials=NEW)
    await trio.sleep(10)
    assert record(world, incident_id)["short_description"] == "waits"
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_the_same_credentials_given_again_are_one_more_try(world: World) -> None:
    await declared(world)
    began = trio.current_time()
    world.instance.account("svc.sync").password = NEW["password"]
    await declare(world, "waits")
    await trio.sleep(5)
    for number in range(1, 4):
        await configure(world, credentials={"username": "svc.sync", "password": "sync-secret"})
        await trio.sleep(30)
        assert len(refused(world, began)) == 2 + number
    world.instance.account("svc.sync").password = "sync-secret"
    await configure(world, credentials={"username": "svc.sync", "password": "sync-secret"})
    await trio.sleep(10)
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_integrations_of_one_account_share_what_its_lock_allows_and_each_goes_on_with_its_own_password(
    world: World,
) -> None:
    beside = await second_integration(world, organization_id="beside")
    mine, theirs = await declared(world), await declare(world, organization_id="beside")
    await trio.sleep(10)
    began = trio.current_time()
    world.instance.set_switch("lockout_after", "3")
    world.instance.account("svc.sync").password = NEW["password"]
    await edit(world, mine, title="mine")
    await edit(world, theirs, title="theirs")
    await trio.sleep(60)
    assert len(refused(world, began)) == 2
    assert [(await sync_status(world, one))["state"] for one in ("", beside)] == ["paused", "paused"]
    await configure(world, credentials=NEW)
    await trio.sleep(20)
    assert record(world, mine)["short_description"] == "mine"
    assert (await sync_status(world, beside))["state"] == "paused"
    await asked(world, "PATCH", f"{INTEGRATIONS}/{beside}", {"credentials": NEW})
    await trio.sleep(20)
    assert {row["short_description"] for row in world.instance.incidents()} == {"mine", "theirs"}
    assert len(refused(world, began)) == 2


@in_world(rate_limit=2)
async def test_changes_of_settings_give_no_bursts(world: World) -> None:
    for number in range(12):
        await declare(world, f"incident {number}")
    await change_settings(world, 30, 0.3)
    await trio.sleep(400)  # a create that a change cut off is looked for
    assert len(world.instance.incidents()) == 12
    manners.check_rate(asked_at(world), 2)


@in_world()
async def test_what_is_left_of_an_hourly_rule_is_known_over_a_change_of_settings(world: World) -> None:
    incident_id = await declared(world)
    world.instance.set_fault("rate_limit=60")
    began = trio.current_time()
    for number in range(25):
        await edit(world, incident_id, title=f"title {number}")
        await change_settings(world, 1, 2)
    api = (await sync_status(world))["api"]
    assert isinstance(api, dict)
    answered = [one for one in world.way.exchanges if one.left_at >= began and one.answered_at is not None]
    assert api["remaining_budget"] == 60 - len(answered)
    for number in range(60):
        await edit(world, incident_id, title=f"more {number}")
        await change_settings(world, 1, 2)
    assert 429 not in {one.status for one in lines(world.instance, "GET", "POST", "PATCH")}
    assert api["throttled"] == 0


@in_world()
async def test_another_address_begins_anew(world: World) -> None:
    await throttled(world)
    other, _ = await second_instance(world)
    began = trio.current_time()
    await configure(
        world, base_url="http://127.0.0.1:9998", credentials={"username": "svc.sync", "password": "sync-secret"}
    )
    await trio.sleep(10)
    assert [one for one in lines(other, "GET", since_s=began) if one.status == 200]
    assert asked_at(world, began) == []


@in_world()
async def test_a_restart_is_no_reason_to_try_refused_credentials_again_either(world: World) -> None:
    beside = await second_integration(world, organization_id="beside")
    incident_id = await declared(world)
    began = trio.current_time()
    world.instance.set_switch("lockout_after", "5")
    world.instance.account("svc.sync").password = NEW["password"]
    await edit(world, incident_id, title="waits")
    await trio.sleep(5)
    for _ in range(10):
        await restart(world, 1.0)
        await trio.sleep(20)
        assert [(await sync_status(world, one))["state"] for one in ("", beside)] == ["paused", "paused"]
    assert len(refused(world, began)) == 2
    await trio.sleep(120)
    assert len(refused(world, began)) == 3, "after five minutes one more"
    await restart(world, HOUR_S)
    await trio.sleep(30)
    assert len(refused(world, began)) == 4, "and after an hour one, not two"
    for one in (world.integration_id, beside):
        await asked(world, "PATCH", f"{INTEGRATIONS}/{one}", {"credentials": NEW})
    await restart(world)
    await trio.sleep(20)
    assert record(world, incident_id)["short_description"] == "waits"
    assert [(await sync_status(world, one))["state"] for one in ("", beside)] == ["healthy", "healthy"]
    assert len(refused(world, began)) == 4


@in_world()
async def test_who_is_let_in_again_starts_like_anybody(world: World) -> None:
    await declared(world)
    began = trio.current_time()
    world.instance.account("svc.sync").password = NEW["password"]
    await declare(world, "waits")
    await trio.sleep(10)
    assert world.state.integrations[world.integration_id].refused_until_s is not None
    world.instance.account("svc.sync").password = "sync-secret"
    await trio.sleep(320)
    assert world.state.integrations[world.integration_id].refused_until_s is None
    await restart(world)
    await trio.sleep(10)
    assert (await sync_status(world))["state"] == "healthy"
    assert len(refused(world, began)) == 2


@pytest.mark.parametrize("lockout_after", [3, 5])
def test_a_password_that_is_changed_while_all_have_work_is_refused_twice_and_locks_nobody_out(
    lockout_after: int,
) -> None:
    @in_world()
    async def story(world: World) -> None:
        ids = [await declare(world, f"incident {number}") for number in range(20)]
        await trio.sleep(30)
        began = trio.current_time()
        world.instance.set_switch("lockout_after", str(lockout_after))
        world.instance.account("svc.sync").password = NEW["password"]
        for one in ids:
            await edit(world, one, description="waits")
        await trio.sleep(290)
        assert len(refused(world, began)) == 2
        await configure(world, credentials=NEW)
        await trio.sleep(20)
        assert {record(world, one)["description"] for one in ids} == {"waits"}

    story()


@in_world()
async def test_a_password_that_is_changed_under_load_is_refused_no_more_often_than_requests_were_under_way(
    world: World,
) -> None:
    ids = [await declare(world, f"incident {number}") for number in range(20)]
    world.instance.set_switch("lockout_after", "5")
    await trio.sleep(1.5)
    began = trio.current_time()
    world.instance.account("svc.sync").password = NEW["password"]
    await trio.sleep(290)
    assert len(refused(world, began)) <= 4
    await configure(world, credentials=NEW)
    await trio.sleep(20)
    assert len(world.instance.incidents()) == len(ids)


@in_world()
async def test_a_connection_test_tries_refused_credentials_once(world: World) -> None:
    await declared(world)
    began = trio.current_time()
    world.instance.account("svc.sync").password = NEW["password"]
    await declare(world, "waits")
    await trio.sleep(10)
    assert len(refused(world, began)) == 2
    tested = await asked(world, "POST", f"{INTEGRATIONS}/{world.integration_id}/test", {})
    assert "failed" in str(tested)
    assert len(refused(world, began)) == 3
    await change_settings(world, 5, 5)
    assert len(refused(world, began)) == 3
