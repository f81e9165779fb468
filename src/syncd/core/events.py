"""What can happen: the journal's vocabulary, facts in the past tense, each with all that the fold needs.

Events only ever gain optional fields; a changed meaning gets a new tag (docs/journal.md, "Compatibility"). One record
is one transaction: all of its events or none.
"""

from typing import Generic, Literal, TypeAlias, TypeVar

from msgspec import UNSET, Struct, UnsetType

from syncd.core.model import (
    Attempt,
    Conflict,
    DeadLetter,
    Failure,
    Halves,
    Hint,
    ImportRun,
    Integration,
    KeptAnswer,
    LeftOut,
    NoteAttempt,
    Observation,
    OwnershipRule,
    PinnedInstance,
    Reroute,
    Rule,
    Settings,
    Severity,
    Status,
    Token,
    WebhookSecret,
)
from syncd.core.model import SealedSecret as Sealed
from syncd.core.reasons import Settling
from syncd.core.run import Drift, Run, RunStatus, Schedule, StoppedBy

T = TypeVar("T")

DAEMON_STREAM = "daemon"


class DaemonBorn(Struct, frozen=True, tag=True):
    """The first record of a journal: its identity, part of what seals a secret into its slot."""

    journal_id: str


class HistoryEnded(Struct, frozen=True, tag=True):
    """Records before ``first_position`` are no longer kept."""

    first_position: int


class TokenCreated(Struct, frozen=True, tag=True):
    """A token may be used from now on."""

    token: Token


class TokenRevoked(Struct, frozen=True, tag=True):
    """A token is refused from now on."""

    token_id: str


class TokenUsed(Struct, frozen=True, tag=True):
    """A token was used; told at most once an hour for each."""

    token_id: str


class IncidentDeclared(Struct, frozen=True, tag=True):
    """A new incident. ``origin``: the integration whose record it came from, empty for one declared here.

    ``trace``, here and below: the change's own id, where one record tells of several changes (``traces.py``).
    """

    incident_id: str
    title: str
    severity: Severity
    status: Status = "open"
    description: str = ""
    assigned_to: str | None = None
    service: str | None = None
    origin: str = ""
    trace: str = ""


class IncidentEdited(Struct, frozen=True, tag=True):
    """Effective changes only: a field that got the value it had is not in ``changes``."""

    incident_id: str
    changes: dict[str, str | None]


class NoteAdded(Struct, frozen=True, tag=True):
    """A work note, for ever. ``external_id``: its id where it came from. ``written_at_s``: when it was written there,
    on our clock; None: when it was added here. ``only_to``: the integration whose record alone gets it.
    """

    incident_id: str
    note_id: str
    text: str
    author: str
    origin: str = "platform"
    external_id: str = ""
    written_at_s: float | None = None
    only_to: str = ""
    trace: str = ""


class NoteNamed(Struct, frozen=True, tag=True):
    """A work note that came in without an id of its own has got one: the journal table shows it at last."""

    incident_id: str
    note_id: str
    external_id: str


class AnswerKept(Struct, frozen=True, tag=True):
    """The first answer to an ``Idempotency-Key``. ``key``: who asked and a digest of the key, as one word."""

    key: str
    kept: KeptAnswer


class IntegrationConfigured(Struct, frozen=True, tag=True):
    """A new integration."""

    integration: Integration


class IntegrationChanged(Struct, frozen=True, tag=True):
    """New settings; ``credentials`` UNSET: as they were. ``confirmed``: whichever instance is there now is the one."""

    integration_id: str
    settings: Settings
    credentials: dict[str, Sealed] | UnsetType = UNSET
    account: str | UnsetType = UNSET
    confirmed: bool = False


class InstancePinned(Struct, frozen=True, tag=True):
    """From now on no other instance is taken for this one."""

    integration_id: str
    instance: PinnedInstance


class LoginRefused(Struct, frozen=True, tag=True):
    """The instance has refused the credentials more than once; ``until_s``: they are not tried before."""

    integration_id: str
    until_s: float


class LoginAccepted(Struct, frozen=True, tag=True):
    """The instance lets the credentials in that it had refused."""

    integration_id: str


class JournalBehind(Struct, frozen=True, tag=True):
    """The instance shows what only a later life of this journal can have written there; ``evidence``: one sentence."""

    integration_id: str
    evidence: str


class OwnershipChanged(Struct, frozen=True, tag=True):
    """Another rule for who owns a field; None: the default again."""

    integration_id: str
    field: str
    rule: OwnershipRule | None


class WebhookSecretsChanged(Struct, frozen=True, tag=True):
    """The secrets that are valid now, newest first."""

    integration_id: str
    secrets: tuple[WebhookSecret, ...]


class IntegrationDeleted(Struct, frozen=True, tag=True):
    """The integration, its links and their queues are gone; incidents and records stay as they are."""

    integration_id: str


class Hinted(Struct, frozen=True, tag=True):
    """An authentic webhook. ``hint`` None: what it names had been read already. ``key``: what makes it a duplicate.

    ``body``: its text, kept as evidence and never applied. ``rule``: who sent it, where that is new; ``occasion``: what
    sets that rule off.
    """

    integration_id: str
    external_id: str
    hint: Hint | None
    key: str = ""
    body: str = ""
    rule: Rule | None = None
    occasion: str = ""


class HintsSettled(Struct, frozen=True, tag=True):
    """Read: hints up to ``upto`` are settled, with the counts that were seen (None: the record was not shown)."""

    integration_id: str
    upto: int
    counts: dict[str, int | None]


class HintsPostponed(Struct, frozen=True, tag=True):
    """The answer showed less than the hints named: to be read again."""

    integration_id: str
    hints: tuple[Hint, ...]


class Swept(Struct, frozen=True, tag=True):
    """All links were read, and new records looked for up to ``upto_s`` on the instance's clock.

    ``new_since_s``: when the integration was first enabled, on that clock, if nobody had told yet.
    """

    integration_id: str
    upto_s: float
    new_since_s: float | None = None


class Polled(Struct, frozen=True, tag=True):
    """Polls have seen the changes of all records up to ``upto_s`` on the instance's clock, late commits apart."""

    integration_id: str
    upto_s: float


class RunStarted(Struct, frozen=True, tag=True):
    """A reconcile run is to be made; it goes on until its ``RunEnded``."""

    run: Run


class RunPlanned(Struct, frozen=True, tag=True):
    """What a run has found; healing, if it heals, comes after this. ``found``: how many of each cause."""

    integration_id: str
    run_id: str
    checked: int
    drifts: tuple[Drift, ...]
    found: dict[str, int]


class RunEnded(Struct, frozen=True, tag=True):
    """The run is over. ``drifts`` None: as they were planned. ``checked`` None as well."""

    integration_id: str
    run_id: str
    status: RunStatus
    reason: str = ""
    stopped_by: StoppedBy = ""
    checked: int | None = None
    drifts: tuple[Drift, ...] | None = None
    found: dict[str, int] = {}
    healed: int = 0


class ScheduleSet(Struct, frozen=True, tag=True):
    """When reconcile runs begin by themselves, from now on."""

    integration_id: str
    schedule: Schedule


class DuplicateSetAside(Struct, frozen=True, tag=True):
    """A record that carries our correlation id beside the one that is linked: known, and left alone."""

    integration_id: str
    external_id: str
    incident_id: str


class ImportStarted(Struct, frozen=True, tag=True):
    """Existing records are brought in; or an import goes on where it was."""

    integration_id: str
    run: ImportRun


class ImportAdvanced(Struct, frozen=True, tag=True):
    """The import has looked at the records up to ``cursor``. ``counts``: how many of them, by what came of it."""

    integration_id: str
    cursor: str
    counts: dict[str, int]
    total: int | None = None
    left: tuple[LeftOut, ...] = ()


class ImportEnded(Struct, frozen=True, tag=True):
    """The import is over: ``finished``, or ``stopped`` for a reason."""

    integration_id: str
    status: Literal["finished", "stopped"]
    reason: str = ""


class LinkOpened(Struct, frozen=True, tag=True):
    """An incident is to have a record under this integration."""

    link_id: str
    integration_id: str
    incident_id: str
    trace: str = ""


class LinkJoined(Struct, frozen=True, tag=True):
    """The link has its record. ``settled``: what each side holds, for fields that agree by construction.

    ``asked``: where the journal was when the look was asked for; 0 where that is not known.
    """

    link_id: str
    integration_id: str
    incident_id: str
    observation: Observation
    settled: dict[str, Halves] = {}
    offset_s: float = 0.0
    offset_error_s: float = 1.0
    trace: str = ""
    asked: int = 0


class LinkRemoved(Struct, frozen=True, tag=True):
    """A person unlinked the pair; it stays unlinked until a person links it again."""

    link_id: str


class LinkParked(Struct, frozen=True, tag=True):
    """It is left alone until something about it is new: we failed on it twice, its record is closed there, or gone.

    ``gone_there``: twice not shown; deleted and hidden look the same.
    """

    link_id: str
    reason: str
    closed_there: bool = False
    gone_there: bool = False


class LinkReleased(Struct, frozen=True, tag=True):
    """A parked link is tried again."""

    link_id: str


class DifferenceAccepted(Struct, frozen=True, tag=True):
    """Both sides keep what they have of these fields, and that settles them until one of them changes."""

    link_id: str
    halves: dict[str, Halves]
    reason: Settling


class ClosingLearned(Struct, frozen=True, tag=True):
    """Whether our account may close a record there, as its answers tell."""

    integration_id: str
    may_close: bool


class Observed(Struct, frozen=True, tag=True):
    """A mapped value is new. ``offset_s``, ``offset_error_s``: the instance's clock minus ours, as measured then.

    ``asked``: where the journal was when the look was asked for; 0 where that is not known.
    """

    link_id: str
    observation: Observation
    offset_s: float = 0.0
    offset_error_s: float = 1.0
    trace: str = ""
    asked: int = 0


class FieldDecided(Struct, frozen=True):
    """One field's decision. ``halves``: the pair base after it. ``value``: what the platform takes over, if it does."""

    field: str
    reason: str
    halves: Halves
    value: str | UnsetType = UNSET


class Merged(Struct, frozen=True, tag=True):
    """The link was merged: decisions, the incident's new values, conflicts and the outbox mark are one fact."""

    link_id: str
    decided: tuple[FieldDecided, ...]
    conflicts: tuple[Conflict, ...] = ()
    must_write: bool = False


class SendStarted(Struct, frozen=True, tag=True):
    """On record before the request leaves."""

    link_id: str
    attempt: Attempt


class SendSettled(Struct, frozen=True, tag=True):
    """The write is known to have happened. ``halves``: value sent and value echoed, for each field it carried.

    ``unseen_writes``: so often the record was written by others (or by rules) between our read and our write, which
    overwrote what they may have put into those fields; the record's own history has it.
    """

    link_id: str
    attempt: int
    observation: Observation
    halves: dict[str, Halves]
    offset_s: float = 0.0
    offset_error_s: float = 1.0
    unseen_writes: int = 0


class SendFailed(Struct, frozen=True, tag=True):
    """It did not succeed, as far as can be known. ``ambiguous``: it may have happened all the same.

    ``separately``: the groups of fields go one by one next; ``reroute``: what goes along with the assignee then.
    """

    link_id: str
    failure: Failure
    next_at_s: float
    ambiguous: bool
    separately: bool = False
    reroute: Reroute | None = None


class SendCleared(Struct, frozen=True, tag=True):
    """A fresh read shows that nothing remains to be written."""

    link_id: str


class NoteSendStarted(Struct, frozen=True, tag=True):
    """A work note is on record before its request leaves."""

    link_id: str
    note_id: str
    attempt: NoteAttempt


class NoteSent(Struct, frozen=True, tag=True):
    """The record has the note, once. ``mod_count``: what the echo showed; None when it was found by looking."""

    link_id: str
    note_id: str
    mod_count: int | None = None


class NoteSendFailed(Struct, frozen=True, tag=True):
    """The note could not be sent. ``ambiguous``: it may be there all the same."""

    link_id: str
    note_id: str
    failure: Failure
    next_at_s: float
    ambiguous: bool


class NotesRead(Struct, frozen=True, tag=True):
    """The work notes of these links' records were read, as of these counts; ``upto_s``: the newest stamps there."""

    counts: dict[str, int | None]
    upto_s: dict[str, float] = {}


class DeadLettered(Struct, frozen=True, tag=True):
    """Refused for good. ``hold``: the fields are not sent again until something changes (else: kept otherwise)."""

    letter: DeadLetter
    hold: bool


class DeadLetterRetried(Struct, frozen=True, tag=True):
    """To be read and decided anew, now."""

    letter_id: str
    link_id: str = ""


class DeadLetterDiscarded(Struct, frozen=True, tag=True):
    """The difference is accepted until the next edit of those fields."""

    letter_id: str
    link_id: str = ""


class ConflictSettled(Struct, frozen=True, tag=True):
    """A person decided (``winner``), or nobody wants to (None: ignored)."""

    conflict_id: str
    winner: str | None
    value: str | UnsetType = UNSET
    link_id: str = ""


Event: TypeAlias = (
    DaemonBorn
    | HistoryEnded
    | TokenCreated
    | TokenRevoked
    | TokenUsed
    | IncidentDeclared
    | IncidentEdited
    | NoteAdded
    | AnswerKept
    | IntegrationConfigured
    | IntegrationChanged
    | OwnershipChanged
    | InstancePinned
    | LoginRefused
    | LoginAccepted
    | JournalBehind
    | WebhookSecretsChanged
    | IntegrationDeleted
    | Hinted
    | HintsSettled
    | HintsPostponed
    | Swept
    | Polled
    | RunStarted
    | RunPlanned
    | RunEnded
    | ScheduleSet
    | DuplicateSetAside
    | ImportStarted
    | ImportAdvanced
    | ImportEnded
    | LinkOpened
    | LinkJoined
    | LinkRemoved
    | LinkParked
    | LinkReleased
    | DifferenceAccepted
    | ClosingLearned
    | Observed
    | Merged
    | SendStarted
    | SendSettled
    | SendFailed
    | SendCleared
    | NoteSendStarted
    | NoteSent
    | NoteSendFailed
    | NotesRead
    | NoteNamed
    | DeadLettered
    | DeadLetterRetried
    | DeadLetterDiscarded
    | ConflictSettled
)


class Source(Struct, frozen=True):
    """Who asked for a change, by what nobody shares and nobody renames, and from where.

    ``principal``: ``token-…``, ``uid:…``, ``webhook`` or ``anonymous``. ``address``: the client's, or ``pid:…`` here.
    """

    principal: str
    address: str


class Record(Struct, frozen=True, gc=False, omit_defaults=True):
    """One transaction. ``position`` is global and increases; ``stream`` is ``daemon`` or an organization.

    ``by`` is the name that people read, ``source`` None where no caller asked for it.
    """

    position: int
    stream: str
    at_s: float
    by: str
    trace: str
    events: tuple[Event, ...]
    source: Source | None = None


class Change(Struct, Generic[T], frozen=True):
    """What a decision inside ``transact`` returns: the events to be journaled, and what the caller waits for."""

    stream: str
    events: tuple[Event, ...]
    result: T
