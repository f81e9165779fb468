"""`GET /metrics` and `GET /api/v1/status`: the same figures as sync-status, for Prometheus and for people.

A view: everything is computed when it is asked for, in a registry of its own. The labels are the handle of an
integration that exists, and words of a closed set; so the series of one that was deleted are gone, and nobody can make
more of them. docs/operations.md lists the names; dashboard and alerts in docs/monitoring/ stand on them.

Neither waits for the disk: they promise nothing, and are most wanted while it is full.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from quart import Response

from syncd.core.daemon_status import Condition, DaemonView
from syncd.core.histogram import Histogram
from syncd.core.lag import Lags
from syncd.core.status import Spread
from syncd.edges.api.answers import answer
from syncd.edges.api.description import TEXT, Answer, Description
from syncd.edges.api.desk import Desk
from syncd.edges.api.figures import Figures, daemon_view, figures_of
from syncd.edges.api.routes import Routes

LAG_BOUNDS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
ANSWER_BOUNDS_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
COMMIT_BOUNDS_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
STATES: Final = ("healthy", "degraded", "paused", "down")
BREAKER: Final = ("closed", "open", "paused")
BY: Final = "integration"


def _unix_s(at: str | None) -> float | None:
    return None if at is None else datetime.fromisoformat(at).timestamp()


Gauge = Callable[[Figures], float | None]
Counted = Callable[[Figures], Mapping[str, float]]

# Name, help, and the figure of one integration; no figure, no series.
GAUGES: Final[Sequence[tuple[str, str, Gauge]]] = (
    ("syncd_outbox_changes", "Changes that wait to be written to ServiceNow.", lambda one: one.status.queue.outbox),
    ("syncd_outbox_inflight", "Of these, under way.", lambda one: one.status.queue.inflight),
    ("syncd_outbox_retrying", "Of these, tried before in vain.", lambda one: one.status.queue.retrying),
    (
        "syncd_outbox_stalled",
        "Changes beside them that do not go by waiting, as their link is parked or their record not shown.",
        lambda one: one.status.queue.stalled,
    ),
    (
        "syncd_outbox_oldest_age_seconds",
        "How long the oldest of them has waited; 0 when none does.",
        lambda one: one.status.queue.oldest_age_s or 0.0,
    ),
    (
        "syncd_outbox_clears_seconds",
        "When all of them will be written if nothing new comes; absent while nothing is written.",
        lambda one: one.status.queue.clears_in_s if one.status.queue.outbox else 0.0,
    ),
    ("syncd_hints_pending", "Records that we were told of and have not read yet.", lambda one: one.status.queue.hints),
    (
        "syncd_links_undecided",
        "Links with something new that has not been compared yet.",
        lambda one: one.status.queue.undecided,
    ),
    ("syncd_dead_letters", "Changes that ServiceNow refused and that wait for a person.", lambda one: one.status.dlq),
    ("syncd_conflicts_pending", "Conflicts that wait for a person.", lambda one: one.status.conflicts),
    (
        "syncd_webhook_last_received_timestamp_seconds",
        "When the last authentic webhook came, since the start of the daemon.",
        lambda one: one.counts.last_webhook_at_s,
    ),
    (
        "syncd_webhook_coverage_ratio",
        "The share of the last hour's changes that a webhook announced; absent while there was none.",
        lambda one: one.counts.coverage.share,
    ),
    (
        "syncd_servicenow_budget_remaining",
        "Requests that the instance's hourly rule has left for us; absent where there is none.",
        lambda one: one.counts.remaining_budget,
    ),
    (
        "syncd_last_reconcile_timestamp_seconds",
        "When all links were last compared.",
        lambda one: _unix_s(one.status.last_reconcile),
    ),
    (
        "syncd_next_reconcile_timestamp_seconds",
        "When the next scheduled run is due; absent without a schedule.",
        lambda one: _unix_s(one.status.next_reconcile),
    ),
)
# The same with one more label, whose words are of a closed set.
LABELED_GAUGES: Final[Sequence[tuple[str, str, str, Counted]]] = (
    (
        "syncd_sync_state",
        "1 for the state that the integration is in.",
        "state",
        lambda one: {name: float(one.status.state == name) for name in STATES},
    ),
    (
        "syncd_links",
        "Pairs of incident and record.",
        "state",
        lambda one: {name: count for name, count in one.status.links.items() if name != "total"},
    ),
    (
        "syncd_servicenow_breaker",
        "1 for the state of the way to the instance.",
        "state",
        lambda one: {name: float(one.counts.breaker == name) for name in BREAKER},
    ),
)
COUNTERS: Final[Sequence[tuple[str, str, str, Counted]]] = (
    (
        "syncd_webhooks",
        "Webhooks since the start of the daemon.",
        "outcome",
        lambda one: {
            "accepted": one.counts.accepted,
            "rejected": one.counts.rejected,
            "duplicate": one.counts.duplicates,
        },
    ),
    (
        "syncd_servicenow_requests",
        "Requests to ServiceNow by how they ended, since the integration was started.",
        "outcome",
        lambda one: one.counts.outcomes,
    ),
    (
        "syncd_actor_restarts",
        "How often an actor failed and was started again.",
        "actor",
        lambda one: one.counts.restarts,
    ),
)

METRICS: Final = Description(
    topic="The daemon",
    summary="Show the metrics for Prometheus",
    notes='Text of version 0.0.4. docs/operations.md, "Monitoring", lists the names.',
    answers=(Answer(TEXT, media="text/plain"),),
)
STATUS: Final = Description(
    topic="The daemon",
    summary="Show how the daemon and its integrations do",
    notes="Version, journal and disk, and a line for each integration.",
    answers=(Answer(DaemonView),),
)


class Scrape(Struct, frozen=True):
    """All that one answer shows. ``answers``: how many the doors gave, by route and class of status."""

    daemon: DaemonView
    commits: Histogram
    opened_at_s: float
    kept: Condition
    integrations: Sequence[Figures]
    lags: Mapping[str, Lags]
    answers: Mapping[tuple[str, str], int]


def exposition(scrape: Scrape) -> bytes:
    """It as Prometheus reads it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_View(scrape))
    return generate_latest(registry)


class _View(Collector):
    def __init__(self, scrape: Scrape) -> None:
        self._scrape = scrape

    def collect(self) -> Iterator[Metric]:
        """Every family, whether it has series or not, so that their names can be checked."""
        yield from _daemon(self._scrape)
        yield from _integrations(self._scrape.integrations)
        yield from _durations(self._scrape)


def _daemon(scrape: Scrape) -> Iterator[Metric]:
    daemon, journal, kept = scrape.daemon, scrape.daemon.journal, scrape.kept
    yield InfoMetricFamily("syncd_build", "The version that runs.", value={"version": daemon.version})
    for name, about, value in (
        ("syncd_start_timestamp_seconds", "When the daemon started.", scrape.opened_at_s),
        ("syncd_incidents", "Incidents on the platform.", daemon.incidents),
        ("syncd_journal_position", "The newest record of the journal that is on disk.", journal.durable_position),
        ("syncd_journal_bytes", "The size of the journal.", journal.bytes),
        ("syncd_journal_segments", "Its files.", journal.segments),
        (
            "syncd_journal_writable",
            "0 while the disk takes nothing: it is full, or does not answer.",
            float(journal.disk == "ok"),
        ),
        ("syncd_journal_replay_seconds", "How long the start took to read it.", journal.replay_s),
        ("syncd_journal_damage", "Faults that the last look at everything that is kept has found.", len(kept.damage)),
        ("syncd_journal_snapshot_failing", "1 while no new snapshot can be written.", float(bool(kept.failure))),
    ):
        yield GaugeMetricFamily(name, about, value=value)
    for name, about, at_s in (
        ("syncd_journal_scrub_timestamp_seconds", "When all that is kept was last verified.", kept.scrubbed_at_s),
        ("syncd_journal_snapshot_timestamp_seconds", "When a snapshot was last written.", kept.snapshot_at_s),
    ):
        gauge = GaugeMetricFamily(name, f"{about} Absent while this process has not done it.")
        if at_s:
            gauge.add_metric([], at_s)
        yield gauge
    commits = HistogramMetricFamily(
        "syncd_journal_commit_seconds", "How long a group of records took until it was on disk."
    )
    _add(commits, [], scrape.commits, COMMIT_BOUNDS_S)
    yield commits
    answers = CounterMetricFamily(
        "syncd_http_requests", "Requests to the daemon by route and class of status.", labels=["route", "status"]
    )
    for labels, count in sorted(scrape.answers.items()):
        answers.add_metric(labels, count)
    yield answers


def _integrations(integrations: Sequence[Figures]) -> Iterator[Metric]:
    for name, about, gauge in GAUGES:
        plain = GaugeMetricFamily(name, about, labels=[BY])
        for one in integrations:
            if (value := gauge(one)) is not None:
                plain.add_metric([one.status.handle], value)
        yield plain
    for name, about, label, counted in LABELED_GAUGES:
        labeled = GaugeMetricFamily(name, about, labels=[BY, label])
        _add_all(labeled, integrations, counted)
        yield labeled
    for name, about, label, counted in COUNTERS:
        counter = CounterMetricFamily(name, about, labels=[BY, label])
        _add_all(counter, integrations, counted)
        yield counter


def _add_all(
    family: GaugeMetricFamily | CounterMetricFamily, integrations: Sequence[Figures], counted: Counted
) -> None:
    for one in integrations:
        for word, value in counted(one).items():
            family.add_metric([one.status.handle, word], value)


def _durations(scrape: Scrape) -> Iterator[Metric]:
    lately = GaugeMetricFamily(
        "syncd_lag_recent_seconds",
        "Lag of the last 15 minutes: half of the changes (0.5), 99 of 100 (0.99), all of them (1).",
        labels=[BY, "direction", "quantile"],
    )
    lag = HistogramMetricFamily(
        "syncd_lag_seconds",
        "From an edit's stamp on one side until the other is known to have it.",
        labels=[BY, "direction"],
    )
    took = HistogramMetricFamily("syncd_servicenow_answer_seconds", "How long ServiceNow took to answer.", labels=[BY])
    for one in scrape.integrations:
        handle, lags = one.status.handle, scrape.lags.get(one.status.integration_id, Lags())
        for direction, seen, recent in (
            ("outbound", lags.outbound.all, one.status.lag.outbound),
            ("inbound", lags.inbound.all, one.status.lag.inbound),
        ):
            _add(lag, [handle, direction], seen, LAG_BOUNDS_S)
            for quantile, value in _quantiles(recent):
                lately.add_metric([handle, direction, quantile], value)
        _add(took, [handle], one.counts.latency.all, ANSWER_BOUNDS_S)
    yield from (lately, lag, took)


def _quantiles(recent: Spread | None) -> Sequence[tuple[str, float]]:
    return () if recent is None else (("0.5", recent.p50), ("0.99", recent.p99), ("1", recent.max))


def _add(family: HistogramMetricFamily, labels: Sequence[str], seen: Histogram, bounds_s: tuple[float, ...]) -> None:
    counts = zip(map(str, bounds_s), seen.up_to(bounds_s), strict=True)
    family.add_metric(labels, [*counts, ("+Inf", seen.count)], seen.sum_s)


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put them into the application."""

    async def metrics() -> Response:
        found = await figures_of(desk, desk.state.integrations.values())
        scrape = Scrape(
            await daemon_view(desk, found),
            desk.journal.commits.all,
            desk.journal.opened_at_s,
            desk.keeping(),
            found,
            desk.state.lags,
            desk.answer_counts.of,
        )
        return Response(exposition(scrape), content_type=CONTENT_TYPE_PLAIN_0_0_4)

    async def status() -> Response:
        view = await daemon_view(desk, await figures_of(desk, desk.state.integrations.values()))
        return answer(view)

    routes.add("GET", "/metrics", "read", metrics, METRICS)
    routes.add("GET", "/api/v1/status", "read", status, STATUS)
