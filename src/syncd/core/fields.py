"""Reading what callers send: one JSON object, field by field, with every fault collected and named.

``Fields`` hands out checked values and remembers what was wrong; ``done`` refuses with all of it at once, each problem
with its path, the value and the way out. It knows forms (text, number, choice), not meanings: those are in
``requests.py`` and ``settings.py``. It never looks at State.
"""

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeVar

from msgspec import UNSET, UnsetType

from syncd.core.duration import duration_s
from syncd.errors import Invalid, Problem

T = TypeVar("T")
W = TypeVar("W", bound=str)

SHOWN_LETTERS_MAX: Final = 60
PROBLEMS_MAX: Final = 50
DURATION_LETTERS_MAX: Final = 40
_SHOWN_NUMBER_MAX: Final = 10**18
_KIND: Final = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}


def shown(value: object) -> str:
    """A value as an error message may repeat it: short, on one line."""
    if isinstance(value, str):
        return repr(value if len(value) <= SHOWN_LETTERS_MAX else value[:SHOWN_LETTERS_MAX] + "…")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < _SHOWN_NUMBER_MAX):
        return str(value)
    if isinstance(value, int):
        return "a number of very many digits"  # Python refuses to write out thousands of them
    return _KIND.get(type(value), "a value")


def one_line_fault(text: str) -> str | None:
    """Why a text is not one plain line; None when it is."""
    for letter in text:
        if unicodedata.category(letter) in {"Cc", "Zl", "Zp"}:
            return f"has the control character U+{ord(letter):04X}; remove it, the text must be one line"
    return None


def time_s(text: str) -> float:
    """Unix seconds of an RFC 3339 time with an offset; ``ValueError`` with the allowed form otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or "-" not in text:
        msg = f"{shown(text)} is not an RFC 3339 time; write it with its offset, such as 2026-11-24T09:00:00Z"
        raise ValueError(msg)
    return moment.timestamp()


class Fields:
    """One JSON object of a caller. ``path`` is the name it stands under, empty at the top."""

    def __init__(self, raw: Mapping[str, object], known: Iterable[str], *, path: str = "") -> None:
        self._raw = raw
        self._path = path
        self.problems: list[Problem] = []
        names = tuple(known)
        for key in raw:
            if key not in names:
                self.fault(key, f"is not known here; known are {', '.join(names) or 'no fields at all'}")

    def __contains__(self, name: str) -> bool:
        return name in self._raw

    def fault(self, name: str, message: str) -> None:
        """Remember what is wrong with a field."""
        where = f"{self._path}.{name}" if self._path else name
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(where[:SHOWN_LETTERS_MAX], message))

    def raw(self, name: str) -> object:
        """The value as it was sent; UNSET when absent."""
        return self._raw.get(name, UNSET)

    def done(self, what: str) -> None:
        """Refuse with everything that was wrong, if anything was."""
        if self.problems:
            faults = "; ".join(f"{path}: {message}" for path, message in self.problems[:3])
            raise Invalid(f"{what} is refused: {faults}", problems=tuple(self.problems))

    def text(
        self, name: str, *, letters_max: int, lines: bool = False, required: bool = False, blank: bool = False
    ) -> str | UnsetType:
        """A text, stripped at its ends; UNSET when absent or faulty. ``blank``: may be empty."""
        value = self.raw(name)
        if isinstance(value, UnsetType):
            if required:
                self.fault(name, "is missing; it is required")
            return UNSET
        if not isinstance(value, str):
            self.fault(name, f"must be text, not {shown(value)}; put it in quotes")
            return UNSET
        text = value.strip() if not lines else value.rstrip()
        fault = None
        if "\0" in text:
            fault = "has a NUL character; remove it"
        elif not lines:
            fault = one_line_fault(text)
        if fault is None and not text.strip() and not blank:
            fault = "is empty; give it at least one letter"
        if fault is None and len(text) > letters_max:
            fault = f"has {len(text)} letters, the limit is {letters_max}; shorten it"
        if fault is not None:
            self.fault(name, fault)
            return UNSET
        return text

    def optional_text(self, name: str, *, letters_max: int, lines: bool = False) -> str | UnsetType | None:
        """Like ``text``, but null or empty clears it: None."""
        if self.raw(name) is None:
            return None
        value = self.text(name, letters_max=letters_max, lines=lines, blank=True)
        return value if isinstance(value, UnsetType) else value or None

    def choice(self, name: str, words: Sequence[W], *, required: bool = False) -> W | UnsetType:
        """One of some words."""
        value = self.raw(name)
        if isinstance(value, UnsetType):
            if required:
                self.fault(name, f"is missing; give one of {', '.join(words)}")
            return UNSET
        for word in words:
            if value == word:
                return word
        self.fault(name, f"{shown(value)} is not one of {', '.join(words)}")
        return UNSET

    def flag(self, name: str) -> bool | UnsetType:
        """true or false."""
        value = self.raw(name)
        if isinstance(value, bool | UnsetType):
            return value
        self.fault(name, f"must be true or false, not {shown(value)}")
        return UNSET

    def number(
        self, name: str, *, over: float = -math.inf, least: float = -math.inf, most: float = math.inf
    ) -> float | UnsetType:
        """A finite number."""
        value = self.raw(name)
        if isinstance(value, UnsetType):
            return UNSET
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fault(name, f"must be a number, not {shown(value)}")
            return UNSET
        if not over < value < math.inf or not least <= value <= most:
            low = f"more than {over:g}" if over > -math.inf else f"at least {least:g}"
            self.fault(
                name, f"{shown(value)} is out of range; give {low}" + (f" and at most {most:g}" * (most < math.inf))
            )
            return UNSET
        return float(value)

    def count(self, name: str, *, least: int, most: int) -> int | UnsetType:
        """A whole number."""
        value = self.raw(name)
        if isinstance(value, UnsetType):
            return UNSET
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.fault(name, f"{shown(value)} is not a whole number from {least} to {most}")
            return UNSET
        return value

    def duration(self, name: str, *, words: Sequence[str] = (), least_s: float = 0.0) -> str | UnsetType:
        """A duration as it was written, such as ``5s``, or one of some words."""
        value = self.raw(name)
        if isinstance(value, UnsetType) or value in words:
            return value  # type: ignore[return-value] # one of ``words``, which are text
        also = "".join(f" or {word!r}" for word in words)
        if not isinstance(value, str) or len(value) > DURATION_LETTERS_MAX:
            self.fault(name, f"must be a duration such as '5s'{also}, not {shown(value)}")
            return UNSET
        try:
            seconds = duration_s(value)
        except ValueError as error:
            self.fault(name, f"{error}{also}")
            return UNSET
        if not least_s <= seconds <= 366 * 86400:
            self.fault(name, f"{value} is out of range; give at least {least_s:g}s and at most 366d")
            return UNSET
        return value

    def moment_s(self, name: str) -> float | UnsetType:
        """An RFC 3339 time as Unix seconds."""
        value = self.raw(name)
        if isinstance(value, UnsetType):
            return UNSET
        try:
            if not isinstance(value, str):
                msg = f"{shown(value)} is not an RFC 3339 time; write it as text, such as 2026-11-24T09:00:00Z"
                raise ValueError(msg)  # noqa: TRY004 one kind of fault, reported below
            return time_s(value)
        except (ValueError, OverflowError) as error:
            self.fault(name, str(error))
            return UNSET

    def part(self, name: str, known: Iterable[str] | None = None) -> "Fields | None":
        """A nested object, whose faults count as this one's; None when absent or not an object."""
        value = self.raw(name)
        if isinstance(value, UnsetType):
            return None
        if not isinstance(value, dict):
            self.fault(name, f"must be an object, not {shown(value)}")
            return None
        nested = Fields(value, value if known is None else known, path=f"{self._path}.{name}" if self._path else name)
        self.problems += nested.problems
        nested.problems = self.problems
        return nested

    def names(self) -> tuple[str, ...]:
        """The keys that were sent."""
        return tuple(self._raw)


def given(value: T | UnsetType, default: T) -> T:
    """The value, or ``default`` when it was not given."""
    return default if isinstance(value, UnsetType) else value
