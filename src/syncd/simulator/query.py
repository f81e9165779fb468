"""Encoded queries: ``state=2^ORstate=3^ORDERBYDESCsys_updated_on``.

Owns the grammar and the matching. A condition with an unknown field or operator is dropped and the rest runs, as on a
real instance: that widening is the most dangerous read behaviour of ServiceNow, so it is kept and not repaired. Never
applies row ACLs, limits or offsets: ``table_api.py`` does.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from syncd.simulator.clock import seconds_of, stamp_of, utc_text
from syncd.simulator.tables import Column, Row, Store, Table

__all__ = ["Compiled", "Condition", "QueryScope", "compile_query", "parse_query"]

Predicate = Callable[[Row], bool]
Getter = Callable[[Row], str]

_OPERATORS: Final = (
    "NOT LIKE", "NOT IN", "DOES NOT CONTAIN", "ISNOTEMPTY", "ISEMPTY", "EMPTYSTRING", "ANYTHING", "STARTSWITH",
    "ENDSWITH", "BETWEEN", "CONTAINS", "INSTANCEOF", "NSAMEAS", "SAMEAS", "RELATIVEGT", "RELATIVELT", "RELATIVEGE",
    "RELATIVELE", "LIKE", "NOTON", "ON", "IN", "!*", "*", "!=", ">=", "<=", "=", ">", "<",
)  # fmt: skip
_CONDITION: Final = re.compile(
    r"(123TEXTQUERY321|[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*)(" + "|".join(map(re.escape, _OPERATORS)) + r")(.*)",
    re.DOTALL,
)
RANGE_OPERATORS: Final = frozenset({"LIKE", "NOT LIKE", "CONTAINS", "DOES NOT CONTAIN", "STARTSWITH", "ENDSWITH"}) | {
    *(">", ">=", "<", "<=", "BETWEEN", "RELATIVEGT", "RELATIVELT", "RELATIVEGE", "RELATIVELE", "ON", "NOTON", "*", "!*")
}
_SPAN_S: Final = {"minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000, "year": 31536000}


class Condition(NamedTuple):
    """One ``field operator value``; ``operator`` is ``""`` when the text is not a condition at all."""

    field: str
    operator: str
    value: str


class ParsedQuery(NamedTuple):
    """OR-ed groups of AND-ed alternatives (each a tuple of OR-ed conditions), and the order as (field, descending)."""

    groups: tuple[tuple[tuple[Condition, ...], ...], ...]
    order: tuple[tuple[str, bool], ...]

    @property
    def fields(self) -> list[str]:
        """All field names in the query, in order."""
        names = [one.field for group in self.groups for either in group for one in either]
        return [*names, *(name for name, _ in self.order)]


@dataclass(frozen=True)
class QueryScope:
    """Who asks, and when: what a query means beyond its text.

    ``range_denied`` and ``match_denied``: fields on which query ACLs silently drop this user's clauses.
    """

    zone: str = "GMT"
    user_sys_id: str = ""
    now_s: float = 0.0
    range_denied: frozenset[str] = frozenset()
    match_denied: frozenset[str] = frozenset()


@dataclass
class Compiled:
    """A query ready to run. ``dropped``: the clauses that were ignored. ``sys_ids``: the only rows that can match."""

    matches: Predicate
    order: list[tuple[Callable[[Row], tuple[int, str]], bool]]
    sys_ids: tuple[str, ...] | None = None
    dropped: list[str] = field(default_factory=list)

    def select(self, rows: dict[str, Row]) -> list[Row]:
        """The rows that match, in stored order."""
        candidates: Iterable[Row] = rows.values()
        if self.sys_ids is not None:
            candidates = [rows[sys_id] for sys_id in self.sys_ids if sys_id in rows]
        return [row for row in candidates if self.matches(row)]

    def sort(self, rows: list[Row]) -> None:
        """Sort in place; rows that tie keep their order."""
        for key, is_descending in reversed(self.order):
            rows.sort(key=key, reverse=is_descending)


@lru_cache(maxsize=512)
def parse_query(text: str) -> ParsedQuery:
    """Split an encoded query into its parts; never fails, since an instance never does."""
    groups: list[list[list[Condition]]] = [[]]
    order: list[tuple[str, bool]] = []
    for part in text.replace("^^", "\0").split("^"):
        term = part.replace("\0", "^")
        if not term or term == "EQ":
            continue
        if term.startswith("ORDERBY"):
            is_descending = term.startswith("ORDERBYDESC")
            order.append((term[11:] if is_descending else term[7:], is_descending))
        elif term.startswith("GROUPBY"):
            continue
        elif term.startswith("NQ"):
            groups.append([[_condition(term[2:])]])
        elif term.startswith("OR") and groups[-1]:
            groups[-1][-1].append(_condition(term[2:]))
        else:
            groups[-1].append([_condition(term)])
    frozen = tuple(tuple(tuple(either) for either in group) for group in groups if group)
    return ParsedQuery(frozen, tuple(order))


def _condition(text: str) -> Condition:
    found = _CONDITION.fullmatch(text)
    return Condition(*found.groups()) if found else Condition(text, "", "")


def compile_query(text: str, table: Table, store: Store, scope: QueryScope) -> Compiled:
    """Turn an encoded query into something that runs over the rows of ``table``."""
    parsed = parse_query(text)
    dropped: list[str] = []
    groups: list[Predicate] = []
    sys_ids: dict[str, None] | None = {}  # a dict, not a set: its order does not depend on the hash seed
    for group in parsed.groups:
        clauses: list[Predicate] = []
        narrowed: dict[str, None] | None = None
        for either in group:
            tests: list[Predicate] = []
            for condition in either:
                test = _test(condition, table, store, scope)
                if test is None:
                    dropped.append("".join(condition))
                else:
                    tests.append(test)
                    if len(either) == 1:
                        narrowed = _sys_ids(condition) or narrowed
            if tests:
                clauses.append(_any_of(tests))
        if clauses:
            groups.append(_all_of(clauses))
            sys_ids = None if sys_ids is None or narrowed is None else sys_ids | narrowed
    order = []
    for name, is_descending in parsed.order:
        getter = None if name in scope.range_denied else _getter(name, table, store)
        if getter is None:
            dropped.append(f"ORDERBY{name}")
        else:
            order.append((_sort_key(*getter), is_descending))
    if not groups:
        return Compiled(lambda _row: True, order, None, dropped)
    return Compiled(_any_of(groups), order, tuple(sys_ids) if sys_ids else None, dropped)


def _sys_ids(condition: Condition) -> dict[str, None] | None:
    """The sys_ids that a plain key lookup names; rows are found by key instead of by a scan."""
    if condition.field != "sys_id" or condition.operator not in {"=", "IN"}:
        return None
    values = condition.value.split(",") if condition.operator == "IN" else [condition.value]
    return dict.fromkeys(value.casefold() for value in values)


def _any_of(tests: list[Predicate]) -> Predicate:
    if len(tests) == 1:
        return tests[0]
    return lambda row: any(test(row) for test in tests)


def _all_of(tests: list[Predicate]) -> Predicate:
    if len(tests) == 1:
        return tests[0]
    return lambda row: all(test(row) for test in tests)


def _getter(name: str, table: Table, store: Store) -> tuple[Getter, Column] | None:
    """How to read a possibly dot-walked field, and its column; None for a name that does not exist."""
    first, _, rest = name.partition(".")
    column = table.columns.get(first)
    if column is None:
        return None
    if not rest:
        return (lambda row: row[first]), column
    target = store.table(column.reference) if column.reference else None
    inner = _getter(rest, target, store) if target is not None else None
    if inner is None or target is None:
        return None
    read, last = inner
    rows = target.rows
    blank: Row = {}

    def walked(row: Row) -> str:
        referenced = rows.get(row[first], blank)
        return read(referenced) if referenced else ""

    return walked, last


def _sort_key(read: Getter, column: Column) -> Callable[[Row], tuple[int, str]]:
    if column.type == "integer":
        return lambda row: (_number(read(row)), read(row))
    return lambda row: (0, read(row).casefold())


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return -1


def _test(condition: Condition, table: Table, store: Store, scope: QueryScope) -> Predicate | None:
    """The test of one condition, or None when the instance ignores it."""
    name, operator, value = condition
    if name == "123TEXTQUERY321":
        return _text_search(value, table)
    found = _getter(name, table, store) if operator else None
    denied = scope.range_denied if operator in RANGE_OPERATORS else scope.match_denied
    if found is None or name in denied:
        return None
    read, column = found
    if operator in {"SAMEAS", "NSAMEAS"}:
        other = _getter(value, table, store)
        if other is None:
            return None
        is_same = operator == "SAMEAS"
        read_other = other[0]
        return lambda row: (read(row) == read_other(row)) is is_same
    if operator == "INSTANCEOF":
        return lambda row: value in {"task", read(row)}
    if column.type == "glide_date_time":
        return _date_test(operator, value, read, scope)
    if value.startswith("javascript:"):
        value = scope.user_sys_id if "getUserID" in value else value
    return _number_test(operator, value, read) if column.type == "integer" else _text_test(operator, value, read)


def _text_search(value: str, table: Table) -> Predicate:
    words = value.casefold().split()
    names = [name for name in ("number", "short_description", "description", "name") if name in table.columns]
    return lambda row: all(any(word in row[name].casefold() for name in names) for word in words)


def _text_test(operator: str, value: str, read: Getter) -> Predicate | None:
    wanted = value.casefold()
    several = frozenset(wanted.split(","))
    low, _, high = wanted.partition("@")
    tests: dict[str, Predicate] = {
        "=": lambda row: read(row).casefold() == wanted,
        "!=": lambda row: read(row).casefold() != wanted,
        "IN": lambda row: read(row).casefold() in several,
        "NOT IN": lambda row: read(row).casefold() not in several,
        "LIKE": lambda row: wanted in read(row).casefold(),
        "CONTAINS": lambda row: wanted in read(row).casefold(),
        "*": lambda row: wanted in read(row).casefold(),
        "!*": lambda row: wanted not in read(row).casefold(),
        "NOT LIKE": lambda row: wanted not in read(row).casefold(),
        "DOES NOT CONTAIN": lambda row: wanted not in read(row).casefold(),
        "STARTSWITH": lambda row: read(row).casefold().startswith(wanted),
        "ENDSWITH": lambda row: read(row).casefold().endswith(wanted),
        "ISEMPTY": lambda row: not read(row),
        "ISNOTEMPTY": lambda row: bool(read(row)),
        "EMPTYSTRING": lambda row: not read(row),
        "ANYTHING": lambda _row: True,
        ">": lambda row: read(row).casefold() > wanted,
        ">=": lambda row: read(row).casefold() >= wanted,
        "<": lambda row: "" < read(row).casefold() < wanted,
        "<=": lambda row: "" < read(row).casefold() <= wanted,
        "BETWEEN": lambda row: low <= read(row).casefold() <= high,
    }
    return tests.get(operator)


def _number_test(operator: str, value: str, read: Getter) -> Predicate | None:
    """Ranges on numbers compare as numbers; everything else compares as text does."""
    low, _, high = value.partition("@")
    if operator in {">", ">=", "<", "<="} and value.lstrip("-").isdigit():
        limit = int(value)
        tests: dict[str, Predicate] = {
            ">": lambda row: read(row) != "" and _number(read(row)) > limit,
            ">=": lambda row: read(row) != "" and _number(read(row)) >= limit,
            "<": lambda row: read(row) != "" and _number(read(row)) < limit,
            "<=": lambda row: read(row) != "" and _number(read(row)) <= limit,
        }
        return tests[operator]
    if operator == "BETWEEN" and low.isdigit() and high.isdigit():
        return lambda row: read(row) != "" and int(low) <= _number(read(row)) <= int(high)
    return _text_test(operator, value, read)


def _date_test(operator: str, value: str, read: Getter, scope: QueryScope) -> Predicate | None:
    """Stamps are fixed-width UTC text, so comparing text is comparing time, to the second."""
    if operator in {"ISEMPTY", "ISNOTEMPTY", "EMPTYSTRING", "ANYTHING", "IN", "NOT IN"} or not value:
        return _text_test(operator, value, read)
    if operator in {"LIKE", "STARTSWITH", "ENDSWITH", "NOT LIKE", "CONTAINS", "DOES NOT CONTAIN", "*", "!*"}:
        return _text_test(operator, value, read)
    if operator.startswith("RELATIVE"):
        return _relative_test(operator, value, read, scope)
    parts = value.split("@")
    if operator in {"ON", "NOTON", "BETWEEN"}:
        is_on = operator != "NOTON"
        first = _literal(parts[-2] if len(parts) > 1 else parts[0], scope)
        last = _literal(parts[-1], scope)
        if operator != "BETWEEN" and last is not None and len(parts[-1]) == 10:
            last = last[:10] + " 23:59:59"
        if first is None or last is None:
            return None
        start, end = first, last
        return lambda row: (start <= read(row) <= end) is is_on
    literal = _literal(value, scope)
    return None if literal is None else _text_test(operator, literal, read)


def _relative_test(operator: str, value: str, read: Getter, scope: QueryScope) -> Predicate | None:
    """``RELATIVEGT@hour@ago@1``: later than one hour ago."""
    words = value.strip("@").split("@")
    if len(words) != 3 or words[0] not in _SPAN_S or not words[2].isdigit():
        return None
    span_s = _SPAN_S[words[0]] * int(words[2])
    edge = stamp_of(scope.now_s + (span_s if words[1] == "ahead" else -span_s))
    match operator:
        case "RELATIVEGT":
            return lambda row: read(row) > edge
        case "RELATIVEGE":
            return lambda row: read(row) >= edge
        case "RELATIVELT":
            return lambda row: "" < read(row) < edge
    return lambda row: "" < read(row) <= edge


def _literal(text: str, scope: QueryScope) -> str | None:
    """A date-time literal as a stored stamp: plain text is UTC, ``gs.dateGenerate`` is in the user's zone."""
    zone = "GMT"
    if text.startswith("javascript:"):
        found = re.search(r"dateGenerate\(\s*['\"]([^'\"]*)['\"](?:\s*,\s*['\"]([^'\"]*)['\"])?", text)
        if found is None:
            return None
        text, zone = " ".join(part for part in found.groups() if part), scope.zone
    text = f"{text} 00:00:00" if len(text) == 10 else text
    try:
        seconds_of(text)
        return utc_text(text, zone)
    except ValueError:
        return None
