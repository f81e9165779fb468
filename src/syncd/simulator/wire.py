"""What goes over the wire: a request as it came, a response as it leaves, and a refusal in ServiceNow's envelope.

Owns the three value types that every other part of the simulator speaks. Never opens a socket: ``server.py`` and
``transport.py`` turn these values into bytes.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final
from urllib.parse import unquote_plus

__all__ = ["Headers", "Outgoing", "Refusal", "Request", "Response", "html_response", "json_response", "parsed_query"]

JSON_TYPE: Final = "application/json;charset=UTF-8"

Headers = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Request:
    """One HTTP request: ``target`` is path and query string, still percent-encoded; header names in any case."""

    method: str
    target: str
    headers: Headers = ()
    body: bytes = b""

    @cached_property
    def lower_headers(self) -> dict[str, str]:
        """Header values by lower-case name; of a repeated header the last one."""
        return {name.lower(): value for name, value in self.headers}

    def header(self, name: str) -> str:
        """The value of one header by lower-case name, ``""`` when it is absent."""
        return self.lower_headers.get(name, "")

    @property
    def verb(self) -> str:
        """The method, or the one that a POST tunnels in ``X-HTTP-Method-Override``."""
        return (self.header("x-http-method-override") if self.method == "POST" else "") or self.method

    @cached_property
    def path(self) -> str:
        """The decoded path without the query string."""
        return unquote_plus(self.target.partition("?")[0].replace("+", "%2B"))

    @cached_property
    def parameters(self) -> dict[str, str]:
        """The decoded query parameters; of a repeated one the last."""
        return dict(parsed_query(self.target.partition("?")[2]))

    def flag(self, name: str) -> bool:
        """True when a query parameter is ``true`` in any case: some clients write ``True``."""
        return self.parameters.get(name, "").casefold() == "true"


@dataclass(frozen=True)
class Outgoing:
    """One webhook call that the instance makes. ``at_s``: Unix seconds at which it leaves."""

    at_s: float
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    event_id: str
    sequence: int


@dataclass
class Response:
    """One HTTP answer, and how it is to be delivered.

    ``delay_s``: wait before the status line. ``trickle_s``: spread the body over this time. ``is_reset``: drop the
    connection without a byte (after ``delay_s``). ``calls_first``: webhooks that an *after* rule makes while the
    writer waits; they are to be delivered before the answer. ``refusal``: what a refusal says, for logs.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    delay_s: float = 0.0
    trickle_s: float = 0.0
    is_reset: bool = False
    calls_first: list[Outgoing] = field(default_factory=list)
    refusal: str = ""

    def header(self, name: str) -> str:
        """The first value of a header by lower-case name, ``""`` when it is absent."""
        return next((value for key, value in self.headers if key.lower() == name), "")


class Refusal(Exception):
    """ServiceNow said no: an HTTP status with the standard error envelope."""

    def __init__(self, status: int, message: str, detail: str | None = None) -> None:
        super().__init__(f"{status} {message}: {detail}")
        self.status = status
        self.message = message
        self.detail = detail
        self.headers: list[tuple[str, str]] = []

    @property
    def words(self) -> str:
        """Message and detail, as a person reads them."""
        return f"{self.message}: {self.detail}" if self.detail else self.message

    def response(self) -> Response:
        """The refusal as the JSON answer that a client sees."""
        envelope = {"error": {"message": self.message, "detail": self.detail}, "status": "failure"}
        answer = json_response(self.status, envelope)
        answer.headers.extend(self.headers)
        answer.refusal = self.words
        return answer


def json_response(status: int, value: object) -> Response:
    """An answer with ``value`` as UTF-8 JSON."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return Response(status, [("Content-Type", JSON_TYPE)], body)


def html_response(status: int, text: str) -> Response:
    """An answer with an HTML page, as an edge or a hibernating instance gives it."""
    return Response(status, [("Content-Type", "text/html;charset=UTF-8")], text.encode())


def parsed_query(text: str) -> list[tuple[str, str]]:
    """Decode a query string, keeping empty values; ``;`` is not a separator."""
    pairs = []
    for part in text.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((unquote_plus(name), unquote_plus(value)))
    return pairs
