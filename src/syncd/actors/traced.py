"""Tells the sync trace of a request to ServiceNow: that it leaves, and how it ended, under the id of each change in it.

Costs nothing while the trace is off.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import trio

from syncd.errors import ExternalFailed
from syncd.telemetry import is_tracing, trace

T = TypeVar("T")


async def traced(traces: Mapping[str, str], method: str, call: Callable[[], Awaitable[T]], **what: object) -> T:
    """Make a request. ``traces``: by record, the id of the change that it is for."""
    if not is_tracing():
        return await call()
    begun_at, outcome = trio.current_time(), "broken off"
    for record, one in traces.items():
        trace(one, "request", method=method, record=record, **what)
    try:
        answer = await call()
        outcome = "ok"
        return answer
    except ExternalFailed as error:
        outcome = error.outcome
        raise
    finally:
        took_s = round(trio.current_time() - begun_at, 4)
        for record, one in traces.items():
            trace(one, "answer", method=method, record=record, outcome=outcome, took_s=took_s)
