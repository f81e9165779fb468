"""The parts that a change is made of, each measured alone, as a process: appends, and requests to ServiceNow.

    parts.py FOLDER PEER-URL READ-ROWS  ->  ``Parts`` as JSON

The third part, HTTP in, is measured on the running daemon (``both_ways.py``): an edit of an incident that is not
linked, and a webhook for an integration that is disabled. Each is one request with one durable append behind it.
"""

import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import trio
from msgspec import Struct

from syncd.net import SystemNet, tls_context
from syncd.seams import SystemClock
from syncd.systems.servicenow import ServiceNow
from syncd.systems.signin import Credentials
from tests.bench.commit import transact

REQUESTS = 300
CONCURRENCY = 8
RECORDS = [f"{0xF00000 + number:032x}" for number in range(50)]


class Part(Struct):
    """``p50_s``: alone, one at a time. ``cpu_s``: CPU for each, with as many at once as a busy daemon has."""

    p50_s: float
    cpu_s: float


class Parts(Struct):
    """``read``: one record read alone, and the CPU of a read of ``READ-ROWS`` records. ``write``: one PATCH.

    ``write_sent_at_s``: when each lone PATCH was begun, Unix seconds, for the peer to say when it came.
    """

    append: Part
    read: Part
    write: Part
    write_sent_at_s: list[float]


async def measure(folder: Path, peer_url: str, read_rows: int) -> Parts:
    """All of them, about two seconds."""
    latencies_s = (await transact(folder / "alone", 1, 0.4))[1]
    begun_s = time.process_time()
    crowd = (await transact(folder / "crowd", CONCURRENCY, 0.4))[1]
    append = Part(statistics.median(latencies_s), (time.process_time() - begun_s) / len(crowd))
    credentials = Credentials(username="svc.sync", password="p")
    transport = SystemNet(tls_context(), ["127.0.0.1"]).transport(CONCURRENCY)
    external = ServiceNow(peer_url, credentials, transport, SystemClock(), rate=1e6, concurrency=CONCURRENCY)
    sent_at_s: list[float] = []

    async def read_one(number: int) -> None:
        await external.read([RECORDS[number % len(RECORDS)]])

    async def read_many(_: int) -> None:
        await external.read(RECORDS[:read_rows])

    async def write(number: int) -> None:
        sent_at_s.append(time.time())
        await external.update(RECORDS[number % len(RECORDS)], {"short_description": f"part {number}"})

    read = Part(await _alone(read_one), await _crowded(read_many))
    written = Part(await _alone(write), 0.0)
    alone_at_s, sent_at_s = sent_at_s, []
    written.cpu_s = await _crowded(write)
    await external.aclose()
    return Parts(append, read, written, alone_at_s)


async def _alone(call: Callable[[int], Awaitable[None]]) -> float:
    """The median seconds of one at a time."""
    took_s = []
    for number in range(REQUESTS // 3):
        begun = time.perf_counter()
        await call(number)
        took_s.append(time.perf_counter() - begun)
    return statistics.median(took_s)


async def _crowded(call: Callable[[int], Awaitable[None]]) -> float:
    """CPU seconds of each, with several at once."""
    numbers = iter(range(REQUESTS))

    async def some() -> None:
        for number in numbers:
            await call(number)

    begun_s = time.process_time()
    async with trio.open_nursery() as nursery:
        for _ in range(CONCURRENCY):
            nursery.start_soon(some)
    return (time.process_time() - begun_s) / REQUESTS


if __name__ == "__main__":
    parts = trio.run(measure, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    sys.stdout.buffer.write(msgspec.json.encode(parts))
