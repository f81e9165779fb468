"""The columns of the tables that the simulator serves.

Owns names, labels, types and limits. Never holds a row. Lengths are the base system's; a customer may widen them
(``Table.add_column``).
"""

from collections.abc import Iterator

from syncd.simulator.tables import Column, ColumnType, Table

__all__ = ["build_tables"]

_SYSTEM = (
    ("sys_id", "Sys ID", "string", 32),
    ("sys_created_on", "Created", "glide_date_time", 40),
    ("sys_created_by", "Created by", "string", 40),
    ("sys_updated_on", "Updated", "glide_date_time", 40),
    ("sys_updated_by", "Updated by", "string", 40),
    ("sys_mod_count", "Updates", "integer", 40),
    ("sys_tags", "Tags", "string", 255),
)

_TASK: tuple[tuple[str, str, ColumnType, int], ...] = (
    ("number", "Number", "string", 40),
    ("sys_class_name", "Task type", "string", 80),
    ("active", "Active", "boolean", 40),
    ("state", "State", "integer", 40),
    ("impact", "Impact", "integer", 40),
    ("urgency", "Urgency", "integer", 40),
    ("priority", "Priority", "integer", 40),
    ("short_description", "Short description", "string", 160),
    ("description", "Description", "string", 4000),
    ("correlation_id", "Correlation ID", "string", 100),
    ("correlation_display", "Correlation display", "string", 100),
    ("opened_at", "Opened", "glide_date_time", 40),
    ("closed_at", "Closed", "glide_date_time", 40),
    ("due_date", "Due date", "glide_date_time", 40),
    ("work_start", "Actual start", "glide_date_time", 40),
    ("work_end", "Actual end", "glide_date_time", 40),
    ("activity_due", "Activity due", "glide_date_time", 40),
    ("contact_type", "Contact type", "string", 40),
    ("escalation", "Escalation", "integer", 40),
    ("approval", "Approval", "string", 40),
    ("made_sla", "Made SLA", "boolean", 40),
    ("knowledge", "Knowledge", "boolean", 40),
    ("upon_reject", "Upon reject", "string", 40),
    ("upon_approval", "Upon approval", "string", 40),
    ("reassignment_count", "Reassignment count", "integer", 40),
    ("work_notes", "Work notes", "journal_input", 4000),
    ("comments", "Additional comments", "journal_input", 4000),
    ("comments_and_work_notes", "Comments and Work notes", "journal_list", 4000),
)

_INCIDENT: tuple[tuple[str, str, ColumnType, int], ...] = (
    ("incident_state", "Incident state", "integer", 40),
    ("category", "Category", "string", 40),
    ("subcategory", "Subcategory", "string", 40),
    ("severity", "Severity", "integer", 40),
    ("hold_reason", "On hold reason", "integer", 40),
    ("close_code", "Resolution code", "string", 40),
    ("close_notes", "Close notes", "string", 4000),
    ("resolved_at", "Resolved", "glide_date_time", 40),
    ("reopen_count", "Reopen count", "integer", 40),
    ("reopened_time", "Last reopened at", "glide_date_time", 40),
    ("notify", "Notify", "integer", 40),
    ("calendar_stc", "Resolve time", "integer", 40),
)

_REFERENCES = (
    ("assigned_to", "Assigned to", "sys_user", "task"),
    ("assignment_group", "Assignment group", "sys_user_group", "task"),
    ("opened_by", "Opened by", "sys_user", "task"),
    ("closed_by", "Closed by", "sys_user", "task"),
    ("parent", "Parent", "incident", "task"),
    ("cmdb_ci", "Configuration item", "cmdb_ci", "task"),
    ("sys_domain", "Domain", "sys_user_group", "task"),
    ("caller_id", "Caller", "sys_user", "incident"),
    ("resolved_by", "Resolved by", "sys_user", "incident"),
    ("reopened_by", "Last reopened by", "sys_user", "incident"),
    ("parent_incident", "Parent Incident", "incident", "incident"),
    ("problem_id", "Problem", "problem", "incident"),
    ("rfc", "Change Request", "change_request", "incident"),
    ("caused_by", "Caused by Change", "change_request", "incident"),
)

_WITH_CHOICES = frozenset(
    {"state", "incident_state", "impact", "urgency", "priority", "severity", "hold_reason", "close_code", "category"}
    | {"contact_type", "escalation", "approval", "notify", "upon_reject", "upon_approval"}
)

_DEFAULTS = {
    "active": "true",
    "state": "1",
    "incident_state": "1",
    "impact": "3",
    "urgency": "3",
    "priority": "5",
    "severity": "3",
    "category": "inquiry",
    "escalation": "0",
    "approval": "not requested",
    "made_sla": "true",
    "knowledge": "false",
    "upon_reject": "cancel",
    "upon_approval": "proceed",
    "notify": "1",
    "reassignment_count": "0",
    "reopen_count": "0",
    "sys_domain": "global",
    "sys_mod_count": "0",
    "locked_out": "false",
    "inactive": "false",
    "mandatory": "false",
    "web_service_access_only": "false",
}

_PLAIN = {
    "sys_user": (
        "name",
        "user_name:User ID:40|name:Name:151|first_name:First name:50|last_name:Last name:50|email:Email:100|"
        "active:Active:b|locked_out:Locked out:b|time_zone:Time zone:40|date_format:Date format:40|"
        "preferred_language:Language:3|title:Title:60|vip:VIP:b|phone:Business phone:40|"
        "web_service_access_only:Web service access only:b",
    ),
    "sys_user_group": (
        "name",
        "name:Name:80|description:Description:1000|email:Group email:100|active:Active:b|manager:Manager:sys_user",
    ),
    "sys_user_grmember": ("user", "user:User:sys_user|group:Group:sys_user_group"),
    "sys_user_has_role": ("role", "user:User:sys_user|role:Role:100|inherited:Inherited:b|state:State:40"),
    "sys_choice": (
        "label",
        "name:Table:80|element:Element:80|value:Value:100|label:Label:100|language:Language:3|sequence:Sequence:i|"
        "inactive:Inactive:b|dependent_value:Dependent value:100",
    ),
    "sys_dictionary": (
        "column_label",
        "name:Table:80|element:Column name:80|column_label:Column label:80|internal_type:Type:40|"
        "max_length:Max length:i|mandatory:Mandatory:b|active:Active:b|reference:Reference:80",
    ),
    "sys_journal_field": (
        "element",
        "name:Name:80|element:Element:80|element_id:Element ID:32|value:Value:65000",
    ),
    "sys_audit": (
        "fieldname",
        "tablename:Table name:80|fieldname:Field name:80|documentkey:Document key:32|user:User:40|"
        "oldvalue:Old value:65000|newvalue:New value:65000|record_checkpoint:Update count:i|reason:Reason:255",
    ),
    "sys_audit_delete": (
        "display_value",
        "tablename:Table name:80|documentkey:Document key:32|display_value:Display value:255|payload:Payload:65000",
    ),
    "sys_properties": ("name", "name:Name:100|value:Value:4000|type:Type:40"),
    "cmdb_ci": ("name", "name:Name:255|sys_class_name:Class:80"),
    "problem": ("number", "number:Number:40|short_description:Short description:160"),
    "change_request": ("number", "number:Number:40|short_description:Short description:160"),
}
"""Display column, then columns as name:label:limit between bars; limits may be b (boolean), i (integer) or a table."""


def build_tables() -> list[Table]:
    """All tables, empty."""
    tables = [Table("incident", "number", _incident_columns())]
    for name, (display, columns) in _PLAIN.items():
        tables.append(Table(name, display, [*_plain_columns(name, columns), *_system_columns(name)]))
    return tables


def _incident_columns() -> Iterator[Column]:
    for owner, group in (("task", _TASK), ("incident", _INCIDENT)):
        for name, label, kind, length in group:
            default = "incident" if name == "sys_class_name" else _DEFAULTS.get(name, "")
            has_choices = name in _WITH_CHOICES
            yield Column(name, label, kind, length, default=default, has_choices=has_choices, owner=owner)
    for name, label, target, owner in _REFERENCES:
        yield Column(name, label, "reference", 32, target, _DEFAULTS.get(name, ""), owner=owner)
    yield from _system_columns("task")


def _system_columns(owner: str) -> Iterator[Column]:
    for name, label, kind, length in _SYSTEM:
        typed: ColumnType = "glide_date_time" if kind == "glide_date_time" else "string"
        typed = "integer" if kind == "integer" else typed
        yield Column(name, label, typed, length, default=_DEFAULTS.get(name, ""), owner=owner)


def _plain_columns(owner: str, text: str) -> Iterator[Column]:
    for piece in text.split("|"):
        name, label, limit = piece.split(":")
        default = _DEFAULTS.get(name, "")
        if limit == "b":
            yield Column(name, label, "boolean", default=default or "false", owner=owner)
        elif limit == "i":
            yield Column(name, label, "integer", default=default, owner=owner)
        elif limit.isdigit():
            yield Column(name, label, length_max=int(limit), owner=owner)
        else:
            yield Column(name, label, "reference", 32, limit, owner=owner)
