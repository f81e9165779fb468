"""What the sync owes to people: no value of theirs is lost, and no work is forgotten (docs/sync.md, "Promises").

The ledger remembers what each field held on both sides, and whose edit it was.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from msgspec import UNSET

from syncd.core.deciding import plan
from syncd.core.events import Event, Merged
from syncd.core.lens import DEFAULT_LENS
from syncd.core.looks import waits_for_look
from syncd.core.model import SYNCED_FIELDS, FieldBase, Half, Incident, Link
from syncd.core.outbox import next_entries
from syncd.core.queues import AGED_S, Outbox
from syncd.core.state import State

T = TypeVar("T")

INTEGRATION: Final = "int_1"
TITLE_COLUMN_LETTERS: Final = 12


class Lost(AssertionError):
    """A person's value is nowhere to be found any more."""


class Ledger:
    """``now`` counts steps."""

    def __init__(self) -> None:
        self.now = 0
        # What each field held, and since when: (step, value), by (incident, field) and by (record, field).
        self.on_platform: dict[tuple[str, str], list[tuple[int, str]]] = {}
        self.on_external: dict[tuple[str, str], list[tuple[int, Half]]] = {}
        # The step of a person's edit that still stands where it was made.
        self.mine: dict[tuple[str, str], int] = {}
        self.theirs: dict[tuple[str, str], int] = {}
        # Edits back to what both sides had agreed on when they were made: no change.
        self.back: set[tuple[str, str]] = set()

    def recorded(
        self, state: State, before: dict[str, Incident], links: dict[str, Link], events: tuple[Event, ...], by: str
    ) -> None:
        """A record was applied; ``before`` and ``links``: incidents and links as they had been."""
        is_merge = any(isinstance(event, Merged) for event in events)
        for name, incident in state.incidents.items():
            for field in SYNCED_FIELDS:
                value = incident.value(field) or ""
                earlier = before[name].value(field) or "" if name in before else None
                if value == earlier:
                    continue
                if is_merge and earlier is not None:
                    self._replaced_here(state, name, field, earlier, links)
                    self.mine.pop((name, field), None)
                elif not by.startswith("integration:") and (value or earlier is not None):
                    self.mine[name, field] = self.now
                    self.back.discard((name, field))
                    bases = [one.base.get(field, FieldBase()) for one in links.values() if one.incident_id == name]
                    if any(one.platform == value and not is_apart(one, field) for one in bases):
                        self.back.add((name, field))
                self.on_platform.setdefault((name, field), []).append((self.now, value))

    def stored(self, external_id: str, field: str, shown: Half, *, is_ours: bool) -> None:
        """A field of a record has another value now."""
        self.on_external.setdefault((external_id, field), []).append((self.now, shown))
        if is_ours:
            self.theirs.pop((external_id, field), None)
        else:
            self.theirs[external_id, field] = self.now

    def _replaced_here(self, state: State, incident_id: str, field: str, value: str, links: dict[str, Link]) -> None:
        """The sync took another value over: a person's value must have reached ServiceNow, or be on record."""
        since = self.mine.get((incident_id, field))
        if since is None or self._on_record(state, incident_id, field, value):
            return
        for link in (one for one in links.values() if one.incident_id == incident_id):
            history = self.on_external.get((link.external_id, field), [])
            if (incident_id, field) in self.back or was(history, since, lambda shown: is_cut(value, shown)):
                return
        msg = f"{field} {value!r} of {incident_id}, set by a person, was replaced and is nowhere"
        raise Lost(msg)

    def replaced_there(self, state: State, external_id: str, field: str, value: Half) -> None:
        """Our write replaced an agent's value: it must have reached the incident, or be on record."""
        since = self.theirs.get((external_id, field))
        link = state.links.get(state.link_of_record.get((INTEGRATION, external_id), ""))
        if since is None or link is None or not isinstance(value, str):
            return
        base = link.base[field]
        is_unchanged = DEFAULT_LENS.meaning(field, base.external) == value and not is_apart(base, field)
        if is_unchanged or self._on_record(state, link.incident_id, field, value):
            return
        if was(self.on_platform.get((link.incident_id, field), []), since, lambda held: is_cut(held, value)):
            return
        msg = f"{field} {value!r} of {external_id}, set by an agent, was overwritten and is nowhere"
        raise Lost(msg)

    def _on_record(self, state: State, incident_id: str, field: str, value: str) -> bool:
        kept = [one for one in state.conflicts.values() if (one.incident_id, one.field) == (incident_id, field)]
        return any(value in {one.platform, one.external} for one in kept)


def is_apart(base: FieldBase, field: str) -> bool:
    """A value stayed where it was made, and the other side holds another one, so the halves are no common past."""
    return bool(base.untold) and base.platform != DEFAULT_LENS.meaning(field, base.external)


def is_cut(value: str, shown: Half) -> bool:
    """The same, or what the title column's limit leaves of it."""
    return shown == value or (isinstance(shown, str) and shown == value[:TITLE_COLUMN_LETTERS].rstrip() and shown != "")


def was(history: list[tuple[int, T]], since: int, matches: Callable[[T], bool]) -> bool:
    """Whether it held such a value at ``since`` or at any time after it."""
    earlier = [value for step, value in history if step <= since][-1:]
    return any(matches(value) for value in [*earlier, *(value for step, value in history if step > since)])


def check_outbox(state: State, integration_id: str, waiting: list[Link]) -> None:
    """The outbox's order is that of its links and their incidents."""
    outbox = state.outbox.get(integration_id, Outbox())
    assert set(outbox) == {link.id for link in waiting}
    due = []
    for link in waiting:
        since_s = [entry.since_s for entry in next_entries(link) if entry.next_at_s <= state.at_s]
        if since_s:
            due.append((state.incidents[link.incident_id].severity, min(since_s), link.id))
    aged = sorted(place[1:] for place in due if place[1] <= state.at_s - AGED_S)
    young = sorted(place for place in due if place[1] > state.at_s - AGED_S)
    wanted = [name for *_, name in (*aged, *young)]
    assert outbox.due(state.at_s, frozenset(), len(waiting)) == wanted


def check_work_lists(state: State) -> None:
    """The lists that actors look for work in say exactly what the links, conflicts and incidents say."""
    links = state.links.values()
    for integration_id in {*state.integrations, *state.outbox, *state.dirty, *state.hints, *state.unlinked}:
        own = [link for link in links if link.integration_id == integration_id]
        check_outbox(state, integration_id, [link for link in own if link.outbox is not None or link.notes])
        hints = state.hints.get(integration_id, {})
        places = sorted((hint.next_at_s, hint.position, name) for name, hint in hints.items())
        assert (state.hint_lines[integration_id].order if hints else []) == places
        letters = [one for one in state.dead_letters.values() if one.integration_id == integration_id]
        retries = sorted((one.retry_at_s, one.id) for one in letters if one.retry_at_s is not None)
        assert (state.retry_lines[integration_id].order if letters else []) == retries
        assert set(state.dirty.get(integration_id, {})) <= {link.id for link in own}
        waiting = state.unlinked.get(integration_id, {})
        assert not {link.incident_id for link in own} & set(waiting)
        assert set(waiting) <= set(state.incidents)
        for name, hint in state.hints.get(integration_id, {}).items():
            assert hint.external_id == name
            assert hint.position <= state.position
    assert {link.integration_id for link in links} <= set(state.integrations)
    records = {(link.integration_id, link.external_id): link.id for link in links if link.external_id}
    assert state.link_of_record == records
    for incident_id in state.incidents:
        assert sorted(state.links_of.get(incident_id, ())) == sorted(
            link.id for link in links if link.incident_id == incident_id
        )
    pending = {
        (f"{one.integration_id}/{one.incident_id}", one.field): one.id
        for one in state.conflicts.values()
        if one.status == "pending"
    }
    assert state.waiting == pending
    assert {letter.link_id for letter in state.dead_letters.values()} <= set(state.links)
    by_link = {one: set(names) for one, names in state.letters_of.items()}
    assert by_link == {
        link_id: {letter.id for letter in state.dead_letters.values() if letter.link_id == link_id}
        for link_id in {letter.link_id for letter in state.dead_letters.values()}
    }
    for link in links:
        if link.state == "parked":
            assert link.id not in state.dirty.get(link.integration_id, {})
            assert link.outbox is None
            assert next_entries(link) == ()
            continue
        assert (link.state == "pending") == (link.external_id == "")
        integration = state.integrations[link.integration_id]
        is_told = link.id in state.dirty.get(link.integration_id, {})
        if waits_for_look(link) and not is_told:
            assert link.external_id in state.hints.get(link.integration_id, {}), "a look is waited for, and none is due"
        if not is_told and integration.settings.runs:
            merged, _ = plan(link, state.incidents[link.incident_id], integration, state, 0.0)
            forgotten = [one for one in merged.decided if one.value is not UNSET]
            assert not forgotten, "an edit to take over, and the link is not marked"
            assert not merged.must_write or link.outbox is not None, "something to write, and nothing says so"
