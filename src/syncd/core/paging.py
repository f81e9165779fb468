"""How the linked records are read: as lists of ids, as many in one request as fit its URL and a moderate answer.

Exact ids find exactly the linked records, whatever else the instance holds; keyset paging would read the whole table.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from syncd.core.model import Link

IDS_A_PAGE: Final = 200  # 33 letters each: with the columns, a URL of less than 8 KiB, which proxies let through
BYTES_A_PAGE: Final = 2 * 1024 * 1024  # as last seen; escapes may double it, and 4 MiB are accepted
ROW_BYTES: Final = 600  # what a row takes beside its texts


def pages(links: Iterable[Link]) -> Iterator[list[str]]:
    """The ids of the linked records in pages, in the order of their links."""
    page: list[str] = []
    size_bytes = 0
    for link in links:
        columns = link.observed.columns if link.observed is not None else {}
        row_bytes = ROW_BYTES + sum(len(text.encode()) for text in columns.values())
        if page and (len(page) >= IDS_A_PAGE or size_bytes + row_bytes > BYTES_A_PAGE):
            yield page
            page, size_bytes = [], 0
        page.append(link.external_id)
        size_bytes += row_bytes
    if page:
        yield page
