"""What happened, in a few words a person reads at a glance: for the timeline and for ``im watch``.

A kind that has no words of its own here is shown as ``key=value``, so a newer daemon is understood as well.
"""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from syncd.edges.cli.client import Json
from syncd.edges.cli.render import clip, plain, tree
from syncd.edges.cli.shapes import CloudEvent

Content = Mapping[str, Json]
VALUE_CELLS_MAX: Final = 200  # a description may have 100,000 letters; --format json has all of it

_PHRASES: Final = {
    "incident.history_begins": "what happened before this is no longer kept",
    "sync.link_opened": "a record is to be made",
    "sync.unlinked": "the incident and the record are parted",
    "sync.parked": "parked: {reason}",
    "sync.released": "no longer parked",
    "sync.duplicate_set_aside": "a record with the same correlation id is left alone: {external_id}",
    "sync.conflict_ignored": "{conflict}: both values stay as they are",
    "sync.accepted": "{fields}: the sides stay different, {reason}",
    "sync.hinted": "a webhook names {external_id}",
    "sync.send_cleared": "there is nothing to be written any more",
    "sync.note_started": '{note_id} goes out: "{text}"',
    "sync.note_sent": "{note_id} is there",
    "sync.dead_letter_retried": "{id} is tried again",
    "sync.dead_letter_discarded": "{id} is given up; its fields stay different until the next edit of them",
    "integration.configured": "{sync_direction}, enabled: {enabled}, {conflict_strategy}, window {conflict_window}",
    "integration.changed": "{sync_direction}, enabled: {enabled}, {conflict_strategy}, window {conflict_window}",
    "integration.ownership_changed": "{field}: {rule}",
    "integration.closing_learned": "our account may close records: {may_close}",
    "integration.swept": "all links were read, and new records looked for",
    "integration.run_started": "{id}: {mode}, {trigger}",
    "integration.run_planned": "{id}: {checked} links compared",
    "integration.run_ended": "{id}: {status} {reason}",
    "integration.import_started": "{import}: {query}",
    "integration.import_ended": "{status} {reason}",
    "integration.deleted": "it is removed, and its links with it",
    "token.created": "{name}, scope {scope}",
}


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
        case "sync.conflict_resolved":
            return f"{_said(content, 'conflict')}: {_winner(content)}"
        case "sync.dead_letter":
            error = content.get("error")
            words = f"{_said(error, 'message')} {_said(error, 'detail')}".strip() if isinstance(error, dict) else ""
            return f"{_said(content, 'id')}, {plain(content.get('fields'), now_s) or 'note'}: {words}"
        case kind if kind in _PHRASES:
            return _phrase(_PHRASES[kind], content, now_s)
        case _:
            return _pairs(content, now_s)


def _phrase(phrase: str, content: Content, now_s: float) -> str:
    said = {key: _rule(value) if key == "rule" else plain(value, now_s) or "" for key, value in content.items()}
    known = {key: clip(text, VALUE_CELLS_MAX) for key, text in said.items()}
    return phrase.format_map(defaultdict(str, known)).rstrip()


def _rule(rule: Json) -> str:
    """``external, priority 5, exclusive``."""
    if not isinstance(rule, dict):
        return "the default again"
    how = ", exclusive" if rule.get("exclusive") else ""
    return f"{_said(rule, 'owner')}, priority {plain(rule.get('priority'), 0)}{how}"


def _winner(content: Content) -> str:
    """Which value a person let stand."""
    if content.get("value") is not None:
        return f"{_quoted(content, 'value')} stands on both sides"
    return f"{'the platform' if content.get('winner') == 'platform' else 'ServiceNow'}'s value stands"


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
    return clip(value, VALUE_CELLS_MAX) if isinstance(value, str) else ""


def _quoted(content: Content, key: str) -> str:
    return f'"{_said(content, key)}"'
