"""The promises that hold once the troubles are over: equal, nothing lost, nothing invented, nothing doubled.

Each check takes what the ledger and the way saw and raises ``AssertionError`` with the value that it missed. Work notes
will be one more kind of value in the ledger, with a check of their own.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from syncd.core.model import Conflict
from syncd.core.state import State
from syncd.simulator.tables import Row
from tests.simulation.ledger import DEFAULTS, Held, Ledger, Write, as_kept, was_held
from tests.simulation.places import COLUMN
from tests.simulation.plan import TEXTS
from tests.simulation.way import Exchange, Way

AT_ONCE_S: Final = 0.1  # a decision and its record are so close
LEAVES_S_MAX: Final = 2.0  # four requests at once, at two a second
FRESH_S_MAX: Final = 2.5
RECENT_S: Final = 40.0
OWNED: Final = ("exclusive", "put-back-too-often")  # between a person and what the owner had, whoever put it there


class Oracle:
    """Holds the end of one world against what happened in it."""

    def __init__(self, ledger: Ledger, way: Way, state: State, rows: dict[str, Row]) -> None:
        self._ledger, self._way, self._state, self._rows = ledger, way, state, rows
        self._reads: dict[str, list[Exchange]] = {}
        for one in way.exchanges:
            for sys_id in one.shown if one.is_good and not one.lag_s else ():
                self._reads.setdefault(sys_id, []).append(one)
        self.counts: Counter[str] = Counter()

    def check(self) -> Counter[str]:
        """Check every promise; how often the rare cases were met."""
        self._ledger.rebuild()
        self._check_pairs()
        self._check_equal()
        self._check_no_loss()
        self._check_no_invention()
        self._check_conflicts()
        self._check_owners()
        self._check_writes_are_few()
        self._check_writes_leave_at_once()
        return self.counts

    def _check_pairs(self) -> None:
        """Every incident has its record, every record its incident, and none has two (C7)."""
        state, rows, rules = self._state, self._rows, self._ledger.rules
        there = [link for link in state.links.values() if link.state != "pending" or "out" in rules.ways]
        linked = {link.external_id: link.incident_id for link in there}
        alone = set(rows) - set(linked) - self._ledger.old if "in" in rules.ways else set()
        assert not alone, f"unlinked: {alone}"
        assert not set(linked) - set(rows), f"gone: {set(linked) - set(rows)}"
        assert len(linked) == len(there), "two links have one record"
        without = set(state.incidents) - set(linked.values()) - rules.apart if "out" in rules.ways else set()
        assert not without, f"an incident has no record: {without}"
        carried = Counter(row["correlation_id"] for row in rows.values() if row["correlation_id"])
        assert max(carried.values(), default=1) == 1, f"doubled: {carried.most_common(1)}"
        assert linked == self._ledger.incident_of, "a link changed its record"
        firsts = [values[0] for (_, field), values in self._ledger.platform.items() if field == "title"]
        declared = Counter(first.value for first in firsts if first.by_person)
        assert max(declared.values(), default=1) == 1, f"declared twice: {declared.most_common(1)}"

    def _check_equal(self) -> None:
        """Both sides are equal, or the difference is listed (C1)."""
        state, places = self._state, self._ledger.places
        for link in state.links.values():
            if link.external_id not in self._rows or (link.outbox is not None and "out" not in self._ledger.rules.ways):
                continue  # it waits for the time when something may go out
            incident, row = state.incidents[link.incident_id], self._rows[link.external_id]
            listed = {field for one in state.dead_letters.values() if one.link_id == link.id for field in one.fields}
            listed |= set(state.pending_conflicts(link.id))
            for field in COLUMN:
                ours, theirs = self._ledger.meant(field, incident.value(field)), places.shown(row, field)
                is_same = as_kept(field, ours) == theirs
                is_told = field in listed or places.says_nothing(field, row)
                is_told = is_told or self._ledger.stays(link.incident_id, field, ours, theirs)
                assert is_same or is_told, f"{link.id} {field}: {ours!r}, {theirs!r} there, {link.base[field]}"
            assert not (set(link.held) - listed), f"{link.id} holds {link.held} back, and no letter says so"

    def _check_no_loss(self) -> None:
        """A person's value is current, or was replaced on its own side, or crossed, or is in a conflict record (C2)."""
        for (incident_id, field), values in self._ledger.platform.items():
            edit = _last_edit(values)
            sys_id = self._ledger.record_of(incident_id)
            crossed = self._ledger.all_external(sys_id, field)
            now = self._ledger.meant(field, self._state.incidents[incident_id].value(field))
            if edit is None or now == edit.value:
                continue
            if was_held(crossed, as_kept(field, edit.value), edit.at - AT_ONCE_S):
                continue
            if self._ledger.was_settled("platform", incident_id, field, edit):
                continue
            assert self._is_kept(incident_id, field, edit), f"lost: {field} of {incident_id}, {edit}, by now {values}"
        for (sys_id, field), values in self._ledger.external.items():
            edit = _last_edit(values)
            if sys_id not in self._ledger.incident_of:
                continue  # nothing comes in
            incident_id = self._ledger.incident_of[sys_id]
            crossed = self._ledger.platform[incident_id, field]
            if edit is None or self._ledger.places.shown(self._rows[sys_id], field) == edit.value:
                continue
            if was_held(crossed, edit.value, edit.at - AT_ONCE_S) or self._is_kept(incident_id, field, edit):
                continue
            if self._ledger.was_settled("external", incident_id, field, edit):
                continue
            assert self._was_unseen(sys_id, field, edit), f"lost: {field} of {sys_id}, {edit}, by now {values}"

    def _is_kept(self, incident_id: str, field: str, edit: Held) -> bool:
        """A conflict record holds this value, and is not older than it."""
        since_s = edit.at - AT_ONCE_S

        def holds(one: Conflict) -> bool:
            is_late = one.resolved_at_s is None or self._ledger.times.latest(one.resolved_at_s) >= since_s
            return is_late and edit.value in [
                self._ledger.meant(field, value) for value in (one.platform, one.external)
            ]

        mine = (one for one in self._state.conflicts.values() if (one.incident_id, one.field) == (incident_id, field))
        return any(holds(one) for one in mine)

    def _was_unseen(self, sys_id: str, field: str, edit: Held) -> bool:
        """ServiceNow has no conditional write: our request was on its way already, and so it fell on the edit.

        No read could have shown the edit before. Where the answer came back, the journal says what happened.
        """
        later = [
            one for one in self._ledger.writes if one.sys_id == sys_id and field in one.fields and one.at > edit.at
        ]
        write = min(later, key=_when, default=None)
        if write is None:
            return False
        incident_id = self._ledger.incident_of[sys_id]
        decided = max((at for at in self._ledger.started[incident_id] if at <= write.left_at), default=write.left_at)
        reads = (one for one in self._reads.get(sys_id, ()) if (one.handled_at or 0.0) >= edit.at)
        if any(one.read_at < min(decided, one.life.died_at) - AT_ONCE_S for one in reads):
            return False  # it was known, and had been for long enough to be on record before a kill
        told = (one for one in self._ledger.told if one.sys_id == sys_id and edit.count <= one.count < write.count)
        if any(edit.at - AT_ONCE_S <= one.at < decided for one in told):
            return False
        self.counts["edit overwritten unseen"] += 1
        answers = [one for one in self._way.exchanges if one.writes and one.record == sys_id and one.is_good]
        answers = [one for one in answers if one.handled_at == write.at]  # else it shows the record as it was before
        on_record = (one for one in answers if one.read_at < one.life.died_at - AT_ONCE_S)
        if any(one.left_at == write.left_at and _is_whole(one) for one in on_record):
            noticed = [one for one in self._ledger.settled if one.incident_id == incident_id and one.unseen_writes]
            return any(field in one.fields and one.at >= write.at - AT_ONCE_S for one in noticed)
        return True

    def _check_no_invention(self) -> None:
        """What one side got from us, the other had held by then (C3)."""
        for write in self._ledger.writes:
            incident_id = self._ledger.incident_of[write.sys_id]
            for field in write.fields:
                values = self._ledger.all_external(write.sys_id, field)
                value = next(one.value for one in values if one.at == write.at and not one.by_person)
                held = [as_kept(field, one.value) for one in self._held_before(incident_id, field, write.at)]
                is_new = write.at == self._ledger.external[write.sys_id, "title"][0].at
                assert value in held or (is_new and value == "open"), f"invented there: {field} {value!r}, not {held}"
        for (incident_id, field), values in self._ledger.platform.items():
            for taken in (one for one in values if not one.by_person and one.value != "open"):
                record = self._ledger.all_external(self._ledger.record_of(incident_id), field)
                told = [one.value for one in record if one.at <= taken.at + AT_ONCE_S]
                was_put_back = (incident_id, field) in self._ledger.rules.put_back  # to what was last read
                if (
                    not taken.value and taken.at > RECENT_S and not was_put_back
                ):  # a hidden field is no empty one, though it was empty once
                    told = told if was_held(record, "", taken.at - RECENT_S) else []
                is_default = taken is values[0] and taken.value in (DEFAULTS.get(field), self._default_of(field))
                assert taken.value in told or is_default, (
                    f"{incident_id} invented here: {field} {taken.value!r}, not {told}"
                )

    def _default_of(self, field: str) -> str:
        """What an incident gets for a record whose mapped column is empty."""
        return "SEV-3" if field == "severity" and field in self._ledger.moved else DEFAULTS.get(field, "")

    def _check_conflicts(self) -> None:
        """A conflict is between people: a text that we wrote ourselves, late or unseen, is nobody's edit.

        Left out are records with a late commit of ours, whose answer shows the other fields as they were before it.
        """
        late = {write.sys_id for write in self._ledger.writes if write.at - write.left_at > LEAVES_S_MAX}
        for one in self._state.conflicts.values():
            if one.field not in TEXTS or one.external_id in late or one.reason in OWNED:
                continue
            if one.field in self._ledger.moved:
                continue  # another column's value is kept, whoever it is from, where it meets ours anew
            theirs = self._ledger.external[one.external_id, one.field]
            values = [held.value for held in theirs if held.by_person]
            ours = [held.value for held in theirs if not held.by_person and held.value != DEFAULTS.get(one.field)]
            is_ours = one.external in ours and one.external not in values
            assert not is_ours, f"a conflict with ourselves: {one}, edited there: {values}"

    def _check_owners(self) -> None:
        """Where a field has an exclusive owner, no edit of the other side stands, unless a person decided for it."""
        ledger = self._ledger
        for incident_id, incident in self._state.incidents.items():
            sys_id = ledger.record_of(incident_id)
            for field in COLUMN if sys_id else ():
                sides = {
                    "platform": ledger.platform.get((incident_id, field), []),
                    "external": ledger.external.get((sys_id, field), []),
                }
                is_ours = ledger.rules.owner(field) == "platform"
                now = (
                    ledger.meant(field, incident.value(field))
                    if is_ours
                    else self._ledger.places.shown(self._rows[sys_id], field)
                )
                ledger.rules.check_owner(field, sides, ledger.verdicts.get((incident_id, field), ()), now)
        self.counts += ledger.rules.met

    def _held_before(self, incident_id: str, field: str, at: float) -> Iterable[Held]:
        return (one for one in self._ledger.platform[incident_id, field] if one.at <= at + AT_ONCE_S)

    def _check_writes_are_few(self) -> None:
        """Our writes that changed something: the create, and at most one for each edit of either side."""
        made = Counter(write.sys_id for write in self._ledger.writes if write.fields)  # else it was a note
        for sys_id, count in made.items():
            incident_id = self._ledger.incident_of[sys_id]
            edits = [values for (one, _), values in self._ledger.platform.items() if one == incident_id]
            edits += [values for (one, _), values in self._ledger.external.items() if one == sys_id]
            allowed = 1 + self._ledger.moves + sum(held.by_person for values in edits for held in values)
            assert count <= allowed, f"{sys_id} was written {count} times, for {allowed - 1} edits"

    def _check_writes_leave_at_once(self) -> None:
        """A write rests on a fresh read and, once decided, does not wait: somebody may edit the record meanwhile."""
        reads: dict[str, list[float]] = {}
        for one in self._way.exchanges:
            for sys_id in one.shown if one.is_good else ():
                reads.setdefault(sys_id, []).append(one.read_at)
        for one in self._way.exchanges:
            if one.method == "PATCH" and not one.is_note and one.record in self._ledger.incident_of:
                started = self._ledger.started.get(self._ledger.incident_of[one.record], [])
                decided = max((at for at in started if at <= one.left_at), default=None)
                assert decided is not None, f"a PATCH of {one.record} at {one.left_at:.3f} was not on record"
                waited_s = one.left_at - decided
                assert waited_s <= LEAVES_S_MAX, f"a PATCH of {one.record} waited for {waited_s:.1f} s after its read"
                age_s = one.left_at - max((at for at in reads.get(one.record, ()) if at <= one.left_at), default=0.0)
                assert age_s <= FRESH_S_MAX, f"a PATCH of {one.record} rested on a read that was {age_s:.1f} s old"


def _last_edit(values: Iterable[Held]) -> Held | None:
    """The last value that a person set; whatever they set before was replaced by it, on its own side."""
    return next((held for held in reversed(list(values)) if held.by_person), None)


def _is_whole(exchange: Exchange) -> bool:
    return exchange.status in (200, 201)


def _when(write: Write) -> float:
    return write.at
