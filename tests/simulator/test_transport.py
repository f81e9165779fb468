"""The instance behind an httpx client without a socket, in virtual time."""

from random import Random

import httpx
import pytest
import trio
import trio.testing

from syncd.simulator.instance import Instance, InstanceOptions
from syncd.simulator.transport import SimulatorTransport
from syncd.simulator.wire import Outgoing
from tests.simulator.snow import START_S, TABLE

LOGIN = httpx.BasicAuth("svc.sync", "sync-secret")
CALLING = ("rule_mode=after", "rule_skips_api_user=off")


def instance_of(*faults: str) -> Instance:
    """An instance whose clock is Trio's."""
    options = InstanceOptions(incidents=0, faults=faults, webhook_url="http://hook.example", webhook_secret="s")
    return Instance(options, lambda: START_S + trio.current_time(), Random(1))


def client(transport: SimulatorTransport) -> httpx.AsyncClient:
    """A client on one instance."""
    return httpx.AsyncClient(transport=transport, base_url="https://dev12345.service-now.com", auth=LOGIN)


async def test_requests_and_answers_take_their_way_and_their_delay(autojump_clock: trio.testing.MockClock) -> None:
    async with client(SimulatorTransport(instance_of("slow=5*1", "trickle=2*1"), way_s=0.5)) as web:
        begun_s = trio.current_time()
        answer = await web.post(TABLE, json={"short_description": "Pump"})
        assert answer.status_code == 201
        assert trio.current_time() - begun_s == pytest.approx(8)
        assert answer.headers["location"].startswith("https://dev12345.service-now.com/api/now/v2/table/incident/")


async def test_a_reset_is_a_read_error_after_the_effect(autojump_clock: trio.testing.MockClock) -> None:
    instance = instance_of("answer_lost*1")
    async with client(SimulatorTransport(instance)) as web:
        with pytest.raises(httpx.ReadError):
            await web.post(TABLE, json={"short_description": "Pump"})
        assert len(instance.incidents()) == 1


async def test_the_webhooks_of_an_after_rule_are_delivered_or_wait_like_all_others(
    autojump_clock: trio.testing.MockClock,
) -> None:
    delivered: list[Outgoing] = []

    async def deliver(outgoing: Outgoing) -> None:
        await trio.sleep(3)
        delivered.append(outgoing)

    instance = instance_of(*CALLING)
    async with client(SimulatorTransport(instance, deliver=deliver)) as web:
        begun_s = trio.current_time()
        await web.post(TABLE, json={"short_description": "Pump"})
        assert (len(delivered), instance.due()) == (1, [])
        assert trio.current_time() - begun_s >= 3
    async with client(SimulatorTransport(instance)) as web:
        await web.post(TABLE, json={"short_description": "Pump"})
        assert len(instance.due()) == 1
