"""httpx straight into an instance: no socket, no thread, time only through ``sleep``.

Owns the translation between httpx and ``wire``. For simulations in virtual time and for fast tests.
"""

from collections.abc import Awaitable, Callable

import httpx
import trio

from syncd.simulator.instance import Instance
from syncd.simulator.wire import Outgoing, Request, Response

__all__ = ["SimulatorTransport"]


class SimulatorTransport(httpx.AsyncBaseTransport):
    """Answers requests from ``Instance.handle``.

    ``sleep`` waits out delays (default ``trio.sleep``). ``deliver`` makes the calls of *after* rules while the writer
    waits; without it they are lost. A reset raises ``httpx.ReadError`` or ``httpx.RemoteProtocolError``, by chance, as
    sockets do. A request that is cancelled while it waits has had its effect all the same.
    """

    def __init__(
        self,
        instance: Instance,
        sleep: Callable[[float], Awaitable[object]] = trio.sleep,
        deliver: Callable[[Outgoing], Awaitable[object]] | None = None,
    ) -> None:
        self._instance = instance
        self._sleep = sleep
        self._deliver = deliver

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request of an httpx client."""
        body = await request.aread()
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        answer = self._instance.handle(Request(request.method, request.url.raw_path.decode("ascii"), headers, body))
        # At least one checkpoint per request, so that a world of instant answers still interleaves.
        await self._sleep(answer.delay_s + answer.trickle_s)
        for outgoing in answer.calls_first:
            if self._deliver is not None:
                await self._deliver(outgoing)
        if answer.is_reset:
            raise self._reset(request)
        return _as_httpx(answer, request)

    def _reset(self, request: httpx.Request) -> httpx.TransportError:
        if self._instance.kernel.random.random() < 0.5:
            return httpx.ReadError("connection reset by the simulator", request=request)
        return httpx.RemoteProtocolError("server disconnected without sending a response", request=request)


def _as_httpx(answer: Response, request: httpx.Request) -> httpx.Response:
    return httpx.Response(answer.status, headers=answer.headers, content=answer.body, request=request)
