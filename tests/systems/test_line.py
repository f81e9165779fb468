"""How requests of one integration go their way: spaced, bounded, signed, and no more than were allowed at once."""

import math

import httpx
import pytest
import trio
from trio.testing import MockClock

from syncd.errors import ExternalFailed
from syncd.systems.signin import Credentials
from tests.systems.test_servicenow import (
    EPOCH_S,
    JSON,
    Bytes,
    Scripted,
    answering,
    client,
    instance_of,
    rows,
    to,
    write_fails,
)


async def test_no_cookie_is_ever_sent_back_and_no_compression_asked_for(autojump_clock: MockClock) -> None:
    headers = JSON | {"set-cookie": "JSESSIONID=1; Path=/"}
    transport = answering(rows(), headers=headers)
    external = client(transport)
    for _ in range(3):
        await external.read(["a"])
    for request in transport.requests:
        assert "cookie" not in request.headers
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["accept"] == "application/json"


@pytest.mark.parametrize(
    ("credentials", "name", "value"),
    [
        (Credentials("amy", "p:w"), "authorization", "Basic YW15OnA6dw=="),
        (Credentials(api_key="k"), "x-sn-apikey", "k"),
    ],
)
async def test_the_sign_in_goes_with_every_request_and_shows_nowhere(
    autojump_clock: MockClock, credentials: Credentials, name: str, value: str
) -> None:
    transport = answering(rows())
    await client(transport, credentials=credentials).read(["a"])
    assert transport.requests[0].headers[name] == value
    assert repr(credentials) == "Credentials(***)"


async def test_requests_are_spaced_by_the_rate_after_one_seconds_burst(autojump_clock: MockClock) -> None:
    transport = answering(rows())
    external = client(transport, rate=5.0, concurrency=50)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(external.read, ["a"])
    assert transport.at_s[:5] == [0.0] * 5
    assert transport.at_s[5:] == pytest.approx([0.2 * number for number in range(1, 16)])


async def test_no_more_requests_than_allowed_are_under_way_reads_and_writes_together(
    autojump_clock: MockClock,
) -> None:
    transport = Scripted(
        lambda request: httpx.Response(
            200, headers=JSON, stream=Bytes(rows() if request.method == "GET" else b'{"result":{"sys_id":"a"}}')
        ),
        takes_s=1.0,
    )
    external = client(transport, concurrency=3)
    await external.read(["a"])  # we are let in
    async with trio.open_nursery() as nursery:
        for _ in range(6):
            nursery.start_soon(external.read, ["a"])
            nursery.start_soon(external.update, "a", {"state": "2"})
    assert transport.most == 3
    assert trio.current_time() == pytest.approx(5.0)


async def test_a_request_that_is_given_up_frees_its_place(autojump_clock: MockClock) -> None:
    silent = Scripted(lambda request: httpx.Response(200, request=request), takes_s=math.inf)
    external = client(silent, concurrency=1)
    for _ in range(3):
        with trio.move_on_after(1):
            await external.read(["a"])
    assert len(silent.requests) == 3
    assert silent.under_way == 0


@pytest.mark.parametrize("offset_s", [0.0, 0.4, -37.3, 600.75])
async def test_the_clock_difference_is_found_and_narrows_with_every_answer(
    autojump_clock: MockClock, offset_s: float
) -> None:
    instance = instance_of(offset_s=offset_s)
    external = to(instance)
    assert (external.offset.s, external.offset.error_s) == (0.0, 1.0)
    errors = []
    for _ in range(30):
        await external.read(["a" * 32])
        assert abs(external.offset.s - offset_s) <= external.offset.error_s + 1e-6
        errors.append(external.offset.error_s)
        await trio.sleep(0.37)
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05


async def test_a_refusal_after_a_slow_call_may_have_been_carried_out(autojump_clock: MockClock) -> None:
    words = b'{"error":{"message":"Operation Failed","detail":"x"},"status":"failure"}'
    for takes_s, outcome in ((1.0, "refused"), (25.0, "ambiguous")):
        transport = answering(words, status=403)
        transport._takes_s = takes_s
        assert (await write_fails(transport)).outcome == outcome


async def test_what_is_left_of_an_hourly_rule_is_spread_over_its_hour(autojump_clock: MockClock) -> None:
    instance = instance_of("rate_limit=60")
    one = to(instance)
    began = trio.current_time()
    for _ in range(60):
        await one.paced()
        await one.probe()
    assert instance.counts["GET"] == 60  # and none of them met a 429
    assert one.remaining_budget in {0, 1}
    assert to(instance).remaining_budget is None
    times = [line.at_s - EPOCH_S - began for line in instance.requests]
    assert times[40] < 1  # most of the hour's budget is there for a burst
    assert max(times) <= 3600


async def test_all_who_wait_for_an_hours_end_go_on_at_its_end(autojump_clock: MockClock) -> None:
    instance = instance_of("rate_limit=1")
    one = to(instance)
    await one.probe()
    with trio.fail_after(3600):
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(one.paced)


async def test_what_waited_for_the_rate_does_not_leave_once_the_instance_asks_to_be_left_alone(
    autojump_clock: MockClock,
) -> None:
    transport = answering(b"", status=429, headers={"Retry-After": "60"})
    one = client(transport, rate=1)
    failures: list[ExternalFailed] = []

    async def read() -> None:
        with pytest.raises(ExternalFailed) as caught:
            await one.read(["a" * 32])
        failures.append(caught.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        nursery.start_soon(read)
    assert len(transport.requests) == 1
    assert [failure.outcome for failure in failures] == ["throttled", "throttled"]
    assert failures[1].retry_after_s == pytest.approx(59, abs=0.1)
    await trio.sleep(60)
    await read()
    assert len(transport.requests) == 2


async def test_an_answer_that_is_no_success_leaves_its_transaction_in_the_log_for_servicenows_support(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "syncd.systems")
    with pytest.raises(ExternalFailed):
        await to(instance_of()).update("f" * 32, {"state": "2"})
    (line,) = [record.__dict__ for record in caplog.records if record.name == "syncd.systems"]
    assert (line["method"], line["status"]) == ("PATCH", 404)
    assert line["transaction"]
