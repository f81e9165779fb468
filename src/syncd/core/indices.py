"""What State holds only so that it is found quickly: it follows from the rest, so a snapshot leaves it out.

The fold keeps these dicts true record by record; after a snapshot was read they are made anew, whatever version wrote
it. Nobody goes through one of them from end to end, so the order of their keys means nothing.
"""

from typing import Final

from syncd.core.queues import Line
from syncd.core.state import State

DERIVED: Final = frozenset({"links_of", "link_of_record", "letters_of", "retry_lines", "hint_lines"})


def derive(state: State) -> None:
    """Make the indices anew from the links, dead letters and hints."""
    for name in DERIVED:
        getattr(state, name).clear()
    for link in state.links.values():
        state.links_of[link.incident_id] = (*state.links_of.get(link.incident_id, ()), link.id)
        if link.external_id:
            state.link_of_record[link.integration_id, link.external_id] = link.id
    for letter in state.dead_letters.values():
        state.letters_of.setdefault(letter.link_id, {})[letter.id] = None
        retries = state.retry_lines.setdefault(letter.integration_id, Line())
        if letter.retry_at_s is not None:
            retries.places[letter.id] = (letter.retry_at_s, letter.id)
    for integration_id, hints in state.hints.items():
        line = state.hint_lines.setdefault(integration_id, Line())
        line.places.update((name, (hint.next_at_s, hint.position, name)) for name, hint in hints.items())
    for retries in state.retry_lines.values():
        retries.order = sorted(retries.places.values())
    for line in state.hint_lines.values():
        line.order = sorted(line.places.values())
