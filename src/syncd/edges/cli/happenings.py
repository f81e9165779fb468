"""What happened, in a few words a person reads at a glance: for the timeline and for ``im watch``.

A kind that has no words of its own here is shown as ``key=value``, so a newer daemon is understood as well.
"""

from collections.abc import Mapping

from syncd.edges.cli.client import Json
from syncd.edges.cli.render import plain, tree
from syncd.edges.cli.shapes import CloudEvent

Content = Mapping[str, Json]


def gist(event: CloudEvent, now_s: float) -> str:
    """What an event carries, on one line of any length."""
    content = event.data
    if not isinstance(content, dict):
        return _pairs(content, now_s)
    match event.type.removeprefix("im."):
        case "incident.declared":
            return f"{_quoted(content, 'title')}, {_said(content, 'severity')}, {_said(content, 'status')}"
        case "incident.updated":
            return _values(content.get("changes"))
        case "incident.noted":
            return f"{_said(content, 'author')}: {_said(content, 'text')}"
        case "incident.history_begins":
            return "what happened before this is no longer kept"
        case "sync.link_opened":
            return "a record is to be made"
        case "sync.decided":
            took = f", the platform takes {_quoted(content, 'value')}" if content.get("value") is not None else ""
            return f"{_said(content, 'field')}: {_said(content, 'reason')}{took}"
        case "sync.conflict":
            return (
                f"{_said(content, 'id')}, {_said(content, 'field')}: {_quoted(content, 'platform')} here, "
                f"{_quoted(content, 'external')} there, {_said(content, 'status')} {_said(content, 'decided')}".rstrip()
            )
        case "sync.observed" | "sync.linked":
            author = f", last written by {_said(content, 'updated_by')}" if content.get("updated_by") else ""
            return f"{_said(content, 'external_number')} shows {_values(content.get('values'))}{author}"
        case "sync.send_started":
            return f"{_said(content, 'operation')}: {_values(content.get('sent'))}"
        case "sync.sent":
            return f"{_said(content, 'external_number')} has {plain(content.get('fields'), now_s) or 'it'}"
        case "sync.failed" | "sync.note_failed":
            again = plain(content.get("next_attempt_at"), now_s)
            return (
                f"{_said(content, 'message')}; next try {again}{_group(content)}"
                if again
                else _said(content, "message")
            )
        case "sync.dead_letter":
            error = content.get("error")
            words = f"{_said(error, 'message')} {_said(error, 'detail')}".strip() if isinstance(error, dict) else ""
            return f"{_said(content, 'id')}, {plain(content.get('fields'), now_s) or 'note'}: {words}"
        case _:
            return _pairs(content, now_s)


def _group(content: Content) -> str:
    return (
        f", together with the group {_quoted(content, 'assignment_group')}" if content.get("assignment_group") else ""
    )


def _pairs(content: Json, now_s: float) -> str:
    """``key=value`` for what an event carries, without its empty parts."""
    return "  ".join(f"{key}={value}" if key else value for key, value in tree(content, now_s) if value)


def _values(content: Json) -> str:
    """``severity "SEV-1", status "resolved"``."""
    return ", ".join(f"{name} {_quoted(content, name)}" for name in content) if isinstance(content, dict) else ""


def _said(content: Content, key: str) -> str:
    value = content.get(key)
    return value if isinstance(value, str) else ""


def _quoted(content: Content, key: str) -> str:
    return f'"{_said(content, key)}"'
