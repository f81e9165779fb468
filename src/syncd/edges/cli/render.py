"""Turn answers into text for people: tables of at most 100 columns, facts, times with their age; and exact JSON.

Everything that came from outside passes through ``safe`` on its way to a terminal: titles and notes are written by
strangers, and a control or bidirectional character in one could redraw the screen or reverse what is read. Pure, and
without rich, which costs more time than the request.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from syncd.edges.cli.client import Json

COLUMNS_MAX = 100
GAP = "  "
_LAST_COLUMN_MIN = 24  # the last column holds the free text, and gives way first
_COLUMN_MIN = 4
_LABEL_MAX = 32
_HARMLESS_FORMAT = frozenset("\u200c\u200d\u00ad")  # joiners that scripts and emoji need, soft hyphen
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Co", "Cn"})
_STEPS = ((60, 1, "s"), (3600, 60, "min"), (172_800, 3600, "h"), (float("inf"), 86_400, "d"))


def safe(text: str) -> str:
    """``text`` on one line, every control, bidirectional and otherwise invisible character written as an escape."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter if letter in _HARMLESS_FORMAT or unicodedata.category(letter) not in _UNSEEN else _escaped(letter)
        for letter in text
    )


def _escaped(letter: str) -> str:
    if letter in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[letter]
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cells(text: str) -> int:
    """Terminal columns that safe ``text`` takes."""
    return len(text) if text.isascii() else sum(map(_letter_cells, text))


def _letter_cells(letter: str) -> int:
    if unicodedata.combining(letter) or unicodedata.category(letter) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1


def clip(text: str, cells_max: int) -> str:
    """``text``, or as much of its beginning as fits, with an ellipsis."""
    if cells(text) <= cells_max:
        return text
    return _head(text, cells_max - 1) + "…"


def _head(text: str, cells_max: int) -> str:
    taken = 0
    for at, letter in enumerate(text):
        taken += _letter_cells(letter)
        if taken > cells_max:
            return text[:at]
    return text


def wrap(text: str, cells_max: int) -> list[str]:
    """Safe ``text`` broken at blanks where possible, and anywhere where not; at least one line."""
    lines = []
    line = ""
    for word in text.split(" "):
        joined = f"{line} {word}" if line else word
        if cells(joined) <= cells_max:
            line = joined
            continue
        if line:
            lines.append(line)
        line = word
        while cells(line) > cells_max:
            head = _head(line, cells_max) or line[0]
            lines.append(head)
            line = line[len(head) :]
    return [*lines, line]


def table(head: Sequence[str], rows: Iterable[Sequence[str | None]], *, wraps: bool = False) -> str:
    """Columns under their heads, None as ``-``. Too wide: the last column is cut, or with ``wraps`` goes on below."""
    body = [[safe(cell) if cell else "-" for cell in row] for row in rows]
    widths = [max(cells(row[at]) for row in [list(head), *body]) for at in range(len(head))]
    room = COLUMNS_MAX - len(GAP) * (len(head) - 1)
    spare = room - sum(widths[:-1])
    widths[-1] = min(widths[-1], max(spare, _LAST_COLUMN_MIN))
    while sum(widths) > room and max(widths) > _COLUMN_MIN:
        widths[widths.index(max(widths))] -= 1
    return "\n".join(line for row in [list(head), *body] for line in _row(row, widths, wraps=wraps))


def row(cells_: Sequence[str | None], widths: Sequence[int]) -> str:
    """One row of a table whose rows come one by one, so that its ``widths`` are chosen beforehand; it goes on below."""
    return "\n".join(_row([safe(cell) if cell else "-" for cell in cells_], widths, wraps=True))


def _row(row: Sequence[str], widths: Sequence[int], *, wraps: bool) -> Iterator[str]:
    tail = wrap(row[-1], widths[-1]) if wraps else [clip(row[-1], widths[-1])]
    left = [_padded(clip(cell, width), width) for cell, width in zip(row[:-1], widths[:-1], strict=True)]
    yield GAP.join([*left, tail[0]]).rstrip()
    margin = " " * (sum(widths[:-1]) + len(GAP) * len(left))
    yield from ((margin + line).rstrip() for line in tail[1:])


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cells(text))


def facts(pairs: Iterable[tuple[str, str | None]]) -> str:
    """A ``label  value`` a line, None as ``-``; long values wrap under themselves, their line breaks are kept."""
    shown = [(clip(safe(label), _LABEL_MAX), value) for label, value in pairs]
    width = max((cells(label) for label, _ in shown), default=0)
    lines = []
    for label, value in shown:
        parts = [
            line
            for paragraph in (value or "-").rstrip("\n").split("\n")
            for line in wrap(safe(paragraph.removesuffix("\r")), COLUMNS_MAX - width - len(GAP))
        ]
        lines.append(f"{_padded(label, width)}{GAP}{parts[0]}".rstrip())
        lines += [f"{' ' * width}{GAP}{line}".rstrip() for line in parts[1:]]
    return "\n".join(lines)


def tree(value: Json, now_s: float, *, under: str = "") -> Iterator[tuple[str, str | None]]:
    """Any JSON as facts: nested keys joined by dots, times with their age, lists of plain values on one line."""
    if isinstance(value, dict) and (value or not under):
        for key, inner in value.items():
            yield from tree(inner, now_s, under=f"{under}.{key}" if under else key)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for at, item in enumerate(value):
            yield from tree(item, now_s, under=f"{under}[{at}]")
    else:
        yield under, plain(value, now_s)


def plain(value: Json, now_s: float) -> str | None:
    """One value on one line, the way a person would write it; None for null and for empty."""
    if value in (None, "", [], {}):
        return None
    match value:
        case bool():
            return "yes" if value else "no"
        case str():
            return when(value, now_s)
        case list() if all(isinstance(item, str) for item in value):
            return ", ".join(str(item) for item in value)
        case _:
            return msgspec.json.encode(value).decode()


def when(at: str | None, now_s: float) -> str | None:
    """``2026-11-24 09:14:03Z (3 s ago)``; text that is no RFC 3339 time with an offset comes back as it is."""
    moment = _moment(at)
    if moment is None:
        return at
    return f"{_clock(moment)} ({_distance(now_s - moment.timestamp())})"


def clock(at: str | None) -> str:
    """``2026-11-24 09:14:03Z``, for lines that come as it happens; text that is no such time comes back as it is."""
    moment = _moment(at)
    return at or "-" if moment is None else _clock(moment)


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def age(at: str | None, now_s: float) -> str | None:
    """``3 s ago``, for narrow columns."""
    moment = _moment(at)
    return at if moment is None else _distance(now_s - moment.timestamp())


def _moment(at: str | None) -> datetime | None:
    if not at or len(at) < 20 or at[10] not in "Tt ":
        return None
    try:
        moment = datetime.fromisoformat(at)
        return moment if moment.tzinfo is not None and moment.timestamp() > 0 else None
    except (ValueError, OverflowError):
        return None


def _distance(past_s: float) -> str:
    distance_s = int(abs(past_s))
    if distance_s < 1:
        return "now"
    amount = next(f"{distance_s // size} {unit}" for until, size, unit in _STEPS if distance_s < until)
    return f"{amount} ago" if past_s > 0 else f"in {amount}"


def span(length_s: float) -> str:
    """A length of time, as exactly as anybody wants it: ``0.4 ms``, ``2.5 s``, ``12 min``."""
    if length_s < 0.1:
        return f"{length_s * 1000:.{0 if length_s >= 0.01 else 1}f} ms"
    if length_s < 10:
        return f"{length_s:.1f} s"
    size, unit = next((size, unit) for until, size, unit in _STEPS if length_s < 2 * until)
    return f"{length_s / size:.0f} {unit}"


def pretty_json(body: bytes, *, indent: int = 2) -> str:
    """The daemon's JSON, value for value, indented; invisible characters as JSON escapes, which mean the same.

    ``indent`` -1: on one line.
    """
    text = msgspec.json.format(body, indent=indent).decode()
    if text.isascii():
        return text.replace("\x7f", "\\u007f")
    return "".join(_json_letter(letter) for letter in text)


def _json_letter(letter: str) -> str:
    if letter.isascii() or letter in _HARMLESS_FORMAT or unicodedata.category(letter) not in _UNSEEN:
        return "\\u007f" if letter == "\x7f" else letter
    code = ord(letter)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
