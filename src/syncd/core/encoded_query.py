"""ServiceNow's encoded queries, read on our side, to check that an answer keeps to what was asked.

An instance drops a condition that it does not understand or allow, and answers with every record that the rest lets
through (docs/servicenow.md, "Queries"). So the columns of a query are read along, and a row that certainly does not
match is a sign of that. Where ServiceNow's reading could differ from ours (time zones, dates without a time), a row is
given the benefit of the doubt.
"""

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from msgspec import Struct

OPERATORS: Final = (
    *("NOT LIKE", "NOT IN", "ISNOTEMPTY", "ISEMPTY", "EMPTYSTRING", "ANYTHING", "STARTSWITH", "ENDSWITH", "BETWEEN"),
    *("LIKE", "IN", "!=", ">=", "<=", "=", ">", "<"),
)
ZONES_S: Final = 14 * 3600.0  # no time zone is further from UTC
_CONDITION: Final = re.compile(
    r"([a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*)(" + "|".join(map(re.escape, OPERATORS)) + r")(.*)", re.DOTALL
)
_VALUE: Final = r"(?:[^\^\u0000-\u001F\u007F-\u009F\u2028\u2029]|\^\^)*"
_TERM: Final = rf"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*(?:{'|'.join(OPERATORS)}){_VALUE}"
CHECKED: Final = re.compile(rf"{_TERM}(?:\^(?:OR)?{_TERM})*")
_COLUMN: Final = re.compile(r"[a-z][a-z0-9_.]*")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_BOOLEANS: Final = {"1": "true", "0": "false"}
_STAMP: Final = "%Y-%m-%d %H:%M:%S"


class Condition(Struct, frozen=True):
    """One ``column operator value``. ``operator`` empty: it cannot be checked here."""

    text: str
    column: str
    operator: str
    value: str


class EncodedQuery(Struct, frozen=True):
    """Groups of which one must match; in each, alternatives of which each must; of an alternative, one condition."""

    groups: tuple[tuple[tuple[Condition, ...], ...], ...]

    @property
    def conditions(self) -> list[Condition]:
        """All of them, in their order."""
        return [one for group in self.groups for either in group for one in either]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it names, each once."""
        return tuple(dict.fromkeys(one.column for one in self.conditions if one.column))

    def contradiction(self, shown: Mapping[str, str]) -> str:
        """The conditions that a row with these columns certainly does not meet; empty when it may match."""
        failed: list[str] = []
        for group in self.groups:
            missed = next((either for either in group if all(_is_met(one, shown) is False for one in either)), None)
            if missed is None:
                return ""
            failed.append(" or ".join(one.text for one in missed))
        return ", ".join(failed)

    def fault_of(self, shown: Mapping[str, str]) -> str:
        """Why a row with these columns is a sign that the instance did not keep to the query; empty when it is none."""
        name = shown.get("number") or shown.get("sys_id") or "a record"
        for column in self.columns:
            if column not in shown:
                return (
                    f"ServiceNow does not show the column {column}: it is unknown there, or our account may not read "
                    "it, and then its condition is ignored; correct the query, or give the account that right"
                )
        if missed := self.contradiction(shown):
            return (
                f"ServiceNow answered with {name}, which does not match {missed}, so it ignores a part of the query; "
                "correct the query, or give the account query rights on its columns"
            )
        return ""


def parse(text: str) -> EncodedQuery:
    """A query in its parts; never fails, and what it cannot read is a condition without an operator."""
    groups: list[list[list[Condition]]] = [[]]
    for part in text.replace("^^", "\0").split("^"):
        term = part.replace("\0", "^")
        if term.startswith("NQ"):
            groups.append([[_condition(term[2:])]])
        elif term.startswith("OR") and not term.startswith("ORDERBY") and groups[-1]:
            groups[-1][-1].append(_condition(term[2:]))
        elif term:
            groups[-1].append([_condition(term)])
    return EncodedQuery(tuple(tuple(tuple(either) for either in group) for group in groups if group))


def _condition(text: str) -> Condition:
    if (found := _CONDITION.fullmatch(text)) is not None:
        return Condition(text, *found.groups())
    column = _COLUMN.match(text)
    return Condition(text, column.group() if column else "", "", "")


def unchecked_fault(text: str) -> str | None:
    """Why answers to a query could not be checked; None when they can."""
    if CHECKED.fullmatch(text):
        return None
    strange = next((one.text for one in parse(text).conditions if not one.operator), "")
    if not strange:
        return "names no condition; write one, such as active=true, or sys_idISNOTEMPTY for every record"
    known = " ".join(OPERATORS)
    return f"has {strange[:60]!r}, which cannot be checked on our side; write a column, one of {known}, and a value"


def _is_met(one: Condition, shown: Mapping[str, str]) -> bool | None:
    """Whether a row meets a condition; None when that cannot be told."""
    if one.column not in shown or not one.operator:
        return None
    value = shown[one.column].strip()
    if ("LIKE" in one.operator or one.operator.endswith("WITH")) and ("%" in one.value or "*" in one.value):
        return None  # a wildcard there
    match one.operator:
        case "ANYTHING" | "EMPTYSTRING":
            return True if one.operator == "ANYTHING" else not value
        case "ISEMPTY":
            return not value
        case "ISNOTEMPTY":
            return bool(value)
        case "=":
            return _equals(value, one.value)
        case "IN":
            found = [_equals(value, part) for part in one.value.split(",")]
            return True if True in found else None if None in found else False
        case "LIKE":
            return _folded(one.value) in _folded(value)
        case "STARTSWITH":
            return _folded(value).startswith(_folded(one.value))
        case "ENDSWITH":
            return _folded(value).endswith(_folded(one.value))
        case "!=" | "NOT IN" | "NOT LIKE":
            return _is_other(one, value)
        case "BETWEEN":
            low, _, high = one.value.partition("@")
            return _all_of(_compares(value, ">=", low), _compares(value, "<=", high))
        case _:
            return _compares(value, one.operator, one.value)


def _is_other(one: Condition, value: str) -> bool | None:
    """The negations, which an empty value meets or not, as the instance and its release have it."""
    if not value:
        return None
    if one.operator == "NOT LIKE":
        return _folded(one.value) not in _folded(value)
    found = [_equals(value, part) for part in (one.value.split(",") if one.operator == "NOT IN" else [one.value])]
    return False if True in found else None if None in found else True


def _all_of(first: bool | None, second: bool | None) -> bool | None:
    if False in (first, second):
        return False
    return None if None in (first, second) else True


def _equals(value: str, wanted: str) -> bool | None:
    wanted = wanted.strip()
    if wanted.upper() == "NULL":  # which some releases read as empty
        return None
    if _is_number(value) and _is_number(wanted):
        return float(value) == float(wanted)
    if value in ("true", "false"):
        return value == _BOOLEANS.get(wanted, wanted.lower())
    if (near := _is_near(value, wanted)) is not None:
        return None if near else False
    return _folded(value) == _folded(wanted)


def _compares(value: str, operator: str, wanted: str) -> bool | None:
    wanted = wanted.strip()
    if not value:
        return False  # nothing is neither more nor less
    if _is_near(value, wanted):
        return None
    if _is_number(value) and _is_number(wanted):
        order = (float(value) > float(wanted)) - (float(value) < float(wanted))
    else:
        order = (_folded(value) > _folded(wanted)) - (_folded(value) < _folded(wanted))
    return {">": order > 0, ">=": order >= 0, "<": order < 0, "<=": order <= 0}[operator]


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _is_near(value: str, wanted: str) -> bool | None:
    """Whether two dates are so close that a time zone could lie between them; None when one is no date."""
    ours, theirs = _moment(value), _moment(wanted)
    if ours is None or theirs is None:
        return None
    day_s = 0.0 if len(value) == len(wanted) == len("2026-01-01 00:00:00") else 86400.0
    return abs((ours - theirs).total_seconds()) <= ZONES_S + day_s


def _moment(text: str) -> datetime | None:
    try:
        return datetime.strptime(text if len(text) > 10 else f"{text} 00:00:00", _STAMP)  # noqa: DTZ007 both are alike
    except ValueError:
        return None


def _folded(text: str) -> str:
    """Without case and accents, as the databases beneath compare."""
    plain = unicodedata.normalize("NFKD", text.casefold().strip())
    return "".join(letter for letter in plain if not unicodedata.combining(letter))
