"""Log lines: one record, one line, no secrets.

It owns the format (``time level logger message key=value ...``), which loggers speak, and the redaction of URLs
and free text. It never asks a clock (``now`` is handed in, so that a simulation logs its own time), never writes
to anything but the stream it was given, and holds no state: what is on or off is the levels of the loggers.

Fields are passed as ``extra={"incident": "INC-1"}``; messages are constants, so that they can be searched and counted.
Redaction has two layers. A field with a telling name shows as ``***`` whatever it holds, and every text, also
a traceback of a library's exception, loses query strings, user names in URLs, bearer words and API tokens.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

HIDDEN: Final = "***"
TEXT_LETTERS_MAX: Final = 2_000
_TRACEBACK_LETTERS_MAX = 20_000

log: Final = logging.getLogger("syncd")
_trace_log: Final = logging.getLogger("syncd.trace")
_OFF = logging.CRITICAL + 1

# Below WARNING these print headers or whole URLs: httpx its query, httpcore and hpack Set-Cookie and Authorization.
_TALKATIVE = (
    "httpx",
    "httpcore",
    "hpack",
    "h2",
    "hypercorn",
    "hypercorn.access",
    "hypercorn.error",
    "quart",
    "asyncio",
)

_RECORD_KEYS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_TELLING_WORDS = frozenset({"authorization", "cookie", "credentials", "password", "secret", "signature", "token"})
_TELLING_ENDS = ("api_key", "apikey", "master_key", "private_key", "idempotency_key")
_TELLING_NOT = ("_id", "_at", "_s", "_scope", "_name", "_count", "_until")  # about a secret, but not the secret

_PLAIN = re.compile(r"[^\s\"=\\]+")
# What would break a line, move the cursor or reverse the text on a terminal, and what cannot be written as UTF-8.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")
_URL = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{0,20}://)([^\s\"'<>\\]+)")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[^\s\"',)]+")
_TOKEN = re.compile(r"\b(sync_[a-z]+_)[0-9A-Za-z]{43}_[0-9A-Za-z]{6}")
_TELLING_PAIR = re.compile(  # authorization: Basic eA==   (b'Cookie', b'a=b; c')   "password": "x"   client_secret=x
    # Every repetition is bounded or ends where it begins to match: others choose the text, and it may be long.
    r"(?i)((?:authorization|cookie|password|secret|signature|token|api[-_]?key)(?:['\"]?\s{0,3}[:=]|['\"]\s{0,3},)\s{0,3})"
    r"(b?'[^']*'|b?\"[^\"]*\"|(?:basic |bearer )?[^\s,;&)}\]]+)"
)


def configure_logging(
    level: str, stream: TextIO, now: Callable[[], float], *, sync_trace: bool = False
) -> logging.Handler:
    """Send every record of the process to ``stream``; calling it again replaces what the last call set up.

    ``level`` is one of ``debug``, ``info``, ``warning``, ``error`` and holds for syncd; libraries speak from warning
    on. ``now`` gives Unix seconds. The returned handler can be removed with ``logging.getLogger().removeHandler``.
    """
    root = logging.getLogger()
    for former in [handler for handler in root.handlers if isinstance(handler.formatter, LineFormatter)]:
        root.removeHandler(former)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(now))
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    set_level(level)
    # The trace has a level of its own: it is asked for by its own setting, also under log_level = "error".
    _trace_log.setLevel(logging.INFO if sync_trace else _OFF)
    return handler


def set_level(level: str) -> None:
    """Change the level of syncd's own lines while running (SIGHUP). Leaves the sync trace as it is."""
    log.setLevel(level.upper())


def trace(trace_id: str, event: str, **fields: object) -> None:
    """One line of the sync trace, if it is on. ``trace_id`` ties together what happens for one change."""
    if is_tracing():
        _trace_log.info(event, extra={"fields": {"trace": trace_id, **fields}})


def is_tracing() -> bool:
    """The sync trace is on."""
    return _trace_log.isEnabledFor(logging.INFO)


class LineFormatter(logging.Formatter):
    """A record as one line of printable text."""

    def __init__(self, now: Callable[[], float]) -> None:
        super().__init__()
        self._now = now

    def format(self, record: logging.LogRecord) -> str:
        """Fields are the ``extra`` attributes in the order given, then ``fields`` if that is a mapping."""
        at = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        parts = [at, record.levelname, record.name, escape(_cut(redact_text(record.getMessage()), TEXT_LETTERS_MAX))]
        fields = {key: value for key, value in vars(record).items() if key not in _RECORD_KEYS}
        nested = fields.pop("fields", None)
        if isinstance(nested, Mapping):
            fields.update(nested)
        elif nested is not None:
            fields["fields"] = nested
        parts += [f"{_name(str(key))}={_value(str(key), value)}" for key, value in fields.items()]
        if record.exc_info and record.exc_info[1] is not None:
            parts.append(f"error={_quoted(_cut(_summary(record.exc_info[1]), TEXT_LETTERS_MAX))}")
            # Without locals, which hold what the redaction cannot recognize.
            text = redact_text(self.formatException(record.exc_info))
            parts.append(f"traceback={_quoted(_cut(text, _TRACEBACK_LETTERS_MAX))}")
        return " ".join(parts)


def redact_text(text: str) -> str:
    """Free text without what looks like a secret in it: the second layer, for words that others chose."""
    text = _URL.sub(_safe_url, text)
    text = _TELLING_PAIR.sub(rf"\1{HIDDEN}", text)
    text = _BEARER.sub(rf"\1{HIDDEN}", text)
    return _TOKEN.sub(rf"\1{HIDDEN}", text)


def escape(text: str) -> str:
    r"""Printable on one line: control characters, bidirectional overrides and lone surrogates as ``\n``, ``\u202e``."""
    return _UNSAFE.sub(lambda match: json.dumps(match[0])[1:-1] if match[0] != "\x7f" else r"\u007f", text)


def _safe_url(match: re.Match[str]) -> str:
    rest = match[2]
    host, slash, path = rest.partition("/")
    rest = f"{host.rpartition('@')[2]}{slash}{path}"
    for mark in "?#":
        if mark in rest:
            rest = f"{rest.partition(mark)[0]}{mark}{HIDDEN}"
    return match[1] + rest


def _is_telling(name: str) -> bool:
    plain = name.lower().replace("-", "_")
    if plain.endswith(_TELLING_NOT):
        return False
    return plain.endswith(_TELLING_ENDS) or not _TELLING_WORDS.isdisjoint(plain.split("_"))


def _value(name: str, value: object) -> str:
    if _is_telling(name):
        return HIDDEN
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case str():
            text = value
        case BaseException():
            text = _summary(value)
        case Mapping():
            text = json.dumps(
                {str(key): HIDDEN if _is_telling(str(key)) else str(inner) for key, inner in value.items()}
            )
        case _:
            text = str(value)
    text = _cut(redact_text(text), TEXT_LETTERS_MAX)
    return text if _PLAIN.fullmatch(text) and not _UNSAFE.search(text) else _quoted(text)


def _summary(error: BaseException) -> str:
    return f"{type(error).__name__}: {redact_text(str(error))}"


def _name(key: str) -> str:
    return re.sub(r"[^\w.-]", "_", key, flags=re.ASCII)


def _quoted(text: str) -> str:
    return escape(json.dumps(text, ensure_ascii=False))


def _cut(text: str, letters_max: int) -> str:
    return text if len(text) <= letters_max else f"{text[:letters_max]}... ({len(text)} letters)"
