"""State: everything that is known, as of a position of the journal.

It holds frozen Structs in dicts; only the fold (``fold.py``) replaces them. The dicts that list work (``hints``,
``dirty``, ``outbox``, ``unlinked``) are the daemon's queues: actors are rung by doorbells and look here
(docs/architecture.md, "Durable work").
"""

from collections.abc import Iterator

from msgspec import Struct

from syncd.core.lag import Lags
from syncd.core.model import (
    SYNCABLE_FIELDS,
    Conflict,
    DeadLetter,
    Hint,
    Incident,
    Integration,
    KeptAnswer,
    Link,
    Note,
    Token,
)
from syncd.core.queues import Line, Outbox
from syncd.core.run import Run, Schedule

ANSWERS_KEPT_S = 24 * 3600.0
WEBHOOKS_REMEMBERED_S = 24 * 3600.0


class State(Struct, eq=False):
    """Everything that is known after a position of the journal.

    ``at_s``: the time of that position. ``seen``: keys of webhooks accepted lately, per integration, oldest first.
    ``kept_apart``: the incidents that a person parted a record from. ``waiting``: the pending conflict of a (link,
    field). ``hint_lines``: the hints, those that have been due the longest first. ``retry_lines``: the dead letters
    that are tried again by themselves, in the order of their times. ``lags``: how far each integration's sides have
    been behind each other. ``runs``: per integration, by id, oldest first. ``set_aside``: records that are copies
    of ours, per integration, with the incident whose they claim to be. ``last_number``: the newest number given to
    a conflict, dead letter, token or run. ``history_from``: the first position that was still kept when history last
    ended. Every field becomes a part of a snapshot by its type (``capture.py``): a
    scalar, a dict, a dict of dicts, of ``Line`` or of ``Outbox``. Fields are only ever added, and all have a
    default.
    """

    position: int = 0
    at_s: float = 0.0
    journal_id: str = ""
    incidents: dict[str, Incident] = {}
    notes: dict[str, tuple[Note, ...]] = {}
    integrations: dict[str, Integration] = {}
    links: dict[str, Link] = {}
    links_of: dict[str, tuple[str, ...]] = {}
    link_of_record: dict[tuple[str, str], str] = {}
    kept_apart: dict[str, tuple[str, ...]] = {}
    conflicts: dict[str, Conflict] = {}
    waiting: dict[tuple[str, str], str] = {}
    dead_letters: dict[str, DeadLetter] = {}
    letters_of: dict[str, dict[str, None]] = {}
    retry_lines: dict[str, Line[str, tuple[float, str]]] = {}
    tokens: dict[str, Token] = {}
    answers: dict[str, KeptAnswer] = {}
    seen: dict[str, dict[str, float]] = {}
    hints: dict[str, dict[str, Hint]] = {}
    hint_lines: dict[str, Line[str, tuple[float, int, str]]] = {}
    dirty: dict[str, dict[str, str]] = {}
    outbox: dict[str, Outbox] = {}
    unlinked: dict[str, dict[str, str]] = {}
    lags: dict[str, Lags] = {}
    runs: dict[str, dict[str, Run]] = {}
    schedules: dict[str, Schedule] = {}
    set_aside: dict[str, dict[str, str]] = {}
    last_number: int = 0
    history_from: int = 0

    def integrations_of(self, organization_id: str) -> list[Integration]:
        """An organization's integrations, oldest first."""
        return [one for one in self.integrations.values() if one.settings.organization_id == organization_id]

    def links_under(self, integration_id: str) -> Iterator[Link]:
        """An integration's links, oldest first."""
        return (link for link in self.links.values() if link.integration_id == integration_id)

    def pending_conflicts(self, link_id: str) -> dict[str, Conflict]:
        """The conflicts of a link that wait for a person, by field."""
        names = {field: self.waiting.get((link_id, field)) for field in SYNCABLE_FIELDS}
        return {field: self.conflicts[name] for field, name in names.items() if name is not None}

    def letter_for(self, link_id: str, fields: tuple[str, ...], operation: str, note_id: str = "") -> DeadLetter | None:
        """The open dead letter of this group of fields, or this note, which keeps its id over failed retries."""
        for letter in self.letters_under(link_id):
            if (letter.fields, letter.operation, letter.note_id) == (fields, operation, note_id):
                return letter
        return None

    def letters_under(self, link_id: str) -> list[DeadLetter]:
        """The open dead letters of a link, oldest first."""
        return [self.dead_letters[one] for one in self.letters_of.get(link_id, ())]


def link_id(integration_id: str, incident_id: str) -> str:
    """The name of the one link an incident can have under an integration."""
    return f"{integration_id}/{incident_id}"
