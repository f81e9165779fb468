"""The webhooks of all instances on their way to the daemon, each at its time; and once more, all that were ever sent.

What the daemon has acknowledged once it must know for a day, over all its lives.
"""

import json
import math
from collections.abc import Awaitable, Callable, Mapping

import httpx
import trio

from syncd.simulator.instance import Instance
from syncd.simulator.wire import Outgoing
from tests.simulation.seams import EPOCH_S

ACCEPTED = 202

Ask = Callable[[str, str, bytes, dict[str, str]], Awaitable[httpx.Response | None]]


class Post:
    """Delivers for ``instances`` what their rules send to ``url``; ``ask`` makes the request."""

    def __init__(self, instances: Mapping[str, Instance], url: str, ask: Ask) -> None:
        self._instances, self._url, self._ask = instances, url, ask
        self._rings = trio.Event()
        self._heard: set[tuple[str, str]] = set()

    def listen(self, instance: Instance) -> None:
        """Look again whenever this instance may have got something to send."""
        instance.outbound.on_scheduled.append(self._ring)
        instance.on_request.append(lambda _: self._ring())  # it may have begun a late commit

    def _ring(self) -> None:
        self._rings.set()

    async def deliver(self, nursery: trio.Nursery) -> None:
        """Deliver until cancelled."""
        while True:
            self._rings = trio.Event()
            times = [math.inf]
            for instance in self._instances.values():
                for outgoing in instance.due():
                    nursery.start_soon(self._deliver, instance, outgoing)
                if (next_at_s := instance.next_due_at_s()) is not None:
                    times.append(next_at_s - EPOCH_S)
            with trio.move_on_at(min(times)):
                await self._rings.wait()

    async def replay(self) -> None:
        """Every webhook ever sent, again, in order."""
        for instance in self._instances.values():
            for outgoing in [sent.outgoing for sent in instance.webhooks()]:
                await self._deliver(instance, outgoing)

    async def _deliver(self, instance: Instance, outgoing: Outgoing) -> None:
        path, event_id = outgoing.url.removeprefix(self._url), json.loads(outgoing.body).get("event_id", "")
        is_known = (path, event_id) in self._heard
        answer = await self._ask("POST", path, outgoing.body, dict(outgoing.headers))
        instance.delivered(outgoing, answer.status_code if answer is not None else None)
        if answer is not None and answer.status_code == ACCEPTED:
            assert answer.json()["duplicate"] or not is_known, f"{event_id} was acknowledged before, and is new again"
            self._heard |= {(path, event_id)} if event_id else set()
