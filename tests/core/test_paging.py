"""Pages of ids: as few requests as fit the URL and the answer, each link once and in order."""

from msgspec.structs import replace

from syncd.core.model import Link
from syncd.core.paging import BYTES_A_PAGE, IDS_A_PAGE, ROW_BYTES, pages
from tests.core.picture import AT_S, INT, seen


def links(count: int, description: str = "") -> list[Link]:
    one = Link(f"{INT}/INC-A", INT, "INC-A", AT_S, state="active", observed=seen(description=description))
    return [replace(one, id=f"{INT}/{number}", external_id=f"{number:032x}") for number in range(count)]


def test_ten_thousand_links_are_fifty_requests_with_each_link_once_and_in_order() -> None:
    found = list(pages(links(10_000)))
    assert len(found) == 50
    assert [name for page in found for name in page] == [f"{number:032x}" for number in range(10_000)]
    assert len(",".join(found[0])) + 600 < 8 * 1024


def test_large_records_come_in_smaller_pages_and_no_page_is_more_than_half_of_what_is_accepted() -> None:
    found = list(pages(links(1000, "x" * 100_000)))
    assert max(map(len, found)) * (100_000 + ROW_BYTES) <= BYTES_A_PAGE < max(map(len, found)) * 110_000
    assert sum(map(len, found)) == 1000


def test_a_record_that_is_larger_than_a_page_is_a_page_of_its_own() -> None:
    assert [len(page) for page in pages(links(3, "x" * (BYTES_A_PAGE + 1)))] == [1, 1, 1]


def test_no_links_are_no_pages() -> None:
    assert list(pages([])) == []
    assert [len(page) for page in pages(links(IDS_A_PAGE))] == [IDS_A_PAGE]
