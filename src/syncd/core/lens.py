"""One integration's lens: every synced field between its records and the platform, with the mappings that people set.

Made from the settings alone, once for each set of mappings. Both laws hold for whatever ``field_mapping.py`` accepts:
what was read and is written back changes nothing, and what was written is what is read. Never raises on what
ServiceNow sends: what it cannot read is ``UNSET``.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from msgspec import UNSET, Struct, UnsetType

from syncd.core.mapping import (
    DEFAULT_COLUMN,
    LENSES,
    NEW_STATE,
    READ_COLUMNS,
    Columns,
    FieldLens,
    canonical_text,
    canonical_title,
    column,
    person_lens,
    put_state,
    title_meant,
)
from syncd.core.model import FieldMapping, Half, Settings
from syncd.core.people import person_columns

_CANONICAL: Final[Mapping[str, Callable[[str], Half]]] = {
    "title": title_meant,
    "description": canonical_text,
    "service": canonical_title,
}
_TRANSFORMED: Final[Mapping[str, Callable[[str], str]]] = {"": str, "upper": str.upper, "lower": str.lower}


class Lens(Struct, frozen=True):
    """How one integration's records show the platform's fields. ``columns``: what must be read of a record."""

    lenses: Mapping[str, FieldLens]
    columns: tuple[str, ...] = READ_COLUMNS

    @property
    def fields(self) -> tuple[str, ...]:
        """The synced fields, in their order."""
        return tuple(self.lenses)

    def raw_of(self, field: str, record: Columns) -> Half:
        """The raw external half of a field: the text that stands for it in a record, UNSET when the record lacks it."""
        return self.lenses[field].raw(record)

    def meaning(self, field: str, raw: Half, said: str = "") -> Half:
        """A raw external value in platform terms; UNSET when it is absent or has no mapping.

        ``said``: the platform's value. Of two ways to say the same there, the platform's choice stays.
        """
        return UNSET if isinstance(raw, UnsetType) else self.lenses[field].get(raw, said)

    def shows(self, field: str, raw: Half, sent: str) -> bool:
        """The raw value is what ``sent`` makes, or what a column limit left of it."""
        shown = self.meaning(field, raw, sent)
        if shown == sent or not isinstance(shown, str):
            return shown == sent
        return self.lenses[field].is_text and shown != "" and sent.startswith(shown)

    def is_unfilled(self, field: str, raw: Half) -> bool:
        """An empty column that is to take the platform's value."""
        return raw == "" and self.lenses[field].fills

    def written(self, field: str, value: str) -> Half:
        """The raw value right after ``value`` was written, with nothing cut or rewritten; UNSET: nobody knows here."""
        return self.lenses[field].written(value)

    def get(self, record: Columns) -> dict[str, Half]:
        """Every synced field of a record, in platform terms."""
        return {field: self.meaning(field, self.raw_of(field, record)) for field in self.lenses}

    def put(self, wanted: Mapping[str, str], record: Columns) -> dict[str, str]:
        """The columns to write so that ``get`` gives ``wanted``; empty when the record already means it."""
        columns: dict[str, str] = {}
        for field, value in wanted.items():
            if self.meaning(field, self.raw_of(field, record), value) != value:
                columns |= self.lenses[field].put(value, record)
        return columns

    def unmapped(self, field: str, record: Columns) -> str | None:
        """The raw value that is there but has no mapping, to be shown to a person; None otherwise."""
        raw = self.raw_of(field, record)
        return raw if isinstance(raw, str) and isinstance(self.meaning(field, raw), UnsetType) else None

    @property
    def is_new_open(self) -> bool:
        """A record that was just created reads as open, so its state need not be sent."""
        return self.meaning("status", NEW_STATE) == "open"


def lens_of(settings: Settings) -> Lens:
    """The lens of an integration with these settings."""
    return _lens(settings.field_mapping)


@lru_cache(maxsize=256)
def _lens(mappings: tuple[FieldMapping, ...]) -> Lens:
    lenses = {**LENSES, **{one.field: _mapped(one) for one in mappings}}
    mapped = [column for one in mappings for column in _columns(one)]
    return Lens(lenses, tuple(dict.fromkeys((*READ_COLUMNS, *mapped))))


DEFAULT_LENS: Final = _lens(())


def _columns(one: FieldMapping) -> tuple[str, ...]:
    return person_columns(one.external_field) if one.field == "assigned_to" else (one.external_field,)


def _mapped(one: FieldMapping) -> FieldLens:
    if one.field == "assigned_to":
        return person_lens(one.external_field)
    return _by_values(one) if one.values else _by_text(one)


def _by_values(one: FieldMapping) -> FieldLens:
    """Each value has one that is written for it, and any number that mean it."""
    written = {value: shown[0] for value, shown in one.values}
    meant = {text: value for value, shown in one.values for text in shown}

    def put(value: str, record: Columns) -> dict[str, str]:
        if one.field == "status":
            return put_state(written[value], value, record)
        return {one.external_field: written[value]}

    return FieldLens(
        column(one.external_field),
        lambda raw, _: meant.get(raw, UNSET),
        put,
        lambda value: written[value],
        fills=one.field != "status",
    )


def _by_text(one: FieldMapping) -> FieldLens:
    """As it is, or in letters of one size; then the platform's own letters stay, and new ones come in small."""
    canonical, transformed = _CANONICAL[one.field], _TRANSFORMED[one.transform]

    def get(raw: str, said: str) -> Half:
        shown = canonical(raw)
        if not one.transform or isinstance(shown, UnsetType):
            return shown
        return said if said and canonical(transformed(said)) == shown else shown.lower()

    return FieldLens(
        column(one.external_field),
        get,
        lambda value, _: {one.external_field: transformed(value)},
        transformed,
        is_text=True,
    )


def moved(before: Settings, after: Settings) -> frozenset[str]:
    """The fields that stand in another column under the later settings, or in none any more, or in one at last."""
    old, new = columns_of(before), columns_of(after)
    return frozenset(field for field in {**old, **new} if old.get(field) != new.get(field))


def columns_of(settings: Settings) -> dict[str, str]:
    """The column that shows each synced field."""
    return {**DEFAULT_COLUMN, **{one.field: one.external_field for one in settings.field_mapping}}


def person_column(settings: Settings) -> str:
    """The column that the person stands in to whom an incident is assigned."""
    return columns_of(settings)["assigned_to"]
