"""Delivers an instance's webhooks over real connections. One try each, as ServiceNow does; never a retry."""

from typing import Final

import httpx
import trio

from syncd.simulator.instance import Instance
from syncd.simulator.wire import Outgoing

__all__ = ["Delivery"]

TIMEOUT_S: Final = 30.0
LOOK_S_MAX: Final = 1.0


class Delivery:
    """Takes what is due from ``Instance.due()`` and posts it."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._bell = trio.Event()
        self._client = httpx.AsyncClient(trust_env=False, timeout=TIMEOUT_S)
        instance.outbound.on_scheduled.append(self._ring)

    def _ring(self) -> None:
        self._bell.set()

    async def run(self) -> None:
        """Post webhooks as they become due. Ends only by cancellation."""
        async with self._client, trio.open_nursery() as nursery:
            while True:
                self._bell = trio.Event()
                for outgoing in self._instance.due():
                    nursery.start_soon(self.post, outgoing)
                next_at_s = self._instance.next_due_at_s()
                now_s = self._instance.kernel.clock.host_s()
                wait_s = LOOK_S_MAX if next_at_s is None else min(LOOK_S_MAX, max(0.0, next_at_s - now_s))
                with trio.move_on_after(wait_s):
                    await self._bell.wait()

    async def post(self, outgoing: Outgoing) -> None:
        """Make one call and say what became of it."""
        try:
            with trio.fail_after(TIMEOUT_S):
                answer = await self._client.post(outgoing.url, content=outgoing.body, headers=list(outgoing.headers))
        except (httpx.HTTPError, httpx.InvalidURL, trio.TooSlowError) as error:
            self._instance.delivered(outgoing, None, f"{type(error).__name__}: {error}")
        else:
            self._instance.delivered(outgoing, answer.status_code)
