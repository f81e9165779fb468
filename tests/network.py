"""Networks for the real transport: streams in memory, in virtual time, and a record of who was connected to."""

import math
import ssl
from collections.abc import Awaitable, Callable, Iterable
from itertools import cycle
from typing import Any, Final

import httpcore
import trio
from trio.testing import memory_stream_pair

Serve = Callable[[trio.abc.Stream], Awaitable[None]]
Resolve = Callable[[str], Awaitable[list[str]]]
NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody; streams in memory have no TLS


def names(*answers: list[str]) -> Resolve:
    """A resolver that gives these answers in turn, over and over, whatever it is asked."""
    turns = cycle(answers)

    async def resolve(_: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        return next(turns)

    return resolve


class MemoryNetwork(httpcore.AsyncNetworkBackend):
    """Each connection is a stream in memory, with ``serve`` at its other end. ``tls``: the contexts handed in.

    ``on_close`` is called in the step in which a connection has been closed.
    """

    def __init__(self, nursery: trio.Nursery, serve: Serve) -> None:
        self._nursery = nursery
        self._serve = serve
        self.connected: list[str] = []
        self.names: list[str | None] = []
        self.tls: list[ssl.SSLContext] = []
        self.on_close: Callable[[], object] = bool

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        await trio.lowlevel.checkpoint()
        self.connected.append(host)
        ours, theirs = memory_stream_pair()
        self._nursery.start_soon(self._peer, theirs)
        return MemoryStream(self, ours)

    async def _peer(self, stream: trio.abc.Stream) -> None:
        try:
            await self._serve(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the client has gone
        await stream.aclose()


class MemoryStream(httpcore.AsyncNetworkStream):
    """One end of a stream in memory; TLS is only taken note of."""

    def __init__(self, network: MemoryNetwork, stream: trio.abc.Stream) -> None:
        self._network = network
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        try:
            return bytes(await self._stream.receive_some(max_bytes))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.ReadError(error) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        try:
            await self._stream.send_all(buffer)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise httpcore.WriteError(error) from error

    async def aclose(self) -> None:
        await self._stream.aclose()
        self._network.on_close()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        await trio.lowlevel.checkpoint()
        self._network.tls.append(ssl_context)
        self._network.names.append(server_hostname)
        return self

    def get_extra_info(self, info: str) -> Any:
        return None


class Unreachable(httpcore.AsyncNetworkBackend):
    """Nobody answers, save at ``open_at``; whoever was tried is on record, with the time that was allowed."""

    def __init__(self, open_at: MemoryNetwork | None = None, address: str = "", takes_s: float = 0.0) -> None:
        self._open_at = open_at
        self._address = address
        self._takes_s = takes_s
        self.tried: list[str] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.tried.append(host)
        if self._open_at is not None and host == self._address:
            return await self._open_at.connect_tcp(host, port)
        with trio.move_on_after(math.inf if timeout is None else timeout):
            await trio.sleep(self._takes_s)
            raise httpcore.ConnectError("refused")
        raise httpcore.ConnectTimeout


async def request_in(stream: trio.abc.Stream) -> bytes:
    """One request, head and body; what came when the client has gone."""
    held = b""
    while b"\r\n\r\n" not in held:
        part = await stream.receive_some()
        if not part:
            return held
        held += bytes(part)
    head, _, body = held.partition(b"\r\n\r\n")
    sizes = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while sizes and len(body) < int(sizes[0]):
        body += bytes(await stream.receive_some())
    return head + b"\r\n\r\n" + body


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer in JSON."""
    lines = (f"HTTP/1.1 {status}", "Content-Type: application/json", *headers, f"Content-Length: {len(body)}")
    return "\r\n".join((*lines, "", "")).encode() + body


NO_ROWS = answer(b'{"result":[]}')


async def answers_all(stream: trio.abc.Stream) -> None:
    """An instance that shows no records, over a connection that it keeps."""
    while await request_in(stream):
        await stream.send_all(NO_ROWS)
