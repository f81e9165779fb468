"""One ServiceNow instance: requests in, answers and webhooks out, humans who edit in between.

Owns the order of events inside one request: time passes (late commits, async rules), accidents, the door, the API, more
accidents. It is synchronous and has no clock, chance, thread or socket of its own: ``now`` and ``random`` are given, so
that it behaves the same on a port (``server.py``) and under a simulation in virtual time (``transport.py``).
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final, Literal

from syncd.simulator.accidents import Accidents, Verb
from syncd.simulator.accounts import ITIL_ROLES, Account, Accounts, Actor
from syncd.simulator.clock import ZONES, InstanceClock
from syncd.simulator.clone import copy_over
from syncd.simulator.control import Control
from syncd.simulator.fault_catalogue import FAULTS
from syncd.simulator.faults import Armed, parse_fault
from syncd.simulator.fixtures import fill_fixtures
from syncd.simulator.gate import Gate
from syncd.simulator.journal import Journal
from syncd.simulator.kernel import Kernel
from syncd.simulator.oauth import OAuthClient
from syncd.simulator.other_apis import answer_batch, answer_stats
from syncd.simulator.outbound import Outbound, SentWebhook, WebhookTarget
from syncd.simulator.page import Page
from syncd.simulator.records import Records, WriteStyle
from syncd.simulator.render import Renderer
from syncd.simulator.rules import Rulebook
from syncd.simulator.schema import build_tables
from syncd.simulator.seed_incidents import seed_incidents
from syncd.simulator.table_api import TableApi
from syncd.simulator.tables import Row, Store
from syncd.simulator.wire import Outgoing, Refusal, Request, Response

__all__ = ["Instance", "InstanceOptions", "RequestLine"]

_LOG_MAX: Final = 2000
_COPIED: Final = (
    *("short_description", "description", "category", "subcategory", "impact", "urgency", "cmdb_ci"),
    *("assignment_group", "caller_id"),
)
_VERBS: Final[dict[str, Verb]] = {"POST": "create", "PUT": "patch", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class InstanceOptions:
    """How an instance is set up. ``users``: user name to password, beside the fixtures. ``faults``: as on the command
    line, ``NAME[=VALUE][@PROBABILITY][*TIMES]``, switches too. ``clock_drift``: seconds gained per second.
    ``zone``: what a user without a zone of his own sees. ``base_url``: what links begin with; empty takes the Host
    header. ``incidents``: how many incidents the data set has."""

    name: str = "dev12345"
    seed: int = 1
    incidents: int = 25
    api_user: str = "svc.sync"
    api_password: str = "sync-secret"
    users: Mapping[str, str] = field(default_factory=dict)
    oauth_client: tuple[str, str] = ("sync-client", "sync-client-secret")
    clock_offset_s: float = 0.0
    clock_drift: float = 0.0
    zone: str = "America/Los_Angeles"
    base_url: str = ""
    webhook_url: str = ""
    webhook_secret: str = ""
    faults: tuple[str, ...] = ()


@dataclass(frozen=True)
class RequestLine:
    """One request as it was answered. ``status`` 0: the connection was reset. ``refusal``: what a refusal said."""

    at_s: float
    method: str
    target: str
    status: int
    user_name: str
    body: bytes
    delay_s: float
    refusal: str = ""


class Instance:
    """The instance. All its parts are public for a test that wants to look inside."""

    def __init__(self, options: InstanceOptions, now: Callable[[], float], random: Random) -> None:
        if options.zone not in ZONES:
            raise ValueError(f"zone {options.zone!r} is unknown; use one of {', '.join(ZONES)}")
        self.options = options
        clock = InstanceClock(now, options.clock_offset_s, options.clock_drift)
        store = Store(build_tables(), random)
        accounts = Accounts(store, clock, options.zone)
        self.kernel = Kernel(options.name, options.api_user, store, clock, random, accounts)
        self.rulebook = Rulebook()
        self.journal = Journal(store, accounts)
        self.records = Records(self.kernel, self.journal, self.rulebook)
        self.outbound = Outbound(self.kernel, self.journal)
        self.records.on_commit.append(self.outbound.committed)
        self.renderer = Renderer(store, self.journal, self.kernel.switches)
        self.table_api = TableApi(self.kernel, self.records, self.renderer)
        self.gate = Gate(self.kernel)
        self.accidents = Accidents(self.kernel)
        self.requests: deque[RequestLine] = deque(maxlen=_LOG_MAX)
        self.counts: Counter[str] = Counter()
        """Requests received, by ``METHOD`` and by ``METHOD table``; the control API and the page do not count."""
        self.on_request: list[Callable[[RequestLine], None]] = []
        self.clones: list[Instance] = []
        """Instances that ``add_clone`` made; what is done here reaches them only by ``refresh_clones``."""
        self._control = Control(self)
        self._page = Page(self)
        self._fill()

    def _fill(self) -> None:
        options, accounts = self.options, self.kernel.accounts
        fill_fixtures(self.kernel.store, accounts, self.kernel.clock.stamp(), options.name)
        for user_name, password in {options.api_user: options.api_password, **options.users}.items():
            accounts.add(user_name, password, ITIL_ROLES, name=user_name, time_zone="GMT", preferred_language="en")
        client_id, client_secret = options.oauth_client
        self.gate.tokens.add_client(OAuthClient(client_id, client_secret, options.api_user))
        seed_incidents(self.kernel, self.journal, options.seed, options.incidents)
        for text in options.faults:
            self.set_fault(text)
        if options.webhook_url:
            self.set_webhook(options.webhook_url, options.webhook_secret)

    # Requests

    def handle(self, request: Request) -> Response:
        """Answer one request; whatever it does has happened when this returns (or is timed to happen later)."""
        self.settle()
        if request.path.startswith("/control"):
            return self._control.answer(request)
        if request.path == "/" or request.path.startswith("/page/"):
            return self._page.answer(request)
        self._count(request)
        response, user_name = self._answer(request)
        if response.status:
            self._finish_headers(request, response, user_name)
        line = RequestLine(
            at_s=self.kernel.clock.host_s(),
            method=request.method,
            target=request.target,
            status=response.status,
            user_name=user_name,
            body=request.body,
            delay_s=response.delay_s,
            refusal=response.refusal,
        )
        self.requests.append(line)
        for listen in self.on_request:
            listen(line)
        return response

    def _answer(self, request: Request) -> tuple[Response, str]:
        path = request.path
        verb = _VERBS.get(request.verb, "read") if "/table/" in path else "read"
        if (struck := self.accidents.before(request, verb)) is not None:
            return struck, ""
        if path == "/oauth_token.do":
            return self.gate.tokens.answer(request), ""
        takes_s = self.kernel.switches.number("request_ms") / 1000
        waits_s = self.gate.wait_s(request, takes_s)
        if waits_s is None:
            return Response(202), ""
        user_name, rate_headers = "", list[tuple[str, str]]()
        try:
            actor = self.gate.actor(request)
            user_name = actor.user_name
            rate_headers = self.gate.rate_headers(user_name)
            response = self._served(request, actor, verb)
        except Refusal as refusal:
            response = refusal.response()
        response.headers.extend(rate_headers)
        response.delay_s += waits_s + takes_s
        if self.kernel.switches.text("rule_mode") == "after" and verb != "read":
            response.calls_first.extend(self.outbound.due(self.kernel.clock.host_s()))
        response = self.accidents.after(verb, response)
        self.gate.busy(request, self.kernel.clock.host_s() + response.delay_s)
        return response, user_name

    def _served(self, request: Request, actor: Actor, verb: Verb) -> Response:
        base_url = self._base_url(request)
        parts = request.path.strip("/").split("/")
        if parts[:2] == ["api", "now"]:
            if parts[-1] == "batch" and len(parts) in {3, 4}:
                return answer_batch(self.kernel, request, lambda inner: self._served(inner, actor, "read"))
            if "stats" in parts[2:4]:
                return answer_stats(self.kernel, self.table_api, request, actor)
            late_s, is_answered = self.accidents.late_s(verb)
            failing = self.accidents.undoing(verb)
            response = self.table_api.answer(request, actor, base_url, late_s, is_kept=not failing)
            if failing:
                return self.accidents.undone(response, failing)
            if not is_answered:
                return Response(0, is_reset=True)
            response.delay_s += late_s
            return response
        raise Refusal(400, "Requested URI does not represent any resource", request.path)

    def _count(self, request: Request) -> None:
        self.counts[request.method] += 1
        parts = request.path.split("/")
        if "table" in parts[:-1]:
            self.counts[f"{request.method} {parts[parts.index('table') + 1]}"] += 1

    def _base_url(self, request: Request) -> str:
        host = request.header("host") or f"{self.kernel.name}.service-now.com"
        is_loopback = host.partition(":")[0] in {"127.0.0.1", "localhost", "[::1]"}
        return self.options.base_url or f"{'http' if is_loopback else 'https'}://{host}"

    def _finish_headers(self, request: Request, response: Response, user_name: str) -> None:
        random = self.kernel.random
        response.headers += [
            ("X-Transaction-ID", f"{random.getrandbits(48):012x}"),
            ("Date", self.kernel.clock.http_date()),
            ("X-Is-Logged-In", "true" if user_name else "false"),
            ("Cache-Control", "no-cache,no-store,must-revalidate,max-age=-1"),
            ("Expires", "0"),
            ("Strict-Transport-Security", "max-age=63072000; includeSubDomains"),
        ]
        self.gate.cookies(request, response)

    # Time

    def settle(self) -> None:
        """Let everything happen that is due by now: late commits, async rules, the auto-close job."""
        self.kernel.timers.run_due(self.kernel.clock.host_s())
        self.records.run_autoclose()

    def due(self, now_s: float | None = None) -> list[Outgoing]:
        """Settle, then take the webhooks that leave by ``now_s`` (default: now). Each is handed out once."""
        self.settle()
        return self.outbound.due(self.kernel.clock.host_s() if now_s is None else now_s)

    def next_due_at_s(self) -> float | None:
        """When to look again (``due``): the next timer or webhook in Unix seconds of the host, or None."""
        times = [at_s for at_s in (self.kernel.timers.next_at_s(), self.outbound.next_due_at_s()) if at_s is not None]
        return min(times, default=None)

    def delivered(self, outgoing: Outgoing, status: int | None, error: str = "") -> None:
        """Say what became of a webhook. It is logged and never retried."""
        self.outbound.delivered(outgoing, status, error)

    # People

    def create_as(self, user_name: str, fields: Mapping[str, object], *, has_rules: bool = True) -> Row:
        """Create an incident as a user of the instance; raises Refusal when a policy refuses it."""
        self.settle()
        actor = self.kernel.accounts.actor(user_name)
        style = WriteStyle(has_rules=has_rules)
        return self.records.commit(self.records.prepare_insert(self.kernel.incidents, fields, actor, style))

    def edit_as(
        self,
        user_name: str,
        ref: str,
        fields: Mapping[str, object],
        *,
        has_rules: bool = True,
        has_stamps: bool = True,
        late_s: float = 0.0,
    ) -> Row:
        """Edit an incident (sys_id or number) as a user and return the row as it is then.

        ``has_rules`` False: no rules, no webhook. ``has_stamps`` False: stamps and count stay. ``late_s``: stamped now,
        visible so much later. ``sys_updated_on`` among the fields back-dates. Raises KeyError and Refusal.
        """
        self.settle()
        sys_id = self.kernel.incident(ref)["sys_id"]
        actor = self.kernel.accounts.actor(user_name)
        style = WriteStyle(has_rules=has_rules, has_stamps=has_stamps)
        prepared = self.records.prepare_update(self.kernel.incidents, sys_id, fields, actor, style)
        if late_s:
            self.records.commit_late(prepared, late_s)
            return prepared.row
        return self.records.commit(prepared)

    def note_as(
        self, user_name: str, ref: str, text: str, element: Literal["work_notes", "comments"] = "work_notes"
    ) -> Row:
        """Add a work note or comment as a user; returns the incident's row."""
        return self.edit_as(user_name, ref, {element: text})

    def copy_as(self, user_name: str, ref: str, *, has_correlation: bool = False) -> Row:
        """Copy an incident as the form's button does; ``has_correlation``: the customer's list copies that too."""
        row = self.record(ref)
        names = [*_COPIED, *(("correlation_id", "correlation_display") if has_correlation else ())]
        note = f"Created from a similar incident: {row['number']}"
        return self.create_as(user_name, {**{name: row[name] for name in names}, "work_notes": note})

    def delete_as(self, user_name: str, ref: str) -> None:
        """Delete an incident as a user; raises KeyError when there is none."""
        self.settle()
        sys_id = self.kernel.incident(ref)["sys_id"]
        actor = self.kernel.accounts.actor(user_name)
        self.records.commit(self.records.prepare_delete(self.kernel.incidents, sys_id, actor, WriteStyle()))

    # What is there

    def record(self, ref: str) -> Row:
        """The raw row of an incident by sys_id or number; raises KeyError."""
        self.settle()
        return self.kernel.incident(ref)

    def incidents(self) -> list[Row]:
        """The raw rows of all incidents, oldest first."""
        self.settle()
        return list(self.kernel.incidents.rows.values())

    def notes(self, ref: str) -> list[Row]:
        """The journal rows of an incident, oldest first."""
        return self.journal.entries(self.record(ref)["sys_id"])

    def writes(self) -> int:
        """How many requests that write have been received since the last ``reset_counts``."""
        return sum(self.counts[method] for method in _VERBS)

    def reset_counts(self) -> None:
        """Forget counters and request log."""
        self.counts.clear()
        self.requests.clear()

    # Behaviour

    def arm(
        self, name: str, value: str | float | None = None, *, times: int | None = None, probability: float | None = None
    ) -> Armed:
        """Arm a fault by name; raises ValueError for an unknown one."""
        return self.kernel.faults.arm(name, value, times=times, probability=probability)

    def disarm(self, name: str | None = None) -> None:
        """Disarm one fault, or all."""
        self.kernel.faults.disarm(name)

    def set_switch(self, name: str, value: str | float | bool) -> None:
        """Set a switch by name; raises ValueError for an unknown one or a wrong value."""
        self.kernel.switches.set(name, value)

    def set_fault(self, text: str) -> None:
        """Arm a fault or set a switch from ``NAME[=VALUE][@PROBABILITY][*TIMES]``; raises ValueError."""
        name, value, probability, times = parse_fault(text)
        if name in FAULTS:
            self.arm(name, value, times=times, probability=probability)
        else:
            self.set_switch(name, "on" if value is None else value)

    def set_webhook(self, url: str, secret: str) -> None:
        """Let the business rule call ``url`` and nobody else; an empty ``url`` switches the rule off."""
        self.outbound.targets = [WebhookTarget(url, secret)] if url else []

    def webhooks(self) -> list[SentWebhook]:
        """The calls that were made, oldest first."""
        return list(self.outbound.sent)

    def replay_webhooks(self, event_id: str | None = None) -> int:
        """Send logged calls again, byte for byte; returns how many."""
        return self.outbound.replay(event_id)

    def add_clone(self, name: str) -> "Instance":
        """Make a clone: the same data, rules and webhook, another name. ``refresh_clones`` copies again."""
        random = Random(f"{self.options.seed}/{name}")  # of its own: what it creates later is not what we create
        clone = Instance(replace(self.options, name=name, faults=(), incidents=0), self.kernel.clock.host_s, random)
        self.clones.append(clone)
        copy_over(self, clone)
        return clone

    def refresh_clones(self) -> dict[str, int]:
        """Copy the data as it is now over all clones; how many incidents each has, by name."""
        return {clone.options.name: copy_over(self, clone) for clone in self.clones}

    def account(self, user_name: str) -> Account:
        """Password, roles and ACLs of a user, to be changed at will; raises KeyError."""
        return self.kernel.accounts.account(user_name)
