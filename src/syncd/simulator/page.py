"""The page at ``/``: incidents and recent requests, for a person with a browser. Plain HTML, no scripts."""

import html
from typing import TYPE_CHECKING, Final

from syncd.simulator.wire import Request, Response, html_response

if TYPE_CHECKING:
    from syncd.simulator.instance import Instance

__all__ = ["Page"]

_REQUESTS_SHOWN: Final = 20
_COLUMNS: Final = ("number", "short_description", "state", "priority", "sys_updated_on", "sys_updated_by")


class Page:
    """Answers ``/``."""

    def __init__(self, instance: "Instance") -> None:
        self._instance = instance

    def answer(self, request: Request) -> Response:
        """The page; every other path is 404."""
        if request.path != "/":
            return html_response(404, "<p>No such page. <a href='/'>The incidents</a></p>")
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(row[name])}</td>" for name in _COLUMNS) + "</tr>"
            for row in reversed(self._instance.incidents())
        )
        lines = "".join(
            f"<li>{one.status} {html.escape(one.method)} {html.escape(one.target.partition('?')[0])}</li>"
            for one in list(self._instance.requests)[-_REQUESTS_SHOWN:][::-1]
        )
        heads = "".join(f"<th>{name}</th>" for name in _COLUMNS)
        name = html.escape(self._instance.options.name)
        return html_response(
            200,
            f"<!doctype html><title>{name}</title><h1>{name}: incidents</h1>"
            f"<table><tr>{heads}</tr>{rows}</table><h2>Recent requests</h2><ul>{lines}</ul>",
        )
