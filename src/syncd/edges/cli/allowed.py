"""What of the daemon's answers may go into a support bundle: every field that is not named here stays out.

Ids, stamps, counts and words of closed sets are plain; what may be text that people or ServiceNow wrote has a type of
``discretion.py``. A new field of the API gets in only by a line here, and ``test_support_bundle.py`` says so aloud.
"""

from typing import Final

from msgspec import UNSET, Struct, UnsetType

from syncd.edges.cli.discretion import Counts, Origin, Value, Values, Words

FORMAT: Final = "syncd-support-bundle/1"


class Spread(Struct, frozen=True):
    p50: float = 0.0
    p99: float = 0.0
    max: float = 0.0
    count: int | None = None


class End(Struct, frozen=True):
    at: str | None = None
    code: int | None = None
    reason: str = ""


class DaemonJournal(Struct, frozen=True):
    position: int = 0
    durable_position: int = 0
    oldest_position: int = 0
    segments: int = 0
    bytes: int = 0
    disk: str = ""
    commit: Spread | None = None
    replay_s: float = 0.0
    snapshot_at: str | None = None
    snapshot_failure: Words | None = None
    scrubbed_at: str | None = None
    damage: list[Words] = []


class Daemon(Struct, frozen=True):
    """Of `/api/v1/status`."""

    version: str = ""
    started_at: str | None = None
    uptime_s: float = 0.0
    last_end: End | None = None
    state: str = ""
    reasons: list[Words] = []
    incidents: int = 0
    journal: DaemonJournal = DaemonJournal()
    restarts: int = 0


class Settings(Struct, frozen=True):
    """Of an integration. What waits for no text of incidents, but is a person's choice of words, is text as well."""

    id: str
    handle: str = ""
    name: Words | None = None
    organization_id: str = ""
    integration_type: str = ""
    base_url: Origin | None = None
    sync_direction: str = ""
    enabled: bool = True
    conflict_strategy: str = ""
    conflict_window: str = ""
    create_external: bool = True
    create_platform: bool = True
    import_query: Words | None = None
    external_defaults: Values | None = None
    rate_limit: float = 0.0
    max_concurrency: int = 0
    transaction_quota: str = ""
    poll_interval: str = ""
    closed_policy: str = ""
    account: Words | None = None
    credentials_set: list[str] = []
    created_at: str | None = None
    first_enabled_at: str | None = None


class Queue(Struct, frozen=True):
    outbox: int = 0
    inflight: int = 0
    retrying: int = 0
    oldest_age_s: float | None = None
    clears_in_s: float | None = None
    paced_by: str | None = None
    hints: int = 0
    undecided: int = 0
    stalled: int = 0
    looked_up: int = 0
    oldest_looked_up: bool = False


class Lag(Struct, frozen=True):
    inbound: Spread | None = None
    outbound: Spread | None = None


class Coverage(Struct, frozen=True):
    share: float | None = None
    announced: int = 0
    unannounced: int = 0
    since: str | None = None


class Webhooks(Struct, frozen=True):
    last_received_at: str | None = None
    accepted: int = 0
    rejected: int = 0
    duplicates: int = 0
    coverage: Coverage | None = None


class Polling(Struct, frozen=True):
    asked_interval_s: float = 0.0
    used_interval_s: float = 0.0
    last_poll: str | None = None
    seen_upto: str | None = None


class Api(Struct, frozen=True):
    requests: int = 0
    throttled: int = 0
    errors: int = 0
    remaining_budget: int | None = None
    breaker: str = ""
    outcomes: Counts | None = None
    latency: Spread | None = None


class Met(Struct, frozen=True):
    """What a request met; the words are ServiceNow's."""

    kind: str = ""
    status: int | None = None
    message: Words | None = None
    detail: Words | None = None
    at: str | UnsetType = UNSET
    times: int | UnsetType = UNSET


class SyncStatus(Struct, frozen=True):
    """Of `…/sync-status`."""

    at: str | None = None
    state: str = ""
    reasons: list[Words] = []
    links: Counts | None = None
    queue: Queue = Queue()
    lag: Lag = Lag()
    dlq: int = 0
    conflicts: int = 0
    webhooks: Webhooks = Webhooks()
    polling: Polling | None = None
    api: Api = Api()
    last_errors: list[Met] = []
    last_reconcile: str | None = None
    next_reconcile: str | None = None


class Ownership(Struct, frozen=True):
    field: str = ""
    owner: str = ""
    priority: int = 0
    exclusive: bool = False
    default: bool = False


class Mapping(Struct, frozen=True):
    field: str = ""
    external_field: str | None = None
    transform: str = ""
    direction: str = ""
    default: bool = False


class Drift(Struct, frozen=True):
    """A difference, without the values."""

    incident_id: str | None = None
    external_id: str | None = None
    field: str = ""
    cause: str = ""
    healed: bool = False


class Run(Struct, frozen=True):
    id: str
    mode: str = ""
    trigger: str = ""
    status: str = ""
    reason: Words | None = None
    started_at: str | None = None
    finished_at: str | None = None
    checked: int = 0
    links: int | None = None
    found: int = 0
    causes: Counts | None = None
    healed: int = 0
    drifts: list[Drift] = []
    left_out: int = 0


class Schedule(Struct, frozen=True):
    interval: str = ""
    auto_heal: bool = False
    enabled: bool = False
    set_at: str | None = None
    next_run_at: str | None = None


class Import(Struct, frozen=True):
    id: str
    query: Words | None = None
    status: str = ""
    reason: Words | None = None
    started_at: str | None = None
    finished_at: str | None = None
    total: int | None = None
    checked: int = 0
    counts: Counts | None = None


class DeadLetter(Struct, frozen=True):
    id: str
    incident_id: str | None = None
    external_id: str | None = None
    operation: str | None = None
    fields: list[str] = []
    attempts: int = 0
    error: Met | None = None
    remedy: Words | None = None
    created_at: str | None = None
    last_attempt_at: str | None = None
    next_attempt_at: str | None = None
    note_id: str | None = None
    would_send: Values | None = None


class Conflict(Struct, frozen=True):
    id: str
    integration_id: str = ""
    incident_id: str = ""
    external_id: str = ""
    field: str = ""
    base: Value | None = None
    platform: Value | None = None
    external: Value | None = None
    platform_by: Words | None = None
    external_by: Words | None = None
    platform_at: str | None = None
    external_at: str | None = None
    strategy: str = ""
    status: str = ""
    decided: str | None = None
    version: int = 0
    created_at: str | None = None
    resolved_at: str | None = None
    resolved_by: Words | None = None
    reason: str | None = None


class Link(Struct, frozen=True):
    integration_id: str = ""
    external_id: str | None = None
    external_number: str | None = None
    state: str = ""


class Incident(Struct, frozen=True):
    id: str
    organization_id: str = ""
    title: Words | None = None
    description: Words | None = None
    severity: str = ""
    status: str = ""
    assigned_to: Words | None = None
    service: Words | None = None
    resolution_code: Words | None = None
    resolution_notes: Words | None = None
    version: int = 0
    created_at: str | None = None
    updated_at: str | None = None
    updated_by: Words | None = None
    links: list[Link] = []


class Note(Struct, frozen=True):
    id: str
    text: Words | None = None
    author: Words | None = None
    created_at: str | None = None
    origin: str = ""


class Write(Struct, frozen=True):
    to: str = ""
    at: str | None = None
    became: Value | None = None
    attempts: int = 0
    next_attempt_at: str | None = None
    error: Met | None = None


class FieldExplained(Struct, frozen=True):
    field: str = ""
    integration_id: str = ""
    external_id: str | None = None
    base: Value | None = None
    base_external: Value | None = None
    platform: Value | None = None
    platform_by: Words | None = None
    platform_at: str | None = None
    external: Value | None = None
    external_raw: Value | None = None
    external_by: Words | None = None
    external_from: str | None = None
    external_at: str | None = None
    rule: str | None = None
    ruled_at: str | None = None
    trace: str | None = None
    write: Write | None = None
    conflict: str | None = None
    dead_letter: str | None = None
    standing: str = ""


class Explanation(Struct, frozen=True):
    fields: list[FieldExplained] = []


class DataKey(Struct, frozen=True):
    id: str = ""
    integration_id: str = ""
    opens: bool = True


class Keys(Struct, frozen=True):
    """The keys that seal credentials, by name; no answer has a key itself."""

    master_id: str = ""
    source: str = ""
    next_id: str | None = None
    data_keys: list[DataKey] = []
