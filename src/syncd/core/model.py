"""The nouns: incidents, integrations, links and what hangs on them. Values only; ``fold.py`` is what happens to them.

Times are Unix seconds, UTC (``at_s``). A field that is ``UNSET`` is not known or not there, which is never the same as
empty (docs/sync.md, "Absent is not empty").
"""

from typing import Final, Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType

Side: TypeAlias = Literal["platform", "external"]
Severity: TypeAlias = Literal["SEV-1", "SEV-2", "SEV-3", "SEV-4"]
Status: TypeAlias = Literal["open", "mitigated", "resolved", "closed", "canceled"]
Direction: TypeAlias = Literal["none", "inbound", "outbound", "bidirectional"]
Strategy: TypeAlias = Literal["last-write-wins", "ownership-priority", "manual-review"]
ClosedPolicy: TypeAlias = Literal["park", "note", "reopen"]
LinkState: TypeAlias = Literal["pending", "active", "parked"]
Operation: TypeAlias = Literal["create", "update", "note"]
Transform: TypeAlias = Literal["", "upper", "lower"]
FieldDirection: TypeAlias = Literal["inbound", "outbound", "bidirectional"]
Half: TypeAlias = str | UnsetType

SEVERITIES: Final = ("SEV-1", "SEV-2", "SEV-3", "SEV-4")
STATUSES: Final = ("open", "mitigated", "resolved", "closed", "canceled")
SYNCED_FIELDS: Final = ("title", "description", "severity", "status", "assigned_to")
SYNCABLE_FIELDS: Final = (*SYNCED_FIELDS, "service")  # the last one where it is mapped
EDITABLE_FIELDS: Final = (*SYNCED_FIELDS, "service", "resolution_code", "resolution_notes")
TITLE_LETTERS_MAX: Final = 500
DESCRIPTION_LETTERS_MAX: Final = 100_000
UNSETTLED_ATTEMPTS_KEPT: Final = 8


class Stamp(Struct, frozen=True, gc=False):
    """Who changed a platform field, and when. ``position``: of the record that did; 0 where that was not noted."""

    at_s: float
    by: str
    position: int = 0


class Span(Struct, frozen=True, gc=False):
    """When an external edit happened, as far as it can be known: somewhere in ``lo_s`` .. ``hi_s`` on our clock."""

    lo_s: float
    hi_s: float
    by: str = ""


class Note(Struct, frozen=True):
    """A work note; only ever appended.

    ``origin``: ``platform``, or the id of the integration it came through, which knows it as ``external_id``.
    ``only_to``: the id of the integration whose record alone gets it; empty: all of them.
    """

    id: str
    text: str
    author: str
    created_at_s: float
    origin: str
    external_id: str = ""
    only_to: str = ""


class Incident(Struct, frozen=True):
    """A platform incident. ``version`` counts effective changes of its fields, not notes or links.

    Its past (``pasts.py``): ``positions`` of the newest records that say something about it, ``earlier`` those before,
    in pieces, and how many were ``forgotten``, since history is no longer kept that far. ``begun_at``: the position of
    its declaration; 0 in a snapshot of a version that did not note it.
    """

    id: str
    organization_id: str
    title: str
    description: str
    severity: Severity
    status: Status
    created_at_s: float
    updated_at_s: float
    updated_by: str
    assigned_to: str | None = None
    service: str | None = None
    resolution_code: str | None = None
    resolution_notes: str | None = None
    version: int = 1
    stamps: dict[str, Stamp] = {}
    positions: tuple[int, ...] = ()
    earlier: tuple[tuple[int, ...], ...] = ()
    forgotten: int = 0
    begun_at: int = 0

    def value(self, field: str) -> str | None:
        """A field's value by its contract name; empty text is ``""``, a cleared optional field None."""
        value: str | None = getattr(self, field)
        return value


class SealedSecret(Struct, frozen=True):
    """A secret as the journal keeps it, base64 with padding; ``key_id`` says which master key opens it."""

    key_id: str
    nonce: str
    ciphertext: str


class WebhookSecret(Struct, frozen=True):
    """One of an integration's webhook secrets; ``valid_until_s`` None: the current one."""

    sealed: SealedSecret
    valid_until_s: float | None = None


class FieldMapping(Struct, frozen=True):
    """Where a field of the platform stands in this instance's records, instead of where it does by default.

    ``values``: what stands there for each value, the first of them written; empty: any text, as ``transform`` has it.
    ``direction``: where edits of it spread, within what the integration's own direction allows.
    """

    field: str
    external_field: str
    values: tuple[tuple[str, tuple[str, ...]], ...] = ()
    transform: Transform = ""
    direction: FieldDirection = "bidirectional"


class Settings(Struct, frozen=True, kw_only=True):
    """What a person set on an integration (contract section 4), without secrets. Durations in seconds."""

    organization_id: str
    name: str
    handle: str
    base_url: str
    integration_type: str = "servicenow"
    sync_direction: Direction = "bidirectional"
    enabled: bool = True
    conflict_strategy: Strategy = "last-write-wins"
    conflict_window: str = "5s"
    create_external: bool = True
    create_platform: bool = True
    import_query: str = ""
    external_defaults: dict[str, str | dict[str, str]] = {}
    rate_limit: float = 10.0
    max_concurrency: int = 4
    transaction_quota: str = "60s"
    poll_interval: str = "off"
    closed_policy: ClosedPolicy = "park"
    field_mapping: tuple[FieldMapping, ...] = ()

    @property
    def reads(self) -> bool:
        """Edits of the ServiceNow side may spread."""
        return self.enabled and self.sync_direction in ("inbound", "bidirectional")

    @property
    def writes(self) -> bool:
        """Edits of the platform side may spread."""
        return self.enabled and self.sync_direction in ("outbound", "bidirectional")

    @property
    def runs(self) -> bool:
        """Anything is decided at all."""
        return self.enabled and self.sync_direction != "none"


class OwnershipRule(Struct, frozen=True):
    """Who owns a field (docs/sync.md, "Who owns a field"). ``priority`` is the owner's; the other side has 0."""

    owner: Side
    priority: int = 1
    exclusive: bool = False


class PinnedInstance(Struct, frozen=True):
    """The name an instance gave itself at first contact. ``by_api``: when asked; else in a webhook, which says less."""

    name: str
    by_api: bool


class Rule(Struct, frozen=True):
    """A business rule that sends us webhooks: its script's version (empty: of another make), and what it lacks."""

    version: str
    lacks: tuple[str, ...] = ()


class LeftOut(Struct, frozen=True):
    """A record that an import left where it is, and why."""

    external_id: str
    external_number: str
    why: str


class ImportRun(Struct, frozen=True, kw_only=True):
    """An import of existing records. ``cursor``: all records up to this id have been looked at, and are in the counts.

    ``total``: how many matched when it began, those hidden from us included. ``left``: some of those that were left.
    ``since_s``, ``since_checked``: when it last began or went on, and how far it was then.
    """

    id: str
    query: str
    by: str
    started_at_s: float
    status: Literal["running", "finished", "stopped"] = "running"
    reason: str = ""
    finished_at_s: float | None = None
    cursor: str = ""
    total: int = 0
    counts: dict[str, int] = {}
    left: tuple[LeftOut, ...] = ()
    at_s: float = 0.0
    since_s: float = 0.0
    since_checked: int = 0

    @property
    def checked(self) -> int:
        """How many records have been looked at."""
        return sum(self.counts.values())


class Integration(Struct, frozen=True):
    """One organization's connection to one ServiceNow instance.

    ``account``: the user name under which we write there, from the credentials or learned from the first echo.
    ``first_enabled_at_s``: records created there before it are not new (contract section 9, "Organizations").
    ``new_since_s``: the same moment on the instance's clock, once it is known: ours may be set anew afterwards.
    ``drops_correlation``: a create came back without its correlation id, so an unclear one cannot be looked up.
    ``swept_at_s``: up to here, on the instance's clock, new records have been looked for.
    ``polled_upto_s``: up to here, on the instance's clock, polls have seen the changes there (None: they begin anew).
    ``importing``: the last import, which goes on at the start if it is running.
    ``ownership``: the rules that people set, by field; the others have the default (``ownership.py``).
    ``instance``: which instance it speaks with. ``confirmed_at``: when a person last named it anew, as a position.
    ``may_close``: as far as is known, our account may close a record; else it resolves, and auto-close does the rest.
    ``behind``: what shows that the journal is older than what we wrote there; empty once a person has confirmed it.
    ``doubted_at``: when that was, as a position: whatever had yet to be made then is looked for before it is made.
    ``doubted_at_s``: the same on our clock: what was made there before shows nothing new.
    ``refused_until_s``: the instance refuses the credentials, and they are not tried before, on our clock.
    ``rules``: the rules that have called, by what sets them off: ``write`` and ``delete`` need one each.
    """

    id: str
    settings: Settings
    created_at_s: float
    credentials: dict[str, SealedSecret] = {}
    webhook_secrets: tuple[WebhookSecret, ...] = ()
    account: str = ""
    first_enabled_at_s: float | None = None
    drops_correlation: bool = False
    swept_at_s: float | None = None
    polled_upto_s: float | None = None
    importing: ImportRun | None = None
    new_since_s: float | None = None
    ownership: dict[str, OwnershipRule] = {}
    instance: PinnedInstance | None = None
    confirmed_at: int = 0
    may_close: bool = True
    rules: dict[str, Rule] = {}
    behind: str = ""
    doubted_at: int = 0
    doubted_at_s: float = 0.0
    refused_until_s: float | None = None


class Observation(Struct, frozen=True):
    """What ServiceNow showed of one record. ``columns`` holds only what was there: an absent key is not an empty value.

    ``mod_count`` is None when the record did not show it. Stamps are on the instance's clock, whole seconds.
    """

    external_id: str
    columns: dict[str, str]
    number: str = ""
    mod_count: int | None = None
    updated_at_s: float | None = None
    updated_by: str = ""
    created_at_s: float | None = None
    created_by: str = ""
    correlation_id: str = ""


SHOWN_NOTE: Final = "shown-"


class SeenNote(Struct, frozen=True):
    """A work note as ServiceNow shows it. ``created_at_s``: on the instance's clock, if it is told.

    ``id`` is its own, or begins with ``SHOWN_NOTE`` where only the record itself could be read, which shows all of its
    notes and tells no ids. ``author``: a user name, or there a display name.
    """

    id: str
    external_id: str
    text: str
    author: str
    created_at_s: float | None = None

    @property
    def is_named(self) -> bool:
        """It has an id of its own."""
        return not self.id.startswith(SHOWN_NOTE)


class Cursor(Struct, frozen=True):
    """Where a walk through records stands: at this stamp (instance clock), after this id."""

    at_s: float
    external_id: str = ""


class Page(Struct, frozen=True):
    """A part of a walk, in its order; ``is_last``: nothing lies behind it.

    ``unreadable``: the next record, when its answer alone cannot be read; without values, and instead of rows.
    """

    rows: tuple[Observation, ...]
    is_last: bool
    unreadable: Observation | None = None


class Halves(Struct, frozen=True, gc=False):
    """Both halves of a field's base: in platform terms, and raw as ServiceNow showed it."""

    platform: Half = UNSET
    external: Half = UNSET


class FieldBase(Struct, frozen=True, gc=False):
    """The base of one field: what each side was known to hold when the field was last settled (decision 5).

    ``external`` is raw, as ServiceNow showed it. UNSET: not known (first link), or, for ``platform``, decided but not
    delivered yet (decision 6). ``edited``: when the external value now seen came to be; None: with a write of ours,
    at ``written_at_s``, or nobody knows.
    ``reason`` and ``decided_at_s``: what happened to the field last. ``rule`` and ``ruled_at_s``: what decided its
    value, which a delivery does not replace; ``trace``: the change that it was about. ``put_backs``: when an exclusive
    owner's value was put back lately. ``untold``: the sides whose half the other side never had (``untold.py``).
    """

    platform: Half = UNSET
    external: Half = UNSET
    edited: Span | None = None
    reason: str = ""
    decided_at_s: float = 0.0
    put_backs: tuple[float, ...] = ()
    rule: str = ""
    ruled_at_s: float = 0.0
    trace: str = ""
    written_at_s: float = 0.0
    untold: tuple[Side, ...] = ()


class Attempt(Struct, frozen=True):
    """A write that was begun. ``sent``: platform value per field; ``columns``: what the request carried.

    ``before``: the raw value that each of those fields showed when the attempt was made; ``read_count``: the record's
    ``sys_mod_count`` then.
    ``ended_at_s``: when we gave it up without knowing what came of it. It may have waited long before it left.
    """

    number: int
    kind: Literal["create", "update"]
    sent: dict[str, str]
    columns: dict[str, str]
    started_at_s: float
    before: dict[str, str] = {}
    read_count: int | None = None
    ended_at_s: float | None = None


class Failure(Struct, frozen=True):
    """Why the last attempt did not succeed. ``message`` and ``detail`` are ServiceNow's words, at most 2 KB each."""

    kind: str
    message: str
    status: int | None = None
    detail: str = ""


class Reroute(Struct, frozen=True):
    """The assignment group that goes along with this assignee, who was refused in the record's own (``groups.py``).

    ``before``: the sys_id of the group that the record had, empty when it had none.
    """

    person: str
    group: str
    name: str
    before: str = ""


class OutboxEntry(Struct, frozen=True):
    """This link must be written; what to send is computed when it is sent (decision 12)."""

    since_s: float
    trace: str
    attempts: int = 0
    next_at_s: float = 0.0
    failure: Failure | None = None
    separately: bool = False
    reroute: Reroute | None = None


class NoteAttempt(Struct, frozen=True):
    """A work note on its way. ``text``: as it is written there. ``ended_at_s``: when we gave it up, outcome unknown.

    ``known``: so many notes of the record said exactly this before the first attempt.
    """

    number: int
    text: str
    started_at_s: float
    known: int = 0
    ended_at_s: float | None = None


class NoteEntry(Struct, frozen=True):
    """A work note that the record must get, once. ``in_flight``: begun. ``unsettled``: given up, outcome unknown."""

    note_id: str
    since_s: float
    trace: str
    attempts: int = 0
    next_at_s: float = 0.0
    failure: Failure | None = None
    in_flight: NoteAttempt | None = None
    unsettled: NoteAttempt | None = None


class Link(Struct, frozen=True):
    """The pair (incident, record) under one integration, with its merge base.

    ``in_flight``: an attempt on record whose outcome is not. ``unsettled``: older ones that may still land late.
    ``closed_there``: parked since its record is closed in ServiceNow and takes no edits; ``gone_there``: since the
    record is not shown any more.
    ``held``: fields whose write was refused, with the dead letter that says so, which may have been discarded since.
    ``observed_at``, ``observed_at_s``: the position and the time at which the picture we have was last confirmed.
    ``looked_at``: where the journal was when the newest look that showed it was asked for.
    ``known_count``: the newest ``sys_mod_count`` read, also when nothing of ours had changed.
    ``notes``: work notes that the record has not got yet, in their order.
    ``noted_count``: all of the record's own notes have been read as of this ``sys_mod_count``; ``noted_upto_s``: the
    stamp of the newest one, on the instance's clock.
    """

    id: str
    integration_id: str
    incident_id: str
    created_at_s: float
    state: LinkState = "pending"
    reason: str = ""
    closed_there: bool = False
    external_id: str = ""
    external_number: str = ""
    last_synced_at_s: float | None = None
    base: dict[str, FieldBase] = {}
    observed: Observation | None = None
    observed_at: int = 0
    observed_at_s: float = 0.0
    known_count: int | None = None
    outbox: OutboxEntry | None = None
    in_flight: Attempt | None = None
    unsettled: tuple[Attempt, ...] = ()
    held: dict[str, str] = {}
    notes: tuple[NoteEntry, ...] = ()
    noted_count: int | None = None
    noted_upto_s: float = 0.0
    gone_there: bool = False
    looked_at: int = 0


class Hint(Struct, frozen=True):
    """Somebody says that a record changed. ``position``: the newest webhook folded into this hint.

    ``has_note``: it got a work note, which on some instances moves no count. ``unreadable``: it is there, and the
    answer that shows it cannot be read.
    """

    external_id: str
    position: int
    trace: str
    mod_count: int | None = None
    deleted: bool = False
    tries: int = 0
    next_at_s: float = 0.0
    has_note: bool = False
    unreadable: bool = False


class Conflict(Struct, frozen=True):
    """Both sides changed a field without having seen each other; the loser's value is kept here for ever.

    ``strategy``, ``window``, ``ownership``: the rules as they were then; ``reason``: which of them decided, or holds.
    ``external_raw``: ServiceNow's value as it stood there.
    ServiceNow's edit lies between ``external_from_s`` (0: nobody knows) and ``external_at_s``.
    """

    id: str
    integration_id: str
    incident_id: str
    external_id: str
    field: str
    base: str | None
    platform: str | None
    external: str | None
    platform_by: str
    external_by: str
    platform_at_s: float
    external_at_s: float
    strategy: Strategy
    status: Literal["pending", "resolved", "ignored"]
    decided: str
    created_at_s: float
    version: int = 1
    resolved_at_s: float | None = None
    resolved_by: str | None = None
    reason: str = ""
    window: str = ""
    ownership: OwnershipRule | None = None
    external_raw: Half = UNSET
    external_from_s: float = 0.0


class DeadLetter(Struct, frozen=True):
    """A change that needs a person or a changed condition. ``fields`` move together and were refused together.

    ``note_id``: the work note it is about, for the operation ``note``. ``retry_at_s``: when it is tried again without
    being asked, on a slow schedule; None: never.
    """

    id: str
    integration_id: str
    link_id: str
    incident_id: str
    external_id: str
    operation: Operation
    fields: tuple[str, ...]
    error: Failure
    remedy: str
    attempts: int
    created_at_s: float
    last_attempt_at_s: float
    note_id: str = ""
    retry_at_s: float | None = None


class Token(Struct, frozen=True):
    """An API token; only its digest is kept. ``last_used_at_s`` as far as it was journaled, seldom (``tokens.py``)."""

    id: str
    name: str
    scope: Literal["read", "operate", "admin"]
    digest: str
    created_at_s: float
    expires_at_s: float | None = None
    last_used_at_s: float | None = None


class KeptAnswer(Struct, frozen=True):
    """The first answer to an ``Idempotency-Key``, to be given again for 24 h."""

    body_digest: str
    answer: str
    kept_at_s: float
