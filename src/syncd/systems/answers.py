"""What an answer of the Table API means: a value, or one typed error (docs/servicenow.md, "Answers").

Every ServiceNow answer is judged here and nowhere else. Success is a complete JSON object with ``result`` and without
``error``; everything else is an outage, a refusal or an ambiguity, never data.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from syncd.core.model import SHOWN_NOTE, Observation, SeenNote
from syncd.errors import ExternalFailed, ExternalUnreadable, Outcome

STAMP_FORM: Final = "%Y-%m-%d %H:%M:%S"
TEXT_SHOWN: Final = 200
TEXT_READ_BYTES: Final = 16 * 1024
# A high surrogate without its low one, or a low one without its high one, as JSON escapes; an escaped backslash before
# the u is text.
_HALF_PAIR: Final = re.compile(
    rb"(?<!\\)(?:\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)
HALF_PAIRS_MAX: Final = 1000
DIGITS_MAX: Final = 15
NOTE_CUT_LETTERS_MIN: Final = 1000
_NOTE_HEADER: Final = re.compile(r"^(\S*\d.{0,40} - .{1,100} \([^()\n]{1,60}\))\n", re.MULTILINE)
HEADERS_READ: Final = (
    "content-type",
    "location",
    "retry-after",
    "date",
    "x-ratelimit-limit",
    "x-ratelimit-reset",
    "x-transaction-id",
    "x-total-count",
)
LARGE_BYTES: Final = 1024 * 1024
# Of a large answer, the commas and brackets: full pages have a few thousand. Three bytes of it may take 64 in memory.
PIECES_MAX: Final = 150_000

Row = dict[str, object]


def _as_it_is(text: str) -> str:
    return text


class Answer(Struct, frozen=True):
    """One HTTP answer, whole; of its headers those in ``HEADERS_READ``. ``hide`` takes secrets out of a text."""

    status: int
    headers: dict[str, str]
    body: bytes | bytearray
    hide: Callable[[str], str] = _as_it_is

    @property
    def is_json(self) -> bool:
        """Whether it says of itself that it is JSON, in the one encoding that we read."""
        kind, _, parameters = self.headers.get("content-type", "").lower().partition(";")
        charset = re.search(r"charset\s*=\s*\"?([^\s;\"]*)", parameters)
        return kind.strip() == "application/json" and (charset is None or charset[1] in {"utf-8", "utf8", "us-ascii"})

    def text(self, *, end: bool = False) -> str:
        """The beginning of the body, or its end, for a person."""
        part = self.body[-TEXT_READ_BYTES:] if end else self.body[:TEXT_READ_BYTES]  # hide before cutting a secret
        told = self.hide(part.decode("utf-8", "replace"))
        return told[-TEXT_SHOWN:] if end else told[:TEXT_SHOWN]


class _Error(Struct):
    message: str | None = None
    detail: str | None = None


class _Envelope(Struct):
    result: object = msgspec.UNSET
    error: _Error | str | None = None
    error_description: str | None = None  # beside an error that is text


def rows_of(answer: Answer, *, writes: bool) -> list[Row]:
    """The records of an answer; ``ExternalFailed`` says what else it was. ``writes``: the request changes something."""
    if not 200 <= answer.status < 300:
        return _refusal(answer, writes=writes)
    unclear: Outcome = "ambiguous" if writes else "unavailable"
    check_is_data(answer, unclear)
    try:
        envelope = _decoded(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ExternalUnreadable(
            unclear, "a broken answer", status=answer.status, detail=answer.text(end=True)
        ) from error
    if envelope.error is not None:
        message, detail = _words(answer, envelope)
        raise ExternalFailed(unclear, message or "an answer with an error", status=answer.status, detail=detail)
    found = envelope.result if isinstance(envelope.result, list) else [envelope.result]
    rows = [row for row in found if isinstance(row, dict)]
    if len(rows) != len(found):
        raise ExternalFailed(unclear, "an answer without records", status=answer.status)
    return rows


def check_is_data(answer: Answer, unclear: Outcome) -> None:
    """Raise when a success cannot be data: it is empty, no JSON, or more than is decoded."""
    if answer.status == 202 or not answer.body:
        raise ExternalFailed(unclear, "an empty answer: the request was dropped", status=answer.status)
    if not answer.is_json:
        raise ExternalFailed(
            unclear,
            "a page instead of data; the instance may be hibernating, in maintenance, or behind a sign-in page",
            status=answer.status,
            detail=answer.text(),
        )
    if _is_bloated(answer.body):
        message = f"a large answer of more than {PIECES_MAX} values"
        raise ExternalUnreadable(unclear, message, status=answer.status)


def _is_bloated(body: bytes | bytearray) -> bool:
    """Whether so much would be made of the body that memory suffers."""
    return len(body) > LARGE_BYTES and sum(body.count(piece) for piece in b",[{") > PIECES_MAX


def _decoded(body: bytes | bytearray) -> _Envelope:
    """The envelope, with half surrogate pairs mended: cutting a text in JavaScript leaves them behind."""
    try:
        return msgspec.json.decode(body, type=_Envelope)
    except msgspec.DecodeError:
        if not _HALF_PAIR.search(body):
            raise
        return msgspec.json.decode(_HALF_PAIR.sub(rb"\\ufffd", body, count=HALF_PAIRS_MAX), type=_Envelope)


def _refusal(answer: Answer, *, writes: bool) -> list[Row]:
    """Judge a status outside 200..299; an empty list in the old manner (404) is the only one that is data."""
    status = answer.status
    message, detail = _error_words(answer)
    outcome: Outcome
    match status:
        case 404 if not writes and message == "No Record found" and "matching query" in detail:
            return []
        case 401 | 405 | 406 | 415:
            outcome = "paused"
        case 400:
            outcome = "paused" if message.startswith(("Invalid table", "Requested URI")) else "refused"
        case 403:
            outcome = "paused" if _is_api_level(message, detail) else "refused"
        case 404:
            outcome = "paused" if message.startswith("Requested URI") else "gone"
        case 429:
            outcome = "throttled"
        case 413 | 422:
            outcome = "refused"
        case _ if 300 <= status < 400:
            if location := answer.headers.get("location", ""):
                message = f"redirected to {answer.hide(_host(location))}, which is not followed"
            outcome = "unavailable"
        case _:
            outcome = "ambiguous" if writes else "unavailable"
    is_too_long = status in (414, 431) and not writes  # a shorter list of ids fits
    failed = ExternalUnreadable if is_too_long else ExternalFailed
    raise failed(
        outcome,
        message or f"HTTP {status}",
        status=status,
        detail=detail,
        retry_after_s=retry_after_s(answer.headers) if status in (429, 503) else None,
    )


def is_lost_session(answer: Answer) -> bool:
    """A refusal that passes: a session that was restored on another node may lack its roles. Nothing was done."""
    return answer.status == 403 and "Failed API level ACL Validation" in " ".join(_error_words(answer))


def _is_api_level(message: str, detail: str) -> bool:
    """Refused before the record was looked at: roles or set-up, not this record."""
    words = f"{message} {detail}"
    return any(
        sign in words
        for sign in (
            "User Not Authorized",
            "API level ACL",
            "unauthorized to access table",
            "unscoped api",
            "access scope",
        )
    )


def _error_words(answer: Answer) -> tuple[str, str]:
    if not answer.is_json or _is_bloated(answer.body):
        return "", answer.text()
    try:
        envelope = msgspec.json.decode(answer.body, type=_Envelope)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", answer.text()
    return _words(answer, envelope)


def _words(answer: Answer, envelope: _Envelope) -> tuple[str, str]:
    error = envelope.error
    if error is None:
        return "", ""
    if isinstance(error, str):
        return answer.hide(error), answer.hide(envelope.error_description or "")
    return answer.hide(error.message or ""), answer.hide(error.detail or "")


def _host(location: str) -> str:
    """Where a redirect leads, without path and query, which may hold anything."""
    try:
        host = urlsplit(location).hostname
    except ValueError:
        return "what is no URL"
    return host[:TEXT_SHOWN] if host else "another page of the same host"


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """For how long the answer asks to be left alone; None when it does not say."""
    return _whole(headers.get("retry-after", "").strip())


def rate_rule(headers: Mapping[str, str]) -> tuple[int, float] | None:
    """An hourly rule's limit, and when its hour ends on the instance's clock; None when no rule covers the answer."""
    limit, reset_s = _whole(headers.get("x-ratelimit-limit", "")), _whole(headers.get("x-ratelimit-reset", ""))
    return (limit, float(reset_s)) if limit and reset_s is not None else None


def total_of(headers: Mapping[str, str]) -> int:
    """How many rows match the query, those that are hidden from us included; 0 when the answer does not say."""
    return _whole(headers.get("x-total-count", "")) or 0


def notes_shown(text: str) -> list[str]:
    """The notes in a journal field's display value, newest first."""
    return [note for _, note in _with_headers(text)]


def _with_headers(text: str) -> list[tuple[str, str]]:
    """Each note under its header, such as ``2026-11-23 01:31:07 - Beth Anglin (Work notes)``, newest first.

    Its form depends on the reader's language and date format.
    """
    parts = _NOTE_HEADER.split(text.replace("\r\n", "\n"))[1:]
    return [(header, note.rstrip()) for header, note in zip(parts[::2], parts[1::2], strict=True)]


def seen_note(row: Row) -> SeenNote:
    """A row of the journal table."""
    return SeenNote(
        id=plain(row.get("sys_id")),
        external_id=plain(row.get("element_id")),
        text=plain(row.get("value")),
        author=plain(row.get("sys_created_by")),
        created_at_s=stamp_s(plain(row.get("sys_created_on"))),
    )


def notes_in_record(external_id: str, text: str) -> list[SeenNote]:
    """The notes in a record's display value, oldest first. Each gets an id from its words and its number among those
    that say the same, since it has no other; its header changes with a name or a time zone.
    """
    found, same = [], Counter[str]()
    for header, note in reversed(_with_headers(text)):
        same[note] += 1
        name = hashlib.sha256(f"{external_id}\n{note}\n{same[note]}".encode()).hexdigest()[:26]
        author = header.partition(" - ")[2].rpartition(" (")[0]
        found.append(SeenNote(f"{SHOWN_NOTE}{name}", external_id, note, author))
    return found


def is_same_note(shown: str, sent: str) -> bool:
    """ServiceNow shows what was sent, or what a column limit left of it."""
    shown = shown.replace("\r\n", "\n").rstrip()
    return shown == sent or (len(shown) >= NOTE_CUT_LETTERS_MIN and sent.startswith(shown))


def _whole(text: str) -> int | None:
    """A count or a number of seconds; None for anything else, and for what no clock or counter could show."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX else None


def date_s(headers: Mapping[str, str]) -> float | None:
    """The whole second of the ``Date`` header, the instance's own clock; None when it is missing or unreadable."""
    try:
        at = parsedate_to_datetime(headers.get("date", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def stamp_s(text: str) -> float | None:
    """A ServiceNow stamp (``YYYY-MM-DD HH:MM:SS``, UTC) in Unix seconds; None when it is not one."""
    try:
        return datetime.strptime(text, STAMP_FORM).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def stamp_text(at_s: float) -> str:
    """Unix seconds as a ServiceNow stamp, UTC, cut to the second."""
    return datetime.fromtimestamp(int(at_s), UTC).strftime(STAMP_FORM)


def observation(row: Row, columns: tuple[str, ...]) -> Observation | None:
    """What a row shows, of ``columns``; None for a row without a ``sys_id`` (every field of it hidden)."""
    shown = {name: plain(value) for name, value in row.items()}
    if not shown.get("sys_id"):
        return None
    return Observation(
        external_id=shown["sys_id"],
        columns={name: shown[name] for name in columns if name in shown},
        number=shown.get("number", ""),
        mod_count=_whole(shown.get("sys_mod_count", "")),
        updated_at_s=stamp_s(shown.get("sys_updated_on", "")),
        updated_by=shown.get("sys_updated_by", ""),
        created_at_s=stamp_s(shown.get("sys_created_on", "")),
        created_by=shown.get("sys_created_by", ""),
        correlation_id=shown.get("correlation_id", ""),
    )


def plain(value: object) -> str:
    """A value in any of the shapes the Table API uses: text, or an object with ``value``."""
    if isinstance(value, dict):
        value = value.get("value", "")
    return "" if value is None else str(value)
