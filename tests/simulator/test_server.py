"""The instance on a real port: what a client sees of it over TCP, and its webhooks as real calls."""

import json
import logging
import socket

import httpx
import pytest
import trio

from tests.simulator.ports import Receiver, receiving, served
from tests.simulator.snow import AGENT, TABLE

LOGIN = httpx.BasicAuth("svc.sync", "sync-secret")


def browser(address: str) -> httpx.AsyncClient:
    """A client that is logged in as the API user."""
    return httpx.AsyncClient(base_url=f"http://{address}", auth=LOGIN, trust_env=False, timeout=10)


async def test_a_client_creates_reads_and_changes_over_one_connection() -> None:
    async with served() as (instance, address), browser(address) as web:
        created = await web.post(TABLE, json={"short_description": "Größe 😀"})
        assert created.status_code == 201
        row = created.json()["result"]
        assert created.headers["location"] == f"http://{address}{TABLE}/{row['sys_id']}"
        assert created.headers["content-type"] == "application/json;charset=UTF-8"
        changed = await web.patch(f"{TABLE}/{row['sys_id']}", json={"urgency": "1"})
        assert changed.json()["result"]["priority"] == "3"
        listed = await web.get(TABLE, params={"sysparm_query": f"sys_id={row['sys_id']}^short_descriptionLIKEgröße"})
        assert [one["short_description"] for one in listed.json()["result"]] == ["Größe 😀"]
        head = await web.head(f"{TABLE}/{row['sys_id']}")
        assert (head.status_code, head.content) == (200, b"")
        deleted = await web.delete(f"{TABLE}/{row['sys_id']}", auth=("admin", "admin"))
        assert (deleted.status_code, deleted.content, "content-length" in deleted.headers) == (204, b"", False)
        assert len(deleted.headers.get_list("date")) == 1
        assert instance.incidents() == []


async def test_a_reset_is_a_reset_and_the_next_connection_works() -> None:
    async with served("create_commits_then_reset*1") as (instance, address), browser(address) as web:
        with pytest.raises(httpx.ReadError):
            await web.post(TABLE, json={"short_description": "Pump"})
        assert len(instance.incidents()) == 1
        assert (await web.get(TABLE)).status_code == 200


async def test_answers_are_late_and_trickle_over_a_port() -> None:
    async with served("slow=0.05*1", "trickle=0.05*1", incidents=3) as (_, address), browser(address) as web:
        begun_s = trio.current_time()
        answer = await web.get(TABLE)
        assert len(answer.json()["result"]) == 3
        assert trio.current_time() - begun_s >= 0.1


async def test_a_large_body_is_refused_and_a_huge_one_ends_the_connection() -> None:
    async with served() as (_, address), browser(address) as web:
        answer = await web.post(TABLE, content=b" " * 10_485_761)
        assert answer.status_code == 400
        assert "Rejected large REST payload" in answer.json()["error"]["detail"]


async def test_what_is_not_http_ends_its_own_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "syncd.simulator")
    async with served() as (_, address), browser(address) as web:
        host, _, port = address.partition(":")
        for junk in (b"\x16\x03\x01nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"):
            stream = await trio.open_tcp_stream(host, int(port))
            async with stream:
                await stream.send_all(junk)
                await stream.send_eof()
                assert await stream.receive_some(10) == b""
        assert (await web.get(TABLE)).status_code == 200


async def test_a_webhook_is_posted_and_its_answer_is_noted_and_nothing_is_sent_again() -> None:
    receiver = Receiver(status=503)
    async with receiving(receiver) as url, served(webhook_url=url) as (instance, _):
        sys_id = instance.create_as(AGENT, {"short_description": "Pump"})["sys_id"]
        await receiver.arrived.wait()
        while instance.webhooks()[0].status is None:  # noqa: ASYNC110 the log of calls does not ring
            await trio.sleep(0.01)
        assert [json.loads(body)["sys_id"] for body in receiver.bodies] == [sys_id]
        assert instance.webhooks()[0].status == 503


async def test_an_unreachable_receiver_is_an_error_in_the_log_of_calls() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/hook"
        async with served("rule_delay_s_max=0.05", webhook_url=url) as (instance, _):
            instance.create_as(AGENT, {"short_description": "Pump"})
            while not (instance.webhooks() and instance.webhooks()[0].error):  # noqa: ASYNC110 nor here
                await trio.sleep(0.01)
            assert instance.webhooks()[0].error.startswith("ConnectError")


async def test_the_writer_waits_for_an_after_rule_over_a_port() -> None:
    receiver = Receiver()
    faults = ("rule_mode=after", "rule_skips_api_user=off")
    async with (
        receiving(receiver) as url,
        served(*faults, webhook_url=url) as (instance, address),
        browser(address) as web,
    ):
        await web.post(TABLE, json={"short_description": "Pump"})
        assert len(receiver.bodies) == 1, "delivered before the answer"
        assert instance.webhooks()[0].status == 202


async def test_the_control_api_and_the_page_are_on_the_same_port() -> None:
    async with served(incidents=2) as (_, address), httpx.AsyncClient(trust_env=False) as web:
        assert len((await web.get(f"http://{address}/control/incidents")).json()) == 2
        assert "<table>" in (await web.get(f"http://{address}/")).text
