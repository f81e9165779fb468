"""Defects that no other test here shows, on stock Hypercorn and at our doors; docs/http.md has the whole list."""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import hypercorn.trio
import msgspec
import pytest
import trio
import trio.testing
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Response, request
from quart_trio import QuartTrio

from syncd.edges.api.gate import API_BODY_BYTES_MAX, Gate
from syncd.edges.api.http1 import hypercorn_config
from syncd.edges.api.listeners import open_unix
from syncd.edges.api.serve import ServeLimits, serve
from syncd.errors import AlreadyRunning
from tests.edges.api.doors import (
    GET,
    HEAD,
    Caller,
    MemoryListener,
    answer_plainly,
    echo,
    open_door,
    open_stock,
    post,
    quart_app,
    stock_server,
)

INF = float("inf")
LONG = b"POST /" + HEAD + b"content-length: 1000000\r\n\r\n"


async def until_answered(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """An application that takes a long minute."""
    await trio.sleep(100)
    await answer_plainly(send)


async def drip(caller: Caller) -> None:
    """A byte a second of a long body, for as long as it is taken."""
    await caller.send(LONG)
    try:
        while True:
            await trio.sleep(1)
            await caller.send(b"x")
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


class TestBodies:
    async def test_after_a_413_of_quart_stock_keeps_task_and_descriptor(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        app = quart_app()
        app.config["MAX_CONTENT_LENGTH"] = 1000
        async with open_stock(app) as (caller, nursery, _):
            await caller.send(LONG)
            assert (await caller.answer()).status == 413
            await trio.sleep(3600)
            assert len(nursery.child_tasks) == 1
        async with open_door(Gate(app, body_bytes_of=lambda path: 1000)) as door:
            before = trio.lowlevel.current_statistics().tasks_living
            caller = door.dial()
            await caller.send(LONG)
            assert (await caller.answer()).status == 413
            assert await caller.seconds_to_close() == 0
            await trio.sleep(6)  # it reads on for 5 s, so that no reset overtakes the answer
            assert trio.lowlevel.current_statistics().tasks_living == before

    async def test_stock_takes_a_body_of_any_size(self, autojump_clock: trio.testing.MockClock) -> None:
        body = b"x" * (API_BODY_BYTES_MAX + 1)
        async with open_stock(echo) as (caller, _, _):
            await caller.send(post("/", body))
            assert (await caller.answer()).status == 200
        async with open_door(Gate(echo)) as door:
            caller = door.dial()
            await caller.send(post("/", body))
            assert (await caller.answer()).status == 413

    @pytest.mark.parametrize("read_timeout", [None, 3])
    async def test_stock_waits_for_a_body_for_ever_whatever_its_read_timeout(
        self, read_timeout: int | None, autojump_clock: trio.testing.MockClock
    ) -> None:
        async with open_stock(echo, read_timeout=read_timeout) as (caller, nursery, _):
            nursery.start_soon(drip, caller)
            assert await caller.seconds_to_close(within_s=600) == INF
        async with open_door(Gate(echo)) as door, trio.open_nursery() as nursery:
            caller = door.dial()
            nursery.start_soon(drip, caller)
            assert (await caller.answer()).status == 408
            assert await caller.seconds_to_close() == 0
            assert trio.current_time() < 700

    async def test_the_read_timeout_of_stock_cuts_a_long_answer(self, autojump_clock: trio.testing.MockClock) -> None:
        app = QuartTrio("slow")

        @app.get("/")
        async def slow() -> str:
            await trio.sleep(100)
            return "done"

        async with open_stock(app, read_timeout=3) as (caller, _, _):
            await caller.send(GET)
            assert await caller.chunk() == b""
            assert trio.current_time() == pytest.approx(3)
        async with open_door(Gate(app)) as door:
            caller = door.dial()
            await caller.send(GET)
            assert (await caller.answer()).body == b"done"


class TestCrowds:
    async def test_stock_lets_in_as_many_as_come(self, autojump_clock: trio.testing.MockClock) -> None:
        listener, context = MemoryListener(), WorkerContext(None)

        async def converse(stream: trio.abc.HalfCloseableStream) -> None:
            await stock_server(until_answered, stream, context).run()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, converse, [listener])
            callers = [listener.dial() for _ in range(ServeLimits().connections_max + 88)]
            await trio.testing.wait_all_tasks_blocked()
            before = trio.lowlevel.current_statistics().tasks_living
            assert before > len(callers)
            nursery.cancel_scope.cancel()
        async with open_door(until_answered, ServeLimits(connections_max=10)) as door:
            before = trio.lowlevel.current_statistics().tasks_living
            callers = [door.dial() for _ in range(60)]
            for caller in callers:
                await caller.send(GET)
            await trio.testing.wait_all_tasks_blocked()
            assert trio.lowlevel.current_statistics().tasks_living - before <= 2 * 10  # connection, application


class TestSockets:
    def test_stock_takes_the_socket_of_a_live_daemon_away(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with socket.socket(socket.AF_UNIX) as live:
            live.bind(os.fspath(path))
            live.listen()
            config = Config()
            config.bind = [f"unix:{path}"]
            [thief] = config.create_sockets().insecure_sockets
            with thief:
                assert thief.getsockname() == os.fspath(path)
                assert path.stat().st_mode & 0o007  # and whoever likes may use it
                thief.listen()
            path.unlink()
        with socket.socket(socket.AF_UNIX) as live:
            live.bind(os.fspath(path))
            live.listen()
            with pytest.raises(AlreadyRunning):
                open_unix(path)

    async def test_stock_does_not_say_who_called_on_a_unix_socket(self, tmp_path: Path) -> None:
        async def introduce(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
            assert scope["type"] == "http"
            await answer_plainly(send, msgspec.json.encode([scope["client"], scope["state"]]))

        async with open_stock(introduce) as (caller, _, _):
            await caller.send(GET)
            assert (await caller.answer()).body == b"[null,{}]"
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            listener = open_unix(tmp_path / "s")
            nursery.start_soon(lambda: serve(introduce, [listener], stop=stop))
            async with await trio.open_unix_socket(tmp_path / "s") as stream:
                caller = Caller(stream)
                await caller.send(GET)
                seen = msgspec.json.decode((await caller.answer()).body)
                assert seen[1]["peer"][:3] == [os.getpid(), os.getuid(), os.getgid()]
            stop.set()


class TestLifespan:
    async def test_stock_starts_an_application_once_for_each_door(self) -> None:
        started: list[str] = []
        app = QuartTrio("twice")

        @app.before_serving
        async def start() -> None:
            await trio.lowlevel.checkpoint()
            started.append("started")

        async def stock() -> None:
            config = Config()
            config.bind, config.errorlog = ["127.0.0.1:0"], None
            await hypercorn.trio.serve(app, config, shutdown_trigger=stop.wait)

        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stock)
            nursery.start_soon(stock)
            with trio.fail_after(10):
                while len(started) < 2:  # noqa: ASYNC110 stock Hypercorn tells nobody
                    await trio.sleep(0.01)
            stop.set()
        started.clear()
        doors, stop = [MemoryListener(), MemoryListener()], trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: serve(app, doors, stop=stop))
            for door in doors:
                caller = door.dial()
                await caller.send(GET)
                assert (await caller.answer()).status == 404
            stop.set()
        assert started == []  # no lifespan event at all: nothing of ours lives in an application

    def test_stock_swallows_an_interrupt_and_the_daemon_would_run_on_without_a_port(self) -> None:
        """At our doors signals are daemon.py's (tests/crash/test_stop.py: each of them ends it with 0)."""
        program = """
import trio, hypercorn.trio
from hypercorn.config import Config
config = Config()
config.bind, config.errorlog = ["127.0.0.1:0"], None
async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
class Started:
    def started(self, binds):
        print("up", flush=True)
async def main():
    await hypercorn.trio.serve(app, config, task_status=Started())
    print("returned as if nothing had happened")
trio.run(main)
"""
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "up\n"
                time.sleep(0.2)  # until it waits for requests, which it tells nobody
                process.send_signal(signal.SIGINT)
                assert process.wait(10) == 0
                assert process.stdout.read() == "returned as if nothing had happened\n"
            finally:
                process.kill()


class TestTheRest:
    async def test_stock_believes_the_host_in_a_target(self, autojump_clock: trio.testing.MockClock) -> None:
        raw = b"GET http://other.example/" + HEAD + b"\r\n"
        async with open_stock(echo) as (caller, _, _):
            await caller.send(raw)
            assert (await caller.answer()).status == 200
        async with open_door(Gate(echo)) as door:
            caller = door.dial()
            await caller.send(raw)
            assert (await caller.answer()).status == 400

    async def test_stock_closes_a_connection_for_the_number_of_its_requests(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """By default after 1,000: test_connection.py asks ours for more."""
        async with open_stock(echo, keep_alive_max_requests=2) as (caller, _, _):
            for _ in range(2):
                await caller.send(GET)
                await caller.answer()
            assert await caller.seconds_to_close(within_s=1) == 0
        assert Config().keep_alive_max_requests == 1_000

    def test_stock_writes_each_line_twice_and_ours_has_no_handler_of_its_own(self) -> None:
        config = Config()
        config.errorlog = "-"
        logger = logging.getLogger("hypercorn.error")
        try:
            assert config.log.error_logger is logger
            assert (len(logger.handlers), logger.propagate) == (1, True)
        finally:
            logger.handlers.clear()
        ours = hypercorn_config()
        assert ours.log.error_logger is logging.getLogger("syncd.http")
        assert logging.getLogger("syncd.http").handlers == []
        assert ours.log.access_logger is None

    async def test_a_stream_of_quart_loses_its_request_after_the_200(
        self, autojump_clock: trio.testing.MockClock
    ) -> None:
        """It does so at our doors as well: a route that streams takes what it needs from ``request`` before."""
        app = QuartTrio("stream")

        @app.get("/")
        async def stream() -> Response:
            path = request.path

            async def late() -> AsyncIterator[str]:
                await trio.lowlevel.checkpoint()
                yield path
                yield request.path

            await trio.lowlevel.checkpoint()
            return Response(late())

        async with open_door(Gate(app)) as door:
            caller = door.dial()
            await caller.send(GET)
            seen = b""
            while chunk := await caller.chunk():
                seen += chunk
            assert seen.startswith(b"HTTP/1.1 200")
            assert seen.endswith(b"1\r\n/\r\n")  # and never the end of the answer: it is not made to look whole
