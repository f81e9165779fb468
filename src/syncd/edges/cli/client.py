"""The daemon's API as `im` uses it: a call, a list that follows its pages, and a refusal turned into one exception.

Owns paths, query strings, JSON bodies and the reading of problem+json. It never prints, and never repeats a request
that may have been done: it says instead how to do that safely.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from syncd.edges.cli.transport import Answer, Endpoint, OnPart, Stream, Unreachable, WrongUsage, exchange
from syncd.errors import SyncdError

T = TypeVar("T")
if TYPE_CHECKING:
    Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
else:
    Json = Any  # msgspec decodes into every type but a recursive alias
Query = Mapping[str, str | int | None]

ANSWER_S_MAX = 30.0
SILENCE_S_MAX = 45.0  # a stream gives a sign of life every 15 s
PAGE_ITEMS_MAX = 1000  # contract: the largest ``limit``
_ERROR_STATUS_MIN, _REDIRECT_STATUS_MIN, _UNAUTHENTICATED = 400, 300, 401
_SAID_BY_A_PROXY = frozenset({502, 503, 504})  # without a problem of ours: it has not reached the daemon


class RequestRefused(SyncdError):
    """The daemon answered, and said no."""

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class _Fault(Struct):
    path: str = ""
    message: str = ""


class _Problem(Struct):
    """RFC 9457, with ``errors`` and ``hint`` of our own."""

    title: str | None = None
    detail: str | None = None
    hint: str | None = None
    errors: list[_Fault] | None = None


class Listing(Struct, frozen=True):
    """``items`` are raw JSON values in the daemon's order; ``more``: the limit cut the list."""

    items: list[msgspec.Raw]
    more: bool

    @property
    def body(self) -> bytes:
        """The whole list as one JSON array."""
        return msgspec.json.encode(self.items)


def path_of(*segments: str) -> str:
    """``/api/v1/…``, every segment quoted; raises WrongUsage for an empty one, which would name the list instead."""
    if not all(segment.strip() for segment in segments):
        raise WrongUsage("an id, handle or name is empty", hint="the matching `list` command prints them")
    return "/api/v1/" + "/".join(quote(segment, safe="", errors="surrogateescape") for segment in segments)


def read(body: bytes, shape: type[T]) -> T:
    """Decode an answer; unknown keys are ignored, so that an older `im` understands a newer daemon."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SyncdError(
            f"the daemon's answer is not what this im understands: {error}",
            hint="use the same version of im and syncd, or --format json",
        ) from error


class Client:
    """Talks to one daemon, one connection for each call."""

    def __init__(self, endpoint: Endpoint, *, token: str = "", answer_s_max: float = ANSWER_S_MAX) -> None:
        self._endpoint = endpoint
        self._token = token
        self._answer_s_max = answer_s_max

    def get(self, path: str, query: Query | None = None, *, accept: str = "application/json") -> Answer:
        """Read something."""
        return self.call("GET", path, query=query, headers={"Accept": accept})

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
        answer_s_max: float | None = None,
        on_part: OnPart | None = None,
    ) -> Answer:
        """Send, and return a 2xx; everything else raises RequestRefused, no answer at all raises Unreachable."""
        answer = self.ask(
            method, path, query=query, body=body, headers=headers, answer_s_max=answer_s_max, on_part=on_part
        )
        if answer.status >= _REDIRECT_STATUS_MIN:
            refusal = _refusal(answer, self._endpoint, has_token=bool(self._token))
            if isinstance(refusal, Unreachable) and method != "GET":
                refusal.hint = _after_a_lost_answer((headers or {}).get("Idempotency-Key"))
            raise refusal
        if answer.body and "html" in answer.headers.get("content-type", ""):
            raise Unreachable(
                f"what listens at {self._endpoint.label} is not syncd: it answered a web page",
                hint="check the host, the port and the path of --server",
                sent=True,
            )
        return answer

    def ask(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Json = None,
        headers: Mapping[str, str] | None = None,
        answer_s_max: float | None = None,
        on_part: OnPart | None = None,
    ) -> Answer:
        """Like ``call``, but a refusal is an answer like any other."""
        sent = self._headers(headers)
        content = None
        if body is not None or method in {"POST", "PATCH", "PUT"}:
            sent["Content-Type"] = "application/json"
            content = _encode({} if body is None else body)
        within_s = answer_s_max or self._answer_s_max
        try:
            return exchange(
                self._endpoint, method, _target(path, query), sent, content, answer_s_max=within_s, on_part=on_part
            )
        except Unreachable as error:
            if error.sent and method != "GET":
                error.hint = _after_a_lost_answer(sent.get("Idempotency-Key"))
            elif error.sent and not error.hint:
                error.hint = "see the daemon's log, then try again"
            raise

    def stream(self, path: str, query: Query) -> Stream:
        """A GET whose answer goes on and on, to be closed; raises like ``call``."""
        headers = self._headers({"Accept": "text/event-stream"})
        stream = Stream(self._endpoint, _target(path, query), headers, silence_s_max=SILENCE_S_MAX)
        if stream.answer.status != 200 or "event-stream" not in stream.answer.headers.get("content-type", ""):
            with stream:
                raise _refusal(stream.answer, self._endpoint, has_token=bool(self._token))
        return stream

    def _headers(self, more: Mapping[str, str] | None) -> dict[str, str]:
        sent = {"Accept": "application/json", "User-Agent": "im", **(more or {})}
        if self._token and not self._endpoint.socket_path:
            sent["Authorization"] = f"Bearer {self._token}"
        for name, value in sent.items():
            if not (value.isascii() and value.isprintable()):
                shown = "the token" if name == "Authorization" else repr(value)
                raise WrongUsage(f"{name}: {shown} cannot be sent", hint="use printable ASCII")
        return sent

    def pages(self, path: str, query: Query, *, limit: int | None) -> Listing:
        """The first ``limit`` items, None for all of them, over as many pages as that takes."""
        if limit is not None and limit < 1:
            raise WrongUsage(f"--limit {limit} is less than 1", hint="give a positive number, or --all")
        items: list[msgspec.Raw] = []
        cursor: str | None = None
        while True:
            wanted = PAGE_ITEMS_MAX if limit is None else min(limit - len(items), PAGE_ITEMS_MAX)
            answer = self.get(path, {**query, "limit": wanted, "cursor": cursor})
            page = read(answer.body, list[msgspec.Raw])
            following = _next_cursor(answer.headers.get("link", ""))
            items += page
            if limit is not None and len(items) >= limit:
                return Listing(items[:limit], more=following is not None or len(items) > limit)
            if following is None or following == cursor or not page:
                return Listing(items, more=False)
            cursor = following


def _target(path: str, query: Query | None) -> str:
    words = {key: value for key, value in (query or {}).items() if value is not None}
    return f"{path}?{urlencode(words, errors='surrogateescape')}" if words else path


def _encode(body: Json) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as error:
        raise WrongUsage("an argument is not valid UTF-8", hint="check the locale of this terminal") from error


def _next_cursor(link: str) -> str | None:
    """The cursor of ``<…?cursor=…>; rel="next"``; no more of it, for behind a proxy the rest may be another host's."""
    for part in link.split(","):
        target, _, parameters = part.partition(";")
        if "next" in parameters.replace('"', "").replace("=", " ").split():
            found = parse_qs(urlsplit(target.strip().strip("<>")).query).get("cursor")
            return found[0] if found else None
    return None


def _after_a_lost_answer(key: str | None) -> str:
    if key:
        return f"it may have been done; repeat the command with --idempotency-key {key} and it cannot happen twice"
    return "it may have been done: look at the present state before you repeat it"


def _refusal(answer: Answer, endpoint: Endpoint, *, has_token: bool) -> RequestRefused | Unreachable:
    """One line from problem+json; from anything else, such as a proxy's page, the status and who said it."""
    problem = _Problem()
    if "json" in answer.headers.get("content-type", ""):
        try:
            problem = msgspec.json.decode(answer.body, type=_Problem)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            problem = _Problem()
    status_line = f"HTTP {answer.status} {answer.reason}".rstrip()
    message = problem.detail or problem.title or f"{endpoint.label} answered {status_line}"
    if answer.status < _ERROR_STATUS_MIN:
        message = f"{endpoint.label} answered {status_line}, to {answer.headers.get('location', 'nowhere')}"
    if not (problem.detail or problem.title) and answer.status in _SAID_BY_A_PROXY:
        return Unreachable(
            f"{message}: a proxy stands there, and no syncd behind it",
            hint="check that the daemon runs, and where the proxy sends requests",
            sent=True,
        )
    unsaid = [fault for fault in problem.errors or [] if fault.message not in message]  # the detail may list them too
    faults = "; ".join(f"{fault.path}: {fault.message}" if fault.path else fault.message for fault in unsaid)
    hint = problem.hint or ""
    if answer.status == _UNAUTHENTICATED and not endpoint.socket_path:
        # The daemon speaks of a header; here it is a flag.
        hint = f"give {'another' if has_token else 'one with'} --token or $INCIDENTS_TOKEN"
        hint += "; `im token create --scope operate` on the daemon's machine makes one"
    if not hint and (wait := answer.headers.get("retry-after")):
        hint = f"try again in {wait} s"
    return RequestRefused(f"{message} ({faults})" if faults else message, status=answer.status, hint=hint)
