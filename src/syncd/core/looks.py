"""Looks of our own at a record, and which of them show what a decision must know.

A picture that was asked for before an edit of the incident may hide what an agent did in the meantime. A write reads
anew anyhow; two sides that seem equal need no write, so they are looked at once more before they are settled
(docs/sync.md, "How one field is decided").
"""

from typing import Final

from msgspec.structs import replace

from syncd.core.events import Hinted, Merged
from syncd.core.model import Hint, Link, Stamp
from syncd.core.state import State
from syncd.core.traces import join

READ_AGAIN: Final = "read-again"


def looked(link: Link, asked: int) -> Link:
    """The link after a look at its record that was asked for when the journal was there."""
    return replace(link, looked_at=max(link.looked_at, asked))


def shows_since(link: Link, stamp: Stamp) -> bool:
    """The picture of the record was asked for after this change of the incident."""
    return link.looked_at >= stamp.position


def waits_for_look(link: Link) -> bool:
    """Some field is to be decided by the next look at the record."""
    return any(base.reason == READ_AGAIN for base in link.base.values())


def look_again(state: State, integration_id: str, external_id: str, at_s: float, trace: str = "") -> Hinted:
    """A hint of our own to look at a record, joined with one that waits. ``trace``: the change that it is for."""
    hint = Hint(external_id, state.position + 1, trace or f"look-{external_id}", next_at_s=at_s)
    waiting = state.hints.get(integration_id, {}).get(external_id)
    if waiting is not None:  # what it names is still to be seen
        together = join(waiting.trace, hint.trace)
        hint = replace(waiting, position=hint.position, trace=together, tries=0, next_at_s=min(at_s, waiting.next_at_s))
    return Hinted(integration_id, external_id, hint)


def after_merge(state: State, link: Link, merged: Merged, at_s: float) -> tuple[Hinted, ...]:
    """The look that this merge of a link waits for, if it does."""
    if all(one.reason != READ_AGAIN for one in merged.decided):
        return ()
    trace = state.dirty.get(link.integration_id, {}).get(link.id) or (link.outbox.trace if link.outbox else "")
    return (look_again(state, link.integration_id, link.external_id, at_s, trace),)
