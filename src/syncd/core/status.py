"""An integration's sync status (contract section 7): one state, the reasons for it, and the numbers behind it.

A view of State and of what the actors and the webhook door count (``health.py``); the queue is ``backlog.py``, the
reasons are ``complaints.py``.
"""

import math
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from syncd.core import complaints, coverage, polling, reconciling
from syncd.core.backlog import Queue, queue_of
from syncd.core.coverage import CoverageView
from syncd.core.health import Counts
from syncd.core.histogram import Histogram
from syncd.core.lag import Lags
from syncd.core.lens import lens_of
from syncd.core.model import Integration
from syncd.core.polling import Polls
from syncd.core.state import State
from syncd.core.tally import Tally, tally_of
from syncd.core.troubles import Trouble, remedy
from syncd.core.views import Time, optional_time, rfc3339

REASONS_MAX = 20


class Spread(Struct, frozen=True):
    """Seconds, over the last 15 minutes: what half of them took at most, what 99 of 100 did, and the longest."""

    p50: float
    p99: float
    max: float
    count: int


class LagView(Struct, frozen=True):
    """From the edit's stamp on one side until the other is known to have it; null: there was none.

    `inbound` counts from the beginning of the whole second that ServiceNow stamps: up to a second too long.
    """

    inbound: Spread | None
    outbound: Spread | None


class Webhooks(Struct, frozen=True):
    """Webhooks since the start of the daemon. `coverage` is null while the integration is not running."""

    last_received_at: Time | None
    accepted: int
    rejected: int
    duplicates: int
    coverage: CoverageView | None = None


class Api(Struct, frozen=True):
    """Requests to ServiceNow since the daemon started, or the integration did, with other settings.

    `remaining_budget`: what its hourly rule has left for us, by our own count; null where there is no rule.
    `outcomes`: how they ended. `latency`: how long ServiceNow took to answer.
    """

    requests: int
    throttled: int
    errors: int
    remaining_budget: int | None
    breaker: str
    outcomes: Mapping[str, int]
    latency: Spread | None


class ErrorView(Struct, frozen=True):
    """Something that a request met, in ServiceNow's words where it had any; `at`: the last time, of `times`."""

    at: Time
    kind: str
    status: int | None
    message: str
    detail: str
    times: int
    remedy: str


class StatusView(Struct, frozen=True, kw_only=True):
    """How the sync of an integration is doing: one state, the reasons for it, and the numbers behind it."""

    at: Time
    integration_id: str
    handle: str
    state: Literal["healthy", "degraded", "paused", "down"]
    reasons: list[str]
    links: dict[str, int]
    queue: Queue
    lag: LagView
    dlq: int
    conflicts: int
    webhooks: Webhooks
    polling: Polls | None
    api: Api
    last_errors: list[ErrorView]
    last_reconcile: Time | None
    next_reconcile: Time | None


def status(
    state: State, integration: Integration, counts: Counts, at_s: float, tally: Tally | None = None
) -> StatusView:
    """How one integration does at a time. ``tally``: its links, where they have been counted already."""
    if tally is None:
        tally = tally_of(state.links_under(integration.id), lens_of(integration.settings))
    letters = sum(one.integration_id == integration.id for one in state.dead_letters.values())
    pending = sum(state.conflicts[one].integration_id == integration.id for one in state.waiting.values())
    queue = queue_of(state, integration, counts, tally, at_s)
    paused, down, degraded = complaints.reasons(state, integration, tally, counts, queue, letters, pending)
    remarks = complaints.remarks(state, integration, tally, counts.polling)
    lags = state.lags.get(integration.id, Lags())
    next_at_s = reconciling.next_run_at_s(state, integration.id)
    return StatusView(
        at=rfc3339(at_s),
        integration_id=integration.id,
        handle=integration.settings.handle,
        state="paused" if paused else "down" if down else "degraded" if degraded else "healthy",
        reasons=[*paused, *down, *degraded, *remarks][:REASONS_MAX],
        links={"total": tally.total, **{name: tally.states[name] for name in ("active", "pending", "parked")}},
        queue=queue,
        lag=LagView(spread(lags.inbound.lately(at_s)), spread(lags.outbound.lately(at_s))),
        dlq=letters,
        conflicts=pending,
        webhooks=Webhooks(
            optional_time(counts.last_webhook_at_s),
            counts.accepted,
            counts.rejected,
            counts.duplicates,
            coverage.view(counts.coverage),
        ),
        polling=polling.shown(integration, counts.polling),
        api=Api(
            counts.requests,
            counts.throttled,
            counts.errors,
            counts.remaining_budget,
            counts.breaker,
            counts.outcomes,
            spread(counts.latency.lately(at_s)),
        ),
        last_errors=[_error(one, integration.settings.handle) for one in counts.troubles],
        last_reconcile=optional_time(_last_reconcile_at_s(state, integration, counts)),
        next_reconcile=optional_time(next_at_s if math.isfinite(next_at_s) else None),
    )


def _last_reconcile_at_s(state: State, integration: Integration, counts: Counts) -> float | None:
    """When all links were last compared to the end, by a run or at the start."""
    runs = state.runs.get(integration.id, {}).values()
    ended = [run.finished_at_s for run in runs if run.status == "finished" and run.finished_at_s is not None]
    known_s = counts.last_reconcile_at_s
    return max([*ended, *([] if known_s is None else [known_s])], default=None)


def spread(seen: Histogram) -> Spread | None:
    """The figures that people read; None when there is nothing to be measured."""
    if not seen.counts:
        return None
    p50, p99, longest = (round(value, 4) for value in (seen.quantile(0.5), seen.quantile(0.99), seen.max_s))
    return Spread(p50, p99, longest, seen.count)


def _error(one: Trouble, handle: str) -> ErrorView:
    return ErrorView(rfc3339(one.at_s), one.kind, one.status, one.message, one.detail, one.times, remedy(one, handle))
