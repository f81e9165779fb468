"""The seams as the simulation replaces them: virtual time, seeded chance, a wire without sockets (see also disk.py)."""

import random
from collections.abc import Mapping

import httpx
import trio

from syncd.simulator.instance import Instance
from syncd.simulator.transport import SimulatorTransport

EPOCH_S = 1_790_000_000.0
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class SimClock:
    """Trio's virtual time as wall time, wrong by ``skew_s``."""

    def __init__(self, skew_s: float = 0.0) -> None:
        self.skew_s = skew_s

    def now_s(self) -> float:
        return EPOCH_S + trio.current_time() + self.skew_s


class SimIds:
    """Ids, jitter and nonces from one seeded generator."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    @property
    def rng(self) -> random.Random:
        return self._rng

    def word(self) -> str:
        return "".join(self._rng.choice(_LETTERS) for _ in range(10))

    def secret(self, size_bytes: int) -> bytes:
        return self._rng.randbytes(size_bytes)


class SimNet:
    """The way to the simulated instances, by ``host:port``."""

    def __init__(self, instances: Mapping[str, Instance]) -> None:
        self._instances = instances

    def transport(self, max_connections: int) -> httpx.AsyncBaseTransport:
        return SimTransport(self._instances)


class SimTransport(httpx.AsyncBaseTransport):
    """Hands each request to the instance it is for; a host that is none of them cannot be reached."""

    def __init__(self, instances: Mapping[str, Instance]) -> None:
        self._instances = instances

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The instance's answer."""
        instance = self._instances.get(request.url.netloc.decode("ascii"))
        if instance is None:
            await trio.lowlevel.checkpoint()
            raise httpx.ConnectError("nobody listens there", request=request)
        return await SimulatorTransport(instance).handle_async_request(request)
