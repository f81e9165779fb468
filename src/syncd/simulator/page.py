"""The page at ``/``: what a person does in a browser. Reads forms, acts as the chosen user, and shows what came of it.

Owns the routes and what a submitted form means. A post that was taken is answered with a redirect, so that a reload
repeats nothing; one that was refused shows the form again, as it was filled in, under the words of the instance. The
HTML is in ``page_html.py``. Never writes a row itself: it calls the same methods of ``Instance`` as the control API.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit

from syncd.simulator.control import HUMAN
from syncd.simulator.page_html import EDITABLE, NEW_FIELDS, Filled, PageHtml, document
from syncd.simulator.wire import Refusal, Request, Response, html_response, parsed_query

if TYPE_CHECKING:
    from syncd.simulator.instance import Instance

__all__ = ["Page"]

_HEADERS: Final = (
    ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"),
    ("Cache-Control", "no-store"),
)
_BACK: Final = "<p><a href='/'>All incidents</a></p>"
_WAS: Final = "was_"


class Page:
    """Answers ``/`` and everything under ``/page/``."""

    def __init__(self, instance: "Instance") -> None:
        self._instance = instance
        self._html = PageHtml(instance)

    def answer(self, request: Request) -> Response:
        """The page, or the redirect after a form was taken; an unknown path or incident is a page with 404."""
        try:
            response = self._routed(request)
        except KeyError as error:
            response = html_response(404, document("Not found", self._html.problem(str(error.args[0])) + _BACK))
        response.headers.extend(_HEADERS)
        return response

    def _routed(self, request: Request) -> Response:
        parts = request.path.strip("/").split("/")
        is_form = request.method == "POST"
        if is_form and _is_foreign(request):
            text = "This form was sent by a page of another site; open the page of the simulator and send it there."
            return html_response(403, document("Refused", self._html.problem(text) + _BACK))
        as_user = request.parameters.get("as_user", HUMAN)
        match parts:
            case [""] if not is_form:
                return html_response(200, self._html.overview(as_user, request.parameters.get("find", "")))
            case ["page", "new"] if is_form:
                return self._create(_form(request))
            case ["page", "incident", ref] if is_form:
                return self._edit(ref, _form(request))
            case ["page", "incident", ref]:
                return html_response(200, self._html.incident(ref, Filled(as_user=as_user)))
            case ["page", "incident", ref, "note"] if is_form:
                return self._note(ref, _form(request))
            case ["page", "incident", ref, "delete"] if is_form:
                return self._delete(ref, _form(request))
        raise KeyError(f"There is no page {request.path}.")

    def _create(self, form: Mapping[str, str]) -> Response:
        user_name = form.get("as_user", HUMAN)
        given = {name: form[name] for name in NEW_FIELDS if form.get(name)}
        try:
            row = self._instance.create_as(self._known(user_name), given)
        except Refusal as refusal:
            filled = Filled(user_name, given, refusal.words)
            return html_response(refusal.status, self._html.overview(user_name, "", filled))
        return _see(row["number"], user_name)

    def _edit(self, ref: str, form: Mapping[str, str]) -> Response:
        user_name = form.get("as_user", HUMAN)
        changed = _changed(form)
        try:
            self._known(user_name)
            if changed:
                self._instance.edit_as(user_name, ref, changed)
        except Refusal as refusal:
            filled = Filled(user_name, {**changed, "work_notes": form.get("work_notes", "")}, refusal.words)
            return html_response(refusal.status, self._html.incident(ref, filled))
        return _see(ref, user_name)

    def _note(self, ref: str, form: Mapping[str, str]) -> Response:
        user_name, text = form.get("as_user", HUMAN), form.get("text", "")
        try:
            self._known(user_name)
            if text.strip():
                self._instance.note_as(
                    user_name, ref, text, "comments" if form.get("element") == "comments" else "work_notes"
                )
        except Refusal as refusal:
            filled = Filled(user_name, {"text": text}, refusal.words)
            return html_response(refusal.status, self._html.incident(ref, filled))
        return _see(ref, user_name)

    def _delete(self, ref: str, form: Mapping[str, str]) -> Response:
        user_name = form.get("as_user", HUMAN)
        try:
            self._instance.delete_as(self._known(user_name), ref)
        except Refusal as refusal:
            return html_response(refusal.status, self._html.incident(ref, Filled(user_name, {}, refusal.words)))
        return _redirect(f"/?as_user={quote(user_name)}")

    def _known(self, user_name: str) -> str:
        """The user if there is one; a page that is older than the instance may name somebody else."""
        if self._instance.kernel.accounts.user_row(user_name) is None:
            raise Refusal(400, "Unknown user", f"{user_name!r} is no user of this instance; choose one from the list")
        return user_name


def _form(request: Request) -> dict[str, str]:
    return dict(parsed_query(request.body.decode("utf-8", "replace")))


def _changed(form: Mapping[str, str]) -> dict[str, str]:
    """What the person changed since the page was loaded, and the note.

    Each field travels with the value it was shown with, as a form of the real thing remembers it: a field that somebody
    else has written meanwhile is not set back. A browser sends line ends as CRLF, whatever was shown.
    """
    changed = {
        name: form[name]
        for name in EDITABLE
        if name in form and _plain(form[name]) != _plain(form.get(_WAS + name, ""))
    }
    if form.get("work_notes", "").strip():
        changed["work_notes"] = form["work_notes"]
    return changed


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _see(ref: str, user_name: str) -> Response:
    return _redirect(f"/page/incident/{quote(ref, safe='')}?as_user={quote(user_name)}")


def _redirect(target: str) -> Response:
    return Response(303, [("Location", target)])


def _is_foreign(request: Request) -> bool:
    """True when a browser says that the form lies on another site; what is no browser sends no Origin."""
    origin = request.header("origin")
    return bool(origin) and urlsplit(origin).netloc != request.header("host")
