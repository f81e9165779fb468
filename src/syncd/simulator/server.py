"""The instance on a TCP port: HTTP/1.1 on trio and h11.

Owns connections. Every answer comes from ``Instance.handle``; an error in one connection never leaves it.
"""

import socket as sockets
import struct
from collections.abc import Awaitable, Callable
from typing import Final

import h11
import trio

from syncd.simulator.instance import Instance
from syncd.simulator.wire import Outgoing, Request, Response

__all__ = ["serve_connection"]

READ_BYTES: Final = 65536
IDLE_S_MAX: Final = 120.0
BODY_BYTES_MAX: Final = 32 * 1024 * 1024
"""Above this the connection is dropped; between 10 MiB and this ServiceNow's own refusal is answered."""


async def serve_connection(
    stream: trio.SocketStream, instance: Instance, deliver: Callable[[Outgoing], Awaitable[object]]
) -> None:
    """Serve one connection until its peer leaves, misbehaves, or a fault drops it."""
    connection = h11.Connection(h11.SERVER)
    async with stream:
        try:
            while True:
                request = await _next_request(connection, stream)
                if request is None:
                    return
                answer = instance.handle(request)
                if answer.delay_s:
                    await trio.sleep(answer.delay_s)
                for outgoing in answer.calls_first:
                    await deliver(outgoing)
                if answer.is_reset:
                    _reset(stream)
                    return
                await _send(connection, stream, request, answer)
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return
                connection.start_next_cycle()
        except (h11.ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError):
            return  # the peer is gone or speaks something else; nobody is left to tell


async def _next_request(connection: h11.Connection, stream: trio.SocketStream) -> Request | None:
    """The next whole request; None when the peer has closed or was idle for too long."""
    head: h11.Request | None = None
    body: list[bytes] = []
    body_bytes = 0
    with trio.move_on_after(IDLE_S_MAX):
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    proceed = connection.send(h11.InformationalResponse(status_code=100, headers=[]))
                    await stream.send_all(proceed)
                connection.receive_data(await stream.receive_some(READ_BYTES))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body_bytes += len(event.data)
                if body_bytes > BODY_BYTES_MAX:
                    return None
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
                return Request(head.method.decode(), head.target.decode("latin-1"), headers, b"".join(body))
            else:
                return None
    return None


async def _send(connection: h11.Connection, stream: trio.SocketStream, request: Request, answer: Response) -> None:
    headers = list(answer.headers)
    if answer.status != 204:
        headers.append(("Content-Length", str(len(answer.body))))
    head = connection.send(h11.Response(status_code=answer.status, headers=[*_encoded(headers)])) or b""
    body = b"" if request.method == "HEAD" or answer.status == 204 else answer.body
    if not answer.trickle_s:
        data = connection.send(h11.Data(data=body)) if body else b""
        await stream.send_all(head + (data or b"") + (connection.send(h11.EndOfMessage()) or b""))
        return
    await stream.send_all(head)
    pieces = 10
    size = max(1, -(-len(body) // pieces))
    for start in range(0, len(body), size):
        await trio.sleep(answer.trickle_s / pieces)
        await stream.send_all(connection.send(h11.Data(data=body[start : start + size])) or b"")
    await stream.send_all(connection.send(h11.EndOfMessage()) or b"")


def _encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]


def _reset(stream: trio.SocketStream) -> None:
    """Close with RST instead of FIN, as a crashed node or a firewall does."""
    stream.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()
