"""Over the real transport: connections that end under a request, and errors that tell no secret."""

from collections.abc import Callable
from functools import partial
from typing import Final

import pytest
import trio
from trio.testing import MockClock

from syncd.errors import ExternalFailed
from syncd.net import SystemNet
from syncd.seams import SystemClock
from syncd.systems.servicenow import ServiceNow
from syncd.systems.signin import Credentials
from tests.network import NO_ROWS, NO_TLS, MemoryNetwork, answer, names, request_in

SIGN_IN: Final = Credentials("svc.sync", "sync-secret-7351")
ID: Final = "a" * 32


@pytest.mark.parametrize("is_asked_again", [False, True])
async def test_a_kept_connection_that_the_peer_has_closed_is_unavailable_or_ambiguous_and_the_next_is_new(
    is_asked_again: bool,
) -> None:
    """Over real sockets: closed while it was idle it is not used again; closed under a request it is not repeated."""
    requests = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal requests
        await request_in(stream)
        requests += 1
        await stream.send_all(NO_ROWS)
        if is_asked_again:
            requests += bool(await request_in(stream))
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        external = ServiceNow(url, SIGN_IN, SystemNet(NO_TLS, ()).transport(1), SystemClock(), rate=1e3, concurrency=1)
        for outcome, ask in (
            ("unavailable", lambda: external.read([ID])),
            ("ambiguous", lambda: external.update(ID, {"state": "2"})),
        ):
            assert await external.read([ID]) == []
            if not is_asked_again:
                await trio.sleep(0.05)  # the close is there before the next request
                continue
            with pytest.raises(ExternalFailed, match="disconnected") as caught:
                await ask()
            assert caught.value.outcome == outcome
        await external.aclose()
        nursery.cancel_scope.cancel()
    assert requests == (4 if is_asked_again else 2)


@pytest.mark.parametrize(
    "peer",
    [
        lambda request: b"HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\n\r\n<pre>" + request,
        lambda request: answer(b"x" * 190 + request),
        lambda request: answer(b"x" * 500 + request + b"x"),
        lambda request: answer(b'{"error":{"message":"' + request.replace(b"\r\n", b" ") + b'"}}'),
        lambda request: request.replace(b"\r\n", b" ") + b"\r\n\r\n",
        lambda request: b"HTTP/1.1 200 OK\r\n" + request.replace(b"\r\n", b" ").replace(b":", b"\x01") + b"\r\n\r\n",
        lambda request: (
            b"HTTP/1.1 302 Found\r\nLocation: //x" + request.split()[-1] + b"/?" + request.split()[1] + b"\r\n\r\n"
        ),
    ],
    ids=["page", "cut", "broken", "error", "status line", "header", "redirect"],
)
@pytest.mark.parametrize("credentials", [SIGN_IN, Credentials(api_key="key-of-the-api-4711")], ids=["basic", "key"])
async def test_an_answer_that_repeats_the_request_puts_no_secret_and_no_query_into_the_error(
    autojump_clock: MockClock, nursery: trio.Nursery, peer: Callable[[bytes], bytes], credentials: Credentials
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        request = await request_in(stream)
        lines = request.split(b"\r\n")
        secrets = [line for line in lines if line.lower().startswith((b"authorization", b"x-sn-apikey"))]
        await stream.send_all(peer(b"\r\n".join([lines[0].replace(b"GET", b"get"), *secrets, *secrets])))

    network = MemoryNetwork(nursery, serve)
    net = SystemNet(NO_TLS, (), network=network, resolve=names(["127.0.0.1"]))
    external = ServiceNow("http://localhost", credentials, net.transport(1), SystemClock(), rate=1000.0, concurrency=1)
    with pytest.raises(ExternalFailed) as caught:
        await external.read([ID])
    told = f"{caught.value} {caught.value.message} {caught.value.detail}"
    sent = [value.removeprefix("Basic ") for value in credentials.headers().values()]
    for secret in filter(None, (credentials.password, *sent)):
        assert secret[:8] not in told
    nursery.cancel_scope.cancel()
