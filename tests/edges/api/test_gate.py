"""The gate alone, as an ASGI application: what passes, what is refused and how, and what an application sees."""

import pytest
import trio
import trio.testing
from hypercorn.typing import ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, ASGISendEvent, HTTPScope, Scope

from syncd.edges.api.gate import WEBHOOK_PREFIX, Gate, GateLimits, body_bytes_max
from syncd.edges.api.webhooks import WEBHOOK_PREFIX as SERVED_PREFIX
from tests.edges.api.doors import (
    GET,
    HEAD,
    Answer,
    answer_plainly,
    answerer,
    echo,
    open_door,
    open_stock,
    post,
    quart_app,
)

WEBHOOK = "/api/v1/webhooks/int_1"
MIB = 1024 * 1024


async def ask(raw: bytes, gate: Gate | None = None) -> Answer:
    async with open_door(gate or Gate(echo)) as door:
        caller = door.dial()
        await caller.send(raw)
        return await caller.answer()


class TestBodies:
    def test_the_webhook_path_takes_1_mib_and_the_others_2(self) -> None:
        assert WEBHOOK_PREFIX == SERVED_PREFIX
        assert body_bytes_max(WEBHOOK) == MIB
        assert body_bytes_max("/api/v1/incidents") == 2 * MIB
        assert body_bytes_max("/api/v1/webhooks") == 2 * MIB

    @pytest.mark.parametrize(("path", "bytes_max"), [(WEBHOOK, MIB), ("/api/v1/incidents", 2 * MIB)])
    @pytest.mark.parametrize("is_chunked", [True, False], ids=["chunked", "length"])
    async def test_a_body_at_the_limit_passes_and_one_byte_more_does_not(
        self,
        path: str,
        bytes_max: int,
        is_chunked: bool,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        for size in (bytes_max, bytes_max + 1):
            body = b"x" * size
            if is_chunked:
                head = b"POST " + path.encode() + HEAD + b"transfer-encoding: chunked\r\n\r\n"
                raw = head + b"%x\r\n" % size + body + b"\r\n0\r\n\r\n"
            else:
                raw = post(path, body)
            answer = await ask(raw)
            if size == bytes_max:
                assert (answer.status, answer.body) == (200, body)
            else:
                assert (answer.status, answer.headers["connection"]) == (413, "close")
                assert answer.problem["detail"] == (
                    f"the body is over the limit of {bytes_max} bytes for this path; split it, or leave something out"
                )

    async def test_the_path_is_judged_decoded(self, autojump_clock: trio.testing.MockClock) -> None:
        assert (await ask(post("/api/v1/%77ebhooks/int_1", b"x" * (MIB + 1)))).status == 413

    async def test_a_body_that_drips_is_refused_after_10_s(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_door(Gate(quart_app())) as door, trio.open_nursery() as nursery:
            caller = door.dial()

            async def drip() -> None:
                await caller.send(b"POST /" + HEAD + b"content-length: 1000\r\n\r\n")
                for _ in range(14):
                    await trio.sleep(1)
                    await caller.send(b"x")

            nursery.start_soon(drip)
            answer = await caller.answer()
            assert trio.current_time() == pytest.approx(10)
            assert (answer.status, answer.headers["connection"]) == (408, "close")
            assert "10 s" in answer.problem["detail"]
            assert await caller.seconds_to_close() == 0

    async def test_bodies_that_never_end_hold_little_together_and_the_one_that_came_first_goes(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """Nobody was asked for a token yet, so 512 of these could otherwise hold a gigabyte for 10 s."""
        limits = GateLimits(arriving_bytes=10 * MIB)
        head = b"POST /" + HEAD + b"content-length: %d\r\n\r\n" % (2 * MIB)
        async with open_door(Gate(echo, limits=limits)) as door:
            hoarders = []
            small = door.dial()
            await small.send(b"POST /" + HEAD + b"content-length: 60001\r\n\r\n" + b"x" * 60_000)
            for _ in range(20):
                hoarders.append(door.dial())
                await hoarders[-1].send(head + b"x" * (2 * MIB - 1))
                await trio.sleep(0.1)
            for hoarder in hoarders[:15]:
                answer = await hoarder.answer()
                assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (
                    503,
                    "1",
                    "close",
                )
                assert str(limits.arriving_bytes) in answer.problem["detail"]
            caller = door.dial()
            await caller.send(post("/", b"x" * MIB))
            assert (await caller.answer()).status == 200
            await hoarders[-1].send(b"x")
            assert (await hoarders[-1].answer()).status == 200
            await small.send(b"x")
            assert (await small.answer()).status == 200
            assert trio.current_time() < 2.1

    async def test_a_client_that_leaves_in_its_body_never_reaches_the_application(
        self, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
    ) -> None:
        async def app(send: ASGISendCallable) -> None:
            await trio.lowlevel.checkpoint()
            raise AssertionError

        async with open_door(Gate(answerer(app))) as door:
            caller = door.dial()
            await caller.send(b"POST /" + HEAD + b"content-length: 1000\r\n\r\nx")
            await caller.hang_up()
        assert caplog.records == []

    async def test_quart_gets_the_body_in_one_piece(self) -> None:
        body = b"\x00\xff" * 100_000
        assert (await ask(post("/", body), Gate(quart_app()))).body == body


class TestHeads:
    @pytest.mark.parametrize(
        ("raw", "status", "word"),
        [
            (
                b"POST /" + HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
                400,
                "must not come together",
            ),
            (b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400, "HTTP/1.0"),
            (b"GET http://elsewhere.example/" + HEAD + b"\r\n", 400, "request target"),
            (b"OPTIONS *" + HEAD + b"\r\n", 400, "request target"),
            (b"GET ?x" + HEAD + b"\r\n", 400, "request target"),
            (b"GET /" + HEAD + b"a: " + b"x" * 17_000 + b"\r\n\r\n", 431, "16384 bytes"),
            (b"GET /" + b"x" * 17_000 + HEAD + b"\r\n", 431, "16384 bytes"),
            (b"GET /?" + b"x" * 17_000 + HEAD + b"\r\n", 431, "16384 bytes"),
            (b"GET /" + HEAD + b"a: b\r\n" * 3_000 + b"\r\n", 431, "16384 bytes"),
        ],
    )
    async def test_a_faulty_one_is_refused_and_the_connection_closed(
        self, raw: bytes, status: int, word: str, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_door(Gate(quart_app())) as door:
            caller = door.dial()
            await caller.send(raw)
            answer = await caller.answer()
            assert (answer.status, answer.headers["connection"]) == (status, "close")
            assert word in answer.problem["detail"]
            assert await caller.seconds_to_close() == 0

    async def test_stock_takes_both_framings_and_17_kb_of_headers(self) -> None:
        for raw in (
            b"POST /" + HEAD + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            b"GET /" + HEAD + b"a: " + b"x" * 17_000 + b"\r\n\r\n",
        ):
            async with open_stock(echo) as (caller, _, _):
                await caller.send(raw)
                assert (await caller.answer()).status == 200

    async def test_16_000_bytes_of_headers_pass(self) -> None:
        assert (await ask(b"GET /" + HEAD + b"a: " + b"x" * 16_000 + b"\r\n\r\n")).status == 200

    @pytest.mark.parametrize("length", [b"", b"-1", b"+1", b"1,1", b" 1", b"0x1", b"1" * 20, b"\xb2"])
    async def test_a_length_that_is_no_number_is_refused_whatever_the_server_let_through(self, length: bytes) -> None:
        assert await status_of([(b"content-length", length)]) == 400

    async def test_a_number_of_19_digits_is_too_large_and_no_error(self) -> None:
        assert await status_of([(b"content-length", b"9" * 19)]) == 413

    async def test_two_lengths_are_refused_even_when_equal(self) -> None:
        assert await status_of([(b"content-length", b"1"), (b"content-length", b"1")]) == 400


class TestExchange:
    async def test_stock_quart_with_a_gate_closes_when_idle(self, autojump_clock: trio.testing.MockClock) -> None:
        """The gate alone hides Quart-Trio's self-cancellation; without it this connection stays open for ever."""
        async with open_stock(Gate(quart_app())) as (caller, _, _):
            await caller.send(GET)
            await caller.answer()
            assert await caller.seconds_to_close() == pytest.approx(5)

    async def test_an_application_that_is_cancelled_while_it_sends_still_sends(self) -> None:
        sent: list[str] = []

        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            with trio.CancelScope() as scope_of_its_own:
                scope_of_its_own.cancel()
                await answer_plainly(send)

        async def send(message: ASGISendEvent) -> None:
            await trio.lowlevel.checkpoint()
            sent.append(message["type"])

        await Gate(app)(scope_of([]), no_body, send)
        assert sent == ["http.response.start", "http.response.body"]

    async def test_the_disconnect_at_the_end_is_held_back_until_the_last_send_returned(self) -> None:
        sending = trio.Event()
        order: list[str] = []

        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await receive()

            async def listen() -> None:
                order.append((await receive())["type"])

            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                await trio.testing.wait_all_tasks_blocked()
                await answer_plainly(send)
                order.append("sent")

        ended = trio.Event()

        async def receive() -> ASGIReceiveEvent:
            if not sending.is_set():
                sending.set()
                return {"type": "http.request", "body": b"", "more_body": False}
            await ended.wait()
            return {"type": "http.disconnect"}

        async def send(message: ASGISendEvent) -> None:
            if message["type"] == "http.response.body":
                ended.set()
                await trio.testing.wait_all_tasks_blocked()

        await Gate(app)(scope_of([]), receive, send)
        assert order == ["sent", "http.disconnect"]

    async def test_a_receive_after_the_answer_does_not_wait_for_ever(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        seen: list[str] = []

        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await answer_plainly(send)
            while (message := await receive())["type"] == "http.request":
                seen.append(message["type"])
            seen.append(message["type"])

        assert (await ask(GET, Gate(app))).status == 200
        assert seen == ["http.request", "http.disconnect"]

    async def test_an_error_after_the_client_left_is_no_alarm(
        self, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
    ) -> None:
        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await trio.sleep(60)
            try:
                await answer_plainly(send)
            except ConnectionError as error:
                raise RuntimeError("the framework turned it into something else") from error

        async with open_door(Gate(app)) as door:
            caller = door.dial()
            await caller.send(GET)
            await caller.stream.send_eof()
            await trio.sleep(100)
        assert caplog.records == []

    async def test_other_scopes_pass_untouched(self) -> None:
        seen = []

        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await trio.lowlevel.checkpoint()
            seen.append(scope["type"])

        async def send(message: ASGISendEvent) -> None:
            await trio.lowlevel.checkpoint()
            raise AssertionError

        await Gate(app)({"type": "lifespan", "asgi": {}, "state": {}}, no_body, send)
        assert seen == ["lifespan"]

    async def test_the_limits_can_be_set(self, autojump_clock: trio.testing.MockClock) -> None:
        gate = Gate(echo, body_bytes_of=len, limits=GateLimits(header_bytes=100, body_s=1))
        assert (await ask(post("/12", b"123"), gate)).status == 200
        assert (await ask(post("/12", b"1234"), gate)).status == 413
        assert (await ask(post("/12", b"", b"a: " + b"x" * 60), gate)).status == 431
        assert (await ask(b"POST /12" + HEAD + b"content-length: 3\r\n\r\n", gate)).status == 408


async def no_body() -> ASGIReceiveEvent:
    await trio.lowlevel.checkpoint()
    return {"type": "http.request", "body": b"", "more_body": False}


def scope_of(headers: list[tuple[bytes, bytes]]) -> HTTPScope:
    return {
        "type": "http",
        "asgi": {},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": None,
        "server": None,
        "state": {},  # type: ignore[typeddict-item]
        "extensions": {},
    }


async def status_of(headers: list[tuple[bytes, bytes]]) -> int:
    statuses = []

    async def send(message: ASGISendEvent) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await Gate(echo)(scope_of(headers), no_body, send)
    [status] = statuses
    return status
