"""What an incident does to a write before it is stored: derived fields, defaults, rewrites, aborts, data policies.

Owns the base rules of ``incident`` and the customer's own (``Rulebook``). A rule changes ``change.after`` or raises a
``Refusal``; it never stores anything, and an insert or update that is refused leaves no trace.
"""

from dataclasses import dataclass, field
from typing import Final, Literal

from syncd.simulator.accounts import Actor
from syncd.simulator.kernel import Kernel
from syncd.simulator.query import QueryScope, compile_query
from syncd.simulator.tables import Row, Table
from syncd.simulator.wire import Refusal

__all__ = ["BASE_MATRIX", "AbortRule", "Change", "DataPolicy", "Rulebook", "check_closed", "run_before_rules"]

BASE_MATRIX: Final[dict[tuple[str, str], str]] = {
    ("1", "1"): "1", ("1", "2"): "2", ("1", "3"): "3",
    ("2", "1"): "2", ("2", "2"): "3", ("2", "3"): "4",
    ("3", "1"): "3", ("3", "2"): "4", ("3", "3"): "5",
}  # fmt: skip
"""Impact and urgency to priority, as the base system's data lookup has it."""

RESOLVED: Final = "6"
CLOSED: Final = "7"
CANCELED: Final = "8"


@dataclass
class Change:
    """One write on its way to the database. ``given``: what the caller sent, coerced, unknown keys left out."""

    operation: Literal["insert", "update"]
    table: Table
    before: Row
    after: Row
    actor: Actor
    given: dict[str, str]
    notes: list[tuple[str, str]]
    stamp: str

    def has_changed(self, name: str) -> bool:
        """True when this write changes the field; on an insert, when it is not at its default."""
        return self.after[name] != self.before[name]

    def changed_fields(self) -> dict[str, str]:
        """The fields that differ from the stored row."""
        return {name: value for name, value in self.after.items() if self.before[name] != value}


@dataclass(frozen=True)
class DataPolicy:
    """Fields that are mandatory while the record is in one of ``states``."""

    states: tuple[str, ...]
    fields: tuple[str, ...]


@dataclass(frozen=True)
class AbortRule:
    """A business rule that aborts a write whose result matches the encoded query."""

    name: str
    query: str
    sys_id: str = "c0ffee00c0ffee00c0ffee00c0ffee00"


@dataclass
class Rulebook:
    """What a customer can configure beyond the switches."""

    matrix: dict[tuple[str, str], str] = field(default_factory=lambda: dict(BASE_MATRIX))
    policies: list[DataPolicy] = field(default_factory=list)
    aborts: list[AbortRule] = field(default_factory=list)


def check_closed(change: Change, kernel: Kernel) -> bool:
    """Apply the guards of closed records and of closing. False: answer 200 and change nothing. Raises Refusal."""
    _settle_states(change, kernel)  # closing by way of ``incident_state`` is closing
    if change.actor.is_admin or change.operation == "insert":
        return True
    mode = "allow"
    if change.before["state"] in {CLOSED, CANCELED}:
        is_note_only = bool(change.notes) and not change.changed_fields()
        mode = kernel.switches.text("closed_write")
        if is_note_only and mode != "allow":
            mode = kernel.switches.text("closed_notes")
    elif change.has_changed("state") and change.after["state"] == CLOSED:
        mode = kernel.switches.text("close_by_api")
    if mode == "refuse":
        raise Refusal(403, "Operation Failed", "ACL Exception Update Failed due to security constraints")
    return mode == "allow"


def run_before_rules(change: Change, kernel: Kernel, rulebook: Rulebook) -> None:
    """Run everything between the request and the database, in the documented order. Raises Refusal."""
    _settle_states(change, kernel)
    _rewrite(change, kernel)
    _resume_on_comment(change, kernel)
    _derive_priority(change, kernel, rulebook)
    _assign_on_priority(change, kernel)
    _blank_outsider(change, kernel)
    _sync_states(change)
    _stamp_transitions(change, kernel)
    _keep_write_denied(change)
    _check_close_code(change, kernel)
    _check_policies(change, kernel, rulebook)
    _check_aborts(change, kernel, rulebook)


def _settle_states(change: Change, kernel: Kernel) -> None:
    """Of a write that moves ``state`` and ``incident_state`` to different values one wins; then they are equal."""
    if change.has_changed("state") and change.has_changed("incident_state"):
        change.after["state"] = change.after[kernel.switches.text("state_conflict")]
    _sync_states(change)


def _sync_states(change: Change) -> None:
    """``state`` lives on task and ``incident_state`` on incident; whichever moves takes the other along."""
    after = change.after
    if change.has_changed("state") or after["incident_state"] == change.before["incident_state"]:
        after["incident_state"] = after["state"]
    else:
        after["state"] = after["incident_state"]
    after["active"] = "false" if after["state"] in {CLOSED, CANCELED} else "true"


def _rewrite(change: Change, kernel: Kernel) -> None:
    after = change.after
    prefix = kernel.switches.text("title_prefix")
    if prefix and not after["short_description"].startswith(prefix):
        limit = change.table.columns["short_description"].length_max
        after["short_description"] = (prefix + after["short_description"])[:limit]
    if kernel.switches.is_on("assign_starts_work") and change.has_changed("assigned_to"):
        after["state"] = "2" if after["assigned_to"] and after["state"] == "1" else after["state"]


def _resume_on_comment(change: Change, kernel: Kernel) -> None:
    is_caller = bool(change.actor.sys_id) and change.actor.sys_id == change.after["caller_id"]
    is_waiting = change.before["state"] == "3" and change.before["hold_reason"] == "1"
    has_comment = any(element == "comments" for element, _ in change.notes)
    if is_caller and is_waiting and has_comment and kernel.switches.is_on("comment_resumes"):
        change.after["hold_reason"] = ""
        change.after["state"] = "2"


def _derive_priority(change: Change, kernel: Kernel, rulebook: Rulebook) -> None:
    after = change.after
    is_looked_up = change.operation == "insert" or change.has_changed("impact") or change.has_changed("urgency")
    if change.has_changed("priority") and not is_looked_up and kernel.switches.text("priority_direct") == "overridden":
        is_looked_up = True
    if is_looked_up:
        after["priority"] = rulebook.matrix.get((after["impact"], after["urgency"]), after["priority"])


def _assign_on_priority(change: Change, kernel: Kernel) -> None:
    user_name = kernel.switches.text("assign_on_priority")
    if user_name and change.has_changed("priority") and change.after["priority"] in {"1", "2"}:
        row = kernel.accounts.user_row(user_name)
        if row is not None and not change.after["assigned_to"]:
            change.after["assigned_to"] = row["sys_id"]


def _stamp_transitions(change: Change, kernel: Kernel) -> None:
    after, before = change.after, change.before
    if change.has_changed("assignment_group") and before["assignment_group"]:
        after["reassignment_count"] = str(int(before["reassignment_count"] or "0") + 1)
    if not change.has_changed("state"):
        return
    if after["state"] == RESOLVED:
        _fill(change, "resolved_at", change.stamp)
        _fill(change, "resolved_by", change.actor.sys_id)
    elif after["state"] == CLOSED:
        _fill(change, "closed_at", change.stamp)
        _fill(change, "closed_by", change.actor.sys_id)
    elif before["state"] == RESOLVED and after["state"] in {"1", "2", "3"}:
        after["reopen_count"] = str(int(before["reopen_count"] or "0") + 1)
        after["reopened_time"] = change.stamp
        after["reopened_by"] = change.actor.sys_id
        if kernel.switches.is_on("reopen_clears"):
            after.update(dict.fromkeys(("resolved_at", "resolved_by", "close_code", "close_notes"), ""))


def _fill(change: Change, name: str, value: str) -> None:
    if name not in change.given:
        change.after[name] = value


def _keep_write_denied(change: Change) -> None:
    """A field that the user may not write keeps its value even when a rule sets it in that user's transaction."""
    for name in change.actor.account.denied_fields("incident", "write"):
        if name in change.after:
            change.after[name] = change.before[name]


def _check_close_code(change: Change, kernel: Kernel) -> None:
    code = change.after["close_code"]
    if code and change.has_changed("close_code") and kernel.switches.text("close_code_check") == "blank":
        choices = kernel.store.find("sys_choice", "element", "close_code")
        if not any(choice["value"] == code and choice["inactive"] != "true" for choice in choices):
            change.after["close_code"] = ""


def _check_policies(change: Change, kernel: Kernel, rulebook: Rulebook) -> None:
    policies = list(rulebook.policies)
    if kernel.switches.is_on("close_policy"):
        policies.insert(0, DataPolicy((RESOLVED, CLOSED), ("close_code", "close_notes")))
    missing: list[str] = []
    for policy in policies:
        if change.after["state"] in policy.states:
            missing += [name for name in policy.fields if not _is_filled(change, name)]
    if missing:
        labels = ", ".join(change.table.columns[name].label for name in dict.fromkeys(missing))
        detail = f"Data Policy Exception: \n\tThe following fields are mandatory: {labels}"
        raise Refusal(403, "Operation Failed", detail)


def _is_filled(change: Change, name: str) -> bool:
    if change.table.columns[name].is_journal:
        return not change.has_changed("state") or any(element == name for element, _ in change.notes)
    return change.after[name] != ""


def _is_outsider(change: Change, kernel: Kernel) -> bool:
    """Somebody is assigned who is no member of the record's group."""
    user, group = change.after["assigned_to"], change.after["assignment_group"]
    members = kernel.store.find("sys_user_grmember", "group", group) if user and group else []
    return bool(user and group) and not any(member["user"] == user for member in members)


def _blank_outsider(change: Change, kernel: Kernel) -> None:
    is_new = change.has_changed("assigned_to") or change.has_changed("assignment_group")
    if is_new and kernel.switches.text("outside_assignee") == "blank" and _is_outsider(change, kernel):
        change.after["assigned_to"] = ""


def _check_aborts(change: Change, kernel: Kernel, rulebook: Rulebook) -> None:
    after = change.after
    is_moved = change.operation == "update" and change.has_changed("assignment_group")
    if is_moved and kernel.switches.is_on("abort_on_group") and _is_outsider(change, kernel):
        raise _aborted(AbortRule("Abort changes on group", "", "6a3c4e31c0a8016400ad1e7ed8d6a2b1"))
    is_assigned = change.has_changed("assigned_to") and kernel.switches.text("outside_assignee") == "refuse"
    if is_assigned and _is_outsider(change, kernel):
        raise _aborted(AbortRule("Assignee must be in the group", "", "0b3c4e31c0a8016400ad1e7ed8d6a2b7"))
    for rule in rulebook.aborts:
        if compile_query(rule.query, change.table, kernel.store, QueryScope()).matches(after):
            raise _aborted(rule)


def _aborted(rule: AbortRule) -> Refusal:
    stack = f"Operation against file 'incident' was aborted by Business Rule '{rule.name}^{rule.sys_id}'."
    return Refusal(403, "Operation Failed", f"{stack} Business Rule Stack:{rule.name}")
