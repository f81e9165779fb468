"""The Table API: list, read, create, change and delete rows over HTTP.

Owns the routes under ``/api/now[/v1|/v2]/table`` and everything that a query parameter means. Rules and stamps are in
``records.py``, the look of a row in ``render.py``, accidents in ``instance.py``.
"""

import json
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from syncd.simulator.accounts import Actor
from syncd.simulator.kernel import Kernel
from syncd.simulator.query import QueryScope, compile_query, parse_query
from syncd.simulator.records import Prepared, Records, WriteStyle
from syncd.simulator.render import DisplayMode, Renderer, RowView
from syncd.simulator.tables import Row, Table
from syncd.simulator.wire import Refusal, Request, Response, json_response

__all__ = ["BODY_BYTES_MAX", "LIMIT_DEFAULT", "TableApi", "decoded_body"]

BODY_BYTES_MAX: Final = 10_485_760
LIMIT_DEFAULT: Final = 10_000
_NOT_FOUND: Final = ("No Record found", "Record doesn't exist or ACL restricts the record retrieval")
_NEEDS_ROLE: Final = {
    "sys_journal_field": "audit_viewer",
    "sys_audit": "audit_viewer",
    "sys_audit_delete": "audit_viewer",
    "sys_dictionary": "personalize_dictionary",
}


@dataclass(frozen=True)
class Route:
    """Where a request goes. ``version``: ``v1``, ``v2`` or ``""``. ``sys_id`` empty: the whole table."""

    version: str
    table: Table
    sys_id: str


class TableApi:
    """Answers Table API requests of a user who has logged in."""

    def __init__(self, kernel: Kernel, records: Records, renderer: Renderer) -> None:
        self._kernel = kernel
        self._records = records
        self._renderer = renderer

    def answer(
        self, request: Request, actor: Actor, base_url: str, late_s: float = 0.0, *, is_kept: bool = True
    ) -> Response:
        """Serve one request; raises Refusal. ``late_s``: a write is stamped now and becomes visible so much later.
        ``is_kept`` False: an update or deletion passes all rules and is rolled back."""
        route = self._route(request)
        method = request.verb
        if method in actor.account.refused_methods:
            raise Refusal(403, "User Not Authorized", "User does not have permission for this operation")
        match method:
            case "GET" | "HEAD" if route.sys_id:
                row = self._visible_row(route, actor)
                return json_response(200, {"result": self._rendered(row, route, request, actor, base_url)})
            case "GET" | "HEAD":
                return self._list(route, request, actor, base_url)
            case "POST" if not route.sys_id:
                return self._insert(route, request, actor, base_url, late_s)
            case "PUT" | "PATCH" if route.sys_id:
                return self._update(route, request, actor, base_url, late_s if is_kept else None)
            case "DELETE" if route.sys_id:
                self._visible_row(route, actor)
                self._refuse_foreign_write(route, actor, "Delete")
                prepared = self._records.prepare_delete(route.table, route.sys_id, actor, WriteStyle())
                self._store_write(prepared, late_s if is_kept else None)
                return Response(204)
        raise Refusal(405, "Method not supported", f"{method} is not supported for this resource")

    def _route(self, request: Request) -> Route:
        parts = request.path.strip("/").split("/")
        version = parts[2] if len(parts) > 2 and parts[2] in {"v1", "v2"} else ""
        rest = parts[3:] if version else parts[2:]
        if len(rest) not in {2, 3} or rest[0] != "table":
            raise Refusal(400, "Requested URI does not represent any resource", request.path)
        name = "incident" if rest[1] == "task" else rest[1]
        table = self._kernel.store.table(name)
        if table is None:
            raise Refusal(400, f"Invalid table {rest[1]}", None)
        return Route(version, table, rest[2] if len(rest) == 3 else "")

    def _list(self, route: Route, request: Request, actor: Actor, base_url: str) -> Response:
        parameters = request.parameters
        rows = self._selected(route, request, actor)
        limit = _count("sysparm_limit", parameters.get("sysparm_limit"), LIMIT_DEFAULT)
        offset = _count("sysparm_offset", parameters.get("sysparm_offset"), 0)
        # Row ACLs come after limit and offset: a page may hold fewer rows than the limit and still not be the last.
        page = rows[offset : offset + limit]
        shown = self.visible(page, route.table, actor)
        view = _view(route.table, request, actor, base_url)
        result = list(self._renderer.rows(shown, view))
        if len(shown) < len(page) and self._kernel.switches.text("hidden_rows") == "empty":
            result.extend({} for _ in range(len(page) - len(shown)))
        is_404 = route.version == "v1" or (not route.version and self._kernel.switches.is_on("empty_list_404"))
        if not rows and is_404:
            raise Refusal(404, "No Record found", "Records matching query not found or ACL restricts the retrieval")
        response = json_response(200, {"result": result})
        if request.flag("sysparm_no_count"):
            response.headers.append(("X-Total-Count", str(len(result))))
        else:
            response.headers.append(("X-Total-Count", str(len(rows))))
            if not request.flag("sysparm_suppress_pagination_header"):
                link = _links(base_url, request, limit, offset, len(rows))
                response.headers.extend([("Link", link)] if link else [])
        return response

    def matching(self, table_name: str, request: Request, actor: Actor) -> list[Row]:
        """The rows of a table that match ``sysparm_query``, hidden ones included; raises Refusal for no such table."""
        table = self._kernel.store.table(table_name)
        if table is None:
            raise Refusal(400, f"Invalid table {table_name}", None)
        return self._selected(Route("", table, ""), request, actor)

    def _selected(self, route: Route, request: Request, actor: Actor) -> list[Row]:
        """All rows that match, in their order, before limit, offset and row ACLs."""
        text = request.parameters.get("sysparm_query", "")
        account = actor.account
        scope = QueryScope(
            actor.zone,
            actor.sys_id,
            self._kernel.clock.at_s(),
            account.denied_fields(route.table.name, "range"),
            account.denied_fields(route.table.name, "match"),
        )
        denied = scope.range_denied | scope.match_denied
        is_refusing = bool(denied) and self._kernel.switches.text("query_acl") == "refuse"
        if is_refusing and denied & {*parse_query(text).fields}:
            detail = "Field(s) present in the query do not have permission to be read"
            raise Refusal(403, "Insufficient rights to query records", detail)
        compiled = compile_query(text, route.table, self._kernel.store, scope)
        if compiled.dropped and self._kernel.switches.is_on("invalid_query_no_rows"):
            return []
        rows = compiled.select(route.table.rows)
        if "sysparm_query" not in request.parameters:
            rows = self._bare_filter(rows, route.table, request)
        if len(rows) > 1:
            if self._kernel.switches.is_on("shuffle"):
                self._kernel.random.shuffle(rows)
            compiled.sort(rows)
        return rows

    def _bare_filter(self, rows: list[Row], table: Table, request: Request) -> list[Row]:
        """``?state=closed``: plain names as filters, which accept raw and display values."""
        for name, value in request.parameters.items():
            column = table.columns.get(name)
            if column is not None:
                wanted = value.casefold()
                rows = [
                    row for row in rows if wanted in {row[name].casefold(), self._shown(table, name, row).casefold()}
                ]
        return rows

    def _shown(self, table: Table, name: str, row: Row) -> str:
        column = table.columns[name]
        if column.reference:
            return self._kernel.store.display_value(column.reference, row[name])
        return self._renderer.label(table.name, name, row[name])

    def visible(self, rows: list[Row], table: Table, actor: Actor) -> list[Row]:
        """The rows that this user may see; the others vanish without a trace."""
        if actor.is_admin:
            return rows
        needed = _NEEDS_ROLE.get(table.name, "")
        if needed and needed not in actor.account.roles:
            return []
        hidden = actor.account.hidden.get(table.name)
        if hidden is None:
            return rows
        is_hidden = compile_query(hidden, table, self._kernel.store, QueryScope()).matches
        return [row for row in rows if not is_hidden(row)]

    def _visible_row(self, route: Route, actor: Actor) -> Row:
        row = route.table.rows.get(route.sys_id)
        if row is None or not self.visible([row], route.table, actor):
            raise Refusal(404, *_NOT_FOUND)
        return row

    def _insert(self, route: Route, request: Request, actor: Actor, base_url: str, late_s: float) -> Response:
        given = decoded_body(request)
        self._refuse_foreign_write(route, actor, "Insert")
        prepared = self._records.prepare_insert(route.table, given, actor, _style(request))
        row = self._store_write(prepared, late_s)
        response = self._echo(201, row, route, request, actor, base_url)
        version = route.version or "v2"
        path = f"/api/now/{version}/table/{route.table.name}/{row['sys_id']}"
        response.headers.append(("Location", base_url + path))
        return response

    def _update(self, route: Route, request: Request, actor: Actor, base_url: str, late_s: float | None) -> Response:
        given = decoded_body(request)
        self._visible_row(route, actor)
        self._refuse_foreign_write(route, actor, "Update")
        prepared = self._records.prepare_update(route.table, route.sys_id, given, actor, _style(request))
        return self._echo(200, self._store_write(prepared, late_s), route, request, actor, base_url)

    def _refuse_foreign_write(self, route: Route, actor: Actor, verb: str) -> None:
        is_theirs = route.table.name == "incident" and actor.account.roles & {"itil", "sn_incident_write"}
        if verb == "Delete":
            is_theirs = is_theirs and actor.account.roles & {"itil_admin", "incident_delete"}
        if not is_theirs and not actor.is_admin:
            raise Refusal(403, "Operation Failed", f"ACL Exception {verb} Failed due to security constraints")

    def _store_write(self, prepared: Prepared, late_s: float | None) -> Row:
        """Commit now, later, or (None) never; the row as the writer sees it."""
        if late_s is None:
            return self._records.row_after(prepared)
        return self._records.commit_late(prepared, late_s) if late_s else self._records.commit(prepared)

    def _echo(self, status: int, row: Row, route: Route, request: Request, actor: Actor, base_url: str) -> Response:
        if request.header("x-no-response-body").casefold() == "true":
            return Response(status)
        return json_response(status, {"result": self._rendered(row, route, request, actor, base_url)})

    def _rendered(self, row: Row, route: Route, request: Request, actor: Actor, base_url: str) -> object:
        return self._renderer.rows([row], _view(route.table, request, actor, base_url))[0]


def decoded_body(request: Request) -> dict[str, object]:
    """The JSON object of a write; of a list its first element, the rest is ignored. Raises Refusal."""
    if len(request.body) > BODY_BYTES_MAX:
        size = f"content-length = {len(request.body)} bytes. Max allowed: {BODY_BYTES_MAX} bytes."
        raise Refusal(400, "Exception while reading request", f"Rejected large REST payload with {size}")
    if not request.body.strip():
        return {}
    try:
        value = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "Exception while reading request", str(error)) from error
    if isinstance(value, list):
        value = value[0] if value else {}
    if not isinstance(value, dict):
        raise Refusal(400, "Exception while reading request", "The payload is not valid JSON.")
    if isinstance(records := value.get("records"), list):
        value = records[0] if records and isinstance(records[0], dict) else {}
    return value


def _style(request: Request) -> WriteStyle:
    is_display = request.flag("sysparm_input_display_value")
    has_stamps = not request.flag("sysparm_suppress_auto_sys_field")
    return WriteStyle("display" if is_display else "raw", has_stamps=has_stamps)


def _view(table: Table, request: Request, actor: Actor, base_url: str) -> RowView:
    parameters = request.parameters
    text = parameters.get("sysparm_display_value", "false").casefold()
    mode: DisplayMode = "all" if text == "all" else "true" if text == "true" else "false"
    fields = tuple(name.strip() for name in parameters.get("sysparm_fields", "").split(",") if name.strip())
    has_links = not request.flag("sysparm_exclude_reference_link")
    return RowView(table.name, fields, mode, has_links, base_url, actor)


def _count(name: str, text: str | None, default: int) -> int:
    if text is None or text == "":
        return default
    if not text.isdecimal() or len(text) > 18:
        raise Refusal(400, "Invalid parameter", f"{name} must be a number that is not negative, not {text!r}")
    return int(text)


def _links(base_url: str, request: Request, limit: int, offset: int, total: int) -> str:
    """The Link header; empty when one page holds everything."""
    if total <= limit or limit == 0:
        return ""
    last = (total - 1) // limit * limit
    targets = [("first", 0)]
    targets += [("prev", max(0, offset - limit))] if offset > 0 else []
    targets += [("next", offset + limit)] if offset + limit < total else []
    targets += [("last", last)]
    kept = {name: value for name, value in request.parameters.items() if name != "sysparm_offset"}
    kept.setdefault("sysparm_limit", str(limit))
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in kept.items())
    url = f"{base_url}{request.target.partition('?')[0]}?{query}"
    return ",".join(f'<{url}&sysparm_offset={start}>;rel="{rel}"' for rel, start in targets)
