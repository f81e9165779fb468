"""Takes webhooks from an instance when they are due and sends them.

Owns the one task that watches ``next_due_at_s``. Never retries: a call that fails is noted and gone, as on ServiceNow.
"""

import math
from collections.abc import Callable
from typing import Final

import httpx
import trio

from syncd.simulator.instance import Instance
from syncd.simulator.wire import Outgoing

__all__ = ["deliver", "run_deliveries"]

CALL_S_MAX: Final = 175.0
"""How long a RESTMessageV2 waits for its receiver (``glide.http.timeout``)."""
UNDER_WAY_MAX: Final = 20
"""How many calls an instance makes at once (``glide.http.connection_mgr.max_connections``)."""


async def run_deliveries(
    instance: Instance,
    client: httpx.AsyncClient,
    now: Callable[[], float],
    *,
    call_s_max: float = CALL_S_MAX,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Deliver webhooks until cancelled. ``now``: the clock the instance was built with."""
    send_bell, bell = trio.open_memory_channel[None](1)

    def ring() -> None:
        try:
            send_bell.send_nowait(None)
        except trio.WouldBlock:
            return  # it already rings

    limiter = trio.CapacityLimiter(UNDER_WAY_MAX)
    instance.outbound.on_scheduled.append(ring)
    async with send_bell, bell, trio.open_nursery() as nursery:
        task_status.started()
        while True:
            for outgoing in instance.due():
                nursery.start_soon(_deliver_limited, limiter, instance, client, outgoing, call_s_max)
            next_at_s = instance.next_due_at_s()
            wait_s = math.inf if next_at_s is None else max(0.0, next_at_s - now())
            with trio.move_on_after(wait_s):
                await bell.receive()


async def _deliver_limited(
    limiter: trio.CapacityLimiter, instance: Instance, client: httpx.AsyncClient, outgoing: Outgoing, call_s_max: float
) -> None:
    async with limiter:
        await deliver(instance, client, outgoing, call_s_max=call_s_max)


async def deliver(
    instance: Instance, client: httpx.AsyncClient, outgoing: Outgoing, *, call_s_max: float = CALL_S_MAX
) -> None:
    """Make one call and tell the instance what became of it; a refusal, an error and silence all end the same way."""
    with trio.move_on_after(call_s_max) as deadline:
        try:
            answer = await client.post(outgoing.url, content=outgoing.body, headers=list(outgoing.headers))
            instance.delivered(outgoing, answer.status_code)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            instance.delivered(outgoing, None, f"{type(error).__name__}: {error}")
    if deadline.cancelled_caught:
        instance.delivered(outgoing, None, f"no answer within {call_s_max:g} s")
