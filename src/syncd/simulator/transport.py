"""An httpx transport that answers straight from an ``Instance``: no socket, no thread, for virtual time."""

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import trio

from syncd.simulator.instance import Instance
from syncd.simulator.wire import Outgoing, Request, Response

__all__ = ["SimulatorTransport"]

Deliver = Callable[[Outgoing], Awaitable[None]]


class _Whole(httpx.AsyncByteStream):
    def __init__(self, body: bytes, over_s: float) -> None:
        self._body = body
        self._over_s = over_s

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._over_s:
            await trio.sleep(self._over_s)
        yield self._body


class SimulatorTransport(httpx.AsyncBaseTransport):
    """The way to one instance. ``way_s``: how long a request, and an answer, travel. ``deliver`` makes the webhooks for
    which the writer waits (rule mode *after*); without it they wait for ``Instance.due`` like all others."""

    def __init__(self, instance: Instance, way_s: float = 0.01, deliver: Deliver | None = None) -> None:
        self._instance = instance
        self._way_s = way_s
        self._deliver = deliver

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer as the wire would; a reset connection is ``httpx.ReadError``."""
        body = await request.aread()
        await trio.sleep(self._way_s)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        target = request.url.raw_path.decode("ascii")
        answer = self.answer(Request(request.method, target, headers, body))
        for outgoing in answer.calls_first:
            if self._deliver is None:
                self._instance.outbound.put_back(outgoing)
            else:
                await self._deliver(outgoing)
        await trio.sleep(self._way_s + answer.delay_s)
        if answer.is_reset:
            raise httpx.ReadError("connection reset by the simulator", request=request)
        stream = _Whole(answer.body, answer.trickle_s)
        return httpx.Response(answer.status, headers=answer.headers, stream=stream, request=request)

    def answer(self, request: Request) -> Response:
        """What the instance answers, at the moment the request arrives; a test may stand in between."""
        return self._instance.handle(request)
