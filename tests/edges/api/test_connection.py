"""Each hole of stock Hypercorn that docs/http.md names: shown there where that is cheap, closed here."""

import logging
from collections.abc import AsyncIterator, Callable

import pytest
import trio
import trio.testing
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Response
from quart_trio import QuartTrio

from syncd.edges.api.gate import ASGIApp, Gate
from syncd.edges.api.http1 import HYPERCORN, require_hypercorn
from syncd.edges.api.serve import ServeLimits
from tests.edges.api.doors import (
    GET,
    HEAD,
    UPGRADE,
    WEBSOCKET,
    Caller,
    Pair,
    answer_plainly,
    answerer,
    echo,
    open_door,
    open_stock,
    post,
    quart_app,
    stock_survives,
)

APPS: dict[str, Callable[[], ASGIApp]] = {
    "raw": lambda: echo,
    "gated raw": lambda: Gate(echo),
    "quart": quart_app,
    "gated quart": lambda: Gate(quart_app()),
}
each_app = pytest.mark.parametrize("make_app", APPS.values(), ids=APPS)

LETHAL = {
    "websocket and one byte": WEBSOCKET + b"\r\nx",
    "websocket extension not ascii": WEBSOCKET + b"sec-websocket-extensions: \xff\r\n\r\n",
    "h2c with bad settings": UPGRADE + b"upgrade: h2c\r\nhttp2-settings: AAA\r\n\r\n",
}
each_lethal = pytest.mark.parametrize("payload", LETHAL.values(), ids=LETHAL)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
H2C = UPGRADE + b"upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n"


def stalling() -> tuple[ASGIApp, trio.Event]:
    """An application that streams without end, and the event of its end."""
    ended = trio.Event()

    async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        finally:
            ended.set()

    return app, ended


async def unread_body(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Answers without having looked at the body."""
    await trio.sleep(1)
    await answer_plainly(send, b"early")


def quart_slow() -> tuple[QuartTrio, list[str]]:
    app, fates = QuartTrio("slow"), list[str]()

    @app.get("/")
    async def slow() -> str:
        try:
            await trio.sleep(1)
        except trio.Cancelled:
            fates.append("cancelled")
            raise
        fates.append("finished")
        return "done"

    return app, fates


class TestOnlyHttp1:
    @each_lethal
    async def test_stock_dies_of_one_request(self, payload: bytes, autojump_clock: trio.testing.MockClock) -> None:
        assert await stock_survives(lambda caller: caller.send(GET))
        assert not await stock_survives(lambda caller: caller.send(payload))

    @each_app
    @each_lethal
    async def test_no_upgrade_is_taken_up_and_nothing_dies(
        self, payload: bytes, make_app: Callable[[], ASGIApp], autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_door(make_app()) as door:
            assert (await (await called(door.dial(), payload)).answer()).status == 200
            assert (await (await called(door.dial(), GET)).answer()).status == 200

    async def test_a_good_h2c_upgrade_is_answered_in_http1(self) -> None:
        async with open_door(echo) as door:
            caller = await called(door.dial(), H2C + GET)
            assert [(await caller.answer()).status for _ in range(2)] == [200, 200]

    async def test_the_preface_of_http2_is_refused_and_closed(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_stock(echo) as (caller, _, _):
            assert (await (await called(caller, PREFACE)).chunk()).startswith(b"\x00\x00")  # a SETTINGS frame
        async with open_door(echo) as door:
            caller = await called(door.dial(), PREFACE)
            answer = await caller.answer()
            assert answer.status == 505
            assert "HTTP/1.1" in answer.problem["detail"]
            assert await caller.seconds_to_close() == 0
            assert await (await called(door.dial(), b"HEAD * HTTP/2.0\r\n\r\n")).seconds_to_close() == 0

    async def test_http10_is_answered_and_closed(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_door(echo) as door:
            caller = await called(door.dial(), b"POST / HTTP/1.0\r\ncontent-length: 2\r\n\r\nhi")
            assert (await caller.answer()).body == b"hi"
            assert await caller.seconds_to_close() == 0

    @pytest.mark.parametrize(
        ("raw", "status"),
        [
            (b"hello\r\n\r\n", 400),
            (b"\r\n\r\n", 400),
            (b"GET / HTTP/1.1\r\n\r\n", 400),
            (b"GET /" + HEAD + b"host: y\r\n\r\n", 400),
            (b"GET /" + HEAD + b"a: b\x00c\r\n\r\n", 400),
            (b"POST /" + HEAD + b"content-length: +5\r\n\r\nhello", 400),
            (b"POST /" + HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\nhello", 400),
            (b"POST /" + HEAD + b"content-length: " + b"9" * 5000 + b"\r\n\r\nhello", 400),
            (b"POST /" + HEAD + b"transfer-encoding: gzip\r\n\r\nhello", 501),
            (b"POST /" + HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", 400),
            (b"CONNECT x:80" + HEAD + b"\r\n", 501),
            (b"GET /" + HEAD + b"a: " + b"x" * 70_000 + b"\r\n\r\n", 431),
            (b"GET /" + HEAD + b"a: " + b"x" * 21_000, 431),
            (b"GET /" + HEAD + b"a:" + b" " * 25_000 + b"b\r\n\r\n", 431),  # blanks that no application would see
        ],
    )
    async def test_what_h11_refuses_is_a_problem(
        self, raw: bytes, status: int, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_door(Gate(echo)) as door:
            caller = await called(door.dial(), raw)
            answer = await caller.answer()
            assert (answer.status, answer.headers["connection"]) == (status, "close")
            assert answer.problem["detail"]
            assert await caller.seconds_to_close() == 0

    async def test_no_answer_names_the_server(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_stock(echo) as (caller, _, _):
            assert "server" in (await (await called(caller, GET)).answer()).headers
        async with open_door(echo) as door:
            for raw in (GET, b"nonsense\r\n\r\n"):
                assert "server" not in (await (await called(door.dial(), raw)).answer()).headers

    def test_another_hypercorn_is_refused_by_name(self) -> None:
        require_hypercorn(HYPERCORN)
        with pytest.raises(ImportError, match=r"hypercorn 0\.18\.0, and 0\.19\.0 is installed; install the packages"):
            require_hypercorn("0.19.0")


class TestDeadlines:
    async def test_stock_keeps_an_idle_quart_connection_for_ever(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_stock(quart_app()) as (caller, _, _):
            await (await called(caller, GET)).answer()
            assert await caller.seconds_to_close(within_s=600) == float("inf")

    @each_app
    async def test_an_idle_connection_is_closed_after_5_s_each_time(
        self, make_app: Callable[[], ASGIApp], autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_door(make_app()) as door:
            caller = door.dial()
            for _ in range(3):
                await (await called(caller, GET)).answer()
                await trio.sleep(4.9)
            await (await called(caller, GET)).answer()
            assert await caller.seconds_to_close() == pytest.approx(5)

    async def test_a_silent_connection_is_closed_after_5_s(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_door(echo) as door:
            assert await door.dial().seconds_to_close() == pytest.approx(5)

    async def test_headers_that_drip_are_cut_5_s_after_their_first_byte(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_door(echo) as door:
            caller = door.dial()
            await trio.sleep(4)
            for byte in b"GET /":
                await caller.send(bytes([byte]))
                await trio.sleep(0.9)
            assert await caller.seconds_to_close() == pytest.approx(0.5)

    @each_app
    async def test_a_request_may_take_its_time(
        self, make_app: Callable[[], ASGIApp], autojump_clock: trio.testing.MockClock
    ) -> None:
        app = make_app()

        async def slowly(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await trio.sleep(120)
            await app(scope, receive, send)

        async with open_door(slowly) as door:
            assert (await (await called(door.dial(), GET)).answer()).status == 200

    async def test_a_stream_lives_for_hours_behind_quart(self, autojump_clock: trio.testing.MockClock) -> None:
        app = QuartTrio("stream")
        app.config["RESPONSE_TIMEOUT"] = None

        @app.get("/")
        async def stream() -> Response:
            async def beats() -> AsyncIterator[bytes]:
                for _ in range(4):
                    yield b": beat\n\n"
                    await trio.sleep(3600)

            await trio.lowlevel.checkpoint()
            return Response(beats(), content_type="text/event-stream")

        async with open_door(Gate(app)) as door:
            caller = await called(door.dial(), GET)
            assert (await caller.answer()).body == b": beat\n\n" * 4
            assert await caller.seconds_to_close() == pytest.approx(5)


class TestClientsThatDoNotRead:
    async def test_stock_cannot_be_cancelled_while_a_client_does_not_read(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        app, ended = stalling()
        async with open_stock(app, trio.testing.lockstep_stream_pair) as (caller, nursery, _):
            await caller.send(GET)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True), trio.move_on_after(600) as waiting:
                await ended.wait()
            assert waiting.cancelled_caught
            with trio.CancelScope(shield=True):
                await caller.hang_up()

    async def test_they_are_cut_after_10_s_and_the_application_is_told(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        app, ended = stalling()
        async with open_door(app) as door:
            caller = await called(door.dial_unread(), GET)
            began_at = trio.current_time()
            await ended.wait()
            assert trio.current_time() - began_at == pytest.approx(10)
            assert await caller.seconds_to_close() == 0

    async def test_a_slow_reader_of_a_large_answer_gets_all_of_it(self, autojump_clock: trio.testing.MockClock) -> None:
        size = 1024 * 1024

        async with open_door(answerer(lambda send: answer_plainly(send, b"x" * size))) as door:
            caller = await called(door.dial_unread(), GET)
            seen = 0
            while seen < size:
                await trio.sleep(9)
                seen += len(await caller.chunk())

    async def test_a_write_that_its_application_abandons_is_still_whole(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """The protocol counts these bytes as sent, so the next answer on the connection depends on them."""

        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            with trio.move_on_after(1):
                await send({"type": "http.response.body", "body": b"123456789", "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        async with open_door(app) as door:
            caller = door.dial(tardy_pair)
            for _ in range(2):
                await caller.send(GET)
                assert (await caller.answer()).body == b"123456789"


class TestClientsThatLeave:
    async def test_stock_cancels_quart_when_a_client_closes_its_sending_side(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        app, fates = quart_slow()
        async with open_stock(app) as (caller, _, _):
            await caller.send(GET)
            await caller.stream.send_eof()
            await trio.sleep(2)
        assert fates == ["cancelled"]

    @pytest.mark.parametrize("wrap", [lambda app: app, Gate], ids=["bare", "gated"])
    async def test_a_client_that_closed_its_sending_side_gets_its_answer(
        self, wrap: Callable[[ASGIApp], ASGIApp], autojump_clock: trio.testing.MockClock
    ) -> None:
        app, fates = quart_slow()
        async with open_door(wrap(app)) as door:
            caller = await called(door.dial(), GET)
            await caller.stream.send_eof()
            assert (await caller.answer()).body == b"done"
            assert await caller.seconds_to_close() == 0
        assert fates == ["finished"]

    async def test_it_is_given_up_after_10_s(self, autojump_clock: trio.testing.MockClock) -> None:
        fates: list[str] = []

        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            fates.append((await receive())["type"])
            fates.append((await receive())["type"])
            with pytest.raises(ConnectionError, match="client has left"):
                await answer_plainly(send)
            fates.append("told")

        async with open_door(app) as door:
            caller = await called(door.dial(), GET)
            await caller.stream.send_eof()
            assert await caller.seconds_to_close() == pytest.approx(10)
        assert fates == ["http.request", "http.disconnect", "told"]

    async def test_a_client_that_breaks_off_cancels_quart_but_not_a_raw_application(
        self, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        quart, fates = quart_slow()

        async def raw(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await trio.sleep(1)
            fates.append("raw finished")
            await answer_plainly(send)

        for app in (quart, raw):
            async with open_door(Gate(app)) as door:
                caller = await called(door.dial(resetting_pair), GET)
                await trio.sleep(0.1)
                await caller.hang_up()
                await trio.sleep(2)
        assert fates == ["cancelled", "raw finished"]
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []

    async def test_a_stream_ends_soon_after_its_client(self, autojump_clock: trio.testing.MockClock) -> None:
        ended_at = []

        async def stream(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            try:
                while True:
                    await send({"type": "http.response.body", "body": b": beat\n\n", "more_body": True})
                    await trio.sleep(15)
            finally:
                ended_at.append(trio.current_time())

        async with open_door(Gate(stream)) as door:
            caller = await called(door.dial(), GET)
            await caller.chunk()
            left_at = trio.current_time()
            await caller.hang_up()
            await trio.sleep(60)
        assert ended_at[0] - left_at <= 15

    async def test_stock_hangs_for_ever_on_a_body_that_nobody_reads(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_stock(unread_body) as (caller, _, _):
            for _ in range(30):
                await caller.send(b"POST /" + HEAD + b"content-length: 10000000\r\n\r\n" if not _ else b"x" * 65536)
                await trio.sleep(0.1)
            await caller.answer()
            assert await caller.seconds_to_close(within_s=600) == float("inf")

    async def test_an_answer_before_the_body_is_read_is_the_last_and_is_not_lost(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_door(unread_body) as door:
            caller = door.dial()
            for _ in range(30):
                await caller.send(b"POST /" + HEAD + b"content-length: 10000000\r\n\r\n" if not _ else b"x" * 65536)
                await trio.sleep(0.1)
            assert (await caller.answer()).body == b"early"
            assert await caller.seconds_to_close() == 0
            await caller.send(b"x" * 65536)  # the server still reads for a while, so that no reset overtakes the answer
            await trio.sleep(5)
            with pytest.raises(trio.BrokenResourceError):
                await caller.send(b"x")


class TestConversation:
    @each_app
    async def test_pipelined_requests_are_answered_in_order(self, make_app: Callable[[], ASGIApp]) -> None:
        async with open_door(make_app()) as door:
            bodies = [b"%d" % number * 1000 for number in range(20)]
            caller = await called(door.dial(), b"".join(post("/", body) for body in bodies))
            assert [(await caller.answer()).body for _ in bodies] == bodies

    async def test_a_connection_serves_more_requests_than_hypercorn_would_let_it(self) -> None:
        async with open_door(echo) as door:
            caller = door.dial()
            for _ in range(1005):
                await caller.send(GET)
                assert "connection" not in (await caller.answer()).headers

    async def test_100_continue_is_sent_when_the_application_asks_for_the_body(self) -> None:
        head = b"POST /" + HEAD + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n"
        async with open_door(Gate(echo)) as door:
            caller = await called(door.dial(), head)
            assert (await caller.answer()).status == 100
            await caller.send(b"hi")
            assert (await caller.answer()).body == b"hi"
            await caller.send(post("/", b"again"))
            assert (await caller.answer()).body == b"again"

    async def test_a_body_that_is_too_long_is_not_invited(self, autojump_clock: trio.testing.MockClock) -> None:
        head = b"POST /" + HEAD + b"expect: 100-continue\r\ncontent-length: 99999999\r\n\r\n"
        async with open_stock(Gate(echo)) as (caller, _, _):
            assert (await (await called(caller, head)).answer()).status == 100
        async with open_door(Gate(echo)) as door:
            caller = await called(door.dial(), head)
            assert (await caller.answer()).status == 413
            assert await caller.seconds_to_close() == 0


class TestFailingApplications:
    @pytest.mark.parametrize("wrap", [lambda app: app, Gate], ids=["bare", "gated"])
    async def test_an_error_is_one_problem_and_one_traceback(
        self, wrap: Callable[[ASGIApp], ASGIApp], caplog: pytest.LogCaptureFixture
    ) -> None:
        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await trio.lowlevel.checkpoint()
            raise ValueError("planted")

        async with open_door(wrap(app)) as door:
            answer = await (await called(door.dial(), GET)).answer()
            assert answer.status == 500
            assert "planted" not in answer.problem["detail"]
            assert (await (await called(door.dial(), GET)).answer()).status == 500
        assert len(caplog.records) == 2
        assert all("planted" in str(record.exc_text) for record in caplog.records)

    @pytest.mark.parametrize("wrap", [lambda app: app, Gate], ids=["bare", "gated"])
    async def test_silence_is_answered_too(
        self, wrap: Callable[[ASGIApp], ASGIApp], caplog: pytest.LogCaptureFixture
    ) -> None:
        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await trio.lowlevel.checkpoint()

        async with open_door(wrap(app)) as door:
            assert (await (await called(door.dial(), GET)).answer()).problem["title"] == "Internal error"
        assert len(caplog.records) == 1

    @pytest.mark.parametrize("wrap", [lambda app: app, Gate], ids=["bare", "gated"])
    @pytest.mark.parametrize("is_error", [True, False], ids=["error", "return"])
    async def test_half_an_answer_is_never_made_to_look_whole(
        self,
        wrap: Callable[[ASGIApp], ASGIApp],
        is_error: bool,
        caplog: pytest.LogCaptureFixture,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            if is_error:
                raise ValueError("planted")

        async with open_door(wrap(app)) as door:
            caller = await called(door.dial(), GET + GET)
            seen = b""
            while chunk := await caller.chunk():
                seen += chunk
            assert seen.endswith(b"4\r\nhalf\r\n")
            assert seen.count(b"HTTP/1.1 ") == 1
        assert caplog.records[-1].levelno == logging.ERROR

    @pytest.mark.parametrize(
        "headers", [[(b"x", b"a\nb")], [(b"", b"")], [(b"content-length", b"none")], [(b"x y", b"z")]]
    )
    async def test_an_answer_that_is_no_http_is_contained(
        self,
        headers: list[tuple[bytes, bytes]],
        caplog: pytest.LogCaptureFixture,
        autojump_clock: trio.testing.MockClock,
    ) -> None:
        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

        async with open_door(Gate(app)) as door:
            for _ in range(2):
                assert await (await called(door.dial(), GET)).seconds_to_close() == 0
        assert caplog.records[0].levelno == logging.ERROR

    async def test_a_quart_error_page_is_left_to_quart(self, caplog: pytest.LogCaptureFixture) -> None:
        app = QuartTrio("failing")

        @app.get("/")
        async def fail() -> str:
            await trio.lowlevel.checkpoint()
            raise ValueError("planted")

        async with open_door(Gate(app)) as door:
            caller = door.dial()
            for _ in range(2):
                assert (await (await called(caller, GET)).answer()).status == 500

    async def test_an_application_that_spins_after_the_disconnect_does_not_stop_the_world(self) -> None:
        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            while True:
                await receive()

        async with open_door(app, ServeLimits(half_closed_s=0.01, grace_s=0.01)) as door:
            caller = await called(door.dial(), GET)
            await caller.hang_up()
            with trio.fail_after(5):
                await (await called(door.dial(), b"bad\r\n\r\n")).answer()

    async def test_system_exit_is_meant_and_ends_the_server(self) -> None:
        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            await trio.lowlevel.checkpoint()
            raise SystemExit(3)

        with pytest.RaisesGroup(SystemExit, flatten_subgroups=True):
            async with open_door(Gate(app)) as door:
                await door.dial().send(GET)
                await door.ended.wait()


class Tardy(trio.abc.SendStream):
    """Each write takes 2 s, and nothing of one that is cancelled arrives."""

    def __init__(self, inner: trio.abc.SendStream) -> None:
        self._inner = inner

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.sleep(2)
        await self._inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._inner.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._inner.aclose()


def tardy_pair() -> Pair:
    ours, theirs = trio.testing.memory_stream_pair()
    return trio.StapledStream(Tardy(ours.send_stream), ours.receive_stream), theirs


class Resetting(trio.abc.ReceiveStream):
    """The leaving of this client resets the connection, instead of closing it in order."""

    def __init__(self, inner: trio.abc.ReceiveStream) -> None:
        self._inner = inner

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        received = await self._inner.receive_some(max_bytes)
        if not received:
            raise trio.BrokenResourceError
        return bytes(received)

    async def aclose(self) -> None:
        await self._inner.aclose()


def resetting_pair() -> Pair:
    ours, theirs = trio.testing.memory_stream_pair()
    return trio.StapledStream(ours.send_stream, Resetting(ours.receive_stream)), theirs


async def called(caller: Caller, raw: bytes) -> Caller:
    await caller.send(raw)
    return caller


@each_app
async def test_an_answer_leaves_in_one_write(make_app: Callable[[], ASGIApp]) -> None:
    writes: list[None] = []

    def noted_pair() -> Pair:
        ours, theirs = trio.testing.memory_stream_pair()
        pump = ours.send_stream.send_all_hook
        assert pump is not None

        async def noted_pump() -> None:
            writes.append(None)
            await pump()

        ours.send_stream.send_all_hook = noted_pump
        return ours, theirs

    async with open_door(make_app()) as door:
        caller = door.dial(noted_pair)
        for number in (1, 2):
            await caller.send(post("/", b"body"))
            assert (await caller.answer()).body
            assert len(writes) == number
