"""What a support bundle makes of text that people or ServiceNow wrote: its length and a mark, unless asked for more.

The types stand where an allowed field may hold such text (``allowed.py``). A mark is a short hash under a key that is
made for one bundle and thrown away: equal texts have equal marks there, and none can be guessed from its mark.
"""

import re
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any, Final, TypeVar, get_args
from urllib.parse import urlsplit

import msgspec

from syncd.core.importing import Fate
from syncd.core.model import LinkState, Severity, Status
from syncd.core.run import Cause
from syncd.errors import Outcome

T = TypeVar("T")

CLOSED: Final = frozenset((*get_args(Severity), *get_args(Status), "", "platform", "external"))
COUNTED: Final = frozenset((*get_args(LinkState), *get_args(Cause), *get_args(Outcome), *get_args(Fate), "total", "ok"))
_CODE = re.compile(r"[0-9]{1,2}")  # a state, an impact, an urgency or a priority as ServiceNow holds it
_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,79}")
_SAMPLE = re.compile(r"(?:syncd|process|python)_[a-z_]+(?:\{(.*)\})? [0-9.e+-]+|(?:syncd|process|python)_[a-z_]+ NaN")
_LABEL = re.compile(r'([a-z_]+)="([A-Za-z0-9_./{}<>:+-]*)"')
LABELS: Final = frozenset(
    ("integration", "direction", "quantile", "le", "state", "outcome", "actor", "route", "status", "version")
)


class Words:
    """Text that somebody wrote."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Value(Words):
    """A field's value on one side: shown if it is of a closed set, such as a status; else text that somebody wrote."""


class Values:
    """Columns with what goes into them: those that can be names of columns, each with a ``Value``."""

    __slots__ = ("by_column",)

    def __init__(self, given: Mapping[str, object]) -> None:
        flat: dict[str, object] = {}
        for name, value in given.items():
            below = value.items() if isinstance(value, dict) else ((None, value),)
            flat.update({name if inner is None else f"{name}.{inner}": one for inner, one in below})
        self.by_column = {
            name: Value(value)
            for name, value in flat.items()
            if isinstance(value, str) and all(map(_COLUMN.fullmatch, name.split(".")))
        }


class Counts:
    """How many of each kind; kinds that this version does not know are left out."""

    __slots__ = ("by_kind",)

    def __init__(self, given: Mapping[str, object]) -> None:
        self.by_kind = {name: count for name, count in given.items() if name in COUNTED and isinstance(count, int)}


class Origin:
    """Scheme, host and port of a URL, and no more of it."""

    __slots__ = ("text",)

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port = f":{parts.port}" if parts.port is not None else ""
        except ValueError:
            self.text = ""
        else:
            self.text = f"{parts.scheme}://{parts.hostname}{port}" if parts.hostname else ""


def samples(text: str) -> list[str]:
    """The lines of Prometheus text that are figures of ours, under labels that are known."""
    return [line for line in text.splitlines() if _is_sample(line)]


def _is_sample(line: str) -> bool:
    match = _SAMPLE.fullmatch(line)
    if match is None:
        return False
    labels = match[1] or ""
    found = _LABEL.findall(labels)
    return ",".join(f'{name}="{value}"' for name, value in found) == labels and LABELS.issuperset(
        name for name, _ in found
    )


def taken(wanted: type, given: object) -> object:
    """What msgspec calls for each type of this module, while it decodes an answer."""
    if wanted in (Words, Value, Origin) and isinstance(given, str):
        return wanted(given)
    if wanted in (Values, Counts) and isinstance(given, dict):
        return wanted(given)
    raise TypeError(f"{type(given).__name__} in the place of a {wanted.__name__}")


def shown_as(key: str, *, with_text: bool) -> Callable[[Any], object]:
    """What msgspec calls for each value of these types, while it encodes the bundle. ``key``: a new one each time."""

    def show(one: object) -> object:
        match one:
            case Value(text=text) if text in CLOSED or _CODE.fullmatch(text):
                return text
            case Words(text=text) if with_text or not text:
                return text
            case Words(text=text):
                mark = blake2b(text.encode("utf-8", "surrogatepass"), key=key.encode()[:64], digest_size=4)
                return {"letters": len(text), "mark": mark.hexdigest()}
            case Values(by_column=by_column):
                return {name: show(value) for name, value in sorted(by_column.items())}
            case Counts(by_kind=by_kind):
                return by_kind
            case Origin(text=text):
                return text
        raise TypeError(f"nothing is said of how a {type(one).__name__} is shown")

    return show


def decoded(body: bytes, shape: type[T]) -> T:
    """An answer, cut down to what ``shape`` has. Raises ``MsgspecError``, ``ValueError`` or ``RecursionError``."""
    return msgspec.json.decode(body, type=shape, dec_hook=taken)
