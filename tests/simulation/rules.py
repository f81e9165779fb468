"""Whose edits may spread and who owns a field, as the rules stood when something happened, and what then holds.

Told by the journal in its order, so no clock is needed: what a rule forbids may not stand there while it lasts
(docs/sync.md, "Who owns a field" and "Directions").
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Protocol

from msgspec import Struct, UnsetType

from syncd.core.events import (
    Event,
    IncidentDeclared,
    IntegrationChanged,
    IntegrationConfigured,
    Merged,
    OwnershipChanged,
    SendStarted,
)
from syncd.core.model import OwnershipRule, Settings
from tests.simulation.places import Places

BOTH_WAYS: Final = frozenset({"in", "out"})
WAYS: Final = {"bidirectional": BOTH_WAYS, "inbound": frozenset({"in"}), "outbound": frozenset({"out"})}
STAYS: Final = {"not-inbound": "in", "not-outbound": "out"}


class Value(Protocol):
    """A value as one side held it."""

    @property
    def at(self) -> float:
        """Since when."""

    @property
    def value(self) -> str:
        """In platform terms."""

    @property
    def by_person(self) -> bool:
        """An edit."""


class Owned(Struct, frozen=True):
    """A rule, and since when it holds and edits of both sides may spread."""

    rule: OwnershipRule
    since: float


class Rules:
    """``ways``: in which directions edits may spread now. ``apart``: incidents that were declared to get no record.

    ``turned``: when the settings changed. ``ever_stayed``, ``put_back``: fields of incidents to which that happened.
    """

    def __init__(self, places: Places) -> None:
        self.places = places
        self.ways: frozenset[str] = BOTH_WAYS
        self.apart: set[str] = set()
        self.met: Counter[str] = Counter()
        self.turned: list[float] = []
        self.was_enabled = False
        """Once at least; what either side had before is not new."""
        self._owned: dict[str, Owned] = {}
        self._direction = "bidirectional"
        self._mapped: set[str] = set()
        self.ever_stayed: set[tuple[str, str]] = set()
        self.put_back: set[tuple[str, str]] = set()
        self._stayed: set[tuple[str, str]] = set()

    @property
    def runs(self) -> bool:
        """Anything is decided at all."""
        return bool(self.ways)

    def heard(self, event: Event, at: float) -> None:
        """Hear of an event; ``AssertionError`` for one that the rules of this moment forbid."""
        match event:
            case IntegrationConfigured():
                self._turn(event.integration.settings, at)
            case IntegrationChanged():
                self._turn(event.settings, at)
            case OwnershipChanged(rule=OwnershipRule() as rule):
                self._owned[event.field] = Owned(rule, at)
                self.met["ownership: exclusive" if rule.exclusive else "ownership: set"] += 1
            case OwnershipChanged():
                self._owned.pop(event.field, None)
                self.met["ownership: default restored"] += 1
            case IncidentDeclared(origin=origin) if origin:
                assert "in" in self.ways, f"{event.incident_id} came in while nothing may"
            case IncidentDeclared() if self._direction == "inbound" or not self.was_enabled:
                self.apart.add(event.incident_id)
            case SendStarted():
                assert "out" in self.ways, f"{event.link_id} was written while nothing may go out"
                kept = [field for field in event.attempt.sent if not self.places.may_spread(field, "out")]
                is_update = event.attempt.kind == "update"
                assert not (is_update and kept), f"{event.link_id} {kept}: written against the field's own direction"
            case Merged():
                self._merged(event)
            case _:
                pass

    def _turn(self, settings: Settings, at: float) -> None:
        direction, enabled = settings.sync_direction, settings.enabled
        mapped = {one.field for one in settings.field_mapping}
        self.met["field mapped"] += bool(mapped - self._mapped)
        self.met["mapping taken back"] += bool(self._mapped - mapped)
        self._mapped = mapped
        before, self._direction = self.ways, direction
        self.turned.append(at)
        self.met["first enabled later"] += enabled and not self.was_enabled and len(self.turned) > 1
        self.was_enabled |= enabled
        self.ways = WAYS.get(direction, frozenset()) if enabled else frozenset()
        if self.ways != before:
            self._owned = {field: Owned(one.rule, at) for field, one in self._owned.items()}
            self.met[f"direction: {direction if enabled else 'disabled'}"] += 1

    def _merged(self, event: Merged) -> None:
        assert self.runs, f"{event.link_id} was decided while nothing is"
        incident_id = event.link_id.partition("/")[2]
        for one in event.decided:
            taken = not isinstance(one.value, UnsetType)
            may_come_in = "in" in self.ways and self.places.may_spread(one.field, "in")
            assert may_come_in or not taken, f"{event.link_id} {one.field} came in while it may not"
            way = STAYS.get(one.reason)
            if way is not None or (one.reason == "one-empty" and (self.ways != BOTH_WAYS or one.field in self._mapped)):
                assert way not in self.ways or one.field in self._mapped, (
                    f"{event.link_id} {one.field}: {one.reason}, and it may"
                )
                self._stayed.add((incident_id, one.field))
                self.ever_stayed.add((incident_id, one.field))
                self.met["edit stayed on its own half"] += 1
            if one.reason == "exclusive":
                self.put_back.add((incident_id, one.field))
                self.met["owner's value put back"] += 1
            self.met["put back too often"] += one.reason == "put-back-too-often"

    def moved(self, fields: set[str]) -> None:
        """These fields stand in another column now: both sides meet there anew."""
        self._stayed = {place for place in self._stayed if place[1] not in fields}

    def agreed(self, incident_id: str, field: str) -> None:
        """Both sides hold the same: what had stayed on one of them is of the past."""
        self._stayed.discard((incident_id, field))

    def stays(self, incident_id: str, field: str) -> bool:
        """An edit that was not to spread stayed where it was made, and both sides have not agreed since."""
        return (incident_id, field) in self._stayed

    def check_owner(self, field: str, sides: Mapping[str, Iterable[Value]], settled: Iterable[float], now: str) -> None:
        """An edit against an exclusive owner, since the rule holds, does not stand on the owner's side.

        ``sides``: what each has held; ``settled``: when persons decided conflicts over the field; ``now``: the
        owner's value at the end.
        """
        owned = self._owned.get(field)
        if owned is None or not owned.rule.exclusive or self.ways != BOTH_WAYS:
            return
        if any(at >= owned.since for at in settled):
            return
        owner, other = owned.rule.owner, "external" if owned.rule.owner == "platform" else "platform"
        mine, theirs = list(sides[owner]), list(sides[other])
        since = max(owned.since, mine[0].at if mine else 0.0)  # before there was a record, nothing stood against it
        against = [one for one in theirs[1:] if one.by_person and one.at > since]
        own = {one.value for one in mine if one.by_person or one is mine[0] or one.at <= owned.since}
        if against:
            self.met["edited against an exclusive owner"] += 1
        taken = [one for one in against if one.value == now and now not in own]
        assert not taken, f"{field}: {taken} stands against {owned}, which had {mine}"

    def owner(self, field: str) -> str:
        """Who owns a field by a rule that was set; empty where none is."""
        owned = self._owned.get(field)
        return owned.rule.owner if owned is not None else ""
