"""The ports: what the actors and the doors need of each other and of the two sides, and nothing about how it is done.

The HTTP API sees the journal, the incident store and the running integrations only through these Protocols.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from msgspec import Struct

from syncd.core.daemon_status import Condition
from syncd.core.events import Change, Record, Source
from syncd.core.examination import Step
from syncd.core.groups import Group
from syncd.core.health import Health
from syncd.core.importing import Candidates, Tried
from syncd.core.lag import Lag
from syncd.core.model import Cursor, Note, Observation, Page, SeenNote
from syncd.core.people import Person
from syncd.core.reconciling import WantedRun
from syncd.core.requests import Declared, NewIncident, NewNote
from syncd.core.run import Run
from syncd.core.sending import Offset
from syncd.core.state import State
from syncd.core.views import IncidentView

T = TypeVar("T")
Decide = Callable[[State, float], Change[T]]


class Journal(Protocol):
    """The one durable truth, as the doors and actors see it (``journal/writer.py``)."""

    @property
    def state(self) -> State:
        """The newest state, possibly not durable yet."""
        ...

    @property
    def full(self) -> bool:
        """The disk has no room."""
        ...

    @property
    def silent(self) -> bool:
        """The disk has not answered for a while."""
        ...

    async def transact(self, decide: Decide[T], *, by: str, trace: str, source: Source | None = None) -> T:
        """Decide and evolve in one step; returns when what it rests on is durable. ``source``: the caller, if any."""
        ...

    async def settled(self) -> None:
        """Returns when everything in ``state`` at the call is durable."""
        ...

    async def records(self, positions: Sequence[int]) -> list[Record]:
        """Durable records by position, in the order asked."""
        ...

    @property
    def first_position(self) -> int:
        """The oldest record that is kept, 0 if there is none."""
        ...

    @property
    def resumed_position(self) -> int:
        """The newest position that was there at the start."""
        ...

    @property
    def resumed_at_s(self) -> float:
        """When the newest record was written that was there at the start; 0 if there was none."""
        ...

    @property
    def durable_position(self) -> int:
        """The last position on disk."""
        ...

    @property
    def opened_at_s(self) -> float:
        """When it was opened, which is when the daemon started."""
        ...

    @property
    def replay_s(self) -> float:
        """How long it took to read what was there."""
        ...

    @property
    def commits(self) -> Lag:
        """How long each group took until it was on disk."""
        ...

    async def footprint(self) -> tuple[int, int]:
        """How many segments there are, and how many bytes they have."""
        ...

    async def since(self, position: int, limit: int, bytes_max: int | None = None) -> list[Record]:
        """Durable records behind ``position``, oldest first: at most ``limit``, and about ``bytes_max`` bytes of them.

        At least one if there is any.
        """
        ...

    def subscribe(self, callback: Callable[[Sequence[Record]], None]) -> Callable[[], None]:
        """Have ``callback``, which never waits, called with each durable group; returns how to end that."""
        ...


Keeping = Callable[[], Condition]  # how snapshots and scrubs do (``journal/keeper.py``)


class Platform(Protocol):
    """The incident store as decisions for ``Journal.transact`` (``systems/platform.py``)."""

    def declare(
        self, wanted: NewIncident, *, incident_id: str, by: str, key: str = "", body_digest: str = ""
    ) -> Decide[Declared]:
        """Declare an incident. ``key``: who asks and a digest of their ``Idempotency-Key``, empty without one."""
        ...

    def edit(
        self, incident_id: str, changes: dict[str, str | None], *, by: str, version: int | None = None
    ) -> Decide[IncidentView]:
        """Change fields; the result is the incident after it. ``version``: the only one that may be changed."""
        ...

    def add_note(self, incident_id: str, wanted: NewNote, *, note_id: str, by: str) -> Decide[Note]:
        """Append a work note."""
        ...


class External(Protocol):
    """One ServiceNow instance (``systems/servicenow.py``): every call raises ``ExternalFailed`` or ends in a value."""

    @property
    def offset(self) -> Offset:
        """The instance's clock minus ours, as measured so far."""
        ...

    @property
    def remaining_budget(self) -> int | None:
        """Requests that the instance's hourly rule has left for us, by our own count; None without a rule."""
        ...

    @property
    def hourly_limit(self) -> int | None:
        """Requests that the instance's hourly rule allows; None without a rule, and before an answer told of it."""
        ...

    @property
    def budget_resets_in_s(self) -> float:
        """When that rule gives new requests; 0 without a rule."""
        ...

    @property
    def latency(self) -> Lag:
        """How long answers took, since it was connected."""
        ...

    async def paced(self) -> None:
        """Returns when something may begin, under a rule of so many requests an hour; at once without one."""
        ...

    async def read(self, external_ids: Sequence[str]) -> list[Observation]:
        """The records that are shown of these, at most 200."""
        ...

    async def ours(self, prefix: str, after: str) -> list[Observation]:
        """One page of records whose correlation id begins with ``prefix``, by id behind ``after``, without values."""
        ...

    async def shows_any(self) -> bool:
        """Whether our account is shown any record at all."""
        ...

    async def passing(self, external_ids: Sequence[str], import_query: str) -> frozenset[str]:
        """Which of these records an integration's import query lets in."""
        ...

    async def with_correlation(self, correlation_id: str) -> list[Observation]:
        """The records that carry exactly this correlation id."""
        ...

    async def created_after(self, cursor: Cursor) -> Page:
        """One page of records created after ``cursor``, oldest first; one that shows nothing is the end."""
        ...

    async def matching(self, query: str, after: str) -> Candidates:
        """One page of the records that match an encoded query, by id, after this one."""
        ...

    async def written_since(self, prefix: str, account: str, since_s: float) -> list[Observation]:
        """Up to 50 records, the newest first, that were made since with a correlation id that begins so, or were last
        changed since by an account; ``since_s`` is on the instance's clock.
        """
        ...

    async def changed_after(self, cursor: Cursor) -> Page:
        """One page of records changed after ``cursor``, the longest unchanged first."""
        ...

    async def notes_since(self, since_s: float) -> list[SeenNote]:
        """The work notes of any record that were written since (instance clock), oldest first."""
        ...

    async def find_person(self, text: str) -> Person:
        """Whom an e-mail address or a user name belongs to, or why nobody can be chosen."""
        ...

    async def groups_of(self, sys_id: str) -> Sequence[Group] | None:
        """The groups that a person is in; None when that cannot be known."""
        ...

    async def create(self, columns: Mapping[str, str]) -> Observation:
        """Create a record; returns the echo."""
        ...

    async def update(self, external_id: str, columns: Mapping[str, str]) -> Observation:
        """Change some columns; returns the echo."""
        ...

    async def close_codes(self) -> Sequence[str]:
        """The close codes that the instance has; none when our account may not read them."""
        ...

    async def add_note(self, external_id: str, text: str) -> Observation:
        """Append a work note; returns the echo."""
        ...

    async def count_notes(self, external_id: str, text: str, author: str) -> int | None:
        """How many work notes of a record say exactly this, written by ``author`` as far as that can be seen.

        None when our account may not read them.
        """
        ...

    async def notes(self, external_ids: Sequence[str], since_s: float) -> list[SeenNote]:
        """The work notes of these records, at most 50, that were written since (instance clock), oldest first."""
        ...

    async def instance_name(self) -> str:
        """What the instance calls itself; empty when our account may not see that."""
        ...

    async def query_faults(self) -> list[str]:
        """Which queries the instance does not keep to, as words; ``ExternalFailed`` when it keeps to none."""
        ...

    async def probe(self) -> None:
        """Ask for nothing, to find out whether the instance answers."""
        ...


class Examination(Protocol):
    """A connection test that is under way (``systems/examination.py``): an iterator of its steps, to be closed."""

    def __aiter__(self) -> AsyncIterator[Step]:
        """Itself."""
        ...

    async def __anext__(self) -> Step:
        """The next step, done; ``StopAsyncIteration`` after the last."""
        ...

    async def aclose(self) -> None:
        """End what was opened for it."""
        ...


class Progress(Struct, frozen=True):
    """How far the run that goes on is: so many of the links have been compared."""

    run_id: str
    checked: int
    total: int


class Integrations(Protocol):
    """The running integrations, by id."""

    async def reconcile(
        self, integration_id: str, wanted: WantedRun, *, by: str, trace: str, source: Source | None
    ) -> Run:
        """Begin a run; returns when it is on record. ``Busy`` when the instance is left alone at the moment,

        ``WrongState`` when another run goes on, or the integration is not running.
        """
        ...

    async def run_ended(self, integration_id: str, run_id: str) -> None:
        """Return when a run is over."""
        ...

    async def stop_run(self, integration_id: str, run_id: str, *, by: str) -> None:
        """Have a run end where it stands; ``WrongState`` when it does not go on."""
        ...

    def progress(self, integration_id: str) -> Progress | None:
        """How far the run that goes on is; None when none does. Never waits."""
        ...

    async def link(
        self, integration_id: str, incident_id: str, external_id: str, *, by: str, trace: str, source: Source | None
    ) -> None:
        """Read the record and join the pair; returns when the link is durable.

        ``Unknown`` when ServiceNow does not show the record, ``Exists`` when one of the two was linked meanwhile,
        ``Busy`` when it cannot be read now, ``WrongState`` when the integration is not running.
        """
        ...

    def check_runs(self, integration_id: str) -> None:
        """``WrongState`` when the integration is not running."""
        ...

    async def try_import(self, integration_id: str, query: str, *, run_id: str, by: str) -> Tried:
        """Look what an import would bring in, and change nothing; ``Busy``, ``WrongState`` as for ``link``."""
        ...

    async def import_over(self, integration_id: str) -> None:
        """Returns when no import of this integration is under way; ``WrongState`` when it is not running."""
        ...

    def examine(self, integration_id: str, *, writes: bool) -> Examination:
        """A connection test, for one that is not running as well. ``CannotUnseal`` when its credentials do not open."""
        ...

    def health(self, integration_id: str) -> Health:
        """Never waits; a ``Health()`` for one that is not running."""
        ...
