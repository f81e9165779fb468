"""Walks give each row once, in order, and say when nothing lies behind."""

from collections.abc import Sequence

import pytest

from syncd.core.model import Cursor
from syncd.errors import ExternalFailed, ExternalUnreadable
from syncd.systems.answers import Row
from syncd.systems.walks import RECORDS_A_PAGE, Walks

STAMP = "2026-11-23 10:00:00"
AT_S = 1795428000.0


class Table:
    """Rows with one stamp. ``tells``: each answer says how many there are. The first ``hidden`` are not shown."""

    def __init__(self, rows: int, *, tells: bool = True, hidden: int = 0, broken: int | None = None) -> None:
        self.names = [f"{number:032d}" for number in range(rows)]
        self.tells = tells
        self.hidden = frozenset(self.names[:hidden])
        self.broken = None if broken is None else self.names[broken]
        self.queries: list[str] = []

    async def ask(self, query: str, columns: Sequence[str], limit: int, offset: int) -> tuple[list[Row], int]:
        self.queries.append(query)
        _, _, behind = query.partition("^sys_id>")
        after = behind.partition("^")[0]
        found = [name for name in self.names if name > after]
        if self.broken in found[offset : offset + limit] and "u_text" in columns:
            raise ExternalUnreadable("unavailable", "a broken answer")
        shown: list[Row] = [
            {"sys_id": name, "sys_updated_on": STAMP}
            for name in found[offset : offset + limit]
            if name not in self.hidden
        ]
        return shown, len(found) if self.tells else 0


async def walked(table: Table) -> tuple[list[str], int]:
    walks, cursor, names = Walks(table.ask, ("u_text",)), Cursor(AT_S), list[str]()
    for number in range(1, 30):
        page = await walks.by_stamp("sys_updated_on", cursor)
        names += [seen.external_id for seen in page.rows]
        last = page.rows[-1] if page.rows else page.unreadable
        if page.is_last or last is None:
            return names, number
        cursor = Cursor(last.updated_at_s or 0.0, last.external_id)
    raise AssertionError("it never ends")


@pytest.mark.parametrize(("rows", "pages"), [(0, 1), (1, 1), (200, 1), (201, 2), (300, 2), (450, 3)])
async def test_rows_with_one_stamp_are_given_once_each_and_the_last_page_is_known(rows: int, pages: int) -> None:
    table = Table(rows)
    assert await walked(table) == (table.names, pages)


async def test_without_a_total_only_an_empty_page_is_the_end() -> None:
    table = Table(RECORDS_A_PAGE + 1, tells=False)
    assert await walked(table) == (table.names, 3)


async def test_pages_whose_rows_are_all_hidden_are_passed_over() -> None:
    table = Table(450, hidden=420)
    assert await walked(table) == (table.names[420:], 1)
    assert len(table.queries) == 3


async def test_a_row_before_the_cursor_is_not_used() -> None:
    with pytest.raises(ExternalFailed, match="sys_updated_on"):
        await Walks(Table(3).ask, ()).by_stamp("sys_updated_on", Cursor(AT_S + 60))


@pytest.mark.parametrize("broken", [0, 5, 199, 200, 299])
async def test_a_record_that_cannot_be_read_is_named_and_holds_up_nobody_behind_it(broken: int) -> None:
    table = Table(300, broken=broken)
    names, _ = await walked(table)
    assert names == [name for name in table.names if name != table.broken]


async def test_a_record_that_cannot_be_read_and_is_hidden_then_ends_no_walk() -> None:
    table = Table(300, hidden=1, broken=0)
    assert (await walked(table))[0] == table.names[1:]


async def test_a_page_that_breaks_by_accident_is_asked_for_in_parts() -> None:
    table, accidents = Table(300), 4
    sound = table.ask

    async def ask(query: str, columns: Sequence[str], limit: int, offset: int) -> tuple[list[Row], int]:
        nonlocal accidents
        if accidents:
            accidents -= 1
            raise ExternalUnreadable("unavailable", "a broken answer")
        return await sound(query, columns, limit, offset)

    table.ask = ask  # type: ignore[method-assign]
    names, _ = await walked(table)
    assert names == table.names
