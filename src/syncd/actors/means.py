"""What the actors of one integration work with, each of them the same."""

from msgspec import Struct

from syncd.actors.ports import External, Journal
from syncd.actors.reading import Reader
from syncd.seams import Clock, Ids


class Means(Struct, frozen=True):
    """``by``: the name that they write under."""

    integration_id: str
    by: str
    journal: Journal
    external: External
    reader: Reader
    clock: Clock
    ids: Ids


class Actor:
    """One of those that need all of it."""

    def __init__(self, means: Means) -> None:
        self._integration_id = means.integration_id
        self._by = means.by
        self._journal = means.journal
        self._external = means.external
        self._reader = means.reader
        self._clock = means.clock
        self._ids = means.ids
