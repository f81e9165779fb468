"""The one write path: what a caller sends becomes a row, with stamps, count, notes, audit and an event.

Owns inserts, updates and deletes of every table. A write has two halves, so that a slow transaction can be shown as it
is: ``prepare_*`` runs rules and takes the stamp, ``commit`` makes it visible, maybe seconds later. Never renders an
answer and never sends a webhook: whoever listens to ``on_commit`` does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from syncd.simulator.accounts import SYSTEM, Actor
from syncd.simulator.clock import seconds_of, stamp_of
from syncd.simulator.input_values import InputMode, stored_values
from syncd.simulator.journal import Journal
from syncd.simulator.kernel import Kernel
from syncd.simulator.rules import Change, Rulebook, check_closed, run_before_rules
from syncd.simulator.tables import Row, Table
from syncd.simulator.wire import Refusal

__all__ = ["Committed", "Prepared", "Records", "WriteStyle"]

_STAMPS: Final = frozenset({"sys_created_on", "sys_created_by", "sys_updated_on", "sys_updated_by", "sys_mod_count"})


@dataclass(frozen=True)
class WriteStyle:
    """How a write is made. ``has_rules`` False is ``setWorkflow(false)``: no rules, no audit, no webhook.
    ``has_stamps`` False is ``autoSysFields(false)``: stamps and count stay."""

    input_mode: InputMode = "raw"
    has_rules: bool = True
    has_stamps: bool = True


@dataclass
class Prepared:
    """A write that has passed all rules and waits for its commit. ``changed`` is empty for a write without effect."""

    operation: Literal["insert", "update", "delete"]
    table: Table
    sys_id: str
    changed: dict[str, str]
    notes: list[tuple[str, str]]
    actor: Actor
    stamp: str
    style: WriteStyle
    row: Row = field(default_factory=dict)

    @property
    def is_effective(self) -> bool:
        """True when committing it changes anything."""
        return self.operation != "update" or bool(self.changed) or bool(self.notes)


@dataclass(frozen=True)
class Committed:
    """What happened, for the webhook rule: the row as it was right after (or, deleted, right before)."""

    operation: Literal["insert", "update", "delete"]
    row: Row
    actor: Actor


class Records:
    """Writes rows and tells ``on_commit`` about effective writes to incidents that run rules."""

    def __init__(self, kernel: Kernel, journal: Journal, rulebook: Rulebook) -> None:
        self._kernel = kernel
        self._journal = journal
        self._rulebook = rulebook
        self._autoclosed_at_s = 0.0
        self.on_commit: list[Callable[[Committed], None]] = []

    def prepare_insert(self, table: Table, given: Mapping[str, object], actor: Actor, style: WriteStyle) -> Prepared:
        """Check and complete a new row; raises Refusal and stores nothing then."""
        stamp = self._kernel.clock.stamp()
        before = table.blank_row()
        if table.name == "incident" and self._kernel.switches.text("new_defaults") == "customer":
            before.update(impact="2", urgency="2", priority=self._rulebook.matrix["2", "2"])
        change = self._change("insert", table, before, given, actor, style, stamp)
        after = change.after
        if table.name == "incident":
            after["number"] = after["number"] or self._kernel.next_number()
            after["opened_at"] = after["opened_at"] or stamp
            after["opened_by"] = after["opened_by"] or actor.sys_id
            run_before_rules(change, self._kernel, self._rulebook)
        keeps_id = self._kernel.switches.is_on("post_keeps_sys_id") and str(given.get("sys_id", ""))
        after["sys_id"] = keeps_id or self._kernel.store.new_sys_id()
        fresh = {"sys_created_on": stamp, "sys_created_by": actor.user_name, "sys_mod_count": "0"}
        fresh |= {"sys_updated_on": stamp, "sys_updated_by": actor.user_name}
        fresh |= {name: value for name, value in change.given.items() if name in _STAMPS and value}
        after.update(fresh)
        return Prepared("insert", table, after["sys_id"], {}, change.notes, actor, stamp, style, after)

    def prepare_update(
        self, table: Table, sys_id: str, given: Mapping[str, object], actor: Actor, style: WriteStyle
    ) -> Prepared:
        """Check a change of an existing row (KeyError if there is none); raises Refusal and changes nothing then."""
        stamp = self._kernel.clock.stamp()
        before = table.rows[sys_id]
        change = self._change("update", table, before, given, actor, style, stamp)
        nothing = Prepared("update", table, sys_id, {}, [], actor, stamp, style, before)
        if not change.notes and not change.changed_fields():
            return nothing
        if table.name == "incident" and style.has_rules:
            if not check_closed(change, self._kernel):
                return nothing
            run_before_rules(change, self._kernel, self._rulebook)
        return Prepared("update", table, sys_id, change.changed_fields(), change.notes, actor, stamp, style, before)

    def prepare_delete(self, table: Table, sys_id: str, actor: Actor, style: WriteStyle) -> Prepared:
        """Prepare the deletion of a row (KeyError if there is none)."""
        row = table.rows[sys_id]
        return Prepared("delete", table, sys_id, {}, [], actor, self._kernel.clock.stamp(), style, row)

    def commit(self, prepared: Prepared) -> Row:
        """Make a write visible now and return the row; a record that vanished meanwhile stays gone."""
        if not prepared.is_effective:
            return prepared.row
        rows = prepared.table.rows
        if prepared.operation == "insert":
            rows[prepared.sys_id] = prepared.row
        elif prepared.sys_id not in rows:
            return prepared.row
        elif prepared.operation == "delete":
            self._delete(prepared)
        else:
            rows[prepared.sys_id] = self.row_after(prepared)
        row = rows.get(prepared.sys_id, prepared.row)
        for element, text in prepared.notes:
            author = prepared.actor.user_name
            times = 2 if self._kernel.faults.strikes("notes_doubled") else 1
            for _ in range(times):
                self._journal.add(
                    prepared.table.name, prepared.sys_id, element, text, author=author, stamp=prepared.stamp
                )
        if prepared.style.has_rules and prepared.table.name == "incident":
            self._audit(prepared, row)
            for listen in self.on_commit:
                listen(Committed(prepared.operation, row, prepared.actor))
            self._cascade(prepared, row)
        return row

    def commit_late(self, prepared: Prepared, late_s: float) -> Row:
        """Make a write visible ``late_s`` seconds from now; the row as its writer will see it then."""
        clock = self._kernel.clock
        is_update = prepared.operation == "update"
        if is_update and self._kernel.switches.text("late_update_stamp") == "commit":
            prepared.stamp = stamp_of(clock.at_s() + late_s)
        self._kernel.timers.at(clock.host_s() + late_s, lambda: self.commit(prepared))
        return self.row_after(prepared)

    def run_autoclose(self) -> None:
        """The hourly job: close what has been resolved for longer than ``autoclose_days``, as user ``system``."""
        days = self._kernel.switches.number("autoclose_days")
        now_s = self._kernel.clock.at_s()
        if days <= 0 or now_s - self._autoclosed_at_s < 3600:
            return
        self._autoclosed_at_s = now_s
        measured = self._kernel.switches.text("autoclose_from")
        column = "resolved_at" if measured == "resolved_at" else "sys_updated_on"
        system = self._kernel.accounts.actor(SYSTEM)
        for row in list(self._kernel.incidents.rows.values()):
            if row["state"] == "6" and row[column] and now_s - seconds_of(row[column]) > days * 86400:
                closing = {"state": "7"}
                try:
                    self.commit(
                        self.prepare_update(self._kernel.incidents, row["sys_id"], closing, system, WriteStyle())
                    )
                except Refusal:
                    continue  # a record that may not be closed (no close code, a rule of its own) stays resolved

    def _change(
        self,
        operation: Literal["insert", "update"],
        table: Table,
        before: Row,
        given: Mapping[str, object],
        actor: Actor,
        style: WriteStyle,
        stamp: str,
    ) -> Change:
        values, notes = stored_values(table, given, actor, style.input_mode, self._kernel)
        after = {**before, **{name: value for name, value in values.items() if name != "sys_id"}}
        return Change(operation, table, before, after, actor, values, notes, stamp)

    def row_after(self, prepared: Prepared) -> Row:
        """The row as committing this write now would leave it; a deletion leaves it as it is."""
        if prepared.operation != "update" or not prepared.is_effective:
            return prepared.row
        # Only the changed columns are written, so two writers of different fields both survive. The row is replaced
        # and not changed in place: whoever holds the old one (a late answer, an event) keeps what it saw.
        row = {**prepared.table.rows.get(prepared.sys_id, prepared.row), **prepared.changed}
        is_stamped = bool(prepared.changed) or self._kernel.switches.is_on("note_stamps")
        if prepared.style.has_stamps and is_stamped:
            stamps = {"sys_updated_on": prepared.stamp, "sys_updated_by": prepared.actor.user_name}
            stamps["sys_mod_count"] = str(int(row["sys_mod_count"] or "0") + 1)
            row.update({name: value for name, value in stamps.items() if name not in prepared.changed})
        return row

    def _delete(self, prepared: Prepared) -> None:
        row = prepared.table.rows.pop(prepared.sys_id)
        self._journal.remove_all(prepared.sys_id)
        self._kernel.store.put(
            "sys_audit_delete",
            tablename=prepared.table.name,
            documentkey=prepared.sys_id,
            display_value=row.get(prepared.table.display, ""),
            sys_created_on=prepared.stamp,
            sys_created_by=prepared.actor.user_name,
        )

    def _audit(self, prepared: Prepared, row: Row) -> None:
        lines = [(name, prepared.row.get(name, ""), value) for name, value in prepared.changed.items()]
        lines += [(element, "JOURNAL FIELD ADDITION", text) for element, text in prepared.notes]
        for name, old, new in lines:
            self._kernel.store.put(
                "sys_audit",
                tablename=prepared.table.name,
                fieldname=name,
                documentkey=prepared.sys_id,
                user=prepared.actor.user_name,
                oldvalue=old,
                newvalue=new,
                record_checkpoint=row["sys_mod_count"],
                sys_created_on=prepared.stamp,
                sys_created_by=prepared.actor.user_name,
            )

    def _cascade(self, prepared: Prepared, row: Row) -> None:
        """Parent to child: In Progress, On Hold and Resolved travel, Closed and Canceled do not."""
        if prepared.changed.get("state") not in {"2", "3", "6"} or not self._kernel.switches.is_on(
            "cascade_to_children"
        ):
            return
        if row["state"] == "3" and row["hold_reason"] == "1":
            return  # Awaiting Caller concerns the parent's caller alone
        copied = {name: row[name] for name in ("state", "hold_reason", "close_code", "close_notes")}
        for child in [one for one in prepared.table.rows.values() if one["parent_incident"] == row["sys_id"]]:
            try:
                update = self.prepare_update(prepared.table, child["sys_id"], copied, prepared.actor, WriteStyle())
            except Refusal:
                continue  # a child that refuses (closed, or its own policy) does not undo the parent
            self.commit(update)
