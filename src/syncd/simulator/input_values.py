"""What a caller sends, as it will be stored: coerced, resolved, cut, and without what is unknown or not allowed.

Owns the silent part of a write: nothing here is ever an error to the caller, the echo shows what was kept. Never knows
the state model: that is ``rules.py``.
"""

import json
from collections.abc import Mapping
from typing import Final, Literal

from syncd.simulator.accounts import Actor
from syncd.simulator.clock import seconds_of, utc_text
from syncd.simulator.kernel import Kernel
from syncd.simulator.tables import Column, Table, is_sys_id

__all__ = ["InputMode", "stored_values"]

InputMode = Literal["raw", "display"]

_SYSTEM_FIELDS: Final = frozenset(
    {"sys_created_on", "sys_created_by", "sys_updated_on", "sys_updated_by", "sys_mod_count"}
)
_NEEDS_INCIDENT_WRITE: Final = frozenset({"description", "urgency", "impact", "state", "incident_state", "close_code"})


def stored_values(
    table: Table, given: Mapping[str, object], actor: Actor, mode: InputMode, kernel: Kernel
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The column values and the journal entries (element, text) that a body means for this user."""
    denied = actor.account.denied_fields(table.name, "write")
    is_weak = table.name == "incident" and not actor.account.roles & {"admin", "sn_incident_write"}
    values: dict[str, str] = {}
    notes: list[tuple[str, str]] = []
    for name, raw in given.items():
        column = table.columns.get(name)
        if column is None or name in denied or (is_weak and name in _NEEDS_INCIDENT_WRITE):
            continue
        if name in _SYSTEM_FIELDS and not actor.is_admin and kernel.switches.is_on("admin_only_sys_fields"):
            continue
        text = _coerced(raw)
        if column.is_journal:
            if text.strip() and column.type == "journal_input":
                notes.append((name, text))
            continue
        values[name] = _stored(column, text, actor, mode, kernel)
    return values, notes


def _coerced(raw: object) -> str:
    match raw:
        case None:
            return ""
        case str():
            # JSON can spell half a surrogate pair, UTF-8 cannot: what cannot be sent back is not stored.
            return raw.encode("utf-8", "replace").decode()
        case bool():
            return "true" if raw else "false"
        case {"value": inner}:
            return _coerced(inner)
        case dict() | list():
            return json.dumps(raw)
        case _:
            return str(raw)


def _stored(column: Column, text: str, actor: Actor, mode: InputMode, kernel: Kernel) -> str:
    match column.type:
        case "reference":
            return _reference(column, text, mode, kernel)
        case "boolean":
            return "true" if text.casefold() in {"true", "1", "yes"} else "false"
        case "glide_date_time":
            return _stamp(text, actor.zone if mode == "display" else "GMT")
        case "integer" if not column.has_choices:
            return text if text.lstrip("-").isdecimal() else ""
    if column.has_choices and mode == "display":
        for choice in kernel.store.find("sys_choice", "element", column.name):
            if choice["label"].casefold() == text.casefold():
                return choice["value"]
    return text[: column.length_max] if column.type == "string" else text


def _stamp(text: str, zone: str) -> str:
    try:
        seconds_of(text)
        return utc_text(text, zone)
    except ValueError:
        return ""


def _reference(column: Column, text: str, mode: InputMode, kernel: Kernel) -> str:
    target = kernel.store.table(column.reference)
    if not text or text == "global" or target is None or text in target.rows:
        return text
    if is_sys_id(text):
        return text if kernel.switches.text("dangling_references") == "keep" else ""
    if mode == "display" or kernel.switches.text("reference_names") == "always":
        named = list(kernel.store.find(column.reference, target.display, text))
        return named[0]["sys_id"] if len(named) == 1 else ""
    return ""
