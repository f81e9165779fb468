"""The API's description of itself, OpenAPI 3.1, from the table of routes.

It owns what follows from the rest and so is said nowhere else: which errors a route can answer, what its scope means,
the schemas of bodies (the readers are asked) and of answers (msgspec writes them from the views). It adds nothing of
its own about any one route.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import msgspec

from syncd import __version__
from syncd.core.sketch import sketch_of
from syncd.edges.api.answers import JSON, PROBLEM, ProblemView
from syncd.edges.api.description import TEXT, Answer, Description, Parameter
from syncd.edges.api.routes import OPEN, Described

Json: TypeAlias = dict[str, object]

VERSION: Final = "3.1.0"
_SCHEMAS: Final = "#/components/schemas/{name}"
_PART: Final = re.compile(r"\{([a-z_]+)\}")
_ABOUT: Final = """\
JSON in, JSON or `application/problem+json` out. A key or filter that is not known is refused by name (422).
Lists are bare arrays in pages: `limit` and `cursor`, the next page in a `Link` header.
A 2xx on a write means: it is on disk.

Over TCP every request needs a token, `Authorization: Bearer …`; `im token create --scope read` makes one.
Scopes are `read`, `operate` and `admin`, each includes those before it.
On the Unix socket nobody needs one: the kernel says who calls, and all scopes are open.
A method that a path does not have is 405, with `Allow`; a path of a later version is 404, and says so."""
_PARTS: Final[Mapping[str, str]] = {
    "field": "The name of a field, such as `severity`.",
    "incident_id": "The incident's id, such as INC-WQV72H7HPR.",
    "integration": "The integration's id, handle, or name if it is unique.",
    "conflict_id": "The conflict's id, such as conflict-17.",
    "letter_id": "The dead letter's id, such as entry-17.",
    "run": "The run's id, such as run-17.",
    "token_id": "The token's id.",
}
_RETRY_AFTER: Final = Parameter("Retry-After", "Seconds to wait.", {"type": "string", "pattern": "^[0-9]+$"})
_CHALLENGE: Final = Parameter("WWW-Authenticate", "How to say who calls.", TEXT)
_ALLOW: Final = Parameter("Allow", "The methods that there are.", TEXT, required=True)
_REFUSALS: Final[Mapping[int, tuple[str, tuple[Parameter, ...]]]] = {
    400: ("Malformed: no valid HTTP, no JSON, or a header that cannot be.", ()),
    401: (
        "No token, or one that is unknown, revoked or expired. For a webhook: not signed as it must be.",
        (_CHALLENGE,),
    ),
    403: ("The token's scope does not include this, or a page of another site asks.", ()),
    404: ("No such thing.", ()),
    405: ("This path has other methods.", (_ALLOW,)),
    408: ("The body did not arrive in time.", ()),
    409: ("It exists already, or is not in a state that allows this.", ()),
    410: ("It was there once, and is no longer kept.", ()),
    412: ("It changed meanwhile: `current` is what is there now.", ()),
    413: ("The body is too large.", ()),
    415: ("The body is not announced as JSON.", ()),
    421: ("The Host is not one of this daemon's.", ()),
    422: ("Well-formed, but a field or filter cannot be; `errors` names each.", ()),
    429: ("Too many requests, or too many wrong tokens.", (_RETRY_AFTER,)),
    431: ("Request line and headers are too large.", ()),
    500: ("A fault of syncd's own; its log has the cause.", ()),
    503: ("It cannot be made durable, or done, at this moment.", (_RETRY_AFTER,)),
}
_ALWAYS: Final = (400, 408, 413, 431, 500, 503)
_OF_TOKENS: Final = (401, 403, 421, 429)


def document(routes: Sequence[Described]) -> Json:
    """The whole description; ``ValueError`` when two routes say the same of themselves."""
    types = [answer.shows for route in routes for answer in route.description.answers if _is_type(answer.shows)]
    schemas, components = msgspec.json.schema_components(
        [*types, ProblemView], schema_hook=_anything, ref_template=_SCHEMAS
    )
    of_type = dict(zip(map(repr, types), schemas, strict=False))
    paths: dict[str, Json] = {}
    names: set[str] = set()
    for route in routes:
        operation = _operation(route, of_type)
        if operation["operationId"] in names:
            raise ValueError(
                f"{route.method} {route.path}: another route has the summary {route.description.summary!r}"
            )
        names.add(str(operation["operationId"]))
        paths.setdefault(route.path, {})[route.method.lower()] = operation
    return {
        "openapi": VERSION,
        "info": {"title": "syncd", "version": __version__, "description": _ABOUT, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "tags": [{"name": topic} for topic in dict.fromkeys(route.description.topic for route in routes)],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {str(status): _refusal(*told) for status, told in _REFUSALS.items()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token of the scope that is named."},
                "signature": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-ServiceNow-Signature",
                    "description": "HMAC-SHA256 over the raw body with the webhook secret, base64 or hex.",
                },
            },
        },
    }


def _anything(kind: type) -> Json:
    """The schema of a field that may be anything."""
    if kind is object:
        return {"description": "Any JSON."}  # an empty one counts as none
    raise TypeError(f"the API's description has no schema for {kind!r}")


def _operation(route: Described, of_type: Mapping[str, Json]) -> Json:
    told = route.description
    scope = {OPEN: "Open to everybody.", "signature": "Signed by ServiceNow."}.get(
        route.scope, f"Scope: {route.scope}."
    )
    operation: Json = {
        "operationId": re.sub(r"[^a-z0-9]+", "_", told.summary.lower()),
        "summary": told.summary,
        "description": f"{told.notes} {scope}".strip(),
        "tags": [told.topic],
        "security": _security(route),
        "parameters": [
            *_path_parameters(route),
            *_parameters("query", told.query),
            *_parameters("header", told.headers),
        ],
        "responses": {
            **_successes(told.answers, of_type),
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in refusals_of(route)},
        },
    }
    if told.takes is not None:
        operation["requestBody"] = _body(told)
    return operation


def refusals_of(route: Described) -> list[int]:
    """The statuses with which a route may refuse, in order."""
    told = route.description
    found = {*_ALWAYS, *(one.status for one in told.refuses)}
    if route.scope is not OPEN:
        found |= {401, 429} if route.scope == "signature" else set(_OF_TOKENS)
    if told.takes is not None or told.query:
        found.add(422)
    if callable(told.takes):
        found.add(415)
    if _PART.search(route.path) and route.scope != "signature":  # which tells nobody what there is
        found.add(404)
    return sorted(found)


def _security(route: Described) -> list[Json]:
    match route.scope:
        case None:
            return []
        case "signature":
            return [{"signature": []}]
        case scope:
            return [{"token": [scope]}]


def _path_parameters(route: Described) -> Iterator[Json]:
    for name in _PART.findall(route.path):
        form = {**TEXT, "minLength": 1}
        yield {"name": name, "in": "path", "required": True, "description": _PARTS[name], "schema": form}


def _parameters(place: str, parameters: Iterable[Parameter]) -> Iterator[Json]:
    for one in parameters:
        yield {
            "name": one.name,
            "in": place,
            "required": one.required,
            "description": one.about,
            "schema": one.form,
        }


def _body(told: Description) -> Json:
    sketch = sketch_of(told.takes) if callable(told.takes) else None
    content: Json = {"schema": told.takes if sketch is None else sketch.schema}
    if told.example is not None:
        content["example"] = told.example
    return {"required": sketch is None or sketch.is_required, "content": {JSON: content}}


def _successes(answers: Sequence[Answer], of_type: Mapping[str, Json]) -> Json:
    """By status; an answer in two media types is one of them."""
    found: dict[str, Json] = {}
    for answer in answers:
        one = found.setdefault(str(answer.status), {"description": _SAID[answer.status]})
        if answer.headers:
            one["headers"] = _headers(answer.headers)
        if answer.shows is not None:
            form = of_type[repr(answer.shows)] if _is_type(answer.shows) else answer.shows
            content: Json = {"schema": form, **({} if answer.example is None else {"example": answer.example})}
            one["content"] = {**_content(one), answer.media: content}
    return dict(found)


_SAID: Final = {200: "Done.", 201: "Made, and on disk.", 202: "Accepted, and on disk.", 204: "Done; there is no body."}


def _content(answer: Json) -> Json:
    content = answer.get("content")
    return content if isinstance(content, dict) else {}


def _headers(parameters: Iterable[Parameter]) -> Json:
    return {one.name: {"description": one.about, "required": one.required, "schema": one.form} for one in parameters}


def _refusal(about: str, headers: Sequence[Parameter]) -> Json:
    answer: Json = {
        "description": about,
        "content": {PROBLEM: {"schema": {"$ref": _SCHEMAS.format(name=ProblemView.__name__)}}},
    }
    return {**answer, "headers": _headers(headers)} if headers else answer


def _is_type(shows: object) -> bool:
    return shows is not None and not isinstance(shows, Mapping)
