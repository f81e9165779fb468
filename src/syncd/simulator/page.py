"""The page at ``/``: incidents, notes and recent requests, and forms to create, edit and comment as a person.

Owns plain HTML without scripts. It acts through the same methods of ``Instance`` as the control API does.
"""

from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from syncd.simulator.wire import Refusal, Request, Response, html_response, parsed_query

if TYPE_CHECKING:
    from syncd.simulator.instance import Instance

__all__ = ["Page"]

_STYLE: Final = (
    "body{font:15px/1.4 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#223}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #dde}"
    "input,select,textarea{font:inherit;width:100%;box-sizing:border-box}label{display:block;margin:.5rem 0}"
    "button{font:inherit;padding:.3rem 1rem}pre{white-space:pre-wrap;background:#f5f6f9;padding:.6rem}"
    ".error{background:#fdd;padding:.6rem}"
)
_EDITABLE: Final = (
    ("short_description", "state", "impact", "urgency", "assigned_to", "assignment_group", "hold_reason")
    + ("close_code", "close_notes", "description")
)  # fmt: skip


class Page:
    """Serves the page and its forms."""

    def __init__(self, instance: "Instance") -> None:
        self._instance = instance

    def answer(self, request: Request) -> Response:
        """Serve ``/``, ``/page/incident/{number}`` and the forms that post there."""
        parts = request.path.strip("/").split("/")
        try:
            if request.path == "/":
                return html_response(200, self._overview())
            if parts[:2] == ["page", "incident"] and len(parts) == 3:
                return self._incident(parts[2], request)
        except KeyError as error:
            return html_response(404, _document("Not found", f"<p class=error>{escape(str(error.args[0]))}</p>"))
        return html_response(404, _document("Not found", "<p><a href='/'>All incidents</a></p>"))

    def _incident(self, ref: str, request: Request) -> Response:
        problem = ""
        if request.method == "POST":
            form = dict(parsed_query(request.body.decode("utf-8", "replace")))
            user_name = form.pop("as_user", "beth.anglin")
            try:
                if ref == "new":
                    ref = self._instance.create_as(user_name, form)["number"]
                else:
                    self._instance.edit_as(user_name, ref, self._edited(ref, form))
                return Response(303, [("Location", f"/page/incident/{quote(ref)}")])
            except Refusal as refusal:
                problem = f"<p class=error>{escape(refusal.message)}: {escape(refusal.detail or '')}</p>"
        if ref == "new":
            return html_response(200, _document("New incident", problem + "<p><a href='/'>All incidents</a></p>"))
        return html_response(200, self._details(ref, problem))

    def _edited(self, ref: str, form: dict[str, str]) -> dict[str, str]:
        """Only what the person changed: a browser sends every field, and with CRLF line ends."""
        row = self._instance.record(ref)
        shown = {name: value.replace("\r\n", "\n") for name, value in row.items()}
        return {name: value for name, value in form.items() if shown.get(name) != value.replace("\r\n", "\n")}

    def _overview(self) -> str:
        rows = "".join(
            f"<tr><td><a href='/page/incident/{row['number']}'>{row['number']}</a></td>"
            f"<td>{self._label('state', row['state'])}</td><td>{self._label('priority', row['priority'])}</td>"
            f"<td>{escape(row['short_description'])}</td><td>{self._person(row['assigned_to'])}</td>"
            f"<td>{row['sys_updated_on']}</td><td>{escape(row['sys_updated_by'])}</td></tr>"
            for row in sorted(self._instance.incidents(), key=lambda row: row["number"], reverse=True)
        )
        requests = "".join(
            f"<tr><td>{line.status or 'reset'}</td><td>{line.method}</td><td>{escape(line.target[:140])}</td>"
            f"<td>{escape(line.user_name)}</td></tr>"
            for line in list(self._instance.requests)[-30:][::-1]
        )
        heads = "<tr><th>Number<th>State<th>Priority<th>Short description<th>Assigned to<th>Updated (UTC)<th>By</tr>"
        create = (
            "<form method=post action='/page/incident/new'><label>Short description"
            f"<input name=short_description required></label>{self._user_field()}<button>Create</button></form>"
        )
        body = f"<table>{heads}{rows}</table><h2>New incident</h2>{create}<h2>Requests</h2><table>{requests}</table>"
        return _document(f"Incidents of {self._instance.kernel.name}", body)

    def _details(self, ref: str, problem: str) -> str:
        row = self._instance.record(ref)
        inputs = "".join(
            f"<label>{escape(self._instance.kernel.incidents.columns[name].label)}{self._input(name, row[name])}</label>"
            for name in _EDITABLE
        )
        notes = "".join(
            f"<pre>{entry['sys_created_on']} {escape(entry['sys_created_by'])} ({entry['element']})\n"
            f"{escape(entry['value'])}</pre>"
            for entry in reversed(self._instance.notes(ref))
        )
        facts = f"<p>sys_id {row['sys_id']}, {row['sys_mod_count']} updates, correlation {escape(row['correlation_id'])}</p>"
        note = "<label>Work note<textarea name=work_notes></textarea></label>"
        form = f"<form method=post>{inputs}{note}{self._user_field()}<button>Save</button></form>"
        return _document(
            row["number"], f"{problem}{facts}{form}<h2>Notes</h2>{notes}<p><a href='/'>All incidents</a></p>"
        )

    def _input(self, name: str, value: str) -> str:
        choices = [
            (choice["value"], choice["label"])
            for choice in self._instance.kernel.store.find("sys_choice", "element", name)
            if choice["language"] == "en"
        ]
        if name == "assigned_to":
            choices = [
                (one["sys_id"], one["name"]) for one in self._instance.kernel.store.tables["sys_user"].rows.values()
            ]
        if name == "assignment_group":
            groups = self._instance.kernel.store.tables["sys_user_group"].rows.values()
            choices = [(one["sys_id"], one["name"]) for one in groups]
        if not choices:
            tag = "textarea" if name in {"description", "close_notes"} else "input"
            if tag == "textarea":
                return f"<textarea name={name} rows=3>{escape(value)}</textarea>"
            return f"<input name={name} value='{escape(value, quote=True)}'>"
        if value not in {choice for choice, _ in choices}:
            choices.insert(0, (value, value))
        if value:
            choices.insert(0, ("", ""))
        options = "".join(
            f"<option value='{escape(choice, quote=True)}'{' selected' if choice == value else ''}>{escape(label)}</option>"
            for choice, label in choices
        )
        return f"<select name={name}>{options}</select>"

    def _user_field(self) -> str:
        users = self._instance.kernel.store.tables["sys_user"].rows.values()
        options = "".join(f"<option>{escape(row['user_name'])}</option>" for row in users if row["active"] == "true")
        return f"<label>As user<select name=as_user><option>beth.anglin</option>{options}</select></label>"

    def _label(self, element: str, value: str) -> str:
        return escape(self._instance.renderer.label("incident", element, value))

    def _person(self, sys_id: str) -> str:
        return escape(self._instance.kernel.store.display_value("sys_user", sys_id))


def _document(title: str, body: str) -> str:
    head = f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"
    return f"{head}<h1>{escape(title)}</h1>{body}"
