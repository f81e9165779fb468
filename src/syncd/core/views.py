"""What the API shows: State as JSON-able Structs, named exactly as the contract names them.

Views only: nothing here decides, and no secret can come through, since no view has a field for one. Times are RFC 3339
in UTC with microseconds; what is not there is null. Types and docstrings of the views go into the API's description.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import asdict

from syncd.core import sending, worknotes
from syncd.core.model import (
    DeadLetter,
    Direction,
    Failure,
    Incident,
    Integration,
    Link,
    LinkState,
    Note,
    NoteEntry,
    Operation,
    Severity,
    Status,
    Strategy,
    Token,
)
from syncd.core.outbox import entries_of
from syncd.core.state import State

Time: TypeAlias = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class IncidentLink(Struct, frozen=True):
    """A link as its incident shows it. `integration` is the handle."""

    integration_id: str
    integration: str
    external_id: str | None
    external_number: str | None
    external_url: str | None
    state: LinkState


class IncidentView(Struct, frozen=True):
    """An incident. `version` counts effective changes of its fields, not notes or links."""

    id: str
    organization_id: str
    title: str
    description: str
    severity: Severity
    status: Status
    assigned_to: str | None
    service: str | None
    resolution_code: str | None
    resolution_notes: str | None
    version: int
    created_at: Time
    updated_at: Time
    updated_by: str
    links: list[IncidentLink]


class NoteView(Struct, frozen=True):
    """A work note. `origin`: `platform`, or the integration that it came through."""

    id: str
    text: str
    author: str
    created_at: Time
    origin: str


class DeliveryView(Struct, frozen=True):
    """What a link's record has not got yet. `error`: what the last attempt met, in ServiceNow's own words."""

    waiting: list[str]
    since: Time
    attempts: int
    next_attempt_at: Time
    error: "DeliveryErrorView | None"


class LinkView(Struct, frozen=True):
    """The pair of an incident and its record. `pending`: the record is not made yet; `parked`: it is gone or hidden.

    `delivery` is null when nothing waits.
    """

    incident_id: str
    external_id: str | None
    external_number: str | None
    external_url: str | None
    state: LinkState
    reason: str | None
    created_at: Time
    last_synced_at: Time | None
    delivery: DeliveryView | None


class IntegrationView(Struct, frozen=True):
    """An integration. `credentials_set` and `account` say how we log in, without the secrets themselves."""

    id: str
    handle: str
    name: str
    organization_id: str
    integration_type: str
    base_url: str
    sync_direction: Direction
    enabled: bool
    conflict_strategy: Strategy
    conflict_window: str
    create_external: bool
    create_platform: bool
    import_query: str
    external_defaults: dict[str, str | dict[str, str]]
    rate_limit: float
    max_concurrency: int
    transaction_quota: str
    poll_interval: str
    closed_policy: str
    account: str | None
    credentials_set: list[str]
    created_at: Time
    first_enabled_at: Time | None


class NewIntegrationView(IntegrationView, frozen=True):
    """The answer to a create: the only one, with that to a rotation, that carries the webhook secret."""

    webhook_secret: str


class RotatedView(Struct, frozen=True):
    """The new webhook secret, and until when the old one is valid."""

    webhook_secret: str
    previous_valid_until: Time


class DeliveryErrorView(Struct, frozen=True):
    """ServiceNow's own words."""

    kind: str
    status: int | None
    message: str
    detail: str


class DeadLetterView(Struct, frozen=True):
    """A change that cannot be delivered without a person or a changed condition. `remedy` says what to do.

    `would_send`: what a retry would send as things stand, by column.
    """

    id: str
    incident_id: str
    external_id: str | None
    operation: Operation
    fields: list[str]
    attempts: int
    error: DeliveryErrorView
    remedy: str
    created_at: Time
    last_attempt_at: Time
    next_attempt_at: Time | None
    note_id: str | None
    would_send: dict[str, str]


class QueuedView(Struct, frozen=True):
    """How many dead letters are tried again, and which."""

    queued: int
    entries: list[str]


class DiscardedView(Struct, frozen=True):
    """The dead letter that was given up."""

    id: str
    discarded: bool = True


class TokenView(Struct, frozen=True):
    """A token, without what makes it one."""

    id: str
    name: str
    scope: Literal["read", "operate", "admin"]
    created_at: Time
    last_used_at: Time | None
    expires_at: Time | None


class NewTokenView(TokenView, frozen=True):
    """The answer to a create: the only one that carries the token."""

    token: str


class HealthView(Struct, frozen=True):
    """That the daemon is there, and its time."""

    status: Literal["healthy", "ready"]
    timestamp: Time


def rfc3339(at_s: float) -> str:
    """Unix seconds as ``2026-11-24T09:00:00.000000Z``."""
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def optional_time(at_s: float | None) -> str | None:
    """Like ``rfc3339``; None for what never happened."""
    return None if at_s is None else rfc3339(at_s)


def external_url(integration: Integration, external_id: str) -> str | None:
    """Where a person opens the record; None without a record."""
    if not external_id:
        return None
    return f"{integration.settings.base_url}/nav_to.do?uri=incident.do?sys_id={external_id}"


def _links_of(state: State, incident_id: str) -> Iterator[IncidentLink]:
    for name in state.links_of.get(incident_id, ()):
        link = state.links[name]
        integration = state.integrations[link.integration_id]
        yield IncidentLink(
            integration_id=integration.id,
            integration=integration.settings.handle,
            external_id=link.external_id or None,
            external_number=link.external_number or None,
            external_url=external_url(integration, link.external_id),
            state=link.state,
        )


def incident(state: State, one: Incident) -> IncidentView:
    """An incident with its links."""
    return IncidentView(
        id=one.id,
        organization_id=one.organization_id,
        title=one.title,
        description=one.description,
        severity=one.severity,
        status=one.status,
        assigned_to=one.assigned_to,
        service=one.service,
        resolution_code=one.resolution_code,
        resolution_notes=one.resolution_notes,
        version=one.version,
        created_at=rfc3339(one.created_at_s),
        updated_at=rfc3339(one.updated_at_s),
        updated_by=one.updated_by,
        links=list(_links_of(state, one.id)),
    )


def note(one: Note) -> NoteView:
    """A work note."""
    return NoteView(one.id, one.text, one.author, rfc3339(one.created_at_s), one.origin)


def link(state: State, one: Link) -> LinkView:
    """A link, as its integration lists it."""
    return LinkView(
        incident_id=one.incident_id,
        external_id=one.external_id or None,
        external_number=one.external_number or None,
        external_url=external_url(state.integrations[one.integration_id], one.external_id),
        state=one.state,
        reason=one.reason or None,
        created_at=rfc3339(one.created_at_s),
        last_synced_at=optional_time(one.last_synced_at_s),
        delivery=_delivery(one),
    )


def _delivery(one: Link) -> DeliveryView | None:
    entries = list(entries_of(one))
    if not entries:
        return None
    fields = "create" if one.state == "pending" else "fields"
    last = next((entry for entry in entries if entry.failure is not None), entries[0])
    return DeliveryView(
        waiting=[f"note {entry.note_id}" if isinstance(entry, NoteEntry) else fields for entry in entries],
        since=rfc3339(min(entry.since_s for entry in entries)),
        attempts=last.attempts,
        next_attempt_at=rfc3339(last.next_at_s),
        error=None if last.failure is None else delivery_error(last.failure),
    )


def delivery_error(failure: Failure) -> DeliveryErrorView:
    """What an attempt met."""
    return DeliveryErrorView(failure.kind, failure.status, failure.message, failure.detail)


def integration(one: Integration) -> IntegrationView:
    """An integration without its secrets."""
    settings = one.settings
    return IntegrationView(
        id=one.id,
        handle=settings.handle,
        name=settings.name,
        organization_id=settings.organization_id,
        integration_type=settings.integration_type,
        base_url=settings.base_url,
        sync_direction=settings.sync_direction,
        enabled=settings.enabled,
        conflict_strategy=settings.conflict_strategy,
        conflict_window=settings.conflict_window,
        create_external=settings.create_external,
        create_platform=settings.create_platform,
        import_query=settings.import_query,
        external_defaults=settings.external_defaults,
        rate_limit=settings.rate_limit,
        max_concurrency=settings.max_concurrency,
        transaction_quota=settings.transaction_quota,
        poll_interval=settings.poll_interval,
        closed_policy=settings.closed_policy,
        account=one.account or None,
        credentials_set=sorted(one.credentials),
        created_at=rfc3339(one.created_at_s),
        first_enabled_at=optional_time(one.first_enabled_at_s),
    )


def new_integration(one: Integration, webhook_secret: str) -> NewIntegrationView:
    """An integration with the secret that is shown this once."""
    return NewIntegrationView(**asdict(integration(one)), webhook_secret=webhook_secret)


def dead_letter(state: State, one: DeadLetter) -> DeadLetterView:
    """A dead letter; ``next_attempt_at``: when it is tried again by itself, null when only a person may."""
    return DeadLetterView(
        id=one.id,
        incident_id=one.incident_id,
        external_id=one.external_id or None,
        operation=one.operation,
        fields=list(one.fields),
        attempts=one.attempts,
        error=delivery_error(one.error),
        remedy=one.remedy,
        created_at=rfc3339(one.created_at_s),
        last_attempt_at=rfc3339(one.last_attempt_at_s),
        next_attempt_at=optional_time(_next_attempt_at_s(state.links[one.link_id], one)),
        note_id=one.note_id or None,
        would_send=worknotes.would_send(state, one) if one.note_id else sending.would_send(state, one),
    )


def _next_attempt_at_s(link: Link, letter: DeadLetter) -> float | None:
    """While it is queued again, when its turn comes; else when its slow schedule does."""
    if letter.note_id:
        return next((entry.next_at_s for entry in link.notes if entry.note_id == letter.note_id), letter.retry_at_s)
    is_queued = link.outbox is not None and letter.id not in link.held.values()
    return link.outbox.next_at_s if is_queued and link.outbox is not None else letter.retry_at_s


def token(one: Token, last_used_at_s: float | None = None) -> TokenView:
    """A token for a list. ``last_used_at_s``: when this process saw it last, None: not yet."""
    return TokenView(
        one.id,
        one.name,
        one.scope,
        rfc3339(one.created_at_s),
        optional_time(one.last_used_at_s if last_used_at_s is None else last_used_at_s),
        optional_time(one.expires_at_s),
    )


def new_token(one: Token, text: str) -> NewTokenView:
    """A token with the text that is shown this once."""
    return NewTokenView(
        one.id, one.name, one.scope, rfc3339(one.created_at_s), None, optional_time(one.expires_at_s), text
    )
