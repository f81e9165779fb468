"""Reading what callers send: one JSON object, field by field, with every fault collected and named.

``Fields`` hands out checked values and remembers what was wrong; ``done`` refuses with all of it at once, each problem
with its path, the value and the way out. It knows forms (text, number, choice), not meanings: those are in
``requests.py`` and ``settings.py``. It never looks at State.

Every question to it says the JSON Schema of what it takes. A request ignores that; ``sketch.py`` asks the same
questions for it, so the API's description is what the readers read and cannot be anything else. What nobody asked for
is not known, and refused by name.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias, TypeVar

from msgspec import UNSET, UnsetType

from syncd.core.duration import DURATION, duration_s
from syncd.errors import Invalid, Problem

T = TypeVar("T")
W = TypeVar("W", bound=str)
Form: TypeAlias = Mapping[str, object]  # JSON Schema of a value

SHOWN_LETTERS_MAX: Final = 60
PROBLEMS_MAX: Final = 50
DURATION_LETTERS_MAX: Final = 40
DURATION_S_MAX: Final = 366 * 86400.0
REQUIRED: Final = "it is required"
_SHOWN_NUMBER_MAX: Final = 10**18
_KIND: Final = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}

# The same in every dialect of regular expressions: what ``str.strip`` takes off, and what is not of one line (Cc, Zl,
# Zp). Inside brackets.
BLANK: Final = r"\u0009-\u000D\u001C-\u0020\u0085\u00A0\u1680\u2000-\u200A\u2028\u2029\u202F\u205F\u3000"
_NOT_OF_A_LINE: Final = r"\u0000-\u001F\u007F-\u009F\u2028\u2029"
_LETTER: Final = f"[^{BLANK}{_NOT_OF_A_LINE}]"
_ONE_LINE: Final = f"{_LETTER}(?:[^{_NOT_OF_A_LINE}]*{_LETTER})?[{BLANK}]*"
ANY: Final[Form] = {}
FLAG: Final[Form] = {"type": "boolean"}
MOMENT: Final[Form] = {"type": "string", "format": "date-time"}


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


def whole(value: object) -> int | None:
    """A whole number, however JSON writes it: 4.0 is the same as 4; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


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


def text_form(letters_max: int, *, lines: bool = False, blank: bool = False, null: bool = False) -> Form:
    """What ``Fields.text`` takes."""
    if lines:
        pattern = r"^[^\u0000]*$" if blank else rf"^[^\u0000]*[^\u0000{BLANK}][^\u0000]*$"
    else:
        pattern = f"^[{BLANK}]*(?:{_ONE_LINE})?$" if blank else f"^[{BLANK}]*{_ONE_LINE}$"
    form: dict[str, object] = {"type": ["string", "null"] if null else "string", "maxLength": letters_max}
    return {**form, **({} if blank else {"minLength": 1}), "pattern": pattern}


def word_form(pattern: re.Pattern[str], *refused: str) -> Form:
    """A text that the pattern matches as a whole, and that is not one of ``refused``."""
    form = {"type": "string", "pattern": f"^(?:{pattern.pattern})$"}
    return {**form, "not": {"enum": list(refused)}} if refused else form


class Fields:
    """One JSON object of a caller. ``path`` is the name it stands under, empty at the top."""

    def __init__(self, raw: Mapping[str, object], *, path: str = "") -> None:
        self._raw = raw
        self._path = path
        self._asked: dict[str, None] = {}
        self._refused: set[str] = set()
        self._parts: list[Fields] = []
        self.problems: list[Problem] = []

    def fault(self, name: str, message: str) -> None:
        """Remember what is wrong with a field."""
        self.problems.append(self._problem(name, message))

    def _problem(self, name: str, message: str) -> Problem:
        where = f"{self._path}.{name}" if self._path else name
        return Problem(where[:SHOWN_LETTERS_MAX], message)

    def raw(self, name: str, form: Form, *, missing: str = "") -> object:
        """The value as it was sent; UNSET when absent. ``form``: what the asker takes.

        ``missing``: the way out when it is absent, which is a fault then.
        """
        self._asked[name] = None
        if missing and name not in self._raw:
            self.fault(name, f"is missing; {missing}")
        return self._raw.get(name, UNSET)

    def refuse(self, name: str, message: str) -> None:
        """Refuse a field that we know and cannot serve."""
        if name in self._raw:
            self._refused.add(name)
            self.fault(name, message)

    def done(self, what: str, *, least: int = 0, most: int | None = None, hint: str = "") -> None:
        """Refuse with everything that was wrong, if anything was. ``least``, ``most``: how many fields it may name."""
        problems = [*self._unknown(), *self.problems][:PROBLEMS_MAX]
        if problems:
            faults = "; ".join(f"{path}: {message}" for path, message in problems[:3])
            raise Invalid(f"{what} is refused: {faults}", problems=tuple(problems))
        if len(self._raw) < least or (most is not None and len(self._raw) > most):
            count = f"{len(self._raw)} fields" if self._raw else "no field"
            raise Invalid(f"{what} names {count}", hint=hint or f"give at least one of {', '.join(self._asked)}")

    def _unknown(self) -> list[Problem]:
        """A fault for each key that nobody asked for, here and in the parts."""
        message = f"is not known here; known are {', '.join(self._asked) or 'no fields at all'}"
        strange = [key for key in self._raw if key not in self._asked and key not in self._refused]
        return [self._problem(key, message) for key in strange] + [
            one for part in self._parts for one in part._unknown()
        ]

    def text(
        self, name: str, *, letters_max: int, lines: bool = False, required: bool = False, blank: bool = False
    ) -> str | UnsetType:
        """A text, stripped at its ends; UNSET when absent or faulty. ``blank``: may be empty."""
        form = text_form(letters_max, lines=lines, blank=blank)
        value = self.raw(name, form, missing=REQUIRED if required else "")
        return UNSET if isinstance(value, UnsetType) else self._text(name, value, letters_max, lines=lines, blank=blank)

    def optional_text(self, name: str, *, letters_max: int, lines: bool = False) -> str | UnsetType | None:
        """Like ``text``, but null or empty clears it: None."""
        value = self.raw(name, text_form(letters_max, lines=lines, blank=True, null=True))
        if value is None or isinstance(value, UnsetType):
            return value
        text = self._text(name, value, letters_max, lines=lines, blank=True)
        return text if isinstance(text, UnsetType) else text or None

    def _text(self, name: str, value: object, letters_max: int, *, lines: bool, blank: bool) -> str | UnsetType:
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
        if fault is None and len(value) > letters_max:
            fault = f"has {len(value)} letters, the limit is {letters_max}; shorten it"
        if fault is not None:
            self.fault(name, fault)
            return UNSET
        return text

    def word(
        self, name: str, form: Form, fault_of: Callable[[str], str | None], *, required: bool = False
    ) -> str | UnsetType:
        """A text exactly as it was sent. ``fault_of``: why it cannot be used; None when it can."""
        value = self.raw(name, form, missing=REQUIRED if required else "")
        if isinstance(value, UnsetType):
            return UNSET
        fault = fault_of(value) if isinstance(value, str) else f"must be text, not {shown(value)}; put it in quotes"
        if fault is not None:
            self.fault(name, fault)
        return UNSET if fault is not None or not isinstance(value, str) else value

    def choice(self, name: str, words: Sequence[W], *, required: bool = False) -> W | UnsetType:
        """One of some words."""
        missing = f"give one of {', '.join(words)}" if required else ""
        value = self.raw(name, {"type": "string", "enum": list(words)}, missing=missing)
        if isinstance(value, UnsetType):
            return UNSET
        for word in words:
            if value == word:
                return word
        self.fault(name, f"{shown(value)} is not one of {', '.join(words)}")
        return UNSET

    def flag(self, name: str) -> bool | UnsetType:
        """true or false."""
        value = self.raw(name, FLAG)
        if isinstance(value, bool | UnsetType):
            return value
        self.fault(name, f"must be true or false, not {shown(value)}")
        return UNSET

    def number(self, name: str, *, over: float, most: float) -> float | UnsetType:
        """A number that is more than ``over`` and at most ``most``."""
        value = self.raw(name, {"type": "number", "exclusiveMinimum": over, "maximum": most})
        if isinstance(value, UnsetType):
            return UNSET
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.fault(name, f"must be a number, not {shown(value)}")
            return UNSET
        if not over < value <= most:
            self.fault(name, f"{shown(value)} is out of range; give more than {over:g} and at most {most:g}")
            return UNSET
        return float(value)

    def count(self, name: str, *, least: int, most: int) -> int | UnsetType:
        """A whole number."""
        value = self.raw(name, {"type": "integer", "minimum": least, "maximum": most})
        if isinstance(value, UnsetType):
            return UNSET
        number = whole(value)
        if number is None or not least <= number <= most:
            self.fault(name, f"{shown(value)} is not a whole number from {least} to {most}")
            return UNSET
        return number

    def duration(self, name: str, *, words: Sequence[str] = (), least_s: float = 0.0) -> str | UnsetType:
        """A duration as it was written, such as ``5s``, or one of some words."""
        limits = f"at least {least_s:g}s and at most 366d"
        pattern = "|".join([*words, DURATION.pattern])
        form = {
            "type": "string",
            "maxLength": DURATION_LETTERS_MAX,
            "pattern": f"^(?:{pattern})$",
            "format": "time-span",
        }
        value = self.raw(name, {**form, "description": f"A duration such as 5s or 1h30m; {limits}."})
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
        if not least_s <= seconds <= DURATION_S_MAX:
            self.fault(name, f"{value} is out of range; give {limits}")
            return UNSET
        return value

    def optional_moment_s(self, name: str) -> float | UnsetType | None:
        """An RFC 3339 time as Unix seconds; None for null."""
        value = self.raw(name, {**MOMENT, "type": ["string", "null"]})
        if value is None or isinstance(value, UnsetType):
            return value
        try:
            if not isinstance(value, str):
                msg = f"{shown(value)} is not an RFC 3339 time; write it as text, such as 2026-11-24T09:00:00Z"
                raise ValueError(msg)  # noqa: TRY004 one kind of fault, reported below
            return time_s(value)
        except (ValueError, OverflowError) as error:
            self.fault(name, str(error))
            return UNSET

    def part(self, name: str, form: Form) -> "Fields | None":
        """A nested object, whose faults count as this one's; None when absent or not an object."""
        value = self.raw(name, form)
        if isinstance(value, UnsetType):
            return None
        if not isinstance(value, dict):
            self.fault(name, f"must be an object, not {shown(value)}")
            return None
        nested = Fields(value, path=f"{self._path}.{name}" if self._path else name)
        nested.problems = self.problems
        self._parts.append(nested)
        return nested

    def names(self) -> tuple[str, ...]:
        """The keys that were sent."""
        return tuple(self._raw)


def given(value: T | UnsetType, default: T) -> T:
    """The value, or ``default`` when it was not given."""
    return default if isinstance(value, UnsetType) else value
