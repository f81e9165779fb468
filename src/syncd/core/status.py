"""An integration's sync status (contract section 7): one state, the reasons for it, and the numbers behind it.

A view of State and of what the actors and the webhook door count. Every reason ends with a command or with the heading
of a page that helps (``tests/core/test_status.py``).
"""

import math
from collections.abc import Iterator, Mapping
from typing import Final, Literal

from msgspec import Struct

from syncd.core import coverage, polling, reconciling, rule
from syncd.core.coverage import Coverage, CoverageView
from syncd.core.duration import duration_s
from syncd.core.forecast import Pace, forecast, not_before
from syncd.core.hints import REREAD_AFTER_S
from syncd.core.histogram import Histogram
from syncd.core.lag import Lag, Lags
from syncd.core.lens import lens_of
from syncd.core.model import Integration
from syncd.core.polling import Polling, Polls
from syncd.core.sending import over_at_s
from syncd.core.state import State
from syncd.core.tally import Tally, tally_of
from syncd.core.troubles import Trouble, remedy
from syncd.core.views import Time, optional_time, rfc3339

REASONS_MAX = 20
UNMAPPED_SHOWN = 5
BACKLOG_S = 300.0  # what waits longer than this, and was not refused, is worth a look


BROKEN_NAMED: Final = 3


class Health(Struct, frozen=True, kw_only=True):
    """How an integration's connection does, as its actors know it since the start of the daemon.

    ``halted``: why nothing is tried at all (refused credentials, an actor that gave up); empty when it runs.
    ``way_out``: what ends that; empty when it follows from the reason. ``trouble``: what the last request met, empty
    when it went well. ``breaker``: closed, open or paused.
    ``last_reconcile_at_s``: when all links were last read. ``braked``: what of the look at the start was held.
    ``blind``: why it was not acted upon at all.
    ``query_faults``: queries that the instance does not keep to.
    ``outcomes``: requests by how they ended. ``latency``: how long answers took. ``hourly_limit``: requests that an
    hourly rule, if there is one, allows, and ``budget_resets_in_s``: when it gives new ones.
    ``troubles``: what was met lately, the newest first.
    ``restarts``: how often each actor was started again. ``polling``: None where nothing is polled.
    ``coverage``: how many changes webhooks announced.
    """

    halted: str = ""
    way_out: str = ""
    trouble: str = ""
    breaker: str = "closed"
    requests: int = 0
    throttled: int = 0
    errors: int = 0
    remaining_budget: int | None = None
    hourly_limit: int | None = None
    last_reconcile_at_s: float | None = None
    braked: str = ""
    blind: str = ""
    query_faults: tuple[str, ...] = ()
    outcomes: Mapping[str, int] = {}
    latency: Lag = Lag()
    budget_resets_in_s: float = 0.0
    troubles: tuple[Trouble, ...] = ()
    restarts: Mapping[str, int] = {}
    polling: Polling | None = None
    coverage: Coverage = Coverage()


class Counts(Health, frozen=True, kw_only=True):
    """The connection's health and the webhook door's counts: what is known of an integration beside State.

    ``stranger``: another instance that sends webhooks with this one's secret, lately.
    """

    last_webhook_at_s: float | None = None
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    stranger: str = ""


class Queue(Struct, frozen=True):
    """What waits. `outbox`: changes to be written; `inflight`: of these under way; `retrying`: tried before, in vain.

    `looked_up`: creates and notes of `outbox` that got no clear answer, and are looked for before they are sent again;
    `oldest_looked_up`: the oldest is one of these. `stalled`: changes beside these that do not go by waiting:
    their link is parked, their record is not shown, or the direction is inbound. `oldest_age_s`: of `outbox`.
    `clears_in_s`: when all of it is written, if nothing new comes; null when nothing waits, or nothing is written now.
    `paced_by`: what sets the pace: our `rate_limit`, the instance's `answers` (how long they take, over
    `max_concurrency`), its `hourly-rule`, the `instance` as it does not answer, the `next-try` of what failed, or
    `look-ups`; null while the integration is paused. `hints`: records that we were told
    of and have not read yet; `undecided`: links with something new that has not been compared yet.
    """

    outbox: int
    inflight: int
    retrying: int
    oldest_age_s: float | None
    clears_in_s: float | None
    paced_by: Pace | None
    hints: int
    undecided: int
    stalled: int
    looked_up: int
    oldest_looked_up: bool


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
    queue = _queue(state, integration, counts, tally, at_s)
    paused, down, degraded = _reasons(state, integration, tally, counts, queue, letters, pending)
    lags = state.lags.get(integration.id, Lags())
    next_at_s = reconciling.next_run_at_s(state, integration.id)
    return StatusView(
        at=rfc3339(at_s),
        integration_id=integration.id,
        handle=integration.settings.handle,
        state="paused" if paused else "down" if down else "degraded" if degraded else "healthy",
        reasons=[*paused, *down, *degraded, *_remarks(state, integration, tally, counts.polling)][:REASONS_MAX],
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


def _queue(state: State, integration: Integration, counts: Counts, tally: Tally, at_s: float) -> Queue:
    settings = integration.settings
    is_inbound = settings.sync_direction == "inbound"  # what waited when it became so goes when that ends
    waiting = 0 if is_inbound else tally.waiting
    ahead = None
    if waiting and settings.writes and integration.credentials and not counts.halted:
        ahead = forecast(
            waiting,
            answers=counts.breaker == "closed",
            rate=settings.rate_limit,
            concurrency=settings.max_concurrency,
            answer_s=counts.latency.lately(at_s).quantile(0.5),
            hourly_limit=counts.hourly_limit,
            left=counts.remaining_budget,
            resets_in_s=counts.budget_resets_in_s,
        )
        ahead = not_before(
            ahead, next_try_in_s=tally.next_try_at_s - at_s, looked_up_in_s=_looked_up_in_s(integration, tally, at_s)
        )
    since_s = None if is_inbound else tally.oldest_since_s
    clears_in_s = None if ahead is None else ahead.clears_in_s
    return Queue(
        outbox=waiting,
        inflight=tally.inflight,
        retrying=0 if is_inbound else tally.retrying,
        oldest_age_s=None if since_s is None else round(max(0.0, at_s - since_s), 1),
        clears_in_s=None if clears_in_s is None else round(clears_in_s, 1),
        paced_by=None if ahead is None else ahead.paced_by,
        hints=len(state.hints.get(integration.id, ())),
        undecided=len(state.dirty.get(integration.id, ())),
        stalled=tally.stalled + tally.waiting - waiting,
        looked_up=0 if is_inbound else len(tally.looked_for),
        oldest_looked_up=tally.is_oldest_looked_for and not is_inbound,
    )


def _looked_up_in_s(integration: Integration, tally: Tally, at_s: float) -> float:
    """In how many seconds the last create or note without a clear answer has been looked for long enough."""
    quota_s = duration_s(integration.settings.transaction_quota)
    over = (over_at_s(one.started_at_s, one.ended_at_s, quota_s) for one in tally.looked_for)
    return max(over, default=at_s) - at_s


def _error(one: Trouble, handle: str) -> ErrorView:
    return ErrorView(rfc3339(one.at_s), one.kind, one.status, one.message, one.detail, one.times, remedy(one, handle))


def _reasons(
    state: State, integration: Integration, tally: Tally, counts: Counts, queue: Queue, letters: int, pending: int
) -> tuple[list[str], list[str], list[str]]:
    """Why it is paused, down or degraded, worst first."""
    settings, handle = integration.settings, integration.settings.handle
    paused = []
    if not settings.enabled:
        paused.append(f"disabled; run: im integration configure {handle} --enabled")
    if settings.sync_direction == "none":
        paused.append(f"sync_direction is none; run: im integration configure {handle} --direction bidirectional")
    if not integration.credentials:
        paused.append(f"no credentials; run: im integration configure {handle} --username … --password-file …")
    if counts.halted:
        usual = f"start it again: im integration configure {handle} --no-enabled, and then --enabled"
        if counts.breaker == "paused":
            usual = f"give it working credentials: {_signing_in(integration)}"
        paused.append(f"{counts.halted}; {counts.way_out or usual}")
    find_out = f"find out why: im integration test {handle}"
    down = []
    if counts.breaker == "open":
        down.append(f"the instance does not answer; it is being probed: {counts.trouble}; {find_out}")
    degraded = []
    if counts.trouble and not (paused or down):
        degraded.append(f"the last request failed: {counts.trouble}; {find_out}")
    degraded += polling.troubles(counts.polling, counts.trouble, handle)
    degraded += coverage.troubles(counts.coverage, handle, counts.polling)
    degraded += [
        f"{fault}: new records made while nobody told us of them are not found; give the account query rights there "
        f"(a query_range ACL on incident), then run: im integration reconcile {handle} --auto-heal"
        for fault in counts.query_faults
    ]
    if counts.stranger and integration.instance is not None and counts.stranger != integration.instance.name:
        degraded.append(
            f"webhooks of another instance, {counts.stranger!r}, came with this integration's secret and were refused; "
            f"if it is a copy, delete the business rule there; if ours was renamed, confirm it: "
            f"im integration configure {handle} --base-url {settings.base_url}"
        )
    if letters:
        degraded.append(f"{_count(letters, 'dead letter')}; see: im integration dlq {handle}")
    if pending:
        waits = "waits" if pending == 1 else "wait"
        degraded.append(
            f"{_count(pending, 'conflict')} {waits} for a person; see: im conflict list --integration {handle}"
        )
    degraded += _aside(tally, handle)
    degraded += _unseen(state, integration)
    degraded += _stopped(state, integration, counts)
    if (queue.oldest_age_s or 0.0) >= BACKLOG_S and queue.outbox > queue.retrying and not (paused or down):
        degraded.append(_backlog(queue))
    degraded += _unmapped(tally)
    return paused, down, degraded


def _aside(tally: Tally, handle: str) -> Iterator[str]:
    """Links that have to wait for more than their turn."""
    if gone := tally.gone:
        yield (
            f"{_count(gone, 'linked record')} {'is' if gone == 1 else 'are'} not shown by ServiceNow: deleted there, "
            f"or hidden from our account. Parked until shown again; which: im integration links {handle}"
        )
    if unshown := tally.unshown:
        yield (
            f"{_count(unshown, 'linked record')} {'is' if unshown == 1 else 'are'} not shown by ServiceNow and not "
            "parked, since so many at once are rather hidden from our account than deleted; what goes to them is tried "
            f"again and again; see what the account may read: im integration test {handle}"
        )
    if tally.parked:
        yield f"{_count(tally.parked, 'link')} parked; see: im integration links {handle}"


def _unseen(state: State, integration: Integration) -> Iterator[str]:
    """Records that webhooks named, and ServiceNow has not shown for a while: they are asked for on and on."""
    late = [one for one in state.hints.get(integration.id, {}).values() if one.tries > len(REREAD_AFTER_S)]
    handle = integration.settings.handle
    if broken := [one.external_id for one in late if one.unreadable]:
        more = ", …" if len(broken) > BROKEN_NAMED else ""
        yield (
            f"{_count(len(broken), 'record')} {'gives' if len(broken) == 1 else 'give'} an answer that cannot be read, "
            f"and did not come in: {', '.join(broken[:BROKEN_NAMED])}{more}; asked for again every five minutes. "
            "Look in ServiceNow for a field with far too much in it"
        )
    if waiting := len(late) - len(broken):
        yield (
            f"webhooks told of {_count(waiting, 'record')} that ServiceNow does not show our account; asked for again "
            f"every five minutes. See whether it may read incidents: im integration test {handle}; if so many are "
            f"gone for good: im integration reconcile {handle} --auto-heal"
        )


def _stopped(state: State, integration: Integration, counts: Counts) -> Iterator[str]:
    """What the brake, or an instance that answers wrongly, has kept from being done."""
    handle, last = integration.settings.handle, reconciling.last_ended(state, integration.id)
    if last is not None and last.stopped_by in ("brake", "answers"):
        way_out = f"see: im integration reconcile history {handle}"
        if last.stopped_by == "brake":
            way_out = f"to do it all the same: im integration reconcile {handle} --auto-heal --force"
        yield f"{last.id} stopped: {last.reason}; {way_out}"
    if counts.braked:
        yield (
            f"a part of what changed while we were not there was not taken over: {counts.braked}; see `--dry-run`, and "
            f"to do it all the same: im integration reconcile {handle} --auto-heal --force"
        )
    if counts.blind:
        yield (
            f"what changed while we were not there was not taken over: {counts.blind}; it is looked at again every "
            f"five minutes; see what the account may read: im integration test {handle}"
        )


def _signing_in(integration: Integration) -> str:
    """The command that gives credentials of the kind it has."""
    flags = "--username … --password-file …"
    if "client_id" in integration.credentials:
        flags = "--client-id … --client-secret-file …" + f" {flags}" * ("username" in integration.credentials)
    elif "api_key" in integration.credentials:
        flags = "--api-key-file …"
    return f"im integration configure {integration.settings.handle} {flags}"


def _remarks(state: State, integration: Integration, tally: Tally, polls: Polling | None) -> Iterator[str]:
    """What is worth knowing and no trouble."""
    if tally.shut:
        yield (
            f"{_count(tally.shut, 'link')} parked, as its record is closed in ServiceNow and takes no edits; "
            f"see: im integration links {integration.settings.handle}"
        )
    if unclear := len(tally.looked_for):
        yield (
            f"{_count(unclear, 'create or note')} without a clear answer, looked for before it is sent again, up to "
            f"twice the transaction quota ({integration.settings.transaction_quota}); "
            f"see: im integration links {integration.settings.handle}"
        )
    if waits := tally.awaits_autoclose:
        yield (
            f"{_count(waits, 'incident')} closed here and Resolved in ServiceNow, where our account may not close; "
            'its auto-close will; see docs/sync.md, "Closing"'
        )
    yield from polling.remarks(polls)
    if copies := len(state.set_aside.get(integration.id, {})):
        verb = "carries" if copies == 1 else "carry"
        yield (
            f"{_count(copies, 'record')} {verb} the correlation id of another one, as copies do: left alone; "
            f"found by: im integration reconcile history {integration.settings.handle}"
        )
    yield from rule.remarks(integration)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _backlog(queue: Queue) -> str:
    """A queue that is longer than its pace allows."""
    doubt = ", looked for as it got no clear answer" if queue.oldest_looked_up else ""
    pace = "" if queue.clears_in_s is None else f", all of it for about {queue.clears_in_s:.0f} s more"
    return (
        f"{_count(queue.outbox, 'change')} {'waits' if queue.outbox == 1 else 'wait'} to be written, the oldest for "
        f'{queue.oldest_age_s:.0f} s{doubt}{pace}; see docs/operations.md, "Sync delays"'
    )


def _unmapped(tally: Tally) -> Iterator[str]:
    """Values without a mapping are left alone on both sides, and shown here, with an incident to look at."""
    for (field, raw), count in tally.unmapped.most_common(UNMAPPED_SHOWN):
        see = f"see: im incident show {tally.examples[field, raw]}"
        yield f"{_count(count, 'record')} with {field} {raw[:40]!r}, which has no mapping: left alone; {see}"
    for field, count in tally.unread.items():
        if count:
            yield (
                f"{_count(count, 'record')} without {field}, which our account may not read: left alone; "
                'see docs/operations.md, "A field is not synced"'
            )
