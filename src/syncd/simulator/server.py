"""The instance on a port: HTTP/1.1 over trio and h11, one task a connection.

Owns connections and nothing of ServiceNow: requests go to ``Instance.handle``, and what it says about delays, trickling
and resets is done here. An error in one connection ends that connection only.
"""

import logging
import socket
import struct
from typing import Final

import h11
import trio

from syncd.simulator.delivery import Delivery
from syncd.simulator.instance import Instance
from syncd.simulator.wire import Request, Response

__all__ = ["serve"]

log = logging.getLogger("syncd.simulator")

BODY_BYTES_MAX: Final = 32 * 1024 * 1024
IDLE_S_MAX: Final = 30.0
TRICKLE_PARTS: Final = 10
_READ_BYTES: Final = 65_536


async def serve(
    instance: Instance,
    host: str,
    port: int,
    *,
    delivery: Delivery | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; reports the port that was bound. ``delivery`` makes the calls of an *after* rule."""
    listeners = await trio.open_tcp_listeners(port, host=host)
    task_status.started(listeners[0].socket.getsockname()[1])

    async def converse(stream: trio.SocketStream) -> None:
        try:
            await _Connection(instance, stream, delivery).run()
        except* Exception as errors:  # noqa: BLE001 one connection never ends the others
            log.debug("connection ended: %r", errors.exceptions[0])

    await trio.serve_listeners(converse, listeners)


class _Connection:
    def __init__(self, instance: Instance, stream: trio.SocketStream, delivery: Delivery | None) -> None:
        self._instance = instance
        self._stream = stream
        self._delivery = delivery
        self._http = h11.Connection(h11.SERVER)

    async def run(self) -> None:
        async with self._stream:
            while (request := await self._request()) is not None:
                answer = self._instance.handle(request)
                for outgoing in answer.calls_first:
                    if self._delivery is None:
                        self._instance.outbound.put_back(outgoing)
                    else:
                        await self._delivery.post(outgoing)
                if answer.delay_s:
                    await trio.sleep(answer.delay_s)
                if answer.is_reset:
                    linger = struct.pack("ii", 1, 0)  # closing with this sends RST
                    self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    return
                await self._answer(request, answer)
                if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                    return
                self._http.start_next_cycle()

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._stream.receive_some(_READ_BYTES))
        return event  # type: ignore[return-value]

    async def _request(self) -> Request | None:
        """The next whole request; None when the client has gone, was idle too long, or does not speak HTTP."""
        with trio.move_on_after(IDLE_S_MAX):
            try:
                head = await self._event()
                if not isinstance(head, h11.Request):
                    return None
                body = bytearray()
                while isinstance(part := await self._event(), h11.Data):
                    body += part.data
                    if len(body) > BODY_BYTES_MAX:
                        return None
            except (h11.RemoteProtocolError, trio.BrokenResourceError):
                return None
            headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
            return Request(head.method.decode("ascii"), head.target.decode("ascii"), headers, bytes(body))
        return None

    async def _answer(self, request: Request, answer: Response) -> None:
        has_body = request.method != "HEAD" and answer.status not in {204, 304}
        headers = [*answer.headers]
        if answer.status != 204:
            headers.append(("Content-Length", str(len(answer.body))))
        head = h11.Response(status_code=answer.status, headers=headers)
        if not has_body or not answer.body:
            await self._send(head, h11.EndOfMessage())
        elif not answer.trickle_s:
            await self._send(head, h11.Data(data=answer.body), h11.EndOfMessage())
        else:
            await self._send(head)
            size = max(1, -(-len(answer.body) // TRICKLE_PARTS))
            for start in range(0, len(answer.body), size):
                await trio.sleep(answer.trickle_s / TRICKLE_PARTS)  # before: a client goes when it has the last part
                await self._send(h11.Data(data=answer.body[start : start + size]))
            await self._send(h11.EndOfMessage())

    async def _send(self, *events: h11.Event) -> None:
        block = b"".join(self._http.send(event) or b"" for event in events)
        if block:
            await self._stream.send_all(block)
