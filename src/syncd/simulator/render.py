"""How a row looks in an answer: raw or display values, references, dot-walks, field ACLs.

Owns the three display modes and the set of keys. A key that is absent was not requested, does not exist, or may not be
read; an empty value is ``""``, never null. Never decides which rows are shown.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from syncd.simulator.accounts import Actor
from syncd.simulator.clock import local_text
from syncd.simulator.faults import Switches
from syncd.simulator.journal import Journal
from syncd.simulator.tables import Column, Row, Store, Table

__all__ = ["DisplayMode", "Renderer", "RowView"]

DisplayMode = Literal["false", "true", "all"]
Cell = str | dict[str, str]
CellReader = Callable[[Row], Cell]
Plan = list[tuple[str, CellReader]]

_LANGUAGE: Final = "en"
_PLANS_MAX: Final = 256


@dataclass(frozen=True)
class RowView:
    """What one request wants to see. ``fields`` empty: all columns. ``base_url``: what links begin with."""

    table: str
    fields: tuple[str, ...]
    mode: DisplayMode
    has_links: bool
    base_url: str
    actor: Actor


class Renderer:
    """Turns rows into JSON objects. A plan per view is kept, since a page renders the same cells for each row."""

    def __init__(self, store: Store, journal: Journal, switches: Switches) -> None:
        self._store = store
        self._journal = journal
        self._switches = switches
        self._labels: dict[tuple[str, str, str], str] = {}
        self._labelled_choices = -1
        self._plans: dict[tuple[object, ...], Plan] = {}

    def rows(self, rows: list[Row], view: RowView) -> list[dict[str, Cell]]:
        """The rows as JSON objects, in their order."""
        table = self._store.tables[view.table]
        plan = self._plan(table, view)
        return [{key: read(row) for key, read in plan} for row in rows]

    def _plan(self, table: Table, view: RowView) -> Plan:
        """The plan for this view; kept while columns and ACLs stay, since building it takes longer than using it."""
        versions = sum(one.schema_version for one in self._store.tables.values())
        denied = frozenset(view.actor.account.read_denied)
        key = (table.name, view.fields, view.mode, view.has_links, view.base_url, view.actor.zone, denied, versions)
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= _PLANS_MAX:
                self._plans.clear()
            plan = self._plans[key] = self._new_plan(table, view)
        return plan

    def _new_plan(self, table: Table, view: RowView) -> Plan:
        denied = view.actor.account.denied_fields(table.name, "read")
        plan: Plan = []
        for name in view.fields or tuple(table.columns):
            walked = self._walk(table, name, view.actor) if name not in denied else None
            if walked is not None:
                fetch, column, owner = walked
                plan.append((name, self._cell(name, fetch, column, owner, view)))
        return plan

    def _walk(self, table: Table, name: str, actor: Actor) -> tuple[Callable[[Row], Row], Column, Table] | None:
        """How to get from a row to the row that holds the (maybe dot-walked) column; None for an unknown name."""
        first, _, rest = name.partition(".")
        column = table.columns.get(first)
        if column is None or first in actor.account.denied_fields(table.name, "read"):
            return None
        if not rest:
            return (lambda row: row), column, table
        target = self._store.table(column.reference) if column.reference else None
        inner = self._walk(target, rest, actor) if target is not None else None
        if target is None or inner is None:
            return None
        fetch, last, owner = inner
        rows = target.rows
        blank = dict.fromkeys(target.columns, "")
        return (lambda row: fetch(rows.get(row[first], blank))), last, owner

    def _cell(self, key: str, fetch: Callable[[Row], Row], column: Column, owner: Table, view: RowView) -> CellReader:
        name = column.name
        is_direct = "." not in key
        show = self._display(column, owner, view.actor.zone)
        link = f"{view.base_url}/api/now/table/{column.reference}/"
        is_reference = column.type == "reference"
        has_link = is_reference and view.has_links
        if view.mode == "false":
            if column.is_journal:
                return lambda _row: ""
            if has_link:
                return lambda row: _linked(fetch(row)[name], link)
            return (lambda row: row[name]) if is_direct else (lambda row: fetch(row)[name])
        if view.mode == "true":
            if has_link:
                return lambda row: _displayed(fetch(row)[name], show(fetch(row)), link)
            return lambda row: show(fetch(row))
        if has_link:
            return lambda row: _everything(fetch(row)[name], show(fetch(row)), link)
        if column.is_journal:
            return lambda row: {"display_value": show(fetch(row)), "value": ""}
        return lambda row: {"display_value": show(fetch(row)), "value": fetch(row)[name]}

    def _display(self, column: Column, owner: Table, zone: str) -> Callable[[Row], str]:
        """How the display value of a column is found on the row that holds it."""
        name = column.name
        if column.is_journal:
            return lambda row: self._journal.text(owner, row["sys_id"], name, zone) if row["sys_id"] else ""
        if column.type == "reference":
            target = column.reference
            return lambda row: self._reference_text(target, row[name])
        if column.type == "glide_date_time":
            return lambda row: local_text(row[name], zone)
        if column.has_choices:
            return lambda row: self.label(owner.name, name, row[name])
        return lambda row: row[name]

    def _reference_text(self, table: str, value: str) -> str:
        if value == "global":
            return "global"
        return self._store.display_value(table, value) if value else ""

    def label(self, table: str, element: str, value: str) -> str:
        """The label of a choice; a value without a choice shows as itself (state 4 as ``4``) or, by switch, blank."""
        choices = self._store.tables["sys_choice"]
        if self._labelled_choices != len(choices.rows) + choices.schema_version:
            self._labelled_choices = len(choices.rows) + choices.schema_version
            english = [row for row in choices.rows.values() if row["language"] == _LANGUAGE]
            self._labels = {(row["name"], row["element"], row["value"]): row["label"] for row in english}
        for owner in (table, "task"):
            if (owner, element, value) in self._labels:
                return self._labels[owner, element, value]
        return "" if self._switches.text("unknown_label") == "blank" else value


def _linked(value: str, link: str) -> Cell:
    return {"link": link + value, "value": value} if value else ""


def _displayed(value: str, shown: str, link: str) -> Cell:
    return {"display_value": shown, "link": link + value} if value else ""


def _everything(value: str, shown: str, link: str) -> Cell:
    if not value:
        return {"display_value": "", "value": ""}
    return {"display_value": shown, "link": link + value, "value": value}
