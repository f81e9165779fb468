"""How State follows when a field is mapped to another column: what was known of the old one says nothing of the new.

Part of the fold (``fold.py``), with the same promise: no clock, no chance, no input or output.
"""

from msgspec.structs import replace

from syncd.core import events as e
from syncd.core.fold_links import ask_no_more, drop_letter, put_link, stain
from syncd.core.lens import lens_of, moved
from syncd.core.model import Attempt, Link, Settings
from syncd.core.state import State


def remapped(state: State, record: e.Record, integration_id: str, before: Settings, after: Settings) -> None:
    """Forget the base of the fields that stand elsewhere now, so that they meet like on a first link."""
    fields = moved(before, after)
    if not fields:
        return
    still = frozenset(lens_of(after).fields)
    for link in list(state.links_under(integration_id)):
        for letter in state.letters_under(link.id):
            if letter.operation == "update" and fields.issuperset(letter.fields):
                drop_letter(state, letter)
        put_link(state, _without(link, fields))
        for field in fields - still:
            ask_no_more(state, record, link.id, field, "mapping-removed")
        stain(state, record, link.id)


def _without(link: Link, fields: frozenset[str]) -> Link:
    """The link as if nothing had been known of these fields, and nothing of them were under way."""

    def kept(attempt: Attempt) -> Attempt:
        return replace(attempt, sent={field: value for field, value in attempt.sent.items() if field not in fields})

    return replace(
        link,
        base={field: base for field, base in link.base.items() if field not in fields},
        held={field: letter for field, letter in link.held.items() if field not in fields},
        in_flight=kept(link.in_flight) if link.in_flight is not None else None,
        unsettled=tuple(kept(one) for one in link.unsettled),
    )
