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

from syncd.core import hints, mapping, sending, verdicts
from syncd.core.deciding import merge_link, open_links, plan
from syncd.core.events import (
    Change,
    DeadLettered,
    Event,
    IncidentDeclared,
    IncidentEdited,
    IntegrationChanged,
    IntegrationConfigured,
    IntegrationDeleted,
    LinkRemoved,
    Merged,
    Record,
)
from syncd.core.model import (
    SYNCED_FIELDS,
    Attempt,
    Failure,
    Half,
    Hint,
    Integration,
    Link,
    Observation,
    Settings,
    Severity,
)
from syncd.core.outbox import due_links, next_due_at_s
from syncd.core.sending import Offset
from syncd.core.state import State, evolve

T = TypeVar("T")
Columns = dict[str, str]
Decide = Callable[[State, float], Change[T]]
Fate = Literal["ok", "lost", "dropped", "late", "unavailable"]

ORGANIZATION: Final = "default"
INTEGRATION: Final = "int_1"
ACCOUNT: Final = "svc.sync"
START_S: Final = 1_790_000_000.0
TITLE_COLUMN_LETTERS: Final = 12
LATE_S_MAX: Final = 60.0
PRIORITY_OF: Final = {
    "11": "1", "12": "2", "13": "3", "21": "2", "22": "3", "23": "4", "31": "3", "32": "4", "33": "5",
}  # fmt: skip
SETTINGS: Final = Settings(
    organization_id=ORGANIZATION, name="Production", handle="prod", base_url="https://x.service-now.com"
)

PLATFORM_EDITS: Final[tuple[tuple[str, str], ...]] = (
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
)
FATES: Final[tuple[Fate, ...]] = ("ok", "ok", "ok", "ok", "lost", "dropped", "late", "unavailable")
WAITS_S: Final = (0.2, 2.0, 7.0, 30.0, 130.0)
KINDS: Final = (
    *("declare", "agent creates", "platform edit", "platform edit", "agent edit", "agent edit", "open", "open"),
    *("merge", "merge", "hook", "hook", "lose hook", "read", "answer", "answer", "send", "send", "go on", "go on"),
    *("go on", "go on", "wait", "sweep", "verdict", "retry", "discard", "strategy", "crash", "defaults", "pause"),
)
RARE_KINDS: Final = ("unlink", "direction", "delete")


class Refused(Exception):
    """ServiceNow's data policy said no."""


class Lost(AssertionError):
    """A person's value is nowhere to be found any more."""


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


class World:
    """``requests`` counts writes that reached ServiceNow. ``skew_s``: its clock minus ours."""

    def __init__(self, skew_s: float = 0.0, settings: Settings = SETTINGS) -> None:
        self.state = State()
        self.records: list[bytes] = []
        self.now_s = START_S
        self.skew_s = skew_s
        self.rows: dict[str, Columns] = {}
        self.hooks: list[hints.Webhook] = []
        self.seen_hooks: list[hints.Webhook] = []
        self.readings: list[Reading] = []
        self.sendings: list[Sending] = []
        self.late: list[Late] = []
        self.requests = 0
        self.names = 0
        self.clock = 0
        # What each field held, and since when: (step, value), by (incident, field) and by (record, field).
        self.on_platform: dict[tuple[str, str], list[tuple[int, str]]] = {}
        self.on_external: dict[tuple[str, str], list[tuple[int, Half]]] = {}
        # The step of a person's edit that still stands where it was made.
        self.mine: dict[tuple[str, str], int] = {}
        self.theirs: dict[tuple[str, str], int] = {}
        self.letters: list[tuple[int, str, tuple[str, ...]]] = []
        self.discarded: set[tuple[str, str]] = set()
        self.accepted: set[tuple[str, str, str]] = (
            set()
        )  # an edit away and back again finds the accepted pair as it was
        self.converges = True
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
        self.clock += 1
        before = dict(self.state.incidents)
        links = dict(self.state.links)
        evolve(self.state, decoded)
        for event in events:
            if isinstance(event, DeadLettered):
                self.letters.append((self.clock, event.letter.incident_id, event.letter.fields))
        for name, incident in self.state.incidents.items():
            for field in SYNCED_FIELDS:
                value = incident.value(field) or ""
                if name in before and value == (before[name].value(field) or ""):
                    continue
                if name in before and any(isinstance(event, Merged) for event in events):
                    self._replaced_here(name, field, before[name].value(field) or "", links)
                    self.mine.pop((name, field), None)
                elif not by.startswith("integration:") and (value or name in before):
                    self.mine[name, field] = self.clock
                self.on_platform.setdefault((name, field), []).append((self.clock, value))
        check_work_lists(self.state)

    def _replaced_here(self, incident_id: str, field: str, value: str, links: dict[str, Link]) -> None:
        """The sync took another value over: a person's value must have reached ServiceNow, or be on record."""
        since = self.mine.get((incident_id, field))
        if not self.converges or since is None or self._on_record(incident_id, field, value, since):
            return
        for link in (one for one in links.values() if one.incident_id == incident_id):
            history = self.on_external.get((link.external_id, field), [])
            if link.base[field].platform == value:
                return  # back to what both sides had held: that is no change
            if was(history, since, lambda shown: is_cut(value, shown)):
                return
        msg = f"{field} {value!r} of {incident_id}, set by a person, was replaced and is nowhere"
        raise Lost(msg)

    def _replaced_there(self, external_id: str, field: str, value: Half) -> None:
        """Our write replaced an agent's value: it must have reached the incident, or be on record."""
        since = self.theirs.get((external_id, field))
        link = self.state.links.get(self.state.link_of_record.get((INTEGRATION, external_id), ""))
        if not self.converges or since is None or link is None or not isinstance(value, str):
            return
        is_unchanged = mapping.meaning(field, link.base[field].external) == value
        if is_unchanged or self._on_record(link.incident_id, field, value, since):
            return
        if was(self.on_platform.get((link.incident_id, field), []), since, lambda held: is_cut(held, value)):
            return
        msg = f"{field} {value!r} of {external_id}, set by an agent, was overwritten and is nowhere"
        raise Lost(msg)

    def _on_record(self, incident_id: str, field: str, value: str, since: int) -> bool:
        kept = [one for one in self.state.conflicts.values() if (one.incident_id, one.field) == (incident_id, field)]
        told = any(at >= since and (name, field in fields) == (incident_id, True) for at, name, fields in self.letters)
        return told or any(value in {one.platform, one.external} for one in kept)

    def replayed(self) -> State:
        """State made anew from the bytes."""
        state = State()
        for encoded in self.records:
            evolve(state, msgspec.json.decode(encoded, type=Record))
        return state

    # -- ServiceNow -------------------------------------------------------------------------------------------------

    def observe(self, external_id: str) -> Observation:
        """The record as a read shows it now."""
        row = self.rows[external_id]
        return Observation(
            external_id=external_id,
            columns={name: row[name] for name in mapping.READ_COLUMNS if name in row},
            number=row["number"],
            mod_count=int(row["sys_mod_count"]),
            updated_at_s=float(row["sys_updated_on"]),
            updated_by=row["sys_updated_by"],
            created_at_s=float(row["sys_created_on"]),
            created_by=row["sys_created_by"],
            correlation_id=row.get("correlation_id", ""),
        )

    def store(self, external_id: str, columns: Columns, by: str) -> None:
        """Insert or update as ServiceNow does: cut, derive the priority, stamp, and send a webhook."""
        before = self.rows.get(external_id, {})
        locked = by == ACCOUNT and before.get("state") == "7"
        after = before | ({} if locked else columns)
        if by == ACCOUNT and after.get("state") in {"6", "7"} and not after.get("close_code"):
            raise Refused
        after["short_description"] = after.get("short_description", "")[:TITLE_COLUMN_LETTERS]
        after["priority"] = PRIORITY_OF[after.setdefault("impact", "2") + after.setdefault("urgency", "2")]
        if before and after == before:
            return
        stamp = str(math.floor(self.now_s + self.skew_s))
        self.clock += 1
        if not before:
            created = {"number": f"INC00{external_id}", "state": "1", "description": "", "sys_mod_count": "-1"}
            after = created | after | {"sys_created_on": stamp, "sys_created_by": by}
        count = int(after["sys_mod_count"]) + 1
        self.rows[external_id] = after | {"sys_mod_count": str(count), "sys_updated_on": stamp, "sys_updated_by": by}
        for field in SYNCED_FIELDS:
            raw, value = mapping.raw_of(field, before), mapping.raw_of(field, after)
            if before and raw == value:
                continue
            self.on_external.setdefault((external_id, field), []).append((self.clock, mapping.meaning(field, value)))
            if by == ACCOUNT:
                self.theirs.pop((external_id, field), None)
            else:
                self.theirs[external_id, field] = self.clock
        operation = "update" if before else "insert"
        self.hooks.append(hints.Webhook(sys_id=external_id, operation=operation, sys_mod_count=count, updated_by=by))

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
            raw = mapping.raw_of(field, before)
            is_race = raw != mapping.raw_of(field, known)  # no conditional write: an edit since the read is not seen
            if raw != mapping.raw_of(field, self.rows[external_id]) and not is_race:
                self._replaced_there(external_id, field, mapping.meaning(field, raw))
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

    def _wait(self, a: int, b: int) -> None:
        self._pass(WAITS_S[a % len(WAITS_S)])

    def _declare(self, a: int, b: int) -> None:
        severity: tuple[Severity, ...] = ("SEV-1", "SEV-2", "SEV-3", "SEV-4")
        title = ("Mail", "Mail is down in all of Europe", "VPN")[b % 3]
        self.step(IncidentDeclared(self._name("INC-"), title, severity[a % 4]), by="ann")

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

    def _accept(self, hook: hints.Webhook) -> bool:
        return self.decide(
            lambda state, at_s: hints.accept_webhook(
                state, at_s, hook, integration_id=INTEGRATION, body="{}", trace="hook"
            )
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
            return self.decide(lambda state, at_s: sending.prepare_update(state, at_s, name, row, one.asked, offset))
        if found is not None:
            return self.decide(
                lambda state, at_s: sending.settle_lookup(
                    state, at_s, name, found, at_s + 5, offset, looked_at_s=one.begun_s
                )
            )
        return self.decide(lambda state, at_s: sending.prepare_create(state, at_s, name))

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
        if conflict is None:
            return
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

    def _defaults(self, a: int, b: int) -> None:
        self.change(external_defaults={"close_code": "Solution provided"} if a % 2 else {})

    def _pause(self, a: int, b: int) -> None:
        self.change(enabled=bool(a % 3))

    def _direction(self, a: int, b: int) -> None:
        self.change(sync_direction=("none", "inbound", "outbound", "bidirectional")[a % 4])
        self.converges = False

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
                    next_due_at_s(self.state, INTEGRATION, without=frozenset(), after_s=self.now_s),
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
            if link.state != "active":
                if not any(one.link_id == link.id for one in self.state.dead_letters.values()):
                    found += [f"{link.id} has no record"] * ((link.id, "title") not in self.discarded)
                continue
            incident, row = self.state.incidents[link.incident_id], self.rows[link.external_id]
            for field in SYNCED_FIELDS:
                value, shown = incident.value(field) or "", mapping.meaning(field, mapping.raw_of(field, row))
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


def is_cut(value: str, shown: Half) -> bool:
    """The same, or what the title column's limit leaves of it."""
    return shown == value or (isinstance(shown, str) and shown == value[:TITLE_COLUMN_LETTERS].rstrip() and shown != "")


def was(history: list[tuple[int, T]], since: int, matches: Callable[[T], bool]) -> bool:
    """Whether it held such a value at ``since`` or at any time after it."""
    earlier = [value for step, value in history if step <= since][-1:]
    return any(matches(value) for value in [*earlier, *(value for step, value in history if step > since)])


def check_work_lists(state: State) -> None:
    """The lists that actors look for work in say exactly what the links, conflicts and incidents say."""
    links = state.links.values()
    for integration_id in {*state.integrations, *state.outbox, *state.dirty, *state.hints, *state.unlinked}:
        own = [link for link in links if link.integration_id == integration_id]
        assert set(state.outbox.get(integration_id, {})) == {link.id for link in own if link.outbox is not None}
        assert set(state.dirty.get(integration_id, {})) <= {link.id for link in own}
        waiting = state.unlinked.get(integration_id, {})
        assert not {link.incident_id for link in own} & set(waiting)
        assert set(waiting) <= set(state.incidents)
        for name, hint in state.hints.get(integration_id, {}).items():
            assert hint.external_id == name
            assert hint.position <= state.position
    assert {link.integration_id for link in links} <= set(state.integrations)
    records = {(link.integration_id, link.external_id): link.id for link in links if link.external_id}
    assert state.link_of_record == records
    for incident_id in state.incidents:
        assert sorted(state.links_of.get(incident_id, ())) == sorted(
            link.id for link in links if link.incident_id == incident_id
        )
    pending = {
        (f"{one.integration_id}/{one.incident_id}", one.field): one.id
        for one in state.conflicts.values()
        if one.status == "pending"
    }
    assert state.waiting == pending
    assert {letter.link_id for letter in state.dead_letters.values()} <= set(state.links)
    for link in links:
        assert (link.state == "pending") == (link.external_id == "")
        integration = state.integrations[link.integration_id]
        if link.id not in state.dirty.get(link.integration_id, {}) and integration.settings.runs:
            merged, _ = plan(link, state.incidents[link.incident_id], integration, state, 0.0)
            forgotten = [one for one in merged.decided if one.value is not UNSET]
            assert not forgotten, "an edit to take over, and the link is not marked"
            assert not merged.must_write or link.outbox is not None, "something to write, and nothing says so"
