"""The doors as a whole: containment, places, stopping, and who is there, on memory streams and on real sockets."""

import logging
import os
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

import msgspec
import pytest
import trio
import trio.testing
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from syncd.edges.api.gate import ASGIApp, Gate
from syncd.edges.api.serve import PLACE_S_MAX, ServeLimits, _Door, open_tcp, open_unix, serve
from syncd.pulse import Watch
from tests.edges.api.doors import (
    GET,
    HEAD,
    Caller,
    Door,
    MemoryListener,
    answer_plainly,
    answerer,
    echo,
    open_door,
    open_stock,
    post,
    quart_app,
)

INF = float("inf")
MUCH = b"x" * 20_000_000  # more than the kernel buffers


def sleeper(seconds: float) -> ASGIApp:
    async def app(send: ASGISendCallable) -> None:
        await trio.sleep(seconds)
        await answer_plainly(send)

    return answerer(app)


async def introduce(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    assert scope["type"] == "http"
    await answer_plainly(send, msgspec.json.encode({"state": scope["state"], "client": scope["client"]}))


async def big(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    await answer_plainly(send, MUCH)


class FaultyStream(trio.abc.HalfCloseableStream):
    """Raises what no stream should; it stands for a fault in Hypercorn or in us."""

    def __init__(self) -> None:
        self.is_closed = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        raise ZeroDivisionError("planted\nin two lines")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        raise AssertionError

    async def wait_send_all_might_not_block(self) -> None:
        raise AssertionError

    async def send_eof(self) -> None:
        raise AssertionError

    async def aclose(self) -> None:
        self.is_closed = True
        await trio.lowlevel.checkpoint()


class ExhaustedListener(MemoryListener):
    """The process has no descriptor left for the first few clients."""

    def __init__(self, failures: int, error: int) -> None:
        super().__init__()
        self._failures, self._error = failures, error

    async def accept(self) -> trio.abc.HalfCloseableStream:
        if self._failures:
            self._failures -= 1
            raise OSError(self._error, os.strerror(self._error))
        return await super().accept()


async def ask_for_much(caller: Caller) -> None:
    """And read nothing of it."""
    with suppress(trio.BrokenResourceError):
        await caller.send(b"GET /big" + HEAD + b"\r\n")


class TestContainment:
    async def test_a_fault_in_one_connection_is_one_line_in_the_log(
        self, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
    ) -> None:
        caplog.set_level(logging.INFO)
        async with open_door(echo) as door:
            other = door.dial()
            faulty = FaultyStream()
            door.listener.offer(faulty)
            await trio.sleep(1)
            await other.send(GET)
            assert (await other.answer()).status == 200
            assert faulty.is_closed
        lines = [(record.getMessage(), vars(record)["reason"]) for record in caplog.records]
        assert lines == [("a connection failed and was closed", r"ZeroDivisionError('planted\nin two lines')")]

    async def test_a_shortage_of_descriptors_passes(
        self, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
    ) -> None:
        listener, stop = ExhaustedListener(3, 24), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(echo, [listener], stop=stop))
            caller = listener.dial()
            await caller.send(GET)
            assert (await caller.answer()).status == 200
            assert trio.current_time() > 0.2
            stop.set()
        assert [record.levelname for record in caplog.records] == ["WARNING"] * 3

    async def test_another_error_of_the_listener_is_not_hidden(self) -> None:
        with pytest.RaisesGroup(OSError, flatten_subgroups=True):
            await serve(echo, [ExhaustedListener(1, 22)], stop=trio.Event())


async def late_after(
    wait_s: float, door_of: Callable[[], AbstractAsyncContextManager[Door]], busy: int = 0
) -> list[str]:
    """Which doors the watchdog would name, with so many clients who have asked and wait."""
    watch = Watch()
    watch.begin()
    async with door_of() as door:
        for _ in range(busy):
            await door.dial().send(GET)
        await trio.sleep(wait_s)
        return watch.late(30)


class TestWatchdog:
    LIMITS = ServeLimits(connections_max=4)

    async def test_a_door_that_nobody_knocks_at_or_that_is_full_of_long_answers_is_not_stuck(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        def door() -> AbstractAsyncContextManager[Door]:
            return open_door(sleeper(INF), self.LIMITS)

        assert await late_after(4000, door) == []
        assert await late_after(4000, door, busy=3) == []  # they rest, or are stuck: that is no matter of the door's
        assert await late_after(PLACE_S_MAX, door, busy=5) == []

    async def test_a_door_whose_places_are_all_held_by_handlers_that_never_answer_is_stuck(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        late = await late_after(PLACE_S_MAX + 31, lambda: open_door(sleeper(INF), self.LIMITS), busy=5)
        assert late == ["door MemoryListener"]

    async def test_a_door_that_lets_nobody_in_is_stuck(
        self, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def never(*_: object) -> None:
            await trio.sleep_forever()

        monkeypatch.setattr(_Door, "_seat", never)
        assert await late_after(31, lambda: open_door(echo), busy=1) == ["door MemoryListener"]


class TestPlaces:
    LIMITS = ServeLimits(connections_max=4)

    async def test_a_full_door_closes_the_client_that_kept_us_waiting_longest(
        self, caplog: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_door(Gate(echo), self.LIMITS) as door:
            callers = []
            for _ in range(4):
                callers.append(door.dial())
                await trio.sleep(0.5)
            await callers[0].send(GET)  # it did something, so the second one is now the oldest
            await callers[0].answer()
            await callers[2].send(b"POST /" + HEAD + b"content-length: 5\r\n\r\nhe")
            newcomer = door.dial()
            await newcomer.send(GET)
            assert (await newcomer.answer()).status == 200
            assert await callers[1].seconds_to_close(within_s=0.1) == 0
            assert [await callers[index].seconds_to_close(within_s=0.1) for index in (0, 2, 3)] == [INF] * 3
        assert [record.levelname for record in caplog.records] == ["WARNING"]

    async def test_a_door_full_of_busy_clients_lets_the_next_one_in_as_soon_as_one_is_answered(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_door(sleeper(2), self.LIMITS) as door:
            callers = [door.dial() for _ in range(4)]
            for caller in callers:
                await caller.send(GET)
            await trio.sleep(0.1)
            newcomer = door.dial()
            await newcomer.send(GET)
            assert (await callers[0].answer()).headers["connection"] == "close"
            assert (await newcomer.answer()).status == 200
            assert trio.current_time() == pytest.approx(4, abs=0.1)

    async def test_each_door_has_its_own_places(self, autojump_clock: trio.testing.MockClock) -> None:
        doors, stop = [MemoryListener(), MemoryListener()], trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(sleeper(100), doors, stop=stop, limits=self.LIMITS))
            for _ in range(4):
                await doors[0].dial().send(GET)
            caller = doors[1].dial()
            await caller.send(GET)
            await caller.answer()
            assert trio.current_time() == pytest.approx(100)
            stop.set()


class TestStopping:
    @pytest.mark.parametrize("make_app", [lambda: echo, lambda: Gate(quart_app()), quart_app])
    async def test_idle_connections_end_at_once(
        self, make_app: Callable[[], ASGIApp], autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_door(make_app()) as door:
            callers = [door.dial() for _ in range(10)]
            for caller in callers:
                await caller.send(GET)
                await caller.answer()
            await trio.sleep(0.1)
            assert await door.seconds_to_stop() == 0
            assert [await caller.seconds_to_close() for caller in callers] == [0] * 10

    @pytest.mark.parametrize("make_app", [lambda: echo, lambda: Gate(quart_app())])
    async def test_who_has_come_to_ask_is_answered_within_a_second_and_who_says_nothing_is_let_go(
        self, make_app: Callable[[], ASGIApp], autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_door(make_app()) as door, trio.open_nursery() as nursery:
            late, begun, silent, half = (door.dial() for _ in range(4))
            await begun.send(GET[:9])
            await half.send(GET[:9])
            await trio.sleep(0.1)
            nursery.start_soon(door.seconds_to_stop)
            await trio.sleep(0.9)
            await late.send(GET)
            await begun.send(GET[9:])
            assert [(await one.answer()).headers["connection"] for one in (late, begun)] == ["close"] * 2
            assert [await one.seconds_to_close() for one in (silent, half)] == [pytest.approx(0.1), 0]

    async def test_stock_takes_its_whole_grace_for_one_idle_quart_connection(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_stock(quart_app()) as (caller, _, context):
            await caller.send(GET)
            await caller.answer()
            await trio.sleep(1)
            await context.terminated.set()
            assert await caller.seconds_to_close(within_s=3) == INF

    async def test_an_open_request_is_answered_and_told_that_it_is_the_last(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_door(Gate(sleeper(2))) as door, trio.open_nursery() as nursery:
            caller = door.dial()
            await caller.send(GET + GET)
            await trio.sleep(1)
            nursery.start_soon(door.seconds_to_stop)
            assert (await caller.answer()).headers["connection"] == "close"
            assert await caller.seconds_to_close() == 0
            assert trio.current_time() == pytest.approx(2)

    async def test_a_request_that_does_not_end_is_cancelled_after_the_grace(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_door(Gate(sleeper(1000))) as door:
            caller = door.dial()
            await caller.send(GET)
            await trio.sleep(1)
            assert await door.seconds_to_stop() == pytest.approx(3)

    async def test_nobody_new_is_let_in(self, autojump_clock: trio.testing.MockClock) -> None:
        async with open_door(sleeper(2)) as door:
            await door.dial().send(GET)
            await trio.sleep(0.1)
            door.stop.set()
            await trio.sleep(0.1)
            with pytest.raises(trio.BrokenResourceError):
                door.dial()
            assert not door.ended.is_set()

    @pytest.mark.parametrize("make_app", [lambda: echo, quart_app])
    async def test_no_client_can_hold_it_up(
        self, make_app: Callable[[], ASGIApp], autojump_clock: trio.testing.MockClock
    ) -> None:
        """100 idle, 20 dripping and 5 non-reading clients (docs/http.md): over in the grace, far from the 10 s."""
        inner = make_app()

        async def app(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            assert scope["type"] == "http"
            await (big if scope["path"] == "/big" else inner)(scope, receive, send)

        async with open_door(Gate(app)) as door, trio.open_nursery() as nursery:

            async def drip(raw: bytes) -> None:
                caller = door.dial()
                try:
                    for byte in raw:
                        await caller.send(bytes([byte]))
                        await trio.sleep(0.2)
                except trio.BrokenResourceError:
                    await caller.hang_up()

            for index in range(100):
                caller = door.dial()
                if index % 2:
                    await caller.send(GET)
                    await caller.answer()
            for _ in range(10):
                nursery.start_soon(drip, b"GET / HTTP/1.1\r\nhost: " + b"x" * 1000)
                nursery.start_soon(drip, post("/", b"x" * 1000))
            for _ in range(5):
                nursery.start_soon(ask_for_much, door.dial_unread())
            await trio.sleep(3)
            assert await door.seconds_to_stop() <= 3.1
            nursery.cancel_scope.cancel()

    async def test_cancelling_it_ends_at_once_even_in_the_middle_of_a_write(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        listener = MemoryListener()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(Gate(big), [listener], stop=trio.Event()))
            await listener.dial(trio.testing.lockstep_stream_pair).send(GET)
            await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert trio.current_time() == pytest.approx(1)


class TestSockets:
    async def test_the_kernel_says_who_is_there(self, tmp_path: Path) -> None:
        unix, tcp, stop = open_unix(tmp_path / "s"), await open_tcp("127.0.0.1", 0), trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(introduce, [unix, *tcp], stop=stop))
            async with await trio.open_unix_socket(tmp_path / "s") as stream:
                caller = Caller(stream)
                for _ in range(2):
                    await caller.send(GET)
                    seen = msgspec.json.decode((await caller.answer()).body)
                    assert seen["state"]["peer"][:3] == [os.getpid(), os.getuid(), os.getgid()]
                    assert sorted(seen["state"]["peer"][3]) == sorted(os.getgroups())
                    assert seen["client"] is None
            async with await trio.testing.open_stream_to_socket_listener(tcp[0]) as stream:
                caller = Caller(stream)
                await caller.send(GET)
                seen = msgspec.json.decode((await caller.answer()).body)
                assert seen == {"state": {}, "client": list(stream.socket.getsockname())}
            stop.set()
        assert not (tmp_path / "s").exists()
        assert tcp[0].socket.fileno() == -1

    async def test_a_client_that_sent_too_much_reads_its_413_on_tcp(self) -> None:
        tcp, stop = await open_tcp("127.0.0.1", 0), trio.Event()
        body = b"x" * 10_000_000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(Gate(quart_app()), tcp, stop=stop))
            for _ in range(10):
                async with await trio.testing.open_stream_to_socket_listener(tcp[0]) as stream:
                    caller = Caller(stream)
                    await caller.send(post("/", body))  # all of it, before it looks at the answer
                    answer = await caller.answer()
                    assert answer.status == 413
                    assert "2097152 bytes" in answer.problem["detail"]
                    assert await caller.seconds_to_close() < 1
            stop.set()

    async def test_a_stalled_reader_on_tcp_does_not_delay_the_stop(self) -> None:
        tcp, stop = await open_tcp("127.0.0.1", 0), trio.Event()
        async with await trio.testing.open_stream_to_socket_listener(tcp[0]) as stream:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(lambda: serve(big, tcp, stop=stop, limits=ServeLimits(grace_s=0.1)))
                await stream.send_all(GET)
                await trio.sleep(0.1)
                nursery.cancel_scope.deadline = trio.current_time() + 5
                stop.set()
            assert not nursery.cancel_scope.cancelled_caught

    async def test_a_client_that_is_gone_before_it_is_named_is_nothing_special(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        tcp, stop = await open_tcp("127.0.0.1", 0), trio.Event()
        for _ in range(20):
            early = socket.create_connection(tcp[0].socket.getsockname())
            early.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # leave with a reset
            early.close()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(echo, tcp, stop=stop))
            async with await trio.testing.open_stream_to_socket_listener(tcp[0]) as stream:
                caller = Caller(stream)
                await caller.send(GET)
                assert (await caller.answer()).status == 200
            stop.set()
        assert caplog.records == []
