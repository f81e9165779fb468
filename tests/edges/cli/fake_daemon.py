"""A daemon that only speaks: HTTP/1.1 on a Unix socket or TCP, canned answers, and a record of what it heard.

It keeps the protocol where `im` could break it: a body must announce its length and its type, a request must name a
host.
"""

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct

from syncd.edges.cli.client import Json


class Heard(Struct, frozen=True):
    """One request. ``path`` is as it was on the wire; ``body`` None: there was none."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Json


class Canned(Struct, frozen=True):
    """An answer. ``wire``: these bytes instead of a well-formed one."""

    status: int = 200
    body: Json | bytes = None
    headers: dict[str, str] = {}
    wire: bytes | None = None


Answers = Callable[[Heard], Canned]


class FakeDaemon:
    """Serves until the ``with`` block ends; give a path for a Unix socket, None for a TCP port of its own."""

    def __init__(self, answers: Answers, path: Path | None) -> None:
        self.heard: list[Heard] = []
        self._answers = answers
        if path is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        else:
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(str(path))
            self._listener.listen()
            self.address = str(path)
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=10)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                connection.settimeout(10)
                words = lines.readline().decode("latin-1").split()
                headers: dict[str, str] = {}
                while line := lines.readline().strip():
                    name, _, value = line.decode("latin-1").partition(":")
                    headers[name.lower()] = value.strip()
                raw = lines.read(int(headers.get("content-length", "0")))
                parts = urlsplit(words[1])
                body: Json = json.loads(raw) if raw else None
                heard = Heard(words[0], parts.path, dict(parse_qsl(parts.query)), headers, body)
                self.heard.append(heard)
                with suppress(ConnectionError):  # the command was interrupted meanwhile
                    connection.sendall(_on_wire(_checked(heard) or self._answers(heard)))


def _checked(heard: Heard) -> Canned | None:
    if "host" not in heard.headers:
        return problem(400, "no Host")
    if heard.body is not None and heard.headers.get("content-type") != "application/json":
        return problem(415, "the body is not announced as JSON")
    return None


def _on_wire(answer: Canned) -> bytes:
    if answer.wire is not None:
        return answer.wire
    body = answer.body if isinstance(answer.body, bytes) else b"" if answer.body is None else _encode(answer.body)
    headers = {"Content-Type": "application/json", **answer.headers, "Content-Length": str(len(body))}
    head = [f"HTTP/1.1 {answer.status} Said So", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(head).encode() + body


def _encode(body: Json) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def problem(status: int, detail: str, **more: Json) -> Canned:
    """A problem+json answer."""
    body: dict[str, Json] = {"type": "about:blank", "title": "No", "status": status, "detail": detail, **more}
    return Canned(status, body, {"Content-Type": "application/problem+json"})


INCIDENT: dict[str, Json] = {
    "id": "INC-4Q7ZK2M9XD",
    "organization_id": "default",
    "title": "Checkout is down",
    "description": "Since the deploy.\nCarts are kept.",
    "severity": "SEV-2",
    "status": "open",
    "assigned_to": None,
    "service": "checkout",
    "resolution_code": None,
    "resolution_notes": None,
    "version": 3,
    "created_at": "2026-11-24T09:00:00.000000Z",
    "updated_at": "2026-11-24T09:14:03.500000Z",
    "updated_by": "integration:prod-snow",
    "links": [
        {
            "integration_id": "int_1",
            "integration": "prod-snow",
            "external_id": "a" * 32,
            "external_number": "INC0010023",
            "external_url": "https://example.service-now.com/nav_to.do?uri=incident.do?sys_id=" + "a" * 32,
            "state": "active",
        }
    ],
}
NOTE: dict[str, Json] = {
    "id": "note-9",
    "text": "Failed over",
    "author": "ana",
    "created_at": "2026-11-24T09:10:00Z",
    "origin": "platform",
}
INTEGRATION: dict[str, Json] = {
    "id": "int_1",
    "handle": "prod-snow",
    "name": "Production ServiceNow",
    "organization_id": "acme-corp",
    "integration_type": "servicenow",
    "base_url": "https://example.service-now.com",
    "sync_direction": "bidirectional",
    "enabled": True,
    "conflict_strategy": "last-write-wins",
}
CONFLICT: dict[str, Json] = {
    "id": "conflict-17",
    "integration_id": "int_1",
    "integration": "prod-snow",
    "incident_id": "INC-4Q7ZK2M9XD",
    "external_id": "a" * 32,
    "field": "title",
    "base": "Checkout",
    "platform": "Checkout is down",
    "external": "Checkout slow",
    "platform_by": "ana",
    "external_by": "beth.anglin",
    "platform_at": "2026-11-24T09:12:58Z",
    "external_from": "2026-11-24T09:12:57Z",
    "external_at": "2026-11-24T09:12:59Z",
    "strategy": "manual-review",
    "status": "pending",
    "decided": None,
    "version": 1,
    "created_at": "2026-11-24T09:13:00Z",
    "reason": "held-for-review",
    "rule": "manual-review, window 5s, owner platform (priority 1): a person decides",
    "would_write": {
        "use_platform": {"incident": {}, "record": {"short_description": "Checkout is down"}},
        "use_external": {"incident": {"title": "Checkout slow"}, "record": {}},
    },
}
EXPLAINED: dict[str, Json] = {
    "field": "status",
    "integration": "prod-snow",
    "integration_id": "int_1",
    "external_id": "a" * 32,
    "external_number": "INC0010023",
    "base": "open",
    "base_external": "2",
    "platform": "resolved",
    "platform_by": "user:ann",
    "platform_at": "2026-11-24T09:14:00Z",
    "external": "open",
    "external_raw": "2",
    "external_by": "beth",
    "external_from": "2026-11-24T09:10:00Z",
    "external_at": "2026-11-24T09:10:02Z",
    "rule": "one-side-changed",
    "why": "only one side had changed since they last agreed, so the other side follows it",
    "ruled_at": "2026-11-24T09:14:01Z",
    "write": {
        "to": "external",
        "at": None,
        "became": None,
        "attempts": 2,
        "next_attempt_at": "2026-11-24T10:14:01Z",
        "error": {"kind": "refused", "status": 403, "message": "Operation Failed", "detail": "Data Policy: close_code"},
    },
    "conflict": "conflict-17",
    "dead_letter": "entry-17",
    "standing": "dead-letter",
    "meaning": "ServiceNow refused the value, so it is held back until something changes",
    "way_out": "see its words: im integration dlq prod-snow; then: im integration dlq-retry prod-snow entry-17",
}
EXPLANATION: dict[str, Json] = {
    "incident_id": "INC-4Q7ZK2M9XD",
    "fields": [EXPLAINED],
    "not_synced": [{"field": "assigned_to", "platform": None, "reason": "not-synced", "why": "kept on the platform"}],
}
DEAD_LETTER: dict[str, Json] = {
    "id": "entry-17",
    "incident_id": "INC-4Q7ZK2M9XD",
    "external_id": "a" * 32,
    "operation": "update",
    "fields": ["status"],
    "attempts": 1,
    "error": {"kind": "refused", "status": 403, "message": "Operation Failed", "detail": "Data Policy: close_code"},
    "remedy": "set external_defaults.close_code, then retry",
    "created_at": "2026-11-24T09:00:00Z",
    "last_attempt_at": "2026-11-24T09:00:01Z",
    "next_attempt_at": None,
    "would_send": {"state": "6"},
}
KEYS: dict[str, Json] = {
    "master_id": "0123456789abcdef",
    "source": "file",
    "path": "/etc/syncd/master.key",
    "next_id": None,
    "data_keys": [
        {"id": "aaaabbbbccccdddd", "integration_id": "int_1", "integration": "prod-snow", "opens": True},
        {"id": "eeeeffff00001111", "integration_id": "int_2", "integration": "test-snow", "opens": False},
    ],
}
TOKEN: dict[str, Json] = {
    "id": "tok_1",
    "name": "deploy-bot",
    "scope": "operate",
    "created_at": "2026-11-24T09:00:00Z",
    "last_used_at": None,
    "expires_at": None,
}


def run_of(**told: Json) -> dict[str, Json]:
    """A reconcile run, over and without drift unless ``told`` otherwise."""
    return {
        "id": "run-17",
        "integration_id": "int_1",
        "mode": "heal",
        "trigger": "manual",
        "status": "finished",
        "reason": "",
        "started_at": "2026-11-24T09:14:00Z",
        "finished_at": "2026-11-24T09:14:01Z",
        "checked": 42,
        "links": None,
        "found": 0,
        "causes": {},
        "healed": 0,
        "drifts": [],
        "left_out": 0,
        **told,
    }


def drift_of(**told: Json) -> dict[str, Json]:
    """A drift, not healed unless ``told`` otherwise."""
    return {
        "incident_id": "INC-1",
        "external_id": "a" * 32,
        "field": "title",
        "platform": "Checkout is down",
        "external": "Checkout is slow",
        "base": "Checkout is down",
        "base_external": "Checkout is down",
        "cause": "missed-webhook",
        "action": "take over ServiceNow's value",
        "healed": False,
        **told,
    }


SCHEDULE: dict[str, Json] = {
    "integration_id": "int_1",
    "interval": "1h",
    "auto_heal": True,
    "enabled": True,
    "set_at": "2026-11-24T09:00:00Z",
    "next_run_at": "2026-11-24T09:24:06Z",
}


def rule_of(field: str, rule: Json, *, default: bool = False, effect: str | None = None) -> dict[str, Json]:
    """Who owns a field."""
    given = rule if isinstance(rule, dict) else {}
    return {"field": field, "priority": 1, "exclusive": False, "default": default, "effect": effect, **given}


def mapping_of(field: str, **values: Json) -> dict[str, Json]:
    """Where a field stands."""
    usual: dict[str, Json] = {"values": {}, "transform": "", "direction": "bidirectional", "default": False}
    return {"field": field, **usual, **values}


ANSWERS: dict[tuple[str, str], Canned] = {
    ("GET", "/health"): Canned(body={"status": "healthy", "timestamp": "2026-11-24T09:14:06Z"}),
    ("GET", "/ready"): Canned(body={"status": "ready"}),
    ("POST", "/api/v1/incidents"): Canned(201, INCIDENT),
    ("GET", "/api/v1/incidents"): Canned(body=[INCIDENT]),
    ("GET", "/api/v1/incidents/INC-1"): Canned(body=INCIDENT),
    ("PATCH", "/api/v1/incidents/INC-1"): Canned(body=INCIDENT),
    ("POST", "/api/v1/incidents/INC-1/notes"): Canned(201, NOTE),
    ("GET", "/api/v1/incidents/INC-1/notes"): Canned(body=[NOTE]),
    ("GET", "/api/v1/incidents/INC-1/timeline"): Canned(
        body=[
            {
                "specversion": "1.0",
                "id": "1",
                "source": "/incidents/INC-1",
                "type": "im.incident.declared",
                "time": "2026-11-24T09:00:00Z",
                "by": "user:ana",
                "data": {"title": "Checkout is down", "severity": "SEV-2", "status": "open", "description": ""},
            }
        ]
    ),
    ("GET", "/api/v1/incidents/INC-1/explain"): Canned(body=EXPLANATION),
    ("GET", "/api/v1/integrations"): Canned(body=[INTEGRATION]),
    ("POST", "/api/v1/integrations"): Canned(201, {**INTEGRATION, "webhook_secret": "wh-secret"}),
    ("GET", "/api/v1/integrations/prod-snow"): Canned(body=INTEGRATION),
    ("PATCH", "/api/v1/integrations/int_1"): Canned(body=INTEGRATION),
    ("DELETE", "/api/v1/integrations/prod-snow"): Canned(204),
    ("GET", "/api/v1/status"): Canned(
        body={
            "version": "1.2.3",
            "started_at": "2026-11-24T08:14:06Z",
            "uptime_s": 3600.5,
            "last_end": {"at": "2026-11-24T08:14:03Z", "code": 70, "reason": "cannot sync /state: I/O error"},
            "state": "degraded",
            "reasons": ["prod-snow is degraded; see: im integration sync-status prod-snow"],
            "incidents": 42,
            "journal": {
                "position": 4711,
                "durable_position": 4711,
                "oldest_position": 1,
                "segments": 2,
                "bytes": 71_234_567,
                "disk": "ok",
                "commit": {"p50": 0.0004, "p99": 0.02, "max": 0.3, "count": 900},
                "replay_s": 1.25,
            },
            "integrations": [
                {
                    "id": "int_1",
                    "handle": "prod-snow",
                    "state": "degraded",
                    "reason": "3 dead letters; see: im integration dlq prod-snow",
                    "links": 42,
                    "outbox": 7,
                },
                {
                    "id": "int_2",
                    "handle": "a-handle-that-is-as-long-as-a-handle-may-ever-be-and-then-some",
                    "state": "down",
                    "reason": "the instance does not answer; it is being probed: no answer; "
                    "find out why: im integration test a-handle",
                    "links": 0,
                    "outbox": 0,
                },
            ],
            "restarts": 2,
        }
    ),
    ("GET", "/api/v1/integrations/prod-snow/sync-status"): Canned(
        body={
            "integration_id": "int_1",
            "handle": "prod-snow",
            "state": "degraded",
            "reasons": ["3 dead letters; see: im integration dlq prod-snow", "an incident \u202ewith a title"],
            "links": {"total": 42, "active": 40, "pending": 2, "parked": 0},
            "queue": {
                "outbox": 7,
                "inflight": 1,
                "retrying": 2,
                "oldest_age_s": 130.0,
                "clears_in_s": 1.4,
                "paced_by": "rate_limit",
                "hints": 3,
                "undecided": 1,
                "stalled": 2,
                "looked_up": 1,
                "oldest_looked_up": True,
            },
            "lag": {"inbound": {"p50": 0.4, "p99": 2.0, "max": 3.25, "count": 9}, "outbound": None},
            "dlq": 3,
            "conflicts": 0,
            "webhooks": {
                "last_received_at": "2026-11-24T09:14:03Z",
                "accepted": 9,
                "rejected": 1,
                "duplicates": 0,
                "coverage": {"share": 0.97, "announced": 97, "unannounced": 3, "since": "2026-11-24T08:14:06Z"},
            },
            "polling": {
                "asked_interval_s": 2.0,
                "used_interval_s": 72.0,
                "reason": "ServiceNow allows 100 requests an hour",
                "last_poll": "2026-11-24T09:14:03Z",
            },
            "api": {
                "requests": 12,
                "throttled": 1,
                "errors": 2,
                "remaining_budget": 400,
                "breaker": "closed",
                "outcomes": {"ok": 10, "throttled": 2},
                "latency": {"p50": 0.04, "p99": 0.2, "max": 31.0, "count": 12},
            },
            "last_errors": [
                {
                    "at": "2026-11-24T09:14:03Z",
                    "kind": "throttled",
                    "status": 429,
                    "message": "too many \u001b[31mrequests",
                    "detail": "its hourly rule",
                    "times": 2,
                    "remedy": "ask for less: im integration configure prod-snow --rate-limit N",
                }
            ],
            "last_reconcile": None,
            "later": {"figure": 97},
        }
    ),
    ("POST", "/api/v1/integrations/prod-snow/test"): Canned(
        body={"name": "reach", "verdict": "ok", "detail": "https://example.service-now.com: all is well", "steps": []}
    ),
    ("POST", "/api/v1/integrations/prod-snow/links"): Canned(
        201, {"incident_id": "INC-1", "external_number": "INC0010023"}
    ),
    ("DELETE", "/api/v1/integrations/prod-snow/links/INC-1"): Canned(204),
    ("GET", "/api/v1/integrations/prod-snow/links"): Canned(
        body=[
            {
                "incident_id": "INC-4Q7ZK2M9XD",
                "external_id": "a" * 32,
                "external_number": "INC0010023",
                "external_url": "https://example.service-now.com/x",
                "state": "parked",
                "reason": "hidden in ServiceNow",
                "created_at": "2026-11-24T09:00:00Z",
                "last_synced_at": "2026-11-24T09:12:00Z",
            }
        ]
    ),
    ("GET", "/api/v1/integrations/prod-snow/webhook-script"): Canned(
        body=b"(function () {\n\treturn 1;\n})();\n", headers={"Content-Type": "text/javascript"}
    ),
    ("POST", "/api/v1/integrations/prod-snow/webhook-secret/rotate"): Canned(
        body={"webhook_secret": "wh-new", "previous_valid_until": "2026-11-25T09:14:06Z"}
    ),
    ("POST", "/api/v1/integrations/prod-snow/reconcile"): Canned(202, run_of(status="running", finished_at=None)),
    ("GET", "/api/v1/integrations/prod-snow/reconcile/history"): Canned(body=[run_of()]),
    ("GET", "/api/v1/integrations/prod-snow/reconcile/history/run-17"): Canned(body=run_of()),
    ("GET", "/api/v1/integrations/prod-snow/reconcile/schedule"): Canned(body=SCHEDULE),
    ("POST", "/api/v1/integrations/prod-snow/reconcile/schedule"): Canned(body=SCHEDULE),
    ("POST", "/api/v1/integrations/prod-snow/import"): Canned(
        202, {"id": "import-17", "status": "finished", "checked": 42, "counts": {"imported": 42}}
    ),
    ("GET", "/api/v1/integrations/prod-snow/dlq"): Canned(body=[DEAD_LETTER]),
    ("POST", "/api/v1/integrations/prod-snow/dlq/entry-17/retry"): Canned(body=DEAD_LETTER),
    ("POST", "/api/v1/integrations/prod-snow/dlq/retry"): Canned(body={"queued": 1, "entries": ["entry-17"]}),
    ("POST", "/api/v1/integrations/prod-snow/dlq/entry-17/discard"): Canned(body={"id": "entry-17", "discarded": True}),
    ("GET", "/api/v1/integrations/prod-snow/field-ownership"): Canned(
        body=[
            rule_of("title", {"owner": "platform", "priority": 10, "exclusive": True}),
            rule_of("work_notes", {"owner": "external"}, default=True, effect="none: notes"),
        ]
    ),
    ("DELETE", "/api/v1/integrations/prod-snow/field-ownership/title"): Canned(
        body=rule_of("title", {"owner": "platform"}, default=True)
    ),
    ("GET", "/api/v1/integrations/prod-snow/field-mapping"): Canned(
        body=[
            mapping_of("severity", external_field="u_sev", values={"SEV-1": ["1"], "SEV-4": ["4", "5"]}),
            mapping_of("service", external_field=None, default=True),
        ]
    ),
    ("PUT", "/api/v1/integrations/prod-snow/field-mapping/service"): Canned(
        body=mapping_of("service", external_field="u_service", transform="upper")
    ),
    ("PUT", "/api/v1/integrations/prod-snow/field-mapping/severity"): Canned(
        body=mapping_of("severity", external_field="u_sev", values={"SEV-1": ["1"]}, direction="inbound")
    ),
    ("DELETE", "/api/v1/integrations/prod-snow/field-mapping/service"): Canned(
        body=mapping_of("service", external_field=None, default=True)
    ),
    ("GET", "/api/v1/conflicts"): Canned(body=[CONFLICT]),
    ("GET", "/api/v1/conflicts/conflict-17"): Canned(body=CONFLICT),
    ("POST", "/api/v1/conflicts/conflict-17/resolve"): Canned(
        body={**CONFLICT, "status": "resolved", "decided": "platform"}
    ),
    ("POST", "/api/v1/conflicts/conflict-17/ignore"): Canned(body={**CONFLICT, "status": "ignored"}),
    ("GET", "/api/v1/keys"): Canned(body=KEYS),
    ("POST", "/api/v1/keys/rotate"): Canned(body={**KEYS, "master_id": "fedcba9876543210"}),
    ("POST", "/api/v1/tokens"): Canned(201, {**TOKEN, "token": "im_secret"}),
    ("GET", "/api/v1/tokens"): Canned(body=[TOKEN]),
    ("DELETE", "/api/v1/tokens/tok_1"): Canned(204),
}


def by_contract(heard: Heard) -> Canned:
    """What the contract says, from ``ANSWERS``; everything else is a 404 with a hint."""
    if heard.path.endswith("/webhook-script") and heard.headers.get("accept") == "application/json":
        return Canned(body={"script": "(function () {})();", "version": 1})
    before, _, field = heard.path.rpartition("/")
    if heard.method == "PUT" and before.endswith("/field-ownership"):
        return Canned(body=rule_of(field, heard.body))
    answer = ANSWERS.get((heard.method, unquote(heard.path)))
    return answer or problem(404, f"there is nothing at {heard.path}", hint="look for it with `im incident list`")
