"""A small world in memory: State fed by the real decisions, people on both sides, and a ServiceNow that is a dict.

``World.act`` takes one step of a random history; ``World.quiet`` lets everything settle. Every record goes through the
codec before it is applied, the work lists are compared with the links after each, and whenever the sync replaces a
person's value the world asks where that value has gone (docs/sync.md, "Promises").
"""

import math
from collections.abc import Callable
from typing import Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from syncd.core import hints, ownership, sending, verdicts
from syncd.core.conflicts import sides_now
from syncd.core.deciding import merge_link, open_links
from syncd.core.events import (
    Change,
    Event,
    IncidentDeclared,
    IncidentEdited,
    IntegrationChanged,
    IntegrationConfigured,
    IntegrationDeleted,
    LinkRemoved,
    Record,
)
from syncd.core.fold import evolve
from syncd.core.lens import DEFAULT_LENS
from syncd.core.model import (
    SYNCED_FIELDS,
    Attempt,
    Failure,
    Hint,
    Integration,
    Observation,
    OwnershipRule,
    Settings,
    Severity,
)
from syncd.core.outbox import due_links, next_due_at_s
from syncd.core.parking import park, release
from syncd.core.people import Person
from syncd.core.sending import Offset
from syncd.core.state import State
from syncd.core.webhook import Webhook, accept_webhook
from tests.core.promises import INTEGRATION, check_work_lists, is_cut
from tests.core.table import ACCOUNT, Columns, Refused, Table

T = TypeVar("T")
Decide = Callable[[State, float], Change[T]]
Fate = Literal["ok", "lost", "dropped", "late", "unavailable"]

ORGANIZATION: Final = "default"
LATE_S_MAX: Final = 60.0
SETTINGS: Final = Settings(
    organization_id=ORGANIZATION, name="Production", handle="prod", base_url="https://x.service-now.com"
)

PLATFORM_EDITS: Final[tuple[tuple[str, str | None], ...]] = (
    ("title", "Mail is down in all of Europe"),
    ("title", "VPN"),
    ("description", "since noon"),
    ("description", ""),
    ("severity", "SEV-1"),
    ("severity", "SEV-4"),
    ("status", "mitigated"),
    ("status", "resolved"),
    ("status", "open"),
    ("status", "closed"),
    ("assigned_to", "ann@example.com"),
    ("assigned_to", "ben"),
    ("assigned_to", "nobody"),
    ("assigned_to", None),
)
AGENT_EDITS: Final[tuple[Columns, ...]] = (
    {"short_description": "Printer"},
    {"short_description": "VPN"},
    {"description": "seen again\r\n"},
    {"impact": "1", "urgency": "1"},
    {"impact": "3", "urgency": "3"},
    {"impact": "1", "urgency": "3"},
    {"state": "2", "hold_reason": ""},
    {"state": "3", "hold_reason": "1"},
    {"state": "6", "close_code": "Solution provided", "close_notes": "done"},
    {"state": "42"},
    {"u_other": "x"},
    {"u_other": "y"},
    {"assigned_to": "p1"},
    {"assigned_to": "p2"},
    {"assigned_to": ""},
)
KNOWN_PEOPLE: Final = {"ann@example.com": Person("p1"), "ben": Person("p2"), "nobody": Person(problem="nobody")}
FATES: Final[tuple[Fate, ...]] = ("ok", "ok", "ok", "ok", "lost", "dropped", "late", "unavailable")
WAITS_S: Final = (0.2, 2.0, 7.0, 30.0, 130.0)
KINDS: Final = (
    *("declare", "agent creates", "platform edit", "platform edit", "agent edit", "agent edit", "open", "open"),
    *("merge", "merge", "hook", "hook", "lose hook", "read", "answer", "answer", "send", "send", "go on", "go on"),
    *(
        "go on",
        "go on",
        "wait",
        "sweep",
        "verdict",
        "retry",
        "discard",
        "strategy",
        "ownership",
        "crash",
        "defaults",
        "pause",
    ),
)
RARE_KINDS: Final = ("unlink", "direction", "delete", "park", "hide")


class Sending(Struct):
    """One link being written, in the phases of the sender: read, started, served."""

    link_id: str
    fate: Fate
    asked: int
    begun_s: float
    row: Observation | None = None
    found: list[Observation] | None = None
    attempt: Attempt | None = None
    echo: Observation | None = None
    outcome: Literal["refused", "unavailable", "ambiguous"] | None = None


class Reading(Struct):
    """A read whose answer is on its way."""

    asked: int
    hints: tuple[Hint, ...]
    rows: tuple[Observation, ...]


class Late(Struct):
    """A request that nobody answered and that will still take effect."""

    at_s: float
    external_id: str
    attempt: Attempt


class World(Table):
    """``requests`` counts writes that reached ServiceNow. ``skew_s``: its clock minus ours."""

    def __init__(self, skew_s: float = 0.0, settings: Settings = SETTINGS) -> None:
        super().__init__(skew_s)
        self.state = State()
        self.records: list[bytes] = []
        self.seen_hooks: list[Webhook] = []
        self.readings: list[Reading] = []
        self.sendings: list[Sending] = []
        self.late: list[Late] = []
        self.requests = 0
        self.names = 0
        self.discarded: set[tuple[str, str]] = set()
        # An edit away and back again finds an accepted pair as it was.
        self.accepted: set[tuple[str, str, str]] = set()
        self.step(IntegrationConfigured(Integration(INTEGRATION, settings, self.now_s, account=ACCOUNT)), by="admin")
        self.now_s += 10

    # -- the journal ------------------------------------------------------------------------------------------------

    def decide(self, decide: Decide[T], by: str = "integration:prod") -> T:
        """One transaction, through the codec and the fold, with everything checked after it."""
        change = decide(self.state, self.now_s)
        if change.events:
            self._append(change.stream, change.events, by)
        return change.result

    def step(self, *events: Event, by: str) -> None:
        """A record of events that no decision of the core makes."""
        self._append(ORGANIZATION, events, by)

    def _append(self, stream: str, events: tuple[Event, ...], by: str) -> None:
        record = Record(self.state.position + 2, stream, self.now_s, by, "trace", events)  # positions are not dense
        encoded = msgspec.json.encode(record)
        decoded = msgspec.json.decode(encoded, type=Record)
        assert decoded == record
        self.records.append(encoded)
        self.ledger.now += 1
        before = dict(self.state.incidents)
        links = dict(self.state.links)
        evolve(self.state, decoded)
        self.ledger.recorded(self.state, before, links, events, by)
        check_work_lists(self.state)

    def replayed(self) -> State:
        """State made anew from the bytes."""
        state = State()
        for encoded in self.records:
            evolve(state, msgspec.json.decode(encoded, type=Record))
        return state

    # -- ServiceNow -------------------------------------------------------------------------------------------------

    def _serve(self, external_id: str, attempt: Attempt, seen: Observation | None) -> str:
        """Our request takes effect. ``seen``: the read it rests on; None for one that comes late."""
        self.requests += 1
        if attempt.kind == "create":
            external_id = self._name("r")
            self.store(external_id, attempt.columns, ACCOUNT)
            return external_id
        before = self.rows[external_id]
        known = seen.columns if seen is not None else {}
        self.store(external_id, attempt.columns, ACCOUNT)
        for field in attempt.sent:
            raw = DEFAULT_LENS.raw_of(field, before)
            is_race = raw != DEFAULT_LENS.raw_of(
                field, known
            )  # no conditional write: an edit since the read is not seen
            if raw != DEFAULT_LENS.raw_of(field, self.rows[external_id]) and not is_race:
                self.ledger.replaced_there(self.state, external_id, field, DEFAULT_LENS.meaning(field, raw))
        return external_id

    def _name(self, kind: str) -> str:
        self.names += 1
        return f"{kind}{self.names}"

    # -- one step of a history --------------------------------------------------------------------------------------

    def act(self, kind: str, a: int, b: int) -> None:
        """One thing happens, if it can. ``a`` says to what, ``b`` how."""
        self._pass(0.3)
        if INTEGRATION in self.state.integrations or kind in {"declare", "platform edit", "agent edit"}:
            getattr(self, "_" + kind.replace(" ", "_"))(a, b)

    def _pass(self, for_s: float) -> None:
        self.now_s += for_s
        for late in [one for one in self.late if one.at_s <= self.now_s]:
            self.late.remove(late)
            try:
                self._serve(late.external_id, late.attempt, None)
            except Refused:
                continue

    def _hide(self, a: int, b: int) -> None:
        self.hidden ^= {("short_description", "sys_mod_count")[a % 2]}

    def _wait(self, a: int, b: int) -> None:
        self._pass(WAITS_S[a % len(WAITS_S)])

    def _declare(self, a: int, b: int) -> None:
        severity: tuple[Severity, ...] = ("SEV-1", "SEV-2", "SEV-3", "SEV-4")
        title = ("Mail", "Mail is down in all of Europe", "VPN")[b % 3]
        assignee = (None, None, "ben", "nobody")[b // 3 % 4]
        self.step(IncidentDeclared(self._name("INC-"), title, severity[a % 4], assigned_to=assignee), by="ann")

    def _platform_edit(self, a: int, b: int) -> None:
        incident = pick(list(self.state.incidents.values()), a)
        field, value = PLATFORM_EDITS[b % len(PLATFORM_EDITS)]
        if incident is not None and incident.value(field) != value:
            self.step(IncidentEdited(incident.id, {field: value}), by="ann")
            self.discarded -= {(name, field) for name in self.state.links_of.get(incident.id, ())}

    def _agent_creates(self, a: int, b: int) -> None:
        self.store(self._name("r"), {"short_description": "Printer", "impact": str(1 + a % 3)}, "agent")

    def _agent_edit(self, a: int, b: int) -> None:
        external_id = pick(list(self.rows), a)
        if external_id is not None and self.rows[external_id]["state"] != "7":
            self.store(external_id, AGENT_EDITS[b % len(AGENT_EDITS)], "agent")

    def _hook(self, a: int, b: int) -> None:
        hook = pick(self.hooks, a)
        if hook is not None:
            if b % 4:  # else it will come once more
                self.hooks.remove(hook)
            self.seen_hooks.append(hook)
            self._accept(hook)

    def _accept(self, hook: Webhook) -> bool:
        return self.decide(
            lambda state, at_s: accept_webhook(state, at_s, hook, integration_id=INTEGRATION, body="{}", trace="hook")
        )

    def _lose_hook(self, a: int, b: int) -> None:
        if self.hooks:
            self.hooks.remove(self.hooks[a % len(self.hooks)])

    def _open(self, a: int, b: int) -> None:
        self.decide(lambda state, _: open_links(state, INTEGRATION))

    def _merge(self, a: int, b: int) -> None:
        name = pick(list(self.state.dirty.get(INTEGRATION, {})), a)
        if name is not None:
            self.decide(lambda state, at_s: merge_link(state, at_s, name))

    def _read(self, a: int, b: int) -> None:
        due = hints.due_hints(self.state, INTEGRATION, self.now_s)
        rows = tuple(self.observe(hint.external_id) for hint in due if hint.external_id in self.rows)
        if due:
            self.readings.append(Reading(self.state.position, tuple(due), rows))

    def _sweep(self, a: int, b: int) -> None:
        self.readings.append(Reading(self.state.position, (), tuple(self.observe(name) for name in self.rows)))
        self.decide(lambda state, _: release(state, INTEGRATION))

    def _park(self, a: int, b: int) -> None:
        link = pick(list(self.state.links.values()), a)
        if link is not None:
            self.decide(lambda state, _: park(state, link.id, "merging", "KeyError"))

    def _answer(self, a: int, b: int) -> None:
        reading = pick(self.readings, a)
        if reading is None:
            return
        self.readings.remove(reading)
        wanted = frozenset(seen.external_id for seen in reading.rows)
        words = tuple(self._name("W") for _ in reading.rows)
        read = hints.Read(reading.asked, reading.hints, reading.rows, wanted, words, Offset(self.skew_s, 0.5))
        self.decide(lambda state, at_s: hints.settle_read(state, at_s, INTEGRATION, read))

    def _send(self, a: int, b: int) -> None:
        integration = self.state.integrations[INTEGRATION]
        active = frozenset(one.link_id for one in self.sendings)
        link = pick(due_links(self.state, INTEGRATION, self.now_s, 50, without=active), a)
        if link is None or not integration.settings.writes:
            return
        one = Sending(link.id, FATES[b % len(FATES)], self.state.position, self.now_s)
        if link.state == "active":
            one.row = self.observe(link.external_id)
        elif sending.looks_up(link):
            wanted = sending.correlation_id(link)
            one.found = [self.observe(name) for name, row in self.rows.items() if row.get("correlation_id") == wanted]
        self.sendings.append(one)

    def _go_on(self, a: int, b: int) -> None:
        one = pick(self.sendings, a)
        if one is None:
            return
        if one.attempt is None:
            one.attempt = self._prepared(one)
            if one.attempt is None:
                self.sendings.remove(one)
        elif one.echo is None and one.outcome is None:
            self._request(one, one.attempt)
        else:
            self.sendings.remove(one)
            self._settle(one, one.attempt)

    def _prepared(self, one: Sending) -> Attempt | None:
        name, row, found, offset = one.link_id, one.row, one.found, Offset(self.skew_s, 0.5)
        if row is not None:
            return self.decide(
                lambda state, at_s: sending.prepare_update(state, at_s, name, row, one.asked, offset, KNOWN_PEOPLE)
            )
        if found is not None:
            return self.decide(
                lambda state, at_s: sending.settle_lookup(
                    state, at_s, name, found, at_s + 5, offset, KNOWN_PEOPLE, looked_at_s=one.begun_s
                )
            )
        return self.decide(lambda state, at_s: sending.prepare_create(state, at_s, name, KNOWN_PEOPLE))

    def _request(self, one: Sending, attempt: Attempt) -> None:
        external_id = one.row.external_id if one.row is not None else ""
        if one.fate == "late":
            self.late.append(Late(self.now_s + LATE_S_MAX / 2, external_id, attempt))
        if one.fate in {"ok", "lost"}:
            try:
                echo = self.observe(self._serve(external_id, attempt, one.row))
            except Refused:
                one.outcome = "refused"
                return
            if one.fate == "ok":
                one.echo = echo
        if one.echo is None:
            one.outcome = "unavailable" if one.fate == "unavailable" else "ambiguous"

    def _settle(self, one: Sending, attempt: Attempt) -> None:
        echo, outcome = one.echo, one.outcome
        offset = Offset(self.skew_s, 0.5)
        if echo is not None:
            self.decide(lambda state, at_s: sending.settle(state, at_s, one.link_id, attempt.number, echo, offset))
        elif outcome is not None:
            failure = Failure(outcome, "words")
            self.decide(
                lambda state, at_s: sending.fail(
                    state, at_s, one.link_id, attempt.number, outcome, failure, self.now_s + 3
                )
            )

    def _verdict(self, a: int, b: int) -> None:
        conflict = pick([one for one in self.state.conflicts.values() if one.status == "pending"], a)
        if conflict is None or sides_now(self.state, conflict) != (conflict.platform, conflict.external):
            return  # it has moved on, and a verdict on it is refused
        if b % 4 == 3:
            self.decide(verdicts.ignore(conflict.id, by="ann"), by="ann")
            return
        value: object = UNSET if b % 4 else (conflict.platform or "VPN")
        side: tuple[Literal["platform", "external"] | None, ...] = (None, "platform", "external")
        self.decide(verdicts.resolve(conflict.id, verdicts.Verdict(side[b % 4], value), by="ann"), by="ann")

    def _retry(self, a: int, b: int) -> None:
        letter = pick(list(self.state.dead_letters.values()), a)
        if letter is not None:
            self.decide(verdicts.retry("prod", letter.id), by="ann")

    def _discard(self, a: int, b: int) -> None:
        letter = pick(list(self.state.dead_letters.values()), a)
        if letter is not None:
            self.discarded |= {(letter.link_id, field) for field in letter.fields}
            base = self.state.links[letter.link_id].base
            halves = [(field, base[field].platform) for field in letter.fields if field in base]
            self.accepted |= {(letter.link_id, field, half) for field, half in halves if isinstance(half, str)}
            self.decide(verdicts.discard("prod", letter.id), by="ann")

    def change(self, **values: object) -> None:
        settings = replace(self.state.integrations[INTEGRATION].settings, **values)
        self.step(IntegrationChanged(INTEGRATION, settings), by="admin")

    def _strategy(self, a: int, b: int) -> None:
        strategies = ("manual-review", "ownership-priority", "last-write-wins")
        self.change(conflict_strategy=strategies[a % 3], conflict_window=("5s", "always")[b % 2])

    def _ownership(self, a: int, b: int) -> None:
        rule = OwnershipRule(("platform", "external")[a % 2], 1 + b, exclusive=a % 4 > 1) if b % 5 else None
        self.decide(ownership.change("prod", SYNCED_FIELDS[b % len(SYNCED_FIELDS)], rule), by="admin")

    def _defaults(self, a: int, b: int) -> None:
        self.change(external_defaults={"close_code": "Solution provided"} if a % 2 else {})

    def _pause(self, a: int, b: int) -> None:
        self.change(enabled=bool(a % 3))

    def _direction(self, a: int, b: int) -> None:
        self.change(sync_direction=("none", "inbound", "outbound", "bidirectional")[a % 4])

    def _unlink(self, a: int, b: int) -> None:
        link = pick(list(self.state.links.values()), a)
        if link is not None:
            self.step(LinkRemoved(link.id), by="ann")

    def _delete(self, a: int, b: int) -> None:
        if a % 4 == 0:
            self.step(IntegrationDeleted(INTEGRATION), by="admin")

    def _crash(self, a: int, b: int) -> None:
        """The daemon dies and comes back with what is in the journal; requests under way may still take effect."""
        for one in self.sendings:
            if one.attempt is not None and one.echo is None and one.outcome is None and one.fate in {"ok", "late"}:
                name = one.row.external_id if one.row is not None else ""
                self.late.append(Late(self.now_s + LATE_S_MAX / 2, name, one.attempt))
        self.sendings.clear()
        self.readings.clear()
        self.state = self.replayed()

    # -- the end ----------------------------------------------------------------------------------------------------

    def quiet(self) -> None:
        """People and faults stop. Ends when two sweeps in a row find nothing to do; fails if that never comes."""
        self.hidden.clear()
        if INTEGRATION not in self.state.integrations:
            return
        for _ in range(12):
            before = (self.state.position, self.requests)
            self._settle_all()
            settings = self.state.integrations[INTEGRATION].settings
            if not (settings.reads and settings.writes):
                self.change(enabled=True, sync_direction="bidirectional")
            self._sweep(0, 0)
            self._settle_all()
            if (self.state.position, self.requests) == before:
                return
        msg = "it never comes to rest"
        raise AssertionError(msg)

    def _settle_all(self) -> None:
        for _ in range(400):
            for one in self.sendings:
                one.fate = "ok" if one.echo is None and one.outcome is None else one.fate
            if self._busy():
                continue
            waits = [late.at_s for late in self.late]
            if self.state.integrations[INTEGRATION].settings.writes:
                waits += [
                    hints.next_hint_at_s(self.state, INTEGRATION),
                    next_due_at_s(self.state, INTEGRATION, self.now_s, without=frozenset()),
                ]
            ahead = min(waits, default=math.inf)
            if not math.isfinite(ahead):
                return
            self._pass(max(0.01, ahead - self.now_s))
        msg = "it works for ever"
        raise AssertionError(msg)

    def _busy(self) -> bool:
        """Do everything that can be done now; False when nothing could."""
        before = (self.state.position, len(self.sendings), len(self.readings), self.requests)
        while self.hooks:
            self._hook(0, 1)
        self._open(0, 0)
        for _ in range(len(self.state.dirty.get(INTEGRATION, {}))):
            self._merge(0, 0)
        self._read(0, 0)
        while self.readings:
            self._answer(0, 0)
        while (
            due_links(self.state, INTEGRATION, self.now_s, 1, without=frozenset(one.link_id for one in self.sendings))
            and self.state.integrations[INTEGRATION].settings.writes
        ):
            self._send(0, 0)
        while self.sendings:
            self._go_on(0, 0)
        return before != (self.state.position, len(self.sendings), len(self.readings), self.requests)

    def unlisted(self) -> list[str]:
        """Differences between the sides of a link that nothing accounts for."""
        found = []
        for link in self.state.links.values():
            if link.state == "parked" and link.closed_there:
                continue  # it says why, and its edits wait for the record to be open again
            if link.state != "active":
                if not any(one.link_id == link.id for one in self.state.dead_letters.values()):
                    found += [f"{link.id} has no record"] * ((link.id, "title") not in self.discarded)
                continue
            incident, row = self.state.incidents[link.incident_id], self.rows[link.external_id]
            for field in SYNCED_FIELDS:
                value, shown = incident.value(field) or "", DEFAULT_LENS.meaning(field, DEFAULT_LENS.raw_of(field, row))
                is_listed = (
                    isinstance(shown, UnsetType)
                    or is_cut(value, shown)
                    or (link.id, field) in self.state.waiting
                    or (link.id, field) in self.discarded
                    or ((link.id, field, value) in self.accepted and link.base[field].platform == value)
                    or any(one.link_id == link.id and field in one.fields for one in self.state.dead_letters.values())
                    or any(
                        (one.incident_id, one.field, one.status) == (incident.id, field, "ignored")
                        for one in self.state.conflicts.values()
                    )
                )
                if not is_listed:
                    found.append(f"{link.id} {field}: {value!r} here, {shown!r} there, base {link.base.get(field)}")
        return found


def pick(things: list[T], index: int) -> T | None:
    """One of them, if there is any."""
    return things[index % len(things)] if things else None
