"""What Prometheus reads, and that dashboard and alerts in docs/monitoring/ ask for nothing else."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import trio
import yaml
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from syncd.core.daemon_status import Condition
from syncd.core.health import Health
from syncd.core.lag import Lag
from syncd.edges.api.app import build_api
from syncd.edges.api.figures import LINKS_A_STEP, figures_of
from syncd.edges.api.gate import Gate, GateLimits
from syncd.edges.api.metrics import GAUGES
from tests.core.picture import INC, LINK
from tests.edges.api.daemon import Daemon, running, signature
from tests.edges.api.test_conflicts import pictured

DOCS = Path(__file__).parents[3] / "docs"
PAGE = (DOCS / "operations.md").read_text("utf-8")
ALERTS: dict[str, Any] = yaml.safe_load((DOCS / "monitoring" / "alerts.yml").read_text("utf-8"))
DASHBOARD: dict[str, Any] = json.loads((DOCS / "monitoring" / "grafana-dashboard.json").read_text("utf-8"))
NAME = re.compile(r"\bsyncd_[a-z_]+\b")
MATCHERS = re.compile(r"\b(syncd_[a-z_]+)\{([^}]*)\}")
GROUPED = re.compile(r"\b(?:by|without) \(([a-z, ]+)\)")

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scraped(daemon: Daemon) -> Series:
    answer = await daemon.socket.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float | None:
    return series.get((name, frozenset(labels.items())))


async def busy(daemon: Daemon) -> Series:
    """A daemon of which each figure has something to tell."""
    await pictured(daemon)
    daemon.integrations.health_now = Health(
        breaker="open",
        requests=7,
        throttled=1,
        errors=2,
        remaining_budget=40,
        last_reconcile_at_s=1.0,
        outcomes={"ok": 4, "throttled": 1, "unavailable": 2},
        latency=Lag().after(0.2, daemon.clock.now_s()),
        restarts={"sender": 2},
    )
    body = json.dumps({"sys_id": "9" * 32, "event_id": "e1"}).encode()
    spare = await daemon.configure(name="Spare", handle="spare")
    signed = {"X-ServiceNow-Signature": signature(spare["webhook_secret"], body)}
    for headers in (signed, signed, {}):
        await daemon.http.post("/api/v1/webhooks/spare", content=body, headers=headers)
    await daemon.socket.post(f"/api/v1/incidents/{INC}/notes", json={"text": "rolled back"})
    return await scraped(daemon)


async def test_every_figure_of_sync_status_is_there_for_each_integration() -> None:
    async with running() as daemon:
        series = await busy(daemon)
        shown = (await daemon.socket.get("/api/v1/integrations/prod/sync-status")).json()
    prod = {"integration": "prod"}
    assert value(series, "syncd_sync_state", **prod, state="down") == 1
    assert value(series, "syncd_sync_state", **prod, state="healthy") == 0
    assert value(series, "syncd_dead_letters", **prod) == shown["dlq"] == 2
    assert value(series, "syncd_conflicts_pending", **prod) == shown["conflicts"] == 1
    assert value(series, "syncd_outbox_changes", **prod) == shown["queue"]["outbox"]
    assert value(series, "syncd_outbox_oldest_age_seconds", **prod) == shown["queue"]["oldest_age_s"]
    assert value(series, "syncd_outbox_clears_seconds", **prod) is None  # the instance does not answer
    assert value(series, "syncd_links", **prod, state="active") == shown["links"]["active"] == 1
    assert value(series, "syncd_servicenow_requests_total", **prod, outcome="unavailable") == 2
    assert value(series, "syncd_servicenow_answer_seconds_count", **prod) == 1
    assert value(series, "syncd_servicenow_answer_seconds_bucket", **prod, le="0.1") == 0
    assert value(series, "syncd_servicenow_answer_seconds_bucket", **prod, le="0.25") == 1
    assert value(series, "syncd_servicenow_budget_remaining", **prod) == 40
    assert value(series, "syncd_actor_restarts_total", **prod, actor="sender") == 2
    assert [
        value(series, "syncd_webhooks_total", integration="spare", outcome=outcome)
        for outcome in ("accepted", "duplicate", "rejected")
    ] == [1, 1, 1]


async def test_the_daemon_itself_is_there_too() -> None:
    async with running() as daemon:
        series = await busy(daemon)
        assert value(series, "syncd_journal_position") == daemon.journal.durable_position
        commits = value(series, "syncd_journal_commit_seconds_count")
    assert commits
    assert commits == value(series, "syncd_journal_commit_seconds_bucket", le="+Inf")
    assert value(series, "syncd_journal_writable") == 1
    assert (value(series, "syncd_journal_bytes") or 0) > 1000
    assert value(series, "syncd_http_requests_total", route="POST /api/v1/webhooks/{integration}", status="4xx") == 1
    note = "POST /api/v1/incidents/{incident_id}/notes"
    assert value(series, "syncd_http_requests_total", route=note, status="2xx") == 1


async def test_what_the_daily_look_at_the_journal_finds_is_a_metric_and_a_reason() -> None:
    async with running() as daemon:
        await pictured(daemon)
        series = await scraped(daemon)
        assert value(series, "syncd_journal_damage") == 0
        assert value(series, "syncd_journal_scrub_timestamp_seconds") is None
        kept = Condition(damage=("segment 1 is damaged at byte 7",), scrubbed_at_s=1000.0, failure="no room")
        daemon.desk = replace(daemon.desk, keeping=lambda: kept)
        daemon.api = build_api(daemon.desk)
        series = await scraped(daemon)
        shown = (await daemon.socket.get("/api/v1/status")).json()
    assert value(series, "syncd_journal_damage") == 1
    assert value(series, "syncd_journal_scrub_timestamp_seconds") == 1000
    assert value(series, "syncd_journal_snapshot_failing") == 1
    assert shown["state"] == "degraded"
    assert shown["journal"]["damage"] == ["segment 1 is damaged at byte 7"]
    assert "the journal is damaged: segment 1 is damaged at byte 7; run: im journal verify" in shown["reasons"]


async def test_what_the_gate_refuses_is_counted_with_the_rest() -> None:
    statuses: list[int] = []
    async with running() as daemon:
        gate = Gate(daemon.api, limits=GateLimits(header_bytes=300), refused=statuses.append)
        transport = httpx.ASGITransport(app=cast("Any", gate))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.get("/health", headers={"X": "x" * 400})).status_code == 431
            assert (await client.get("/health")).status_code == 200
    assert statuses == [431]


async def test_a_deleted_integration_and_a_former_handle_leave_no_series_behind() -> None:
    async with running() as daemon:
        await busy(daemon)
        await daemon.socket.patch("/api/v1/integrations/prod", json={"handle": "renamed"})
        await daemon.socket.delete("/api/v1/integrations/spare")
        handles = {label for name, labels in await scraped(daemon) for key, label in labels if key == "integration"}
        assert handles == {"renamed"}


async def test_nobody_makes_more_series_by_asking_for_more() -> None:
    async with running() as daemon:
        await busy(daemon)
        for number in range(50):
            await daemon.socket.get(f"/nothing/{number}")
            await daemon.socket.request(f"VERB{number}", "/api/v1/incidents")
            await daemon.socket.get(f"/api/v1/incidents/INC-{number}?q={number}")
            await daemon.http.post(f"/api/v1/webhooks/{number}", content=b"{}")
        routes = {label for name, labels in await scraped(daemon) for key, label in labels if key == "route"}
    assert "none" in routes
    assert not any(re.search(r"\d\d", route) for route in routes)


async def test_metrics_need_the_scope_read_and_are_there_while_the_disk_is_full() -> None:
    async with running() as daemon:
        assert (await daemon.http.get("/metrics")).status_code == 401
        token = await daemon.token("read")
        assert (await daemon.client(token=token).get("/metrics")).status_code == 200
        assert (await daemon.client(token=token).get("/api/v1/status")).status_code == 200
        daemon.work.shut()
        with trio.move_on_after(1):  # it waits for the disk, for ever
            await daemon.socket.post("/api/v1/incidents", json={"title": "x", "severity": "SEV-1"})
        daemon.work.gate.set()
        assert (await daemon.client(token=token).get("/metrics")).status_code == 200


async def test_counting_many_links_lets_others_have_their_turn(autojump_clock: trio.testing.MockClock) -> None:
    async with running() as daemon:
        await pictured(daemon)
        link = daemon.desk.state.links[LINK]
        for number in range(6 * LINKS_A_STEP):
            daemon.desk.state.links[f"link-{number}"] = replace(link, id=f"link-{number}")
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            (found,) = await figures_of(daemon.desk, daemon.desk.state.integrations.values())
            nursery.cancel_scope.cancel()
    assert found.status.links["total"] == 6 * LINKS_A_STEP + 1
    assert turns >= 4


def rules() -> Iterator[dict[str, Any]]:
    for group in ALERTS["groups"]:
        yield from group["rules"]


def panels() -> Iterator[dict[str, Any]]:
    yield from DASHBOARD["panels"]


def expressions() -> list[str]:
    asked = [str(rule["expr"]) for rule in rules()]
    asked += [str(target["expr"]) for panel in panels() for target in panel.get("targets", ())]
    return [*asked, *(str(one["query"]) for one in DASHBOARD["templating"]["list"] if one["name"] == "integration")]


async def test_dashboard_and_alerts_ask_for_names_and_labels_that_there_are() -> None:
    async with running() as daemon:
        series = await busy(daemon)
        lags = await daemon.socket.get("/metrics")
    there: dict[str, set[str]] = {}
    for name, labels in series:
        there.setdefault(name, set()).update(key for key, _ in labels)
    for family in text_string_to_metric_families(lags.text):
        there.setdefault(family.name, set())  # without a series here, such as a lag that nobody has measured yet
    for name, _, _ in GAUGES:
        there[name].add("integration")
    there.setdefault("syncd_lag_recent_seconds", set()).update({"integration", "direction", "quantile"})
    assert len(expressions()) > 40
    for expression in expressions():
        names = set(NAME.findall(expression))
        assert names <= there.keys(), expression
        for name, matchers in MATCHERS.findall(expression):
            assert set(re.findall(r"([a-z_]+)=", matchers)) <= there[name], expression
        known = {label for name in names for label in there[name]}
        for grouped in GROUPED.findall(expression):
            assert set(grouped.split(", ")) <= known, expression
    assert {name for name in there if name.startswith("syncd_")}


async def test_every_metric_is_on_the_page_and_no_other() -> None:
    async with running() as daemon:
        text = (await daemon.socket.get("/metrics")).text
    there = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert set(re.findall(r"^\| `(syncd_[a-z_]+)` \|", PAGE, re.MULTILINE)) == there


def test_every_alert_leads_to_a_heading_of_the_page() -> None:
    headings = {
        re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    }
    found = list(rules())
    assert len(found) >= 12
    for rule in found:
        page, _, heading = rule["annotations"]["runbook"].partition("#")
        assert page == "docs/operations.md", rule["alert"]
        assert heading in headings, rule["alert"]
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


def test_the_dashboard_has_no_two_panels_in_one_place() -> None:
    taken: set[tuple[int, int]] = set()
    names = [panel["id"] for panel in panels()]
    assert len(names) == len(set(names))
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
