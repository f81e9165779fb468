"""The mass-change brake: a run that would do too much of what cannot be wanted at once stops before its first write.

Counted are the links on which healing would clear a field, close an incident or a record, park the link, or would find
that our account may no longer read a field; and those of which a second look did not show what it was to judge. Looks
at counts only.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

LINKS_MIN: Final = 10
SHARE: Final = 0.2

Weight: TypeAlias = Literal["", "clears", "closes", "parks", "hides", "unseen"]

_WORDS: Final[Mapping[Weight, str]] = {
    "clears": "clear a field of",
    "closes": "close",
    "parks": "park, as its record is not shown any more,",
    "hides": "leave alone, as our account may no longer read a field of it,",
    "unseen": "leave alone, as a second look did not show its record,",
}


def limit(links: int) -> int:
    """So many links a run may clear, close or park without being asked."""
    return max(LINKS_MIN, int(SHARE * links))


def verdict(weights: Mapping[str, Weight], links: int) -> str:
    """Why a run must stop, by link and what healing does to it; empty when it may go on."""
    heavy = Counter(weight for weight in weights.values() if weight)
    if heavy.total() <= limit(links):
        return ""
    parts = " and ".join(f"{_WORDS[weight]} {count}" for weight, count in heavy.most_common())
    return f"it would {parts} of {links} links, and without being asked it may do that to {limit(links)}"
