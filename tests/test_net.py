"""The way out: allowed addresses only, TLS that is always verified, and nothing from the environment."""

import gc
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import httpx
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from syncd.core.reach import url_fault
from syncd.errors import ExternalFailed
from syncd.net import SystemNet, tls_context
from syncd.seams import SystemClock
from syncd.systems.exchange import CONNECT_S_MAX
from syncd.systems.servicenow import ServiceNow
from syncd.systems.signin import Credentials
from tests.core.test_reach import ALLOWED, HOSTILE, INSTANCE
from tests.network import NO_TLS, MemoryNetwork, Unreachable, answers_all, names

SIGN_IN: Final = Credentials("svc.sync", "sync-secret")


def client(net: SystemNet, url: str) -> ServiceNow:
    return ServiceNow(url, SIGN_IN, net.transport(4), SystemClock(), rate=1000.0, concurrency=4)


async def fails(external: ServiceNow) -> ExternalFailed:
    try:
        with pytest.raises(ExternalFailed) as caught:
            await external.read(["a" * 32])
    finally:
        await external.aclose()
    return caught.value


# -- where a connection goes -------------------------------------------------------------------------------------------


async def test_a_connection_goes_to_the_address_that_was_judged_and_tls_keeps_the_name(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    network = MemoryNetwork(nursery, answers_all)
    net = SystemNet(NO_TLS, ALLOWED, network=network, resolve=names(["149.96.1.1"]))
    external = client(net, f"https://{INSTANCE}")
    assert await external.read(["a" * 32]) == []
    assert (network.connected, network.names) == (["149.96.1.1"], [INSTANCE])
    await external.aclose()


async def test_a_resolver_that_answers_in_turn_never_gets_a_connection_to_the_private_address(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    network = MemoryNetwork(nursery, answers_all)
    net = SystemNet(NO_TLS, ALLOWED, network=network, resolve=names(["149.96.1.1"], ["10.0.0.1"], ["169.254.169.254"]))
    outcomes = []
    for _ in range(9):
        external = client(net, f"https://{INSTANCE}")
        try:
            await external.read(["a" * 32])
            outcomes.append("read")
        except ExternalFailed as error:
            outcomes.append(error.outcome)
        await external.aclose()
    assert outcomes == ["read", "unavailable", "unavailable"] * 3
    assert set(network.connected) == {"149.96.1.1"}


async def test_a_refused_address_is_told_with_host_and_way_out_and_is_an_outage_that_may_pass(
    autojump_clock: MockClock,
) -> None:
    net = SystemNet(NO_TLS, ALLOWED, network=Unreachable(), resolve=names(["10.0.0.1", "fd00::1"]))
    failed = await fails(client(net, f"https://{INSTANCE}"))
    assert failed.outcome == "unavailable"
    assert failed.message == (
        f"cannot be reached: {INSTANCE} leads to 10.0.0.1, which is not a public address; "
        f"if that is meant, add {INSTANCE} to INCIDENTS_ALLOWED_HOSTS"
    )


async def test_a_host_that_is_no_longer_allowed_is_not_connected_to(autojump_clock: MockClock) -> None:
    network = Unreachable()
    net = SystemNet(NO_TLS, (), network=network, resolve=names(["8.8.8.8"]))
    failed = await fails(client(net, "https://snow.corp.example"))
    assert "not in INCIDENTS_ALLOWED_HOSTS" in failed.message
    assert network.tried == []


@pytest.mark.parametrize("url", [*HOSTILE, f"https://{INSTANCE}", "https://snow.corp.example", "http://localhost:1"])
async def test_no_hostile_address_gets_a_connection_outside_the_allowed_set(
    autojump_clock: MockClock, url: str
) -> None:
    """Even where settings had let it through, and whatever the resolver says: what is judged is what is used."""
    network = Unreachable()
    everywhere = ["10.9.9.9", "169.254.169.254", "0.0.0.0", "127.0.0.1", "::ffff:127.0.0.1", "fe80::1", "8.8.8.8"]
    net = SystemNet(NO_TLS, ALLOWED, network=network, resolve=names(everywhere))
    try:
        request = httpx.Request("GET", url)
        with pytest.raises(httpx.TransportError):
            await net.transport(1).handle_async_request(request)
    except (httpx.InvalidURL, ValueError):  # the HTTP library cannot make anything of it
        assert url_fault(url, ALLOWED) is not None
        return
    host = request.url.raw_host.decode("ascii")
    if host in {"localhost", "127.0.0.1", "::1"}:
        assert set(network.tried) <= {"127.0.0.1", "::ffff:127.0.0.1"}
    elif host in ALLOWED:
        assert set(network.tried) <= {"10.9.9.9", "8.8.8.8"}
    elif host.endswith(".service-now.com"):
        assert set(network.tried) <= {"8.8.8.8"}
    else:
        assert network.tried == []


async def test_several_addresses_are_tried_in_order_and_refused_ones_left_out(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    inner = MemoryNetwork(nursery, answers_all)
    network = Unreachable(inner, "149.96.1.3", takes_s=1000)
    answers = ["149.96.1.1", "10.0.0.1", "149.96.1.2", "149.96.1.1", "149.96.1.3"]
    external = client(SystemNet(NO_TLS, ALLOWED, network=network, resolve=names(answers)), f"https://{INSTANCE}")
    assert await external.read(["a" * 32]) == []
    assert network.tried == ["149.96.1.1", "149.96.1.2", "149.96.1.3"]
    assert trio.current_time() < CONNECT_S_MAX  # two addresses that swallow everything leave time for the third
    await external.aclose()


async def test_addresses_that_all_fail_are_told_within_the_time_for_connecting(autojump_clock: MockClock) -> None:
    answers = [f"149.96.1.{number}" for number in range(1, 9)]
    for takes_s, words in ((1000.0, "149.96.1.1 does not answer"), (0.0, "149.96.1.1: refused")):
        begun_s = trio.current_time()
        net = SystemNet(NO_TLS, ALLOWED, network=Unreachable(takes_s=takes_s), resolve=names(answers))
        failed = await fails(client(net, f"https://{INSTANCE}"))
        assert failed.outcome == "unavailable"
        assert words in failed.message
        assert "149.96.1.4" not in failed.message
        assert trio.current_time() - begun_s <= CONNECT_S_MAX + 0.1


async def test_a_name_without_an_address_or_without_an_answer_is_told(autojump_clock: MockClock) -> None:
    async def unknown(_: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def silent(_: str) -> list[str]:
        await trio.sleep_forever()

    for resolve, words in (
        (unknown, f"the name {INSTANCE} has no address: Name or service not known"),
        (names([]), f"the name {INSTANCE} has no address"),
        (silent, f"the look-up of the name {INSTANCE} takes too long"),
    ):
        failed = await fails(
            client(SystemNet(NO_TLS, (), network=Unreachable(), resolve=resolve), f"https://{INSTANCE}")
        )
        assert (failed.outcome, failed.message) == ("unavailable", f"cannot be reached: {words}")
    assert trio.current_time() == pytest.approx(CONNECT_S_MAX)


async def test_look_ups_that_hang_leave_the_threads_of_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    let_go = trio.Event()
    hanging = 0

    def hangs(*_: object, **__: object) -> list[object]:
        nonlocal hanging
        hanging += 1
        trio.from_thread.run(let_go.wait)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    transport = SystemNet(NO_TLS, ()).transport(60)
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            request = httpx.Request("GET", f"https://{INSTANCE}", extensions={"timeout": {"connect": 0.05}})
            with pytest.raises(httpx.ConnectTimeout):
                await transport.handle_async_request(request)

        for _ in range(60):  # more than the threads that there are for everything else
            nursery.start_soon(ask)
    with trio.fail_after(10):
        await trio.to_thread.run_sync(lambda: None)
    assert hanging == 2
    let_go.set()


async def test_the_systems_resolver_finds_this_machine_and_reaches_it() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, answers_all, listeners)
        for host in ("localhost", "127.0.0.1"):
            external = client(SystemNet(NO_TLS, ()), f"http://{host}:{port}")
            assert await external.read(["a" * 32]) == []
            await external.aclose()
        nursery.cancel_scope.cancel()
    failed = await fails(client(SystemNet(NO_TLS, ()), f"http://127.0.0.1:{port}"))
    assert failed.message == "cannot be reached: 127.0.0.1 at 127.0.0.1: Connection refused"


# -- the pool ----------------------------------------------------------------------------------------------------------


def contexts() -> list[ssl.SSLContext]:
    """All that there are."""
    return [thing for thing in gc.get_objects() if isinstance(thing, ssl.SSLContext)]


async def test_many_integrations_share_one_tls_context_that_was_made_before(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    network = MemoryNetwork(nursery, answers_all)
    tls = tls_context()
    net = SystemNet(tls, (), network=network, resolve=names(["149.96.1.1"]))
    before = contexts()
    clients = [client(net, f"https://dev{number}.service-now.com") for number in range(50)]
    for external in clients:
        assert await external.read(["a" * 32]) == []
    assert [one for one in contexts() if one not in before] == []
    assert [one is tls for one in network.tls] == [True] * 50
    for external in clients:
        await external.aclose()


async def give_two_up(ask: Callable[[], Awaitable[object]], network: MemoryNetwork) -> None:
    """Two requests over one place are given up: the second, which waits, at the moment at which the first has gone."""
    first, second = trio.CancelScope(), trio.CancelScope()

    async def run(scope: trio.CancelScope) -> None:
        with scope:
            await ask()

    async with trio.open_nursery() as nursery:
        for scope in (first, second):
            nursery.start_soon(run, scope)
            await wait_all_tasks_blocked()
        network.on_close = second.cancel
        first.cancel()
    network.on_close = bool


async def test_requests_that_are_given_up_wedge_httpxs_pool_but_not_ours(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    is_silent = True

    async def serve(stream: trio.abc.Stream) -> None:
        if is_silent:
            await trio.sleep_forever()
        await answers_all(stream)

    network = MemoryNetwork(nursery, serve)
    net = SystemNet(NO_TLS, (), network=network, resolve=names(["127.0.0.1"]))
    bare = net.transport(1)

    async def ask_bare() -> None:
        extensions = {"timeout": {"pool": 60.0}}
        await bare.handle_async_request(httpx.Request("GET", "http://localhost/", extensions=extensions))

    ours = ServiceNow("http://localhost", SIGN_IN, net.transport(1), SystemClock(), rate=1000.0, concurrency=1)
    await give_two_up(ask_bare, network)
    await give_two_up(lambda: ours.read(["a" * 32]), network)
    is_silent = False
    with pytest.raises(httpx.PoolTimeout):  # once this no longer fails, the limiter in front of the pool can go
        await ask_bare()
    assert await ours.read(["a" * 32]) == []
    await ours.aclose()
