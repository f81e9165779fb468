"""`im integration sync-status`: the state, the reasons and ways out, and the figures, as a person reads them.

What a newer daemon tells beside these is shown below them, key by key.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from syncd.edges.cli.client import Json, path_of, read
from syncd.edges.cli.refresh import Shown, Watches, show
from syncd.edges.cli.render import age, clip, facts, span, table, tree, when
from syncd.edges.cli.session import Injected


class Spread(Struct, frozen=True):
    """Seconds, over the last 15 minutes."""

    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0
    count: int | None = None


class Lag(Struct, frozen=True):
    """Of each direction; None: there was no change."""

    inbound: Spread | None = None
    outbound: Spread | None = None


class Queue(Struct, frozen=True):
    """What waits."""

    outbox: int = 0
    inflight: int = 0
    retrying: int = 0
    oldest_age_s: float | None = None
    clears_in_s: float | None = None
    paced_by: str | None = None
    hints: int = 0
    undecided: int = 0
    stalled: int = 0
    looked_up: int = 0
    oldest_looked_up: bool = False


class Coverage(Struct, frozen=True):
    """How many changes webhooks announced."""

    share: float | None = None
    announced: int = 0
    unannounced: int = 0
    since: str | None = None


class Polling(Struct, frozen=True):
    """How often changes are looked for."""

    asked_interval_s: float = 0.0
    used_interval_s: float = 0.0
    reason: str = ""
    last_poll: str | None = None


class Webhooks(Struct, frozen=True):
    """Since the start of the daemon."""

    last_received_at: str | None = None
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    coverage: Coverage | None = None


class Api(Struct, frozen=True):
    """Requests to ServiceNow."""

    requests: int = 0
    remaining_budget: int | None = None
    breaker: str = ""
    outcomes: dict[str, int] = {}
    latency: Spread | None = None


class LastError(Struct, frozen=True):
    """What a request met."""

    at: str | None = None
    kind: str = ""
    message: str = ""
    detail: str = ""
    times: int = 1
    remedy: str = ""


class SyncStatus(Struct, frozen=True):
    """What is shown in words."""

    at: str | None = None
    integration_id: str = ""
    handle: str = ""
    state: str = ""
    reasons: list[str] = []
    links: dict[str, int] = {}
    queue: Queue = Queue()
    lag: Lag = Lag()
    dlq: int = 0
    conflicts: int = 0
    webhooks: Webhooks = Webhooks()
    polling: Polling | None = None
    api: Api = Api()
    last_errors: list[LastError] = []
    last_reconcile: str | None = None
    next_reconcile: str | None = None


_PACE: Final = {
    "rate_limit": "paced by our rate_limit",
    "answers": "paced by how fast ServiceNow answers",
    "hourly-rule": "paced by ServiceNow's hourly rule",
    "instance": "it goes on when the instance answers",
    "next-try": "what failed has its next try then",
    "look-ups": "what got no clear answer is looked for so long before it is sent again",
}
_WAY: Final = {
    "closed": "open",
    "open": "held back while the instance does not answer; it is being probed",
    "paused": "held back until a person has mended what the reasons say",
}
DETAIL_CELLS_MAX: Final = 200


def sync_status(integration: str, /, *, watch: Watches = False, session: Injected) -> int:
    """Show whether an integration is healthy and, if not, why: queue, lag, dead letters, webhooks, API.

    Example: im integration sync-status prod-snow --watch
    """

    def look() -> Shown:
        body = session.client.get(path_of("integrations", integration, "sync-status")).body
        return Shown(body, lambda now_s: _text(body, now_s))

    return show(session, look, watches=watch)


def _text(body: bytes, now_s: float) -> str:
    shown, everything = read(body, SyncStatus), read(body, dict[str, Json])
    others = {key: value for key, value in everything.items() if key not in SyncStatus.__struct_fields__}
    parts = [facts([*_facts(shown, now_s), *(tree(others, now_s) if others else ())]), _spreads(shown)]
    if shown.last_errors:
        rows = (
            [age(one.at, now_s), str(one.times), f"{one.kind}: {_said(one)} -> {one.remedy}"]
            for one in shown.last_errors
        )
        parts.append(table(["LAST ERRORS", "TIMES", "WHAT, AND WHAT TO DO"], rows, wraps=True))
    return "\n\n".join(parts)


def _said(one: LastError) -> str:
    return f"{one.message} ({clip(one.detail, DETAIL_CELLS_MAX)})" if one.detail else one.message


def _facts(shown: SyncStatus, now_s: float) -> Iterator[tuple[str, str | None]]:
    yield "integration", f"{shown.handle} ({shown.integration_id})"
    yield "state", shown.state
    if shown.reasons:
        yield "reasons", "\n".join(shown.reasons)
    by_state = ", ".join(f"{count} {name}" for name, count in shown.links.items() if name != "total")
    yield "links", f"{shown.links.get('total', 0)}: {by_state}"
    yield "to be written", _waiting(shown.queue)
    yield "to be read", f"{shown.queue.hints} records; {shown.queue.undecided} links to be compared"
    yield "dead letters", str(shown.dlq)
    yield "conflicts", str(shown.conflicts)
    hooks = shown.webhooks
    last = "none came" if hooks.last_received_at is None else f"the last {age(hooks.last_received_at, now_s)}"
    counted = f"{hooks.accepted} accepted, {hooks.duplicates} duplicates, {hooks.rejected} rejected"
    yield "webhooks", f"{counted}; {last}"
    if (covered := hooks.coverage) is not None and covered.share is not None:
        total = covered.announced + covered.unannounced
        words = f"{covered.share:.0%} of {total} changes announced, counted since {age(covered.since, now_s)}"
        yield "webhook coverage", words
    if (polls := shown.polling) is not None:
        asked = f" instead of every {span(polls.asked_interval_s)}: {polls.reason}" if polls.reason else ""
        last = "none yet" if polls.last_poll is None else f"the last {age(polls.last_poll, now_s)}"
        yield "polling", f"every {span(polls.used_interval_s)}{asked}; {last}"
    outcomes = ", ".join(f"{count} {name}" for name, count in shown.api.outcomes.items())
    yield "requests", f"{shown.api.requests}: {outcomes}" if outcomes else str(shown.api.requests)
    if shown.api.remaining_budget is not None:
        yield "hourly rule", f"{shown.api.remaining_budget} requests left"
    yield "way to ServiceNow", _WAY.get(shown.api.breaker, shown.api.breaker)
    yield "last reconcile", when(shown.last_reconcile, now_s)
    yield "next reconcile", when(shown.next_reconcile, now_s)


def _waiting(queue: Queue) -> str:
    stalled = [f"{queue.stalled} do not go by waiting, as `reasons` or the links say"] if queue.stalled else []
    if not queue.outbox:
        return "; ".join(["nothing", *stalled])
    words = [f"{queue.outbox} changes, {queue.inflight} under way, {queue.retrying} tried in vain"]
    if queue.oldest_age_s is not None:
        doubt = ", looked for as it got no clear answer" if queue.oldest_looked_up else ""
        words.append(f"the oldest for {span(queue.oldest_age_s)}{doubt}")
    if queue.clears_in_s is not None:
        words.append(f"all of it within about {span(queue.clears_in_s)}")
    if queue.paced_by:
        words.append(_PACE.get(queue.paced_by, queue.paced_by))
    return "; ".join([*words, *stalled])


def _spreads(shown: SyncStatus) -> str:
    measured = (
        ("platform to ServiceNow", shown.lag.outbound),
        ("ServiceNow to platform", shown.lag.inbound),
        ("ServiceNow's answers", shown.api.latency),
    )
    return table(["LAST 15 MINUTES", "P50", "P99", "MAX", "COUNT"], (spread_row(name, one) for name, one in measured))


def spread_row(name: str, one: Spread | None) -> list[str | None]:
    """A row of a table of times."""
    if one is None:
        return [name, None, None, None, "0"]
    return [name, span(one.p50), span(one.p99), span(one.max), None if one.count is None else str(one.count)]
