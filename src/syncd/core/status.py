"""An integration's sync status (contract section 7): one state, the reasons for it, and the numbers behind it.

A view of State and of what the actors and the webhook door count. Lag is null until it is measured.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct, UnsetType

from syncd.core import closing, rule
from syncd.core.lens import Lens, lens_of
from syncd.core.model import Failure, Integration, Link
from syncd.core.outbox import entries_of
from syncd.core.state import State
from syncd.core.views import Time, optional_time

REASONS_MAX = 20
NO_FAILURE = Failure("", "")


class Health(Struct, frozen=True, kw_only=True):
    """How an integration's connection does, as its actors know it since the start of the daemon.

    ``halted``: why nothing is tried at all (refused credentials, an actor that gave up); empty when it runs.
    ``way_out``: what ends that; empty when it follows from the reason. ``trouble``: what the last request met, empty
    when it went well. ``breaker``: closed, open or paused.
    ``last_reconcile_at_s``: when the last pass ended. ``missing``: linked records that it was not shown.
    ``query_faults``: queries that the instance does not keep to.
    """

    halted: str = ""
    way_out: str = ""
    trouble: str = ""
    breaker: str = "closed"
    requests: int = 0
    throttled: int = 0
    errors: int = 0
    remaining_budget: int | None = None
    last_reconcile_at_s: float | None = None
    missing: int = 0
    query_faults: tuple[str, ...] = ()


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
    """What waits to be written. `oldest_age_s` is null when nothing does."""

    outbox: int
    inflight: int
    oldest_age_s: float | None


class Webhooks(Struct, frozen=True):
    """Webhooks since the start of the daemon."""

    last_received_at: Time | None
    accepted: int
    rejected: int
    duplicates: int


class Api(Struct, frozen=True):
    """Requests to ServiceNow since the daemon started.

    `remaining_budget`: what its hourly rule has left for us, by our own count; null where there is no rule.
    """

    requests: int
    throttled: int
    errors: int
    remaining_budget: int | None
    breaker: str


class StatusView(Struct, frozen=True, kw_only=True):
    """How the sync of an integration is doing: one state, the reasons for it, and the numbers behind it."""

    integration_id: str
    handle: str
    state: Literal["healthy", "degraded", "paused", "down"]
    reasons: list[str]
    links: dict[str, int]
    queue: Queue
    lag: dict[str, dict[str, float] | None]
    dlq: int
    conflicts: int
    webhooks: Webhooks
    api: Api
    last_reconcile: Time | None
    next_reconcile: Time | None


def status(state: State, integration: Integration, counts: Counts, at_s: float) -> StatusView:
    """How one integration does at a time."""
    links = list(state.links_under(integration.id))
    letters = sum(one.integration_id == integration.id for one in state.dead_letters.values())
    pending = sum(state.conflicts[one].integration_id == integration.id for one in state.waiting.values())
    waiting = [entry for name in state.outbox.get(integration.id, ()) for entry in entries_of(state.links[name])]
    paused, down, degraded = _reasons(integration, links, counts, letters, pending)
    by_state = Counter(link.state for link in links)
    return StatusView(
        integration_id=integration.id,
        handle=integration.settings.handle,
        state="paused" if paused else "down" if down else "degraded" if degraded else "healthy",
        reasons=[*paused, *down, *degraded, *_remarks(integration, links)][:REASONS_MAX],
        links={"total": len(links), **{name: by_state[name] for name in ("active", "pending", "parked")}},
        queue=Queue(
            outbox=len(waiting),
            inflight=sum(
                (link.in_flight is not None) + sum(note.in_flight is not None for note in link.notes) for link in links
            ),
            oldest_age_s=round(max(0.0, at_s - min(one.since_s for one in waiting)), 1) if waiting else None,
        ),
        lag={"inbound": None, "outbound": None},
        dlq=letters,
        conflicts=pending,
        webhooks=Webhooks(optional_time(counts.last_webhook_at_s), counts.accepted, counts.rejected, counts.duplicates),
        api=Api(counts.requests, counts.throttled, counts.errors, counts.remaining_budget, counts.breaker),
        last_reconcile=optional_time(counts.last_reconcile_at_s),
        next_reconcile=None,
    )


def _reasons(
    integration: Integration, links: list[Link], counts: Counts, letters: int, pending: int
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
        way_out = f"start it again: im integration configure {handle} --no-enabled, and then --enabled"
        if counts.breaker == "paused":
            way_out = counts.way_out or f"give it working credentials: {_signing_in(integration)}"
        paused.append(f"{counts.halted}; {way_out}")
    down = [f"the instance does not answer; it is being probed: {counts.trouble}"] if counts.breaker == "open" else []
    degraded = [f"the last request failed: {counts.trouble}"] if counts.trouble and not (paused or down) else []
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
    gone = sum(one.outbox is not None and (one.outbox.failure or NO_FAILURE).kind == "gone" for one in links)
    if missing := max(counts.missing, gone):
        degraded.append(
            f"{_count(missing, 'linked record')} {'is' if missing == 1 else 'are'} not shown by ServiceNow: deleted "
            f"there, or hidden from our account; im incident timeline tells of each, im integration unlink {handle} "
            f"ends a link"
        )
    if parked := sum(link.state == "parked" and not link.closed_there for link in links):
        degraded.append(f"{_count(parked, 'link')} parked; see: im integration links {handle}")
    degraded += _unmapped(links, lens_of(settings))
    return paused, down, degraded


def _signing_in(integration: Integration) -> str:
    """The command that gives credentials of the kind it has."""
    flags = "--username … --password-file …"
    if "client_id" in integration.credentials:
        flags = "--client-id … --client-secret-file …" + f" {flags}" * ("username" in integration.credentials)
    elif "api_key" in integration.credentials:
        flags = "--api-key-file …"
    return f"im integration configure {integration.settings.handle} {flags}"


def _remarks(integration: Integration, links: list[Link]) -> Iterator[str]:
    """What is worth knowing and no trouble."""
    if closed := sum(link.closed_there for link in links):
        yield (
            f"{_count(closed, 'link')} parked, as its record is closed in ServiceNow and takes no edits; "
            f"see: im integration links {integration.settings.handle}"
        )
    if waits := sum(closing.waits_for_autoclose(link) for link in links):
        yield (
            f"{_count(waits, 'incident')} closed here and Resolved in ServiceNow, where our account may not close; "
            "its auto-close will"
        )
    yield from rule.remarks(integration)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _unmapped(links: list[Link], lens: Lens) -> Iterator[str]:
    """Values without a mapping are left alone on both sides, and shown here, with an incident to look at."""
    found: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    unread: Counter[str] = Counter()
    for link in links:
        if link.observed is not None:
            for field in lens.fields:
                raw = lens.unmapped(field, link.observed.columns)
                if raw:
                    found[field, raw] += 1
                    example.setdefault((field, raw), link.incident_id)
                unread[field] += isinstance(lens.raw_of(field, link.observed.columns), UnsetType)
    for (field, raw), count in found.most_common(5):
        see = f"see: im incident show {example[field, raw]}"
        yield f"{_count(count, 'record')} with {field} {raw[:40]!r}, which has no mapping: left alone; {see}"
    for field, count in unread.items():
        if count:
            yield f"{_count(count, 'record')} without {field}, which our account may not read: left alone"
