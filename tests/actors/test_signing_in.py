"""Credentials that end while there is work: no storm, nothing lost, and on again by itself or with new ones."""

import pytest
import trio

from syncd.simulator.instance import RequestLine
from syncd.simulator.oauth import OAuthClient
from tests.actors.stage import configure, declare, edit, in_world, letters, lines, link, record, sync_status
from tests.simulation.world import World

CLIENT = {"client_id": "sync-client", "client_secret": "sync-client-secret"}
PASSWORD = CLIENT | {"username": "svc.sync", "password": "sync-secret"}
KEY = {"api_key": "key-of-the-sync"}
EDITS = 20
HOUR_S = 3600.0


def let_keys_in(world: World) -> None:
    world.instance.account("svc.sync").api_key = KEY["api_key"]
    world.instance.set_switch("api_key_policy", "on")


def tokens(world: World, since_s: float = 0.0) -> list[RequestLine]:
    return [line for line in lines(world.instance, "POST", since_s=since_s) if line.target == "/oauth_token.do"]


def refused(world: World, since_s: float) -> list[RequestLine]:
    return [line for line in lines(world.instance, "GET", "POST", "PATCH", since_s=since_s) if line.status == 401]


async def busy(world: World) -> list[str]:
    """Incidents with their records, and an edit of each that has just been made."""
    ids = [await declare(world, f"incident {number}") for number in range(EDITS)]
    await trio.sleep(30)
    assert {link(world, one).state for one in ids} == {"active"}
    return ids


async def edit_all(world: World, ids: list[str], text: str) -> None:
    for incident_id in ids:
        await edit(world, incident_id, description=text)


def written(world: World, ids: list[str]) -> set[str]:
    return {record(world, one)["description"] for one in ids}


@pytest.mark.parametrize(("credentials", "grant"), [(CLIENT, b"client_credentials"), (PASSWORD, b"refresh_token")])
def test_a_token_that_is_revoked_under_load_costs_one_new_one_and_nothing_is_lost(
    credentials: dict[str, str], grant: bytes
) -> None:
    @in_world(credentials=credentials)
    async def story(world: World) -> None:
        ids = await busy(world)
        began = trio.current_time()
        world.instance.gate.tokens.revoke()
        await edit_all(world, ids, "after the revocation")
        await trio.sleep(20)
        assert written(world, ids) == {"after the revocation"}
        (asked,) = tokens(world, began)
        assert grant in asked.body
        assert len(refused(world, began)) <= 4, "as many as were under way at once"
        assert (await sync_status(world))["state"] == "healthy"
        assert letters(world) == []

    story()


@in_world(credentials=CLIENT)
async def test_a_day_of_tokens_is_a_token_each_half_hour_and_no_request_is_refused(world: World) -> None:
    ids = await busy(world)
    began = trio.current_time()
    for _ in range(8):
        await trio.sleep(HOUR_S)
        await edit_all(world, ids[:3], f"at {trio.current_time()}")
    assert refused(world, began) == []
    assert len(tokens(world, began)) <= 8 * 3


@pytest.mark.parametrize("credentials", [CLIENT, PASSWORD], ids=["client", "password"])
def test_a_client_that_is_withdrawn_pauses_without_hammering_and_a_new_one_goes_on_at_once(
    credentials: dict[str, str],
) -> None:
    @in_world(credentials=credentials)
    async def story(world: World) -> None:
        ids = await busy(world)
        began = trio.current_time()
        world.instance.gate.tokens.revoke()
        world.instance.gate.tokens.add_client(OAuthClient("sync-client", "another secret now", "svc.sync"))
        await edit_all(world, ids, "waits")
        await trio.sleep(HOUR_S)
        status = await sync_status(world)
        assert status["state"] == "paused"
        assert "OAuth" in str(status["reasons"])
        grants = len(credentials) // 2 + 1  # a refresh token is tried, then the password
        assert len(tokens(world, began)) <= grants * 15, "a try a second later, then every 5 minutes"
        assert len(refused(world, began)) - len(tokens(world, began)) <= 4
        await configure(world, credentials=credentials | {"client_secret": "another secret now"})
        await trio.sleep(20)
        assert written(world, ids) == {"waits"}
        assert (await sync_status(world))["state"] == "healthy"
        assert letters(world) == []

    story()


@in_world(credentials=KEY)
async def test_an_api_key_that_ends_pauses_without_hammering_and_goes_on_when_it_is_let_in_again(world: World) -> None:
    let_keys_in(world)
    await configure(world, enabled=False)
    await configure(world, enabled=True)
    await trio.sleep(20)
    ids = await busy(world)
    began = trio.current_time()
    world.instance.set_switch("api_key_policy", "off")
    await edit_all(world, ids, "waits")
    await trio.sleep(HOUR_S)
    assert (await sync_status(world))["state"] == "paused"
    assert len(refused(world, began)) <= 4 + 13
    world.instance.set_switch("api_key_policy", "on")
    await trio.sleep(330)
    assert written(world, ids) == {"waits"}
    assert letters(world) == []


@in_world()
async def test_twenty_writes_with_a_password_that_was_changed_lock_nobody_out_at_once(world: World) -> None:
    ids = await busy(world)
    began = trio.current_time()
    world.instance.set_switch("lockout_after", "8")
    account = world.instance.account("svc.sync")
    account.password = "another password now"
    await edit_all(world, ids, "waits")
    await trio.sleep(290)
    assert len(refused(world, began)) <= 5, "those that were under way, and one more a second later"
    await configure(world, credentials={"username": "svc.sync", "password": "another password now"})
    await trio.sleep(20)
    assert written(world, ids) == {"waits"}
    assert (await sync_status(world))["state"] == "healthy"
