"""OAuth against the simulated instance, and against token endpoints that no honest instance has."""

from collections.abc import Callable
from random import Random
from typing import Final
from urllib.parse import parse_qs

import httpx
import pytest
import trio
from trio.testing import MockClock

from syncd.errors import ExternalFailed
from syncd.simulator.instance import Instance
from syncd.simulator.oauth import OAuthClient
from syncd.simulator.transport import SimulatorTransport
from syncd.systems.servicenow import ServiceNow
from syncd.systems.signin import Credentials
from tests.systems.test_servicenow import JSON, Bytes, Scripted, client, instance_of

OWN: Final = Credentials(client_id="sync-client", client_secret="sync-client-secret")
FOR_USER: Final = Credentials("svc.sync", "sync-secret", "", "sync-client", "sync-client-secret")
ACCESS_S: Final = 1800.0
REFRESH_S: Final = 8_640_000.0
NO_ROWS: Final = b'{"result":[]}'


class Counted(httpx.AsyncBaseTransport):
    """The way to a simulated instance; keeps the forms of the token endpoint, and who signed the other requests."""

    def __init__(self, instance: Instance) -> None:
        self._inner = SimulatorTransport(instance)
        self.forms: list[dict[str, list[str]]] = []
        self.signed: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth_token.do":
            assert request.headers["content-type"] == "application/x-www-form-urlencoded"
            assert "authorization" not in request.headers
            self.forms.append(parse_qs((await request.aread()).decode()))
        else:
            self.signed.append(request.headers["authorization"])
        return await self._inner.handle_async_request(request)

    @property
    def grants(self) -> list[str]:
        return [form["grant_type"][0] for form in self.forms]


def way(instance: Instance | None = None, credentials: Credentials = OWN) -> tuple[Instance, Counted, ServiceNow]:
    instance = instance or instance_of()
    counted = Counted(instance)
    return instance, counted, client(counted, credentials=credentials, concurrency=50)


async def test_what_waits_for_its_turn_is_not_sent_once_the_credentials_are_refused(autojump_clock: MockClock) -> None:
    refusal = b'{"error":{"message":"User is not authenticated","detail":null},"status":"failure"}'
    refusing = Scripted(lambda request: httpx.Response(401, headers=JSON, stream=Bytes(refusal), request=request), 0.1)
    external = client(refusing, rate=1.0)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(fails, external)
    assert len(refusing.requests) == 1


async def fails(external: ServiceNow) -> ExternalFailed:
    with pytest.raises(ExternalFailed) as caught:
        await external.probe()
    return caught.value


@pytest.mark.parametrize(("credentials", "grant"), [(OWN, "client_credentials"), (FOR_USER, "password")])
async def test_one_token_serves_all_requests_until_it_ends(
    autojump_clock: MockClock, credentials: Credentials, grant: str
) -> None:
    _, counted, external = way(credentials=credentials)
    for _ in range(3):
        await external.probe()
    assert counted.grants == [grant]
    assert len(set(counted.signed)) == 1
    assert counted.signed[0].startswith("Bearer ")


async def test_a_token_is_renewed_before_it_ends_and_no_request_is_refused(autojump_clock: MockClock) -> None:
    instance, counted, external = way()
    await external.probe()
    await trio.sleep(ACCESS_S - 0.5)
    await external.probe()  # the instance gives the same token again, which has half a second left
    assert len(set(counted.signed)) == 1
    await trio.sleep(1.1)
    await external.probe()
    assert len(set(counted.signed)) == 2
    assert [line.status for line in instance.requests] == [200] * 6


async def test_a_token_that_is_given_again_is_used_to_its_end(autojump_clock: MockClock) -> None:
    _, counted, external = way()
    await external.probe()
    await trio.sleep(ACCESS_S - 25)
    for _ in range(20):
        await trio.sleep(1)
        await external.probe()
    assert len(counted.forms) == 2  # not one for each request of the last half minute


async def test_a_refresh_token_renews_the_password_grant(autojump_clock: MockClock) -> None:
    _, counted, external = way(credentials=FOR_USER)
    await external.probe()
    await trio.sleep(ACCESS_S + 1)
    await external.probe()
    assert counted.grants == ["password", "refresh_token"]


async def test_a_refresh_token_that_has_ended_is_replaced_by_the_password(autojump_clock: MockClock) -> None:
    _, counted, external = way(credentials=FOR_USER)
    await external.probe()
    await trio.sleep(REFRESH_S + 1)
    await external.probe()
    assert counted.grants == ["password", "refresh_token", "password"]


async def test_a_revoked_token_is_renewed_once_and_the_request_repeated(autojump_clock: MockClock) -> None:
    instance, counted, external = way()
    await external.probe()
    instance.gate.tokens.revoke()
    await external.probe()
    assert len(counted.forms) == 2
    assert [line.status for line in instance.requests] == [200, 200, 401, 200, 200]


@pytest.mark.parametrize("end", ["expiry", "revocation"])
async def test_fifty_requests_at_the_end_of_a_token_ask_for_one(autojump_clock: MockClock, end: str) -> None:
    instance, counted, external = way()
    await external.probe()
    if end == "expiry":
        await trio.sleep(ACCESS_S + 1)
    else:
        instance.gate.tokens.revoke()
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(external.probe)
    assert len(counted.forms) == 2


async def test_a_wrong_secret_pauses_and_those_who_waited_share_the_refusal(autojump_clock: MockClock) -> None:
    _, counted, external = way(credentials=Credentials(client_id="sync-client", client_secret="s3cr3t/wrong"))
    failures: list[ExternalFailed] = []

    async def ask() -> None:
        failures.append(await fails(external))

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
    assert len(counted.forms) == 1
    assert {(one.outcome, one.status) for one in failures} == {("paused", 401)}
    assert "the token endpoint refuses the OAuth credentials: server_error" in str(failures[0])
    assert "access_denied" in failures[-1].detail
    assert "s3cr3t" not in f"{failures[0]} {external.__dict__}"
    assert counted.signed == []


async def test_a_token_that_the_api_refuses_all_the_same_pauses_after_one_repetition(autojump_clock: MockClock) -> None:
    instance, counted, external = way()
    instance.gate.tokens.add_client(OAuthClient("sync-client", "sync-client-secret", "lars.locked"))
    assert (await fails(external)).outcome == "paused"
    assert (len(counted.forms), len(counted.signed)) == (2, 2)


async def test_a_hibernating_token_endpoint_is_an_outage(autojump_clock: MockClock) -> None:
    _, counted, external = way(instance_of("hibernating"))
    assert (await fails(external)).outcome == "unavailable"
    assert len(counted.forms) == 1


async def test_asking_for_a_token_counts_in_the_rate(autojump_clock: MockClock) -> None:
    _, _, external = way()
    external = client(Counted(instance_of()), credentials=OWN, rate=1.0)
    started = trio.current_time()
    await external.probe()
    assert trio.current_time() - started >= 1.0


def issuing(status: int, body: bytes, headers: dict[str, str] | None = None) -> Scripted:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path != "/oauth_token.do":
            return httpx.Response(200, headers=JSON, stream=Bytes(NO_ROWS), request=request)
        shown = JSON if headers is None else headers
        return httpx.Response(status, headers=shown, stream=Bytes(body), request=request)

    return Scripted(answer)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (400, b'{"error":"invalid_request","error_description":"Missing parameters"}', "paused"),
        (401, b'{"error":"server_error","error_description":"access_denied"}', "paused"),
        (403, b'{"error":{"message":"Access to unscoped api is not allowed","detail":null}}', "paused"),
        (404, b"", "paused"),
        (429, b"", "throttled"),
        (302, b"", "unavailable"),
        (503, b"<html>maintenance</html>", "unavailable"),
        (200, b"", "unavailable"),
        (202, b'{"access_token":"a"}', "unavailable"),
        (200, b'{"access_token":""}', "unavailable"),
        (200, b'{"access_token":"a b"}', "unavailable"),
        (200, b'{"access_token":"a\\r\\nX-Other: b"}', "unavailable"),
        (200, b'{"access_token":"sesame","expires_in":', "unavailable"),
        (200, b'["sesame"]', "unavailable"),
    ],
)
async def test_what_is_no_token_is_never_used_and_never_told(
    autojump_clock: MockClock, status: int, body: bytes, outcome: str
) -> None:
    transport = issuing(status, body)
    failure = await fails(client(transport, credentials=OWN))
    assert failure.outcome == outcome
    assert "sesame" not in f"{failure} {failure.detail}"
    assert [request.url.path for request in transport.requests] == ["/oauth_token.do"]


@pytest.mark.parametrize("told", [b"null", b"-5", b'"soon"', b"0", b"1e300", b'"1799"'])
async def test_any_life_that_a_token_is_given_is_one_request_for_a_burst(
    autojump_clock: MockClock, told: bytes
) -> None:
    transport = issuing(200, b'{"access_token":"a","expires_in":' + told + b"}")
    external = client(transport, credentials=OWN)
    for _ in range(5):
        await external.probe()
    assert sum(request.url.path == "/oauth_token.do" for request in transport.requests) == 1


async def test_a_page_that_repeats_the_token_does_not_tell_it(autojump_clock: MockClock) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth_token.do":
            issued = b'{"access_token":"acc-sesame","refresh_token":"ref-sesame","expires_in":1799}'
            return httpx.Response(200, headers=JSON, stream=Bytes(issued), request=request)
        page = b"<html>" + request.headers["authorization"].encode() + b" ref-sesame</html>"
        return httpx.Response(200, headers={"content-type": "text/html"}, stream=Bytes(page), request=request)

    failure = await fails(client(Scripted(answer), credentials=OWN))
    assert "sesame" not in failure.detail
    assert "***" in failure.detail


@pytest.mark.parametrize("write", [False, True])
async def test_a_session_that_lost_its_roles_is_asked_once_more(autojump_clock: MockClock, write: bool) -> None:
    lost = b'{"error":{"message":"User Not Authorized","detail":"Failed API level ACL Validation"},"status":"failure"}'
    statuses = [403, 200]

    def answer(request: httpx.Request) -> httpx.Response:
        status = statuses.pop(0)
        good = b'{"result":{"sys_id":"' + b"a" * 32 + b'","sys_mod_count":"1"}}' if write else NO_ROWS
        return httpx.Response(status, headers=JSON, stream=Bytes(lost if status == 403 else good), request=request)

    external = client(Scripted(answer))
    if write:
        await external.update("a" * 32, {"state": "2"})
    else:
        await external.probe()
    assert statuses == []


async def test_roles_that_are_missing_for_good_pause(autojump_clock: MockClock) -> None:
    lost = b'{"error":{"message":"User Not Authorized","detail":"Failed API level ACL Validation"},"status":"failure"}'
    transport = Scripted(lambda request: httpx.Response(403, headers=JSON, stream=Bytes(lost), request=request))
    assert (await fails(client(transport))).outcome == "paused"
    assert len(transport.requests) == 2


def test_no_repr_shows_a_secret() -> None:
    shown: Callable[[object], str] = repr
    secret = "".join(Random(1).choices("abcdef", k=12))
    assert secret not in shown(Credentials("u", secret, secret, "c", secret))


async def test_a_token_that_is_of_no_use_any_more_is_hidden_all_the_same(autojump_clock: MockClock) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/oauth_token.do":
            return httpx.Response(200, headers=JSON, stream=Bytes(b'{"access_token":"acc-sesame"}'), request=request)
        body = b'{"error":{"message":"refused","detail":"Bearer acc-sesame"}}'
        return httpx.Response(401, headers=JSON, stream=Bytes(body), request=request)

    failure = await fails(client(Scripted(answer), credentials=OWN))
    assert (failure.outcome, failure.detail) == ("paused", "Bearer ***")
