"""The look of the page: incidents, one incident with its notes and forms, and what was asked and sent lately.

Owns the HTML: plain forms and one style sheet in the page, no scripts and nothing to fetch. Everything that comes from
a row, a request or a person is escaped. Never changes anything: ``page.py`` reads the forms.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlencode

from syncd.simulator.tables import Row

if TYPE_CHECKING:
    from syncd.simulator.instance import Instance

__all__ = ["EDITABLE", "NEW_FIELDS", "Filled", "PageHtml", "document"]

EDITABLE: Final = (
    *("short_description", "state", "hold_reason", "impact", "urgency", "category", "assignment_group", "assigned_to"),
    *("description", "close_code", "close_notes"),
)
"""The fields of the form, in its order; impact and urgency make the priority, so that is only shown."""

NEW_FIELDS: Final = ("short_description", "impact", "urgency", "description")

_FACTS: Final = (
    *("priority", "caller_id", "opened_at", "sys_created_by", "resolved_at", "closed_at", "sys_updated_on"),
    *("sys_updated_by", "sys_mod_count", "correlation_id", "sys_id"),
)
_LONG: Final = frozenset({"description", "close_notes"})
_INCIDENTS_SHOWN: Final = 200
_REQUESTS_SHOWN: Final = 30
_WEBHOOKS_SHOWN: Final = 10
_HEADS: Final = ("Number", "Short description", "State", "Priority", "Assigned to", "Notes", "Updated (UTC)", "By")
_STYLE: Final = (
    "body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:78rem;padding:1rem 1.5rem;color:#1c2430}"
    "h1{font-size:1.5rem;margin:.2rem 0}h2{font-size:1.1rem;margin:1.6rem 0 .4rem}a{color:#0b5cad}"
    "table{border-collapse:collapse;width:100%}th{font-weight:600;color:#51607a}"
    "td,th{text-align:left;vertical-align:top;padding:.25rem .7rem .25rem 0;border-bottom:1px solid #dfe4ec}"
    "code,.mono{font:13px/1.4 ui-monospace,monospace;overflow-wrap:anywhere}.off{color:#7a869b}"
    "td,th{padding-right:1rem}.facts{width:auto}nav a{margin-right:1.2rem}"
    "form.card{background:#f4f6fa;border:1px solid #dfe4ec;border-radius:6px;padding:.8rem 1rem;margin:.6rem 0}"
    ".grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));gap:.1rem 1rem}"
    ".wide{grid-column:1/-1}label{display:block;margin:.35rem 0;color:#51607a}"
    "input,select,textarea{font:inherit;width:100%;box-sizing:border-box;padding:.25rem;color:#1c2430}"
    "button{font:inherit;padding:.3rem 1.1rem;margin-top:.4rem}.short{max-width:20rem}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:.2rem 0 .9rem;font:inherit}"
    ".problem{background:#fde8e8;border:1px solid #e3a3a3;border-radius:6px;padding:.6rem 1rem;white-space:pre-line}"
)


@dataclass(frozen=True)
class Filled:
    """A form that is shown again: the chosen user, what was filled in, and what the instance said about it."""

    as_user: str
    values: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


class PageHtml:
    """Draws the pages of one instance."""

    def __init__(self, instance: "Instance") -> None:
        self._instance = instance
        self._kernel = instance.kernel

    def overview(self, as_user: str, find: str, filled: Filled | None = None) -> str:
        """All incidents (or those in which ``find`` occurs), a form for a new one, and the latest traffic."""
        name, stamp = escape(self._kernel.name), self._kernel.clock.stamp()
        rows = [row for row in self._instance.incidents() if find.casefold() in _searched(row)]
        rows.sort(key=lambda row: (row["sys_updated_on"], row["number"]), reverse=True)
        count = f"{len(rows)} incidents"
        if len(rows) > _INCIDENTS_SHOWN:
            count += f", the {_INCIDENTS_SHOWN} that were updated last are shown"
        lines = "".join(self._line(row, as_user) for row in rows[:_INCIDENTS_SHOWN])
        body = (
            f"{self.problem(filled.problem if filled else '')}"
            f"<p>A simulated ServiceNow. Its clock says {stamp} UTC. {self._armed()}"
            " What is done here runs the same rules, and calls the same webhook, as work in ServiceNow does.</p>"
            f"<form class=short><label>Find <input name=find value='{escape(find)}'></label>"
            f"<input type=hidden name=as_user value='{escape(as_user)}'></form>"
            "<nav><a href='#new'>New incident</a><a href='#requests'>Requests</a><a href='#webhooks'>Webhooks</a></nav>"
            f"<p>{count}</p>{_table(_HEADS, lines)}"
            f"<h2 id=new>New incident</h2>{self._new_form(filled or Filled(as_user))}"
            f"<h2 id=requests>Requests</h2>{self._requests()}<h2 id=webhooks>Webhooks</h2>{self._webhooks()}"
        )
        return document(f"{name}: incidents", body)

    def incident(self, ref: str, filled: Filled) -> str:
        """One incident: facts, the form, notes newest first; raises KeyError when there is none."""
        row = self._instance.record(ref)
        shown = escape(row["number"])
        where = f"/page/incident/{quote(row['number'], safe='')}"
        facts = "".join(
            f"<tr><th>{escape(self._column_label(name))}</th><td class={'mono' if name == 'sys_id' else 'fact'}>"
            f"{escape(self._shown(name, row[name])) or '<span class=off>empty</span>'}</td></tr>"
            for name in _FACTS
        )
        inputs = "".join(self._field(name, row, filled.values) for name in EDITABLE)
        note = escape(filled.values.get("work_notes", ""))
        inputs += (
            f"<label class=wide>Work note, saved with the fields<textarea name=work_notes>{note}</textarea></label>"
        )
        user = self._user_field(filled.as_user)
        edit = f"<div class=grid>{inputs}</div>{user}<button>Save</button>"
        kinds = "<option value=work_notes>Work note</option><option value=comments>Additional comment</option>"
        text = escape(filled.values.get("text", ""))
        add = (
            f"<label>Text<textarea name=text rows=3 required>{text}</textarea></label>"
            f"<label class=short>Kind<select name=element>{kinds}</select></label>{user}<button>Add note</button>"
        )
        body = (
            f"<p><a href='/?{urlencode({'as_user': filled.as_user})}'>All incidents</a></p>"
            f"{self.problem(filled.problem)}<table class=facts>{facts}</table>"
            f"<h2>Edit</h2>{_form(where, edit)}<h2>Add a note</h2>{_form(where + '/note', add)}"
            f"<h2>Notes</h2>{self._notes(row)}"
            f"<h2>Delete</h2>{_form(where + '/delete', user + f'<button>Delete {shown}</button>')}"
        )
        return document(f"{shown} {escape(row['short_description'])}", body)

    def problem(self, text: str) -> str:
        """What the instance said, as a box; nothing when it said nothing."""
        return f"<p class=problem role=alert>{escape(text)}</p>" if text else ""

    def _line(self, row: Row, as_user: str) -> str:
        link = f"/page/incident/{quote(row['number'], safe='')}?{urlencode({'as_user': as_user})}"
        cells = (
            *(row["short_description"], self._shown("state", row["state"]), self._shown("priority", row["priority"])),
            *(self._shown("assigned_to", row["assigned_to"]), str(len(self._instance.journal.entries(row["sys_id"])))),
            *(row["sys_updated_on"], row["sys_updated_by"]),
        )
        number = f"<td><a href='{escape(link)}'>{escape(row['number'])}</a></td>"
        return f"<tr{'' if row['active'] == 'true' else ' class=off'}>{number}{_cells(cells)}</tr>"

    def _armed(self) -> str:
        armed = [f"{one.name}={one.value}" for one in self._kernel.faults.armed()]
        return f"Armed: <code>{escape(', '.join(armed))}</code>." if armed else "No fault is armed."

    def _notes(self, row: Row) -> str:
        entries = self._instance.notes(row["sys_id"])[::-1]
        blocks = "".join(
            f"<div class=off>{escape(one['sys_created_on'])} UTC, {escape(one['sys_created_by'])} "
            f"({escape(self._column_label(one['element']))})</div><pre>{escape(one['value'])}</pre>"
            for one in entries
        )
        return blocks or "<p class=off>None yet.</p>"

    def _new_form(self, filled: Filled) -> str:
        row = {**self._kernel.incidents.blank_row(), **filled.values}
        inputs = "".join(self._field(name, row, {}, has_was=False) for name in NEW_FIELDS)
        return _form(
            "/page/new", f"<div class=grid>{inputs}</div>{self._user_field(filled.as_user)}<button>Create</button>"
        )

    def _requests(self) -> str:
        lines = "".join(
            f"<tr><td>{time.strftime('%H:%M:%S', time.gmtime(one.at_s))}</td><td>{one.status or 'reset'}</td>"
            f"<td>{escape(one.method)}</td><td class=mono>{escape(one.target)}</td>"
            f"<td>{escape(one.user_name)}</td></tr>"
            for one in list(self._instance.requests)[-_REQUESTS_SHOWN:][::-1]
        )
        return _table(("At (UTC)", "Status", "Method", "Path", "User"), lines)

    def _webhooks(self) -> str:
        if not self._instance.outbound.targets and not self._instance.outbound.sent:
            return "<p class=off>No receiver is set: start with --webhook-url, or POST /control/webhook.</p>"
        lines = "".join(
            f"<tr><td>{time.strftime('%H:%M:%S', time.gmtime(one.outgoing.at_s))}</td>"
            f"<td>{one.status or escape(one.error or 'under way')}</td><td class=mono>{escape(one.outgoing.url)}</td>"
            f"<td class=mono>{escape(one.outgoing.body.decode('utf-8', 'replace'))}</td></tr>"
            for one in self._instance.webhooks()[-_WEBHOOKS_SHOWN:][::-1]
        )
        return _table(("At (UTC)", "Answer", "Receiver", "Body"), lines)

    def _field(self, name: str, row: Row, filled: Mapping[str, str], *, has_was: bool = True) -> str:
        """A labelled input with what was filled in, or what is stored; and, hidden, what was stored by then."""
        stored = row[name]
        value = filled.get(name, stored)
        choices = self._choices(name)
        if choices:
            if value not in {choice for choice, _ in choices}:  # it stays choosable, so that saving keeps it
                choices.insert(0, (value, self._shown(name, value)))
            control = f"<select name={name}>{_options(choices, value)}</select>"
        elif name in _LONG:
            control = f"<textarea name={name} rows=3>\n{escape(value)}</textarea>"  # HTML drops the first line end
        else:
            control = f"<input name={name} value='{escape(value)}'{' required' if name == 'short_description' else ''}>"
        was = f"<input type=hidden name=was_{name} value='{escape(stored)}'>" if has_was else ""
        is_wide = name in _LONG or name == "short_description"
        label = escape(self._column_label(name))
        return f"<label{' class=wide' if is_wide else ''}>{label}{control}</label>{was}"

    def _choices(self, name: str) -> list[tuple[str, str]]:
        """The values of a choice or reference field with their labels; none for free text."""
        column = self._kernel.incidents.columns[name]
        if column.reference:
            rows = self._kernel.store.tables[column.reference].rows.values()
            display = self._kernel.store.tables[column.reference].display
            people = [(row["sys_id"], _person(row, row[display])) for row in rows if row["active"] == "true"]
            return [("", ""), *sorted(people, key=lambda pair: pair[1])]
        found = self._kernel.store.find("sys_choice", "element", name)
        choices = [
            (row["value"], row["label"]) for row in found if row["language"] == "en" and row["inactive"] != "true"
        ]
        return [("", ""), *choices] if choices and name in {"hold_reason", "close_code"} else choices

    def _user_field(self, as_user: str) -> str:
        users = self._kernel.store.tables["sys_user"].rows.values()
        names = sorted(row["user_name"] for row in users if row["active"] == "true" and row["locked_out"] != "true")
        options = _options([(name, name) for name in names], as_user)
        return f"<label class=short>As user<select name=as_user>{options}</select></label>"

    def _column_label(self, name: str) -> str:
        return self._kernel.incidents.columns[name].label

    def _shown(self, name: str, value: str) -> str:
        column = self._kernel.incidents.columns[name]
        if column.reference:
            return self._kernel.store.display_value(column.reference, value) or value
        return self._instance.renderer.label("incident", name, value) or value


def document(title: str, body: str) -> str:
    """A whole page; ``title`` is HTML already."""
    head = "<meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'>"
    return f"<!doctype html><html lang=en>{head}<title>{title}</title><style>{_STYLE}</style><h1>{title}</h1>{body}"


def _searched(row: Row) -> str:
    return f"{row['number']} {row['short_description']} {row['correlation_id']} {row['sys_id']}".casefold()


def _person(row: Row, shown: str) -> str:
    """A person's name with the user name, since two may share it; anything else as it is."""
    return f"{shown} ({row['user_name']})" if "user_name" in row else shown


def _options(choices: Iterable[tuple[str, str]], value: str) -> str:
    return "".join(
        f"<option value='{escape(choice)}'{' selected' if choice == value else ''}>{escape(label)}</option>"
        for choice, label in choices
    )


def _form(action: str, inner: str) -> str:
    return f"<form class=card method=post action='{escape(action)}'>{inner}</form>"


def _table(heads: Iterable[str], lines: str) -> str:
    return f"<table><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>{lines}</table>"


def _cells(values: Iterable[str]) -> str:
    return "".join(f"<td>{escape(value)}</td>" for value in values)
