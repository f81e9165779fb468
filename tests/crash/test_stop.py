"""The daemon as a process stops within 10 s of a signal, whatever its clients do."""

import resource
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
import trio

from tests.crash.daemon_process import DaemonProcess

STOP_S_MAX = 10.0
IDLE, DRIPPING, NOT_READING = 100, 20, 5
LONG_TEXT = "x" * 100_000
INCIDENTS = 80  # a page of them is 8 MB, more than the kernel takes off our hands


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[tuple[DaemonProcess, httpx.AsyncClient]]:
    """A daemon that is ready, and is gone after the block whatever happens in it."""
    daemon = DaemonProcess(folder)
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        try:
            await daemon.start(client)
            yield daemon, client
        finally:
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.process.kill()
                daemon.process.wait(5)


async def declare_many(client: httpx.AsyncClient, url: str) -> None:
    async def declare(first: int) -> None:
        for _ in range(first, INCIDENTS, 8):
            body = {"title": "long", "severity": "SEV-3", "description": LONG_TEXT}
            assert (await client.post(f"{url}/api/v1/incidents", json=body)).status_code == 201

    async with trio.open_nursery() as nursery:
        for first in range(8):
            nursery.start_soon(declare, first)


async def connected(port: int, *, receives_bytes: int | None = None) -> trio.SocketStream:
    sock = trio.socket.socket()
    if receives_bytes is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives_bytes)
    await sock.connect(("127.0.0.1", port))
    return trio.SocketStream(sock)


async def drip(stream: trio.SocketStream, head: bytes) -> None:
    with suppress(trio.BrokenResourceError):
        await stream.send_all(head)
        while True:
            await trio.sleep(0.2)
            await stream.send_all(b"x")


async def received(stream: trio.SocketStream) -> bytes:
    """All that is still to come."""
    seen = bytearray()
    with suppress(trio.BrokenResourceError):
        async for part in stream:
            seen += part
    return bytes(seen)


async def test_sigterm_ends_with_0_in_time_with_idle_dripping_and_not_reading_clients(tmp_path: Path) -> None:
    head = b"POST /api/v1/incidents HTTP/1.1\r\nhost: localhost\r\n"
    async with started(tmp_path) as (daemon, client), AsyncExitStack() as streams:
        await declare_many(client, daemon.url)
        async with trio.open_nursery() as nursery:
            for number in range(IDLE):
                idle = await streams.enter_async_context(await connected(daemon.port))
                if number % 2:
                    await idle.send_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
                    assert (await idle.receive_some()).startswith(b"HTTP/1.1 200")
            for number in range(DRIPPING):
                dripping = await streams.enter_async_context(await connected(daemon.port))
                nursery.start_soon(drip, dripping, head if number % 2 else head + b"content-length: 100000\r\n\r\n")
            not_reading = [
                await streams.enter_async_context(await connected(daemon.port, receives_bytes=4096))
                for _ in range(NOT_READING)
            ]
            for stream in not_reading:
                await stream.send_all(b"GET /api/v1/incidents?limit=1000 HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await trio.sleep(1)  # until the first of them are being answered
            began_at = trio.current_time()
            assert await daemon.stop() == 0, daemon.log()
            assert trio.current_time() - began_at < STOP_S_MAX
            nursery.cancel_scope.cancel()
        cut_short = [len(await received(stream)) for stream in not_reading]
    assert max(cut_short) < INCIDENTS * len(LONG_TEXT)  # none could be told all: they did not read
    assert max(cut_short) > 0
    assert "Traceback" not in daemon.log()
    assert "stopped" in daemon.log()
    assert not (tmp_path / "syncd.sock").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_each_signal_that_stops_it_ends_it_with_0(number: signal.Signals, tmp_path: Path) -> None:
    async with started(tmp_path) as (daemon, _):
        assert daemon.process is not None
        daemon.process.send_signal(number)
        with trio.move_on_after(STOP_S_MAX):
            while daemon.process.poll() is None:  # noqa: ASYNC110 a process can only be looked at
                await trio.sleep(0.02)
        assert daemon.process.poll() == 0, daemon.log()


async def test_it_takes_as_many_descriptors_as_it_may_have(tmp_path: Path) -> None:
    """The usual 1,024 would go to the clients of two doors, and none be left for the journal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
    try:
        async with started(tmp_path) as (daemon, _):
            assert daemon.process is not None
            assert resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
