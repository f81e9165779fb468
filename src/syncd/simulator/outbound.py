"""Webhooks out: the business rule that tells a receiver about changes, and all the ways in which it fails to.

Owns the rule's condition, the payload, the signature and the calls that wait to leave. A rule runs per committed
effective write, later (async) or while the writer waits (after); nothing is ever retried. Never opens a connection:
``delivery.py`` takes what ``due()`` gives and tells ``delivered()`` how it went.
"""

import base64
import hashlib
import heapq
import hmac
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from syncd.simulator.journal import Journal
from syncd.simulator.kernel import Kernel
from syncd.simulator.records import Committed
from syncd.simulator.tables import Row
from syncd.simulator.wire import Outgoing

__all__ = ["Outbound", "SentWebhook", "WebhookTarget", "signature"]

_LOG_MAX: Final = 10_000


@dataclass(frozen=True)
class WebhookTarget:
    """Where a rule calls, and the secret it signs with; an empty secret means unsigned."""

    url: str
    secret: str


@dataclass
class SentWebhook:
    """One call as it was made. ``status``: the receiver's answer, None while under way or when there was none."""

    outgoing: Outgoing
    status: int | None = None
    error: str = ""


class Outbound:
    """The webhook rules of one instance and their calls."""

    def __init__(self, kernel: Kernel, journal: Journal) -> None:
        self._kernel = kernel
        self._journal = journal
        self._heap: list[tuple[float, int, Outgoing]] = []
        self._sequence = 0
        self.targets: list[WebhookTarget] = []
        self.sent: deque[SentWebhook] = deque(maxlen=_LOG_MAX)
        self.on_scheduled: list[Callable[[], None]] = []
        """Called when something new waits, so that whoever delivers can look again."""
        self.on_delivered: list[Callable[[SentWebhook], None]] = []
        """Called with each call once it is known what became of it."""

    def committed(self, event: Committed) -> None:
        """Hear of a committed write and start the rule for each target."""
        switches = self._kernel.switches
        if not self.targets:
            return
        if switches.is_on("rule_skips_api_user") and event.actor.user_name == self._kernel.api_user:
            return
        if event.operation == "delete" and switches.text("rule_operations") == "no-delete":
            return
        for target in self.targets:
            event_id = f"{self._kernel.random.getrandbits(128):032x}"
            if switches.text("rule_mode") == "after" or event.operation == "delete":
                # A delete rule captures its values at once: an async one would find the row gone.
                self._run_rule(target, event, event_id, self._kernel.clock.host_s())
            else:
                low, high = switches.number("rule_delay_s_min"), switches.number("rule_delay_s_max")
                at_s = self._kernel.clock.host_s() + self._kernel.random.uniform(low, high)
                self._kernel.timers.at(at_s, self._job(target, event, event_id, at_s))
        for ring in self.on_scheduled:
            ring()

    def due(self, now_s: float) -> list[Outgoing]:
        """Take the calls that leave now, in their order; each is in the log from here on."""
        leaving = []
        while self._heap and self._heap[0][0] <= now_s:
            outgoing = heapq.heappop(self._heap)[2]
            leaving.append(outgoing)
            self.sent.append(SentWebhook(outgoing))
        return leaving

    def put_back(self, outgoing: Outgoing) -> None:
        """Let a call wait again that ``due`` gave to somebody who cannot make it."""
        lines = [line for line in self.sent if line.outgoing.sequence != outgoing.sequence]
        self.sent = deque(lines, maxlen=_LOG_MAX)
        heapq.heappush(self._heap, (outgoing.at_s, outgoing.sequence, outgoing))
        for ring in self.on_scheduled:
            ring()

    def next_due_at_s(self) -> float | None:
        """When the next call leaves (host's clock), or None; a rule that has not run yet is a timer, not a call."""
        return self._heap[0][0] if self._heap else None

    def delivered(self, outgoing: Outgoing, status: int | None, error: str = "") -> None:
        """Note what became of a call. Nothing is retried, whatever it was."""
        for line in reversed(self.sent):
            if line.outgoing.sequence == outgoing.sequence:
                line.status, line.error = status, error
                for listen in self.on_delivered:
                    listen(line)
                return

    def replay(self, event_id: str | None = None) -> int:
        """Send the logged calls once more, byte for byte (all, or those of one event); returns how many."""
        lines = [line for line in self.sent if event_id in {None, line.outgoing.event_id}]
        for line in lines:
            self._push(line.outgoing, self._kernel.clock.host_s())
        for ring in self.on_scheduled:
            ring()
        return len(lines)

    def _job(self, target: WebhookTarget, event: Committed, event_id: str, at_s: float) -> Callable[[], None]:
        def run() -> None:
            # An async job has no memory of the change: it sees the record as it is now, if it still is.
            row = self._kernel.incidents.rows.get(event.row["sys_id"])
            if row is not None:
                self._run_rule(target, replace(event, row=row), event_id, at_s)

        return run

    def _run_rule(self, target: WebhookTarget, event: Committed, event_id: str, ran_at_s: float) -> None:
        faults = self._kernel.faults
        if faults.strikes("webhook_lost"):
            return
        headers, body = self._message(target, event, event_id)
        calls = 2 if faults.strikes("webhook_doubled") else 1
        for _ in range(calls):
            at_s = ran_at_s
            if delayed := faults.strikes("webhook_delay"):
                at_s += delayed.seconds
            if shuffled := faults.strikes("webhook_reordered"):
                at_s += self._kernel.random.uniform(0, shuffled.seconds)
            self._push(Outgoing(at_s, target.url, tuple(headers), body, event_id, 0), at_s)

    def _push(self, outgoing: Outgoing, at_s: float) -> None:
        self._sequence += 1
        heapq.heappush(self._heap, (at_s, self._sequence, replace(outgoing, at_s=at_s, sequence=self._sequence)))

    def _message(self, target: WebhookTarget, event: Committed, event_id: str) -> tuple[list[tuple[str, str]], bytes]:
        faults, switches = self._kernel.faults, self._kernel.switches
        payload = self._payload(event, event_id)
        body = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        headers = [("Content-Type", "application/json; charset=utf-8"), ("User-Agent", "ServiceNow/1.0")]
        is_stamped = switches.is_on("webhook_timestamp")
        at_s = int(self._kernel.clock.at_s()) - (3600 if faults.strikes("webhook_old_timestamp") else 0)
        if is_stamped:
            headers.append(("X-ServiceNow-Timestamp", str(at_s)))
        secret = "another-key" if faults.strikes("webhook_wrong_key") else target.secret
        signed = b"%d.%b" % (at_s, body) if is_stamped else body
        mac = signature(secret, signed, is_hex=switches.text("webhook_signature") == "hex")
        if faults.strikes("webhook_signature_null"):
            mac = "null"
        if target.secret and not faults.strikes("webhook_unsigned"):
            headers.append(("X-ServiceNow-Signature", mac))
        if faults.strikes("webhook_altered"):
            altered = body.replace(b'"short_description":"', b'"short_description":"altered ', 1)
            body = altered if altered != body else body + b" "
        return headers, body

    def _payload(self, event: Committed, event_id: str) -> dict[str, object]:
        row, operation = event.row, event.operation
        extended: dict[str, object] = {
            "operation": operation,
            "event_id": event_id,
            "instance_name": self._kernel.name,
            "sys_mod_count": row["sys_mod_count"],
            "updated_by": event.actor.user_name if operation == "delete" else row["sys_updated_by"],
        }
        if operation == "delete":
            return {"sys_id": row["sys_id"], "number": row["number"], **extended}
        page: dict[str, object] = {
            "sys_id": row["sys_id"],
            "number": row["number"],
            "short_description": row["short_description"],
            "state": row["state"],
            "priority": row["priority"],
            "impact": row["impact"],
            "assigned_to": self._kernel.store.display_value("sys_user", row["assigned_to"]),
            "updated_on": row["sys_updated_on"],
        }
        if self._kernel.switches.text("webhook_payload") == "page":
            return page
        page |= {name: row[name] for name in ("urgency", "description", "correlation_id")}
        if self._kernel.switches.is_on("webhook_notes"):
            page["work_notes"] = [_note(entry) for entry in self._journal.entries(row["sys_id"], "work_notes")[-5:]]
        return page | extended


def signature(secret: str, signed: bytes, *, is_hex: bool = False) -> str:
    """HMAC-SHA256 of the exact bytes, as ``generateMac`` writes it (base64) or in hex."""
    mac = hmac.new(secret.encode(), signed, hashlib.sha256)
    return mac.hexdigest() if is_hex else base64.b64encode(mac.digest()).decode()


def _note(entry: Row) -> dict[str, str]:
    return {
        "id": entry["sys_id"],
        "text": entry["value"],
        "author": entry["sys_created_by"],
        "created_on": entry["sys_created_on"],
    }
