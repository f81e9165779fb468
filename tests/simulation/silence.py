"""What changed in records without anybody being told, and what may then become of it.

A script may change records and leave stamps, rules and webhooks alone. Nobody may learn of that but by a look at all
links: a run that heals, or a start. Where a look would close, clear or park too many at once, the brake holds it, and
nothing of it may be taken, parked or written until a person has forced it (docs/sync.md, "The brake"). Has its own idea
of what the brake counts.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from msgspec import Struct, UnsetType

from syncd.core.events import (
    ConflictSettled,
    DeadLetterRetried,
    Event,
    Hinted,
    IncidentEdited,
    IntegrationChanged,
    LinkParked,
    LinkReleased,
    Merged,
    OwnershipChanged,
    RunEnded,
    RunPlanned,
    RunStarted,
    SendSettled,
    SendStarted,
    Swept,
)
from syncd.core.model import Hint
from syncd.core.run import Run
from tests.simulation.ledger import Ledger, incident_of

SHUT: Final = ("resolved", "closed", "canceled")
LINKS_MIN: Final = 10
A_FIFTH: Final = 5


class Silent(Struct, frozen=True):
    """A record's ``field`` came to hold ``value`` at ``at``, in this life; empty: it is not shown any more."""

    at: float
    life: int
    sys_id: str
    field: str
    value: str


class Silence:
    """``held``: what changed silently, by record and field, until somebody is told or it is taken over.

    ``life``: the number of the daemon's present life. ``is_blind``: our account is shown no record at all.
    """

    def __init__(self, ledger: Ledger, life: Callable[[], int]) -> None:
        self.held: dict[tuple[str, str], Silent] = {}
        self.met: Counter[str] = Counter()
        self.is_blind = False
        self._ledger, self._life = ledger, life
        self._looked_at = self._forced_at = 0.0
        self._runs: dict[str, Run] = {}
        self._edited: set[str] = set()
        self._swept = 0

    def changed(self, at: float, sys_id: str, field: str, value: str) -> None:
        """Say that a record was changed in silence, or is not shown any more."""
        ours = self._ledger.platform.get((self._ledger.incident_of.get(sys_id, ""), field), [])
        if ours and ours[-1].value == value:
            self.held.pop((sys_id, field), None)  # it is again as it was
            return
        self.held[sys_id, field] = Silent(at, self._life(), sys_id, field, value)

    def shown_again(self) -> None:
        """What was not shown is shown again."""
        self.held = {place: one for place, one in self.held.items() if one.field}

    def told(self, sys_id: str) -> None:
        """Somebody has been told to look at this record."""
        for place in [place for place in self.held if place[0] == sys_id]:
            del self.held[place]

    @property
    def limit(self) -> int:
        """So many links may be closed, cleared or parked at once."""
        return max(LINKS_MIN, len(self._ledger.incident_of) // A_FIFTH)

    @property
    def heavy(self) -> set[str]:
        """The records that the brake must count, by what is known here."""
        return {one.sys_id for one in self.held.values() if self._is_heavy(one)}

    @property
    def is_to_be_braked(self) -> bool:
        """A look at all links must not be acted upon as it is."""
        return len(self.heavy) > self.limit

    def heard(self, event: Event, at: float) -> None:
        """Hear of an event; ``AssertionError`` for one that nobody was told to make, or that the brake forbids."""
        match event:
            case RunStarted():
                self._runs[event.run.id] = event.run
            case RunPlanned():
                self._looked_at = at
                self._forced_at = at if self._runs[event.run_id].forced else self._forced_at
            case RunEnded():
                self._run_ended(event)
            case IntegrationChanged() | OwnershipChanged():
                self._looked_at, self._swept = at, 0  # its actors begin anew, with a look
            case Swept():
                self._swept = self._life()
            case Merged():
                values = {one.field: one.value for one in event.decided if not isinstance(one.value, UnsetType)}
                self._taken(self._ledger.record_of(incident_of(event.link_id)), values)
            case LinkParked(gone_there=True):
                sys_id = self._ledger.record_of(incident_of(event.link_id))
                is_missed = not self.is_blind or sys_id in self._edited  # a write found it missing
                assert is_missed, f"{event.link_id} was parked while nothing at all is shown"
                self._taken(sys_id, {"": ""})
            case SendStarted():
                self._written(self._ledger.record_of(incident_of(event.link_id)))
            case IncidentEdited():
                self._edited.add(self._ledger.record_of(event.incident_id))
                self.told(self._ledger.record_of(event.incident_id))
            case _:
                for sys_id in self._told_by(event):
                    self.told(sys_id)

    def _told_by(self, event: Event) -> Iterable[str]:
        """The records that somebody is told to look at."""
        match event:
            case Hinted(hint=Hint()):
                return [event.external_id]
            case LinkReleased() | DeadLetterRetried():
                return [self._ledger.record_of(incident_of(event.link_id))]
            case ConflictSettled():
                return [self._ledger.conflicts[event.conflict_id].external_id]
            case SendSettled():  # what was refused in the same words is tried again
                return [letter.external_id for letter in self._ledger.letters]
            case _:
                return ()

    def _run_ended(self, event: RunEnded) -> None:
        run = self._runs[event.run_id]
        self.met[f"run: {run.mode}{', forced' if run.forced else ''}"] += event.status == "finished"
        self.met["brake tripped"] += event.stopped_by == "brake"
        self.met["blind look stopped"] += event.stopped_by == "answers"
        assert not (run.forced and event.stopped_by == "brake"), f"{run.id} was forced, and stopped: {event.reason}"

    def _is_heavy(self, one: Silent) -> bool:
        if not one.field:
            return True
        held = self._ledger.platform.get((self._ledger.incident_of.get(one.sys_id, ""), one.field), [])
        before = held[-1].value if held else ""
        if one.field == "status":
            return one.value in SHUT and before not in SHUT
        return bool(before) and not one.value

    def _taken(self, sys_id: str, values: dict[str, str]) -> None:
        for field, value in values.items():
            one = self.held.get((sys_id, field))
            if one is None or one.value != self._ledger.meant(field, value):
                continue
            is_starting = self._swept != self._life()  # the look at the start is not over
            looks = is_starting or self._looked_at >= one.at or self._life() > one.life
            assert looks, f"{one} was taken over, and nobody was told to look"
            self._check_brake(one, "taken over")
            self.met["silent change taken over"] += 1
            del self.held[sys_id, field]

    def _written(self, sys_id: str) -> None:
        for one in self._of(sys_id):
            self._check_brake(one, "written")
        self.told(sys_id)  # it was read just before

    def _check_brake(self, one: Silent, what: str) -> None:
        is_forced = self._forced_at >= one.at and self._forced_at > 0.0
        is_free = is_forced or not self._is_heavy(one) or not self.is_to_be_braked
        assert is_free, f"{what} past the brake: {one}, one of {len(self.heavy)}, and {self.limit} may be"

    def _of(self, sys_id: str) -> Iterable[Silent]:
        return [one for (name, _), one in self.held.items() if name == sys_id]
