"""What really happened: every value that either side ever held, since when, and whether a person put it there.

ServiceNow's part is heard at each commit, the platform's from each durable record of the journal, over all lives of the
daemon. Has its own idea of the mapping, and takes no decision of the daemon's for granted.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct, UnsetType
from msgspec.structs import replace

from syncd.core.events import (
    ConflictSettled,
    DeadLettered,
    DeadLetterRetried,
    Event,
    Hinted,
    IncidentDeclared,
    IncidentEdited,
    IntegrationChanged,
    LinkJoined,
    LoginRefused,
    Merged,
    Observed,
    Record,
    SendSettled,
    SendStarted,
)
from syncd.core.model import Attempt, Conflict, DeadLetter, Halves, Hint, Settings
from syncd.simulator.records import Committed
from syncd.simulator.tables import Row
from tests.simulation.people import People
from tests.simulation.places import COLUMN, OWN_COLUMNS, Places
from tests.simulation.rules import Rules
from tests.simulation.times import Times

DEFAULTS: Final = {
    "description": "",
    "status": "open",
    "assigned_to": "",
}  # what a new incident, or record, has without anybody's doing
TITLE_LETTERS_KEPT: Final = 160  # of a title, by ServiceNow


class Held(Struct, frozen=True):
    """A value, held from ``at`` (virtual time) until the next one of its list. ``by_person``: an edit to be kept.

    ``count``: the record's ``sys_mod_count`` with it.
    """

    at: float
    value: str
    by_person: bool
    count: int = 0


class Write(Struct, frozen=True):
    """An effective write of ours, as ServiceNow committed it. ``left_at``: when its request had left the daemon."""

    at: float
    sys_id: str
    fields: tuple[str, ...]
    left_at: float
    count: int = 0


class Settled(Struct, frozen=True):
    """What the journal says of a finished write: writes by others that it fell on, and the fields it carried."""

    at: float
    incident_id: str
    fields: tuple[str, ...]
    unseen_writes: int


class Told(Struct, frozen=True):
    """A webhook that said that a record had reached this count."""

    at: float
    sys_id: str
    count: int


class Base(Struct, frozen=True):
    """Both halves of a field's base in platform terms, from ``at`` on; None where a half is not known."""

    at: float
    platform: str | None
    external: str | None


class Commit(Struct, frozen=True):
    """A commit in ServiceNow: the row as it was then; ``left_at``: when the request had left, where it was ours."""

    at: float
    row: Row
    by_person: bool
    left_at: float


Values = dict[tuple[str, str], list[Held]]


class Ledger:
    """``platform`` by (incident, field), ``external`` by (sys_id, field). ``times``: the daemon's clock in our time.

    A person is the ``sys_id`` that stands in the record, whatever the platform calls them.
    """

    def __init__(self, account: str, times: Times, people: People) -> None:
        self.platform: Values = {}
        self.external: Values = {}
        self.bases: dict[tuple[str, str], list[Base]] = {}
        self.incident_of: dict[str, str] = {}
        self.conflicts: dict[str, Conflict] = {}
        self.writes: list[Write] = []
        self.settled: list[Settled] = []
        self.started: dict[str, list[float]] = {}
        self.told: list[Told] = []
        self.refused_at: list[float] = []
        self.counts: dict[str, int] = {}
        self.letters: list[DeadLetter] = []
        self.events: Counter[str] = Counter()
        self.close_codes: dict[str, set[str]] = {}
        self.places = Places()
        self.rules = Rules(self.places)
        self.verdicts: dict[tuple[str, str], list[float]] = {}
        self.old: set[str] = set()
        """Records that are older than the integration: nobody is to have them before they are asked for."""
        self.records: list[Record] = []
        """Everything that became durable, over all lives."""
        self.ears: list[Callable[[Event, float], None]] = []
        """Who else hears of each event, before it is taken down here."""
        self.position = 0
        self._account = account
        self._lettered: dict[str, float] = {}
        self.times = times
        self._people = people
        self.past: Values = {}
        self.moves = 0
        self.moved: set[str] = set()
        """Fields that have stood in another column."""
        self._turns: list[tuple[float, Settings]] = []
        self._commits: list[Commit] = []
        self._rows: dict[str, Row] = {}
        self._typed: dict[tuple[str, str], bool] = {}

    # ServiceNow

    def committed(self, committed: Committed, at: float, left_at: float) -> None:
        """Hear of a commit in ServiceNow."""
        self._commits.append(Commit(at, committed.row, committed.actor.user_name != self._account, left_at))
        self._commit(self._commits[-1])

    def _commit(self, one: Commit) -> None:
        sys_id, before = one.row["sys_id"], self._rows.get(one.row["sys_id"])
        self._rows[sys_id] = one.row
        for column in (*COLUMN.values(), *OWN_COLUMNS):
            if before is None or before.get(column, "") != one.row.get(column, ""):
                self._typed[sys_id, column] = one.by_person
        now = {field: self.places.shown(one.row, field) for field in COLUMN}
        changed = [field for field in COLUMN if before is None or self.places.shown(before, field) != now[field]]
        changed = [field for field in changed if not self.places.says_nothing(field, one.row)]
        for field in changed:
            is_edit = one.by_person and not (before is None and now[field] == DEFAULTS.get(field))
            self.external.setdefault((sys_id, field), []).append(self._held(one.at, field, one.row, is_edit))
        if not one.by_person:
            self.writes.append(Write(one.at, sys_id, tuple(changed), one.left_at, int(one.row["sys_mod_count"])))

    def _held(self, at: float, field: str, row: Row, is_edit: bool) -> Held:
        return Held(at, self.places.shown(row, field), is_edit, int(row["sys_mod_count"]))

    def _turned(self, settings: Settings, at: float) -> None:
        """Where a field stands in another column, what is there counts from now on; what was there is of the past."""
        moved = self.places.turned(settings)
        self.moved |= moved
        for sys_id, row in self._rows.items() if moved else ():
            for field in moved:
                self.past.setdefault((sys_id, field), []).extend(self.external.pop((sys_id, field), []))
                typed = self._typed.get((sys_id, self.places.columns[field]), False)
                held = self._held(at, field, row, typed)
                said = [] if self.places.says_nothing(field, row) else [held]
                self.external[sys_id, field] = [one if one.value else replace(one, by_person=False) for one in said]

    def rebuild(self) -> None:
        """Take the commits down once more, each as the mappings stood then: what became durable was heard of later."""
        if not self.moved:
            return
        for part in (self.external, self.past, self.writes, self._rows, self._typed):
            part.clear()
        self.places.forget()
        turns = [(at, 0, number) for number, (at, _) in enumerate(self._turns)]
        for _, kind, number in sorted([*turns, *((one.at, 1, n) for n, one in enumerate(self._commits))]):
            if kind:
                self._commit(self._commits[number])
            else:
                self._turned(self._turns[number][1], self._turns[number][0])

    def all_external(self, sys_id: str, field: str) -> list[Held]:
        """What a record ever showed of a field, wherever it stood."""
        return [*self.past.get((sys_id, field), ()), *self.external.get((sys_id, field), ())]

    # The platform

    def durable(self, records: Sequence[Record], upto: float) -> None:
        """Hear of records that are on disk, and were made by ``upto``; each is taken once."""
        for record in records:
            if record.position > self.position:
                self.position = record.position
                self.records.append(record)
                at = self.times.at(record.at_s, upto)
                for event in record.events:
                    self.events[type(event).__name__] += 1
                    self._ruled(event, at)
                    for hear in self.ears:
                        hear(event, at)
                    self._durable(event, at)

    def _ruled(self, event: Event, at: float) -> None:
        if not self.rules.was_enabled:
            self.old |= self._rows.keys()
        if isinstance(event, IntegrationChanged):
            self._turns.append((at, event.settings))
            before = set(self.places.columns.items())
            self._turned(event.settings, at)
            moved = {field for field, column in self.places.columns.items() if (field, column) not in before}
            self.moves += bool(moved)
            self.rules.moved(moved)
            for place in [place for place in self.bases if place[1] in moved]:
                del self.bases[place]
        self.rules.heard(event, at)
        if isinstance(event, ConflictSettled):
            conflict = self.conflicts[event.conflict_id]
            self.verdicts.setdefault((conflict.incident_id, conflict.field), []).append(at)
        elif isinstance(event, LoginRefused):
            self.refused_at.append(at)

    def _durable(self, event: Event, at: float) -> None:
        match event:
            case IncidentDeclared():
                values = {field: getattr(event, field) or "" for field in COLUMN}
                ours = [field for field, value in values.items() if not event.origin and value != DEFAULTS.get(field)]
                self._hold(event.incident_id, values, at, ours)
            case IncidentEdited():
                values = {field: value or "" for field, value in event.changes.items() if field in COLUMN}
                self._hold(event.incident_id, values, at, values)
                if code := event.changes.get("resolution_code"):
                    self.close_codes.setdefault(event.incident_id, set()).add(code)
            case Merged():
                values = {one.field: one.value for one in event.decided if not isinstance(one.value, UnsetType)}
                self._hold(incident_of(event.link_id), values, at, ())
                self._settle(incident_of(event.link_id), {one.field: one.halves for one in event.decided}, at)
                self.conflicts |= {one.id: one for one in event.conflicts}
            case ConflictSettled(value=str(value)):
                conflict = self.conflicts[event.conflict_id]
                is_theirs = self.meant(conflict.field, value) == self.meant(conflict.field, conflict.external)
                typed = () if is_theirs else (conflict.field,)
                self._hold(conflict.incident_id, {conflict.field: value}, at, typed)
            case Observed():
                self._see(event.link_id, event.observation.mod_count)
            case LinkJoined():
                self._see(event.link_id, event.observation.mod_count)
                self.incident_of[event.observation.external_id] = event.incident_id
                self._settle(event.incident_id, event.settled, at)
            case Hinted(hint=Hint(mod_count=int(count))):
                self.told.append(Told(at, event.external_id, count))
            case Hinted(hint=None):
                self.events["echo suppressed"] += f'"updated_by":"{self._account}"' in event.body
            case DeadLetterRetried():
                self.events["dead letter retried after an edit"] += self._is_edited_since(event.letter_id)
            case SendStarted():
                self._is_present(incident_of(event.link_id), event.attempt)
                self.started.setdefault(incident_of(event.link_id), []).append(at)
            case SendSettled():
                incident_id = incident_of(event.link_id)
                self.incident_of[event.observation.external_id] = incident_id
                self._settle(incident_id, event.halves, at)
                self.counts[event.link_id] = max(self.counts.get(event.link_id, 0), event.observation.mod_count or 0)
                self.settled.append(Settled(at, incident_id, tuple(event.halves), event.unseen_writes))
            case DeadLettered():
                self.letters.append(event.letter)
                self._lettered[event.letter.id] = at
            case _:
                pass

    def _is_present(self, incident_id: str, attempt: Attempt) -> None:
        """An update carries what the incident holds at the moment of its decision, not what it held once."""
        for field, value in attempt.sent.items() if attempt.kind == "update" else ():
            held = self.platform.get((incident_id, field), [])
            assert not held or held[-1].value == self.meant(field, value), (
                f"{incident_id} {field}: {value!r} is sent, and by now it holds {held[-1]}"
            )

    def _see(self, link_id: str, count: int | None) -> None:
        """No record of this world is ever restored: a picture older than one that was seen is of a node that lags."""
        before = self.counts.get(link_id, 0)
        assert count is not None, f"{link_id} was seen without a count"
        assert count >= before, f"{link_id}: count {count} was believed after {before}"
        self.counts[link_id] = count

    def _is_edited_since(self, letter_id: str) -> bool:
        """Somebody has edited what the dead letter is about, on either side, since it was made."""
        letter = next(one for one in reversed(self.letters) if one.id == letter_id)
        values = [self.platform.get((letter.incident_id, field), []) for field in letter.fields]
        values += [self.external.get((letter.external_id, field), []) for field in letter.fields]
        return any(held.by_person and held.at > self._lettered[letter_id] for one in values for held in one)

    def _hold(self, incident_id: str, values: dict[str, str], at: float, edits: Iterable[str]) -> None:
        by_person = frozenset(edits)
        for field, value in values.items():
            held = Held(at, self.meant(field, value), field in by_person)
            self.platform.setdefault((incident_id, field), []).append(held)

    def _settle(self, incident_id: str, halves: Mapping[str, Halves], at: float) -> None:
        for field, both in halves.items():
            if field not in COLUMN:
                continue  # nobody of a drawn world maps it
            platform = self.meant(field, both.platform) if isinstance(both.platform, str) else None
            raw = both.external if isinstance(both.external, str) else None
            if field == "assigned_to" and raw is not None:
                raw = raw.rpartition(" ")[2]  # its raw half is three words
            external = None if raw is None else self.places.meant(field, raw)
            self.bases.setdefault((incident_id, field), []).append(Base(at, platform, external))
            if platform is not None and external is not None and as_kept(field, platform) == external:
                self.rules.agreed(incident_id, field)

    # Questions

    def meant(self, field: str, value: str | None) -> str:
        """A platform's value, as it is held here."""
        return self._people.sys_id(value or "") if field == "assigned_to" else value or ""

    def was_settled(self, side: str, incident_id: str, field: str, edit: Held) -> bool:
        """The edit went back to the value that its side had when the field was last settled: that is no change."""
        before = [one for one in self.bases.get((incident_id, field), ()) if one.at <= edit.at]
        if not before:
            return False
        half = before[-1].platform if side == "platform" else before[-1].external
        return half == edit.value

    def stays(self, incident_id: str, field: str, platform: str, external: str) -> bool:
        """Both sides differ as they were settled when an edit was not to spread."""
        base = self.bases[incident_id, field][-1]
        is_settled = base.platform in (None, platform) and base.external in (None, external)
        return is_settled and self.rules.stays(incident_id, field)

    def record_of(self, incident_id: str) -> str:
        """The sys_id of an incident's record; empty while it has none."""
        return next((sys_id for sys_id, one in self.incident_of.items() if one == incident_id), "")


def incident_of(link_id: str) -> str:
    """The incident of a link, whose name says it."""
    return link_id.partition("/")[2]


def was_held(values: Sequence[Held], value: str, since: float) -> bool:
    """Some value was held at ``since`` or later."""
    for number, held in enumerate(values):
        until = values[number + 1].at if number + 1 < len(values) else float("inf")
        if held.value == value and until > since:
            return True
    return False


def as_kept(field: str, value: str) -> str:
    """What ServiceNow keeps of a value."""
    return value[:TITLE_LETTERS_KEPT].strip() if field == "title" else value
