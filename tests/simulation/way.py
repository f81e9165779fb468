"""The way from the daemon to the simulated instances: what befalls requests on it, and a log of all that went there.

A request that has left is no longer the daemon's: it arrives, late maybe, even if whoever made it is dead or has
stopped waiting. Owns the faults of the network and of nodes that lag behind; what an instance itself does wrong is in
its own catalogue.
"""

import json
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from random import Random
from typing import Final

import httpx
import trio
from msgspec import Struct

from syncd.simulator.faults import Armed, parse_fault
from syncd.simulator.instance import Instance
from syncd.simulator.records import Committed
from syncd.simulator.tables import Row
from syncd.simulator.transport import SimulatorTransport
from syncd.simulator.wire import Request, Response

CONNECT_S: Final = 10.0
UNREACHABLE: Final = {
    "name_unknown": "[Errno -2] Name or service not known",
    "refused": "[Errno 111] Connection refused",
    "tls_failure": "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate",
}
WAY_FAULTS: Final = frozenset({
    *UNREACHABLE,
    "connect_timeout",  # nobody answers the SYN
    "never_arrives",  # it leaves, and nothing is ever heard
    "never_answered",  # it takes effect, and nothing is ever heard
    "arrives_late",  # seconds: it takes up to so long to arrive
    "stale_read",  # seconds: a list read shows what was there up to so long ago, as a node that lags behind would
})  # fmt: skip


class Life(Struct, eq=False):
    """One life of the daemon; ``died_at`` is the moment its power was cut."""

    number: int
    died_at: float = math.inf


class Exchange(Struct, eq=False):
    """One request. Times are virtual; ``handled_at`` None: it never arrived, ``answered_at`` None: nothing came back.

    ``status`` 0: the connection broke. ``shown``: the records that a read showed, as of ``handled_at``, or ``lag_s``
    before it.
    """

    life: Life
    method: str
    target: str
    left_at: float
    handled_at: float | None = None
    answered_at: float | None = None
    status: int | None = None
    retry_after_s: float | None = None
    lag_s: float = 0.0
    trickle_s: float = 0.0
    shown: tuple[str, ...] = ()
    is_note: bool = False

    @property
    def writes(self) -> bool:
        """It is to change something."""
        return self.method != "GET"

    @property
    def record(self) -> str:
        """The sys_id of the record that a PATCH is for."""
        return self.target.partition("?")[0].rpartition("/")[2]

    @property
    def read_at(self) -> float:
        """When the last byte of its answer came."""
        return (self.answered_at or 0.0) + self.trickle_s

    @property
    def is_good(self) -> bool:
        """ServiceNow's answer came back, whole, and it was a success as far as its status goes."""
        is_back = self.answered_at is not None and self.read_at < self.life.died_at
        return is_back and self.status is not None and 200 <= self.status < 300


class Way:
    """Carries requests to instances by ``host:port``. ``nursery``: where those travel that have left."""

    def __init__(self, instances: Mapping[str, Instance], rng: Random) -> None:
        self.instances = instances
        self.nursery: trio.Nursery | None = None
        self.exchanges: list[Exchange] = []
        self.on_left: list[Callable[[Exchange], None]] = []
        self.handling: Exchange | None = None
        self.is_ruled = False
        """Some answer told of a rule of so many requests an hour."""
        self._rng = rng
        self._armed: dict[str, Armed] = {}
        self._rows: dict[str, tuple[list[float], list[Row]]] = {}

    # Faults

    def set_fault(self, text: str) -> Armed:
        """Arm one of ``WAY_FAULTS``, written as ``NAME[=VALUE][@PROBABILITY]`` like the instance's own."""
        name, value, probability, _ = parse_fault(text)
        if name not in WAY_FAULTS:
            raise ValueError(f"{name} is no fault of the way")
        armed = Armed(name, value or "1", 1.0 if probability is None else probability)
        self._armed[name] = armed
        return armed

    def disarm(self, name: str | None = None) -> None:
        """Disarm one fault, or all."""
        if name is None:
            self._armed.clear()
        else:
            self._armed.pop(name, None)

    def standing(self, name: str) -> Armed | None:
        """The fault if it is armed."""
        return self._armed.get(name)

    def _strikes(self, name: str) -> Armed | None:
        armed = self._armed.get(name)
        if armed is None or self._rng.random() >= armed.probability:
            return None
        armed.strikes += 1
        return armed

    # Requests

    async def carry(self, life: Life, request: httpx.Request) -> httpx.Response:
        """Carry one request, and bring back its answer if there is one."""
        exchange = Exchange(life, request.method, request.url.raw_path.decode("ascii"), trio.current_time())
        exchange.is_note = b'"work_notes"' in request.content
        self.exchanges.append(exchange)
        instance = self.instances.get(request.url.netloc.decode("ascii"))
        unreachable = next((words for name, words in UNREACHABLE.items() if self._strikes(name)), None)
        if instance is None or unreachable is not None:
            await trio.sleep(0.001)
            exchange.answered_at, exchange.status = trio.current_time(), 0
            raise httpx.ConnectError(unreachable or "nobody listens there", request=request)
        if self._strikes("connect_timeout"):
            await trio.sleep(CONNECT_S)
            exchange.answered_at, exchange.status = trio.current_time(), 0
            raise httpx.ConnectTimeout("", request=request)
        back = _Back()
        assert self.nursery is not None
        self.nursery.start_soon(self._travel, exchange, instance, request, back)
        for listen in self.on_left:
            listen(exchange)
        await back.came.wait()
        exchange.answered_at = trio.current_time()
        if back.answer is None:
            exchange.status = 0
            raise back.error or httpx.ReadError("the connection broke", request=request)
        return back.answer

    async def _travel(self, exchange: Exchange, instance: Instance, request: httpx.Request, back: "_Back") -> None:
        if late := self._strikes("arrives_late"):
            await trio.sleep(self._rng.uniform(0, late.seconds))
        if self._strikes("never_arrives"):
            return
        try:
            back.answer = await _Passing(instance, self, exchange).handle_async_request(request)
        except Exception as error:  # noqa: BLE001 also one that a test planted there: it is the caller's
            back.error = error
        if not self._strikes("never_answered"):
            back.came.set()

    def handle(self, instance: Instance, exchange: Exchange, request: Request) -> Response:
        """The request arrives; its answer, from a node that may lag behind."""
        exchange.handled_at, self.handling = trio.current_time(), exchange
        rows = instance.kernel.incidents.rows
        if not exchange.writes and (lags := self._strikes("stale_read")):
            exchange.lag_s = self._rng.uniform(0.2, lags.seconds)
            instance.settle()
            instance.kernel.incidents.rows = self._as_of(trio.current_time() - exchange.lag_s)
        try:
            answer = instance.handle(request)
        finally:
            self.handling = None
            if exchange.lag_s:
                instance.kernel.incidents.rows = rows
        exchange.status, exchange.trickle_s = answer.status, answer.trickle_s
        self.is_ruled |= bool(answer.header("x-ratelimit-limit"))
        if retry_after := answer.header("retry-after"):
            exchange.retry_after_s = float(retry_after)
        if not exchange.writes and answer.status == 200:
            exchange.shown = _sys_ids(answer.body)
        return answer

    def remember(self, committed: Committed) -> None:
        """Keep a committed row, for nodes that lag behind."""
        times, rows = self._rows.setdefault(committed.row["sys_id"], ([], []))
        times.append(trio.current_time())
        rows.append(committed.row)

    def _as_of(self, at: float) -> dict[str, Row]:
        found: dict[str, Row] = {}
        for sys_id, (times, rows) in self._rows.items():
            if (number := bisect_right(times, at)) > 0:
                found[sys_id] = rows[number - 1]
        return found


class _Back:
    """Where an answer is left for whoever waits for it, if anybody still does."""

    def __init__(self) -> None:
        self.came = trio.Event()
        self.answer: httpx.Response | None = None
        self.error: Exception | None = None


def _sys_ids(body: bytes) -> tuple[str, ...]:
    try:
        rows = json.loads(body).get("result", ())
    except ValueError:
        return ()
    return tuple(row["sys_id"] for row in rows if isinstance(row, dict) and "sys_id" in row)


class _Passing(SimulatorTransport):
    """The simulator's own transport, with the way's ear at the moment of arrival."""

    def __init__(self, instance: Instance, way: Way, exchange: Exchange) -> None:
        super().__init__(instance)
        self._to, self._way, self._exchange = instance, way, exchange

    def answer(self, request: Request) -> Response:
        """Through the way."""
        return self._way.handle(self._to, self._exchange, request)


class WayTransport(httpx.AsyncBaseTransport):
    """One life's transport."""

    def __init__(self, way: Way, life: Life) -> None:
        self._way, self._life = way, life

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Through the way."""
        return await self._way.carry(self._life, request)


class WayNet:
    """One life's net."""

    def __init__(self, way: Way, life: Life) -> None:
        self._way, self._life = way, life

    def transport(self, max_connections: int) -> httpx.AsyncBaseTransport:
        return WayTransport(self._way, self._life)
