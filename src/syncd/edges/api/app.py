"""The HTTP API as one ASGI application for both doors: the webhook function in front, Quart-Trio behind it.

It owns what every request passes before its handler (Host and Origin, who calls, scope) and what every error becomes
after it (problem+json). Handlers never own durable work: a client that leaves takes nothing back.
"""

import logging
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from typing import Final, cast

import msgspec
import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope
from quart import Response, g, request
from quart_trio import QuartTrio

from syncd.core.views import HealthView, rfc3339
from syncd.edges.api import (
    conflicts,
    dead_letters,
    docs_page,
    events,
    examination,
    examples,
    field_mapping,
    imports,
    incidents,
    integrations,
    keys,
    links,
    metrics,
    ownership,
    reconcile,
    tokens,
)
from syncd.edges.api.access import Call, check_scope
from syncd.edges.api.answers import JSON, answer, plain_problem, problem
from syncd.edges.api.description import TEXT, Answer, Description, Parameter
from syncd.edges.api.desk import Desk
from syncd.edges.api.listeners import Peer
from syncd.edges.api.openapi import document
from syncd.edges.api.routes import OPEN, Routes
from syncd.edges.api.webhook_body import WEBHOOK_FORM
from syncd.edges.api.webhooks import WEBHOOK_PREFIX, Accepted, WebhookDoor
from syncd.errors import Busy, SyncdError, TooLarge, Unknown
from syncd.seams import Receive, Send
from syncd.telemetry import trace

BODY_BYTES_MAX = 2 * 1024 * 1024
BODY_S_MAX = 10
PATH_LETTERS_SHOWN = 200


TOPIC: Final = "The daemon"
HEALTH: Final = Description(topic=TOPIC, summary="Tell that the daemon is there", answers=(Answer(HealthView),))
READY: Final = Description(
    topic=TOPIC,
    summary="Tell whether the daemon is ready",
    notes="200 only when the journal is replayed and can be written.",
    answers=(Answer(HealthView),),
)
DOCUMENT: Final = Description(
    topic=TOPIC, summary="Describe the API", notes="OpenAPI 3.1.", answers=(Answer({"type": "object"}),)
)
DOCS: Final = Description(
    topic=TOPIC,
    summary="Describe the API to a person",
    notes="A page without scripts, from the same description.",
    answers=(Answer(TEXT, media="text/html"),),
)
WEBHOOK: Final = Description(
    topic="Webhooks",
    summary="Take a webhook of ServiceNow",
    notes=(
        "A hint that a record changed: the record is read, the values in the body are never applied. "
        "The signature is over the raw body, or over `<timestamp>.<body>` with `X-ServiceNow-Timestamp`."
    ),
    takes=WEBHOOK_FORM,
    example=examples.WEBHOOK,
    headers=(
        Parameter(
            "X-ServiceNow-Timestamp",
            "Unix seconds, within 5 minutes of our clock.",
            {"type": "string", "pattern": "^[0-9]{1,12}$"},
        ),
    ),
    answers=(Answer(Accepted, 202),),
)

log = logging.getLogger("syncd.http")


class Api:
    """The ASGI application that the accept loop serves on every listener, behind its gate."""

    def __init__(self, desk: Desk) -> None:
        self.webhooks = WebhookDoor(desk)
        self.quart = build_quart(desk)

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve one request."""
        if scope["type"] == "http" and scope["path"].startswith(WEBHOOK_PREFIX):
            await self.webhooks(cast("Mapping[str, object]", scope), cast("Receive", receive), cast("Send", send))
        else:
            await self.quart(scope, receive, send)


def build_api(desk: Desk) -> Api:
    """The API around the daemon's parts; ``ValueError`` when a route declares no scope."""
    return Api(desk)


def build_quart(desk: Desk) -> QuartTrio:
    """All of it but the webhooks."""
    app = QuartTrio(__name__, static_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=BODY_BYTES_MAX, BODY_TIMEOUT=BODY_S_MAX, PROPAGATE_EXCEPTIONS=False)
    app.url_map.merge_slashes = False  # a redirect is no answer to a script
    routes = Routes(app)
    _add_health(routes, desk)
    for part in (
        incidents,
        integrations,
        imports,
        examination,
        field_mapping,
        links,
        ownership,
        reconcile,
        conflicts,
        dead_letters,
        tokens,
        keys,
        events,
        metrics,
    ):
        part.add_routes(routes, desk)
    routes.describe("POST", f"{WEBHOOK_PREFIX}<integration>", "signature", WEBHOOK)
    _add_description(routes)
    routes.check()
    _guard(app, routes, desk)
    _add_error_handlers(app)
    return app


def _add_health(routes: Routes, desk: Desk) -> None:
    async def health() -> Response:
        await trio.lowlevel.checkpoint()  # asynchronous, here and below, since Quart runs plain functions in threads
        return answer(HealthView("healthy", rfc3339(desk.clock.now_s())))

    async def ready() -> Response:
        if desk.journal.full:
            raise Busy("the disk of the state folder is full", hint="make room; nothing was lost", retry_after_s=5)
        await desk.settled()
        return answer(HealthView("ready", rfc3339(desk.clock.now_s())))

    routes.add("GET", "/health", OPEN, health, HEALTH)
    routes.add("GET", "/ready", OPEN, ready, READY)


def _add_description(routes: Routes) -> None:
    """The description, of itself too. It is made here, so that what cannot be described does not start."""

    async def show_document() -> Response:
        await trio.lowlevel.checkpoint()
        return Response(document_text, content_type=JSON)

    @cache
    def page() -> str:
        return docs_page.page(described)

    async def show_page() -> Response:
        await trio.lowlevel.checkpoint()
        policy = {"Content-Security-Policy": docs_page.POLICY}
        return Response(page(), content_type="text/html; charset=utf-8", headers=policy)

    routes.add("GET", "/api/v1/openapi.json", "read", show_document, DOCUMENT)
    routes.add("GET", "/docs", "read", show_page, DOCS)
    described = document(routes.described)
    document_text = msgspec.json.encode(described)


def _guard(app: QuartTrio, routes: Routes, desk: Desk) -> None:
    """Check who calls before any handler runs, also for paths that do not exist: nobody probes for them."""

    async def admit() -> None:
        await trio.lowlevel.checkpoint()
        g.trace = desk.ids.word()
        endpoint = request.endpoint or ""
        if endpoint in routes.scopes and routes.scopes[endpoint] is OPEN:
            return
        call = _call()
        desk.access.check_origin(call)
        needed = routes.scopes.get(endpoint) or "read"
        g.caller = desk.access.identify(call, desk.state, needed)
        check_scope(g.caller, needed)
        await desk.note_use()

    async def finish(response: Response) -> Response:
        await trio.lowlevel.checkpoint()
        desk.answer_counts.add(_route(), response.status_code)
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Content-Type-Options"] = "nosniff"
        if "trace" in g:
            response.headers["X-Trace-Id"] = g.trace
            by = g.caller.by if "caller" in g else ""
            trace(g.trace, "request", method=request.method, path=request.path, status=response.status_code, by=by)
        return response

    app.before_request(admit)
    app.after_request(finish)


def _route() -> str:
    """The route that a request found, as the description names it; empty where there is none."""
    rule = request.url_rule
    return "" if rule is None else f"{request.method} {rule.rule.replace('<', '{').replace('>', '}')}"


def _call() -> Call:
    headers: dict[str, list[str]] = {}
    for name, value in request.scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    state = cast("Mapping[str, Peer | None]", request.scope.get("state") or {})
    client = request.scope.get("client")
    return Call(request.method, headers, state.get("peer"), client[0] if client else "")


def _add_error_handlers(app: QuartTrio) -> None:
    async def refused(error: SyncdError) -> Response:
        await trio.lowlevel.checkpoint()
        if getattr(error, "status", Busy.status) == Busy.status:
            told = {"method": request.method, "path": request.path, "trace": g.get("trace", "-"), "reason": str(error)}
            log.warning("a request has to be made again", extra=told)
        return problem(error)

    async def failed(error: Exception) -> Response:
        await trio.lowlevel.checkpoint()
        code = getattr(error, "code", None)  # of the framework's own refusals
        if isinstance(code, int) and code < HTTPStatus.INTERNAL_SERVER_ERROR:
            return _framework_refused(error, code)
        told = {"method": request.method, "path": request.path, "trace": g.get("trace", "-")}
        log.error("failed on a request", extra=told, exc_info=error)
        detail = f"syncd failed on this request; its log has the cause under trace {g.get('trace', '-')}"
        return plain_problem(500, "Internal error", detail)

    app.register_error_handler(SyncdError, refused)
    app.register_error_handler(Exception, failed)


def _framework_refused(error: Exception, code: int) -> Response:
    path = request.path[:PATH_LETTERS_SHOWN]
    match code:
        case 404:
            return problem(Unknown(f"there is nothing at {path}", hint="see docs/http.md for the paths"))
        case 405:
            allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
            detail = f"{request.method} is not allowed at {path}; use {allowed}"
            return plain_problem(405, "Method not allowed", detail, {"Allow": allowed})
        case 413:
            return problem(TooLarge(f"the body is over the limit of {BODY_BYTES_MAX} bytes", hint="send it in parts"))
        case _:
            title = HTTPStatus(code).phrase
            return plain_problem(code, title, str(getattr(error, "description", None) or title))
