"""The forms of requests and answers: JSON in, JSON or problem+json out, lists in pages.

It owns media types, the paging of lists, ``If-Match`` and the shape of a problem (RFC 9457). It knows nothing of
incidents or integrations; what is in a body is checked in core.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Final, TypeVar
from urllib.parse import quote, urlencode
from zlib import crc32

import msgspec
from msgspec import UNSET, Struct, UnsetType
from quart import Response, request

from syncd.core.fields import Fields, Form, shown
from syncd.edges.api.description import Parameter
from syncd.errors import Busy, Invalid, Malformed, NotJson, Problem, Refused, SyncdError

T = TypeVar("T")
Key = tuple[float, str]

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1000
JSON: Final = "application/json"
PROBLEM: Final = "application/problem+json"
_VERSION: Final = r'(?:W/)?"?([0-9]{1,15})"?'

IF_MATCH: Final = Parameter(
    "If-Match",
    "The version that was read, bare or quoted: another one there by now is 412.",
    {"type": "string", "pattern": rf"^(?:{_VERSION}|\*)$"},
)
PAGE: Final = (
    Parameter(
        "limit",
        "How many a page holds at most.",
        {"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
    ),
    Parameter(
        "cursor",
        "Where the page begins: as the `Link` of the one before says.",
        {"type": "string", "minLength": 1, "format": "cursor"},
    ),
)
LINK: Final = Parameter("Link", 'The next page, if there is one: `<…>; rel="next"`.', {"type": "string"})


class Fault(Struct, frozen=True):
    """One thing that is wrong with the input."""

    path: str
    message: str


class ProblemView(Struct, frozen=True, kw_only=True):
    """Why a request was refused (RFC 9457). ``hint`` is the way out; ``current`` is what is there now, with a 412."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    hint: str | UnsetType = UNSET
    errors: list[Fault] | UnsetType = UNSET
    current: object = UNSET


def answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Any JSON-able value as an answer."""
    body = value.encode() if isinstance(value, str) else msgspec.json.encode(value)
    return Response(body, status=status, headers=dict(headers or {}), content_type=JSON)


def nothing() -> Response:
    """204."""
    response = Response(b"", status=204)
    del response.headers["Content-Type"]  # the framework's default would call nothing a web page
    return response


def problem_fields(error: SyncdError, current: object = UNSET) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the problem that an error is. ``current``: what is there instead.

    What is not a refusal is a fault of ours or of ServiceNow's that passes: 503.
    """
    status = error.status if isinstance(error, Refused) else Busy.status
    told = ProblemView(
        title=error.title if isinstance(error, Refused) else Busy.title,
        status=status,
        detail=str(error),
        hint=error.hint or UNSET,
        errors=[Fault(*one) for one in error.problems] if isinstance(error, Refused) and error.problems else UNSET,
        current=current,
    )
    headers = {"Content-Type": PROBLEM}
    if isinstance(error, Refused) and error.retry_after_s is not None:
        headers["Retry-After"] = str(error.retry_after_s)
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="syncd"'
    return status, headers, msgspec.json.encode(told)


def plain_problem(status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """A problem that no error of ours stands for."""
    told = msgspec.json.encode(ProblemView(title=title, status=status, detail=detail))
    return Response(told, status=status, headers={**(headers or {}), "Content-Type": PROBLEM})


def problem(error: SyncdError, current: object = UNSET) -> Response:
    """An error as an answer."""
    status, headers, body = problem_fields(error, current)
    return Response(body, status=status, headers=headers)


def parse_object(raw: bytes) -> dict[str, object]:
    """One JSON object; ``Malformed`` for anything else."""
    try:
        value = msgspec.json.decode(raw)
    # Three unrelated families: bad JSON, bad UTF-8, and nesting that no stack can follow.
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}", hint="send one JSON object, in UTF-8") from error
    if not isinstance(value, dict):
        raise Malformed(
            f"the body is {shown(value)}, not an object", hint='send one JSON object, such as {"title": "…"}'
        )
    return value


async def body() -> Fields:
    """The request's JSON object, to be read; an empty body without a media type is an empty object."""
    raw = await request.get_data(cache=False, as_text=False, parse_form_data=False)
    media = (request.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
    if not raw and media in {"", JSON}:
        return Fields({})
    if media != JSON and not (media.startswith("application/") and media.endswith("+json")):
        said = f"Content-Type {shown(media)}" if media else "no Content-Type"
        raise NotJson(f"the body has {said}", hint=f"send JSON, with Content-Type: {JSON}")
    return Fields(parse_object(raw))


def if_match() -> int | None:
    """The version that ``If-Match`` names, bare or quoted; None without one or for ``*``."""
    given = request.headers.get("If-Match")
    if given is None or given.strip() == "*":
        return None
    match = re.fullmatch(_VERSION, given.strip())
    if match is None:
        raise Malformed(
            f"If-Match {shown(given)} is not a version", hint='send the version you read, such as If-Match: "3"'
        )
    return int(match.group(1))


def filters(*known: Parameter) -> dict[str, str]:
    """The query, which holds nothing but these; ``Invalid`` for another key, which would silently filter nothing."""
    found: dict[str, str] = {}
    problems = []
    of = {one.name: one for one in known}
    for key, value in request.args.items(multi=True):
        words = of[key].form.get("enum") if key in of else None
        if key in found:
            problems.append(Problem(key[:60], "is given twice; give it once"))
        elif key not in of:
            problems.append(Problem(key[:60], f"is not known here; known are {', '.join(of) or 'no keys at all'}"))
        elif isinstance(words, list) and value not in words:
            problems.append(Problem(key, f"{shown(value)} is not one of {', '.join(words)}"))
        found[key] = value
    if problems:
        faults = "; ".join(f"{path}: {message}" for path, message in problems)
        raise Invalid(f"the query is refused: {faults}", problems=tuple(problems))
    return found


def one_of(words: Iterable[str]) -> Form:
    """The form of a filter that is one of some words; ``filters`` sees to it."""
    return {"type": "string", "enum": list(words)}


class Page(Struct, frozen=True):
    """Where a list begins and how many it may show. ``after``: the key of the last one shown before."""

    limit: int
    after: Key | None


def wanted_page() -> Page:
    """``limit`` and ``cursor`` of the query; ``Invalid`` when they cannot be."""
    limit_text, cursor = request.args.get("limit", str(LIMIT_DEFAULT)), request.args.get("cursor")
    if not re.fullmatch(r"[0-9]{1,6}", limit_text) or not 1 <= int(limit_text) <= LIMIT_MAX:
        fault = Problem("limit", f"{shown(limit_text)} is not a number from 1 to {LIMIT_MAX}")
        raise Invalid(f"limit {shown(limit_text)} is not a number from 1 to {LIMIT_MAX}", problems=(fault,))
    return Page(int(limit_text), None if cursor is None else _key_in(cursor, request.path))


def paged(
    page: Page, items: Iterable[T], key: Callable[[T], Key], show: Callable[[T], object], *, down: bool = False
) -> Response:
    """One page of a list that is ordered by ``key``, downwards if ``down``, with the next one in ``Link``.

    Keys are stable, so what is added or removed between two pages neither repeats nor hides another item.
    """
    after = page.after
    left = (one for one in items if after is None or (key(one) < after if down else key(one) > after))
    chosen = list(islice(left, page.limit + 1))
    headers = {}
    if len(chosen) > page.limit:
        chosen.pop()
        query = [(name, value) for name, value in request.args.items(multi=True) if name != "cursor"]
        cursor = _cursor_of(key(chosen[-1]), request.path)
        target = f"{quote(request.path)}?{urlencode([*query, ('cursor', cursor)])}"
        headers["Link"] = f'<{target}>; rel="next"'
    return answer([show(one) for one in chosen], headers=headers)


def _cursor_of(key: Key, path: str) -> str:
    return urlsafe_b64encode(msgspec.json.encode((*key, crc32(path.encode())))).decode().rstrip("=")


def _key_in(cursor: str, path: str) -> Key:
    """The key in a cursor; ``Invalid`` for one that the list at ``path`` did not give."""
    try:
        raw = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        at, name, mark = msgspec.json.decode(raw, type=tuple[float, str, int])
        if mark != crc32(path.encode()):
            raise ValueError("it is another list's")
    except (ValueError, RecursionError) as error:  # also binascii.Error and DecodeError
        fault = Problem("cursor", "is not one that this list gave; start again without it")
        raise Invalid(
            "the cursor is not one that this list gave", problems=(fault,), hint="start without it"
        ) from error
    return at, name
