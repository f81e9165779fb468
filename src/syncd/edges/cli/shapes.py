"""The daemon's JSON as far as the tables of `im` read it (docs: the contract of the API).

Owns names only. Every key but an id has a default, and unknown keys are ignored, so `im` and the daemon need not be
upgraded in one step; ``--format json`` never passes through here. Times are RFC 3339 text.
"""

from msgspec import Struct

from syncd.edges.cli.client import Json


class ExaminationStep(Struct):
    """One step of `im integration test`."""

    name: str = ""
    verdict: str = ""
    detail: str = ""
    remedy: str = ""


class ExaminationReport(Struct):
    """All of them."""

    verdict: str = ""
    steps: list[ExaminationStep] = []


class IncidentLink(Struct):
    """A link as an incident shows it."""

    integration_id: str = ""
    integration: str | None = None
    external_id: str | None = None
    external_number: str | None = None
    external_url: str | None = None
    state: str | None = None


class Incident(Struct):
    """A platform incident."""

    id: str
    organization_id: str | None = None
    title: str = ""
    description: str | None = None
    severity: str = ""
    status: str = ""
    assigned_to: str | None = None
    service: str | None = None
    resolution_code: str | None = None
    resolution_notes: str | None = None
    version: int = 0
    created_at: str | None = None
    updated_at: str | None = None
    updated_by: str | None = None
    links: list[IncidentLink] = []


class DataKey(Struct):
    """An integration's key, by name."""

    id: str = ""
    integration_id: str = ""
    integration: str = ""
    opens: bool = True


class Keys(Struct):
    """The keys that seal stored secrets."""

    master_id: str = ""
    source: str = ""
    path: str = ""
    next_id: str | None = None
    data_keys: list[DataKey] = []


class Note(Struct):
    """A work note."""

    id: str
    text: str = ""
    author: str | None = None
    created_at: str | None = None
    origin: str | None = None


class CloudEvent(Struct):
    """Something that happened: an entry of a timeline, or of the live stream."""

    type: str = ""
    time: str | None = None
    subject: str | None = None
    integration: str | None = None
    by: str | None = None
    trace: str = ""
    data: Json = None


class Integration(Struct):
    """An integration; ``webhook_secret`` only in the answers to create and rotate."""

    id: str
    handle: str = ""
    name: str = ""
    organization_id: str = ""
    integration_type: str = ""
    base_url: str = ""
    sync_direction: str = ""
    enabled: bool = True
    webhook_secret: str | None = None


class RotatedSecret(Struct):
    """The answer to rotating a webhook secret."""

    webhook_secret: str
    previous_valid_until: str | None = None


class Link(Struct):
    """A link as an integration lists it."""

    incident_id: str = ""
    external_id: str | None = None
    external_number: str | None = None
    external_url: str | None = None
    state: str | None = None
    reason: str | None = None
    created_at: str | None = None
    last_synced_at: str | None = None
    delivery: "Delivery | None" = None


class Delivery(Struct):
    """What a link's record has not got yet."""

    waiting: list[str] = []
    attempts: int = 0
    next_attempt_at: str | None = None
    error: "DeliveryError | None" = None


class Drift(Struct):
    """One difference that a run found."""

    incident_id: str | None = None
    external_id: str | None = None
    field: str = ""
    platform: str | None = None
    external: str | None = None
    base: str | None = None
    base_external: str | None = None
    cause: str = ""
    action: str = ""
    healed: bool = False


class LeftOut(Struct):
    """A record that an import left where it is."""

    external_id: str = ""
    external_number: str = ""
    why: str = ""


class Coming(Struct):
    """A record that an import would bring in."""

    external_id: str = ""
    external_number: str = ""
    incident_id: str | None = None
    title: str = ""
    severity: str = ""
    status: str = ""


class Import(Struct):
    """An import of existing records."""

    id: str
    dry_run: bool = False
    status: str = ""
    reason: str = ""
    total: int | None = None
    checked: int = 0
    counts: dict[str, int] = {}
    left: list[LeftOut] = []
    coming: list[Coming] = []
    rate: float | None = None
    remaining_s: float | None = None


class Run(Struct):
    """A reconcile run; ``links``: how many are to be compared, while it goes on."""

    id: str
    mode: str = ""
    trigger: str = ""
    status: str = ""
    reason: str | None = None
    started_at: str | None = None
    finished_at: str | None = None
    checked: int = 0
    links: int | None = None
    found: int = 0
    causes: dict[str, int] = {}
    healed: int = 0
    drifts: list[Drift] = []
    left_out: int = 0


class Schedule(Struct):
    """When runs begin by themselves."""

    interval: str = ""
    auto_heal: bool = False
    enabled: bool = False
    set_at: str | None = None
    next_run_at: str | None = None


class DeliveryError(Struct):
    """Why a dead letter is one, in ServiceNow's words."""

    kind: str | None = None
    status: int | None = None
    message: str | None = None
    detail: str | None = None


class DeadLetter(Struct):
    """A change that could not be delivered."""

    id: str
    incident_id: str | None = None
    external_id: str | None = None
    operation: str | None = None
    fields: list[str] = []
    attempts: int = 0
    error: DeliveryError | None = None
    remedy: str | None = None
    created_at: str | None = None
    next_attempt_at: str | None = None
    would_send: dict[str, str] | None = None


class Requeued(Struct):
    """The answer to retrying all dead letters."""

    queued: int = 0


class Writes(Struct):
    """What one choice would write."""

    incident: dict[str, str] = {}
    record: dict[str, str] = {}


class Conflict(Struct):
    """Both sides changed a field without having seen each other; ``decided`` is the side that stands, or the rule."""

    id: str
    incident_id: str | None = None
    field: str | None = None
    base: Json = None
    platform: Json = None
    external: Json = None
    status: str | None = None
    decided: str | None = None
    created_at: str | None = None
    would_write: dict[str, Writes] | None = None


class Ownership(Struct):
    """Who owns a field; ``effect``: why the rule changes nothing, if it does not."""

    field: str
    owner: str = ""
    priority: int = 1
    exclusive: bool = False
    default: bool = False
    effect: str | None = None


class FieldMapping(Struct):
    """Where a field stands; ``external_field`` None: it is not synced."""

    field: str
    external_field: str | None = None
    values: dict[str, list[str]] = {}
    transform: str = ""
    direction: str = ""
    default: bool = False


class Token(Struct):
    """A token; ``token`` only in the answer to create."""

    id: str
    name: str | None = None
    scope: str | None = None
    token: str | None = None
    created_at: str | None = None
    last_used_at: str | None = None
    expires_at: str | None = None
