"""The integrations: making, changing and deleting them, and their webhook secrets, as decisions.

It owns what must hold among integrations: handles are unique in the daemon, names in an organization, credentials stay
with the address they were given for. Secrets arrive sealed, each for its ``slot``; this module cannot open them.
"""

from collections.abc import Callable
from typing import Final, Literal, TypeVar

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from syncd.core import finding
from syncd.core.events import (
    Change,
    Event,
    InstancePinned,
    IntegrationChanged,
    IntegrationConfigured,
    IntegrationDeleted,
    LoginAccepted,
    LoginRefused,
    WebhookSecretsChanged,
)
from syncd.core.model import Integration, PinnedInstance, SealedSecret, Settings, WebhookSecret
from syncd.core.requests import DEFAULT_ORGANIZATION
from syncd.core.settings import WantedSettings, handle_fault, slug
from syncd.core.state import State
from syncd.errors import Exists, Invalid, Problem

T = TypeVar("T")
Decide = Callable[[State, float], Change[T]]

GRACE_S: Final = 24 * 3600.0
WEBHOOK_SECRETS_MAX: Final = 4
SAME_S: Final = 5.0  # between two tellings of one and the same moment
WEBHOOK_SECRET: Final = "webhook_secret"  # noqa: S105 the name of a slot


class SealedSecrets(Struct, frozen=True):
    """The secrets of a request, sealed. ``account``: the user under which we write, empty if only ServiceNow knows."""

    credentials: dict[str, SealedSecret] | UnsetType = UNSET
    webhook_secret: SealedSecret | UnsetType = UNSET
    account: str = ""


def slot(journal_id: str, integration_id: str, field: str) -> tuple[str, str, str]:
    """Where a secret is sealed for: a value copied to another place does not open there.

    ``field`` is a key of ``credentials``, or ``WEBHOOK_SECRET``.
    """
    return journal_id, integration_id, field


def create(wanted: WantedSettings, sealed: SealedSecrets, *, integration_id: str) -> Decide[Integration]:
    """A new integration; ``Exists`` when its handle or name is taken."""

    def decide(state: State, at_s: float) -> Change[Integration]:
        values: dict[str, object] = {"organization_id": DEFAULT_ORGANIZATION, **wanted.settings()}
        if "handle" not in values:
            values["handle"] = _handle_from(str(values["name"]))
        settings = Settings(**values)  # type: ignore[arg-type] # checked one by one in settings.py
        _check_free(state, settings, "")
        first = () if isinstance(sealed.webhook_secret, UnsetType) else (WebhookSecret(sealed.webhook_secret),)
        made = Integration(
            id=integration_id,
            settings=settings,
            created_at_s=at_s,
            credentials={} if isinstance(sealed.credentials, UnsetType) else sealed.credentials,
            webhook_secrets=first,
            account=sealed.account,
        )
        after = replace(made, first_enabled_at_s=at_s if settings.enabled else None)
        return Change(settings.organization_id, (IntegrationConfigured(made),), after)

    return decide


def update(word: str, wanted: WantedSettings, sealed: SealedSecrets) -> Decide[Integration]:
    """New settings for an integration. Another address without new credentials clears the old ones.

    Otherwise whoever may change the address could have the credentials sent to a host of their own.
    """

    def decide(state: State, at_s: float) -> Change[Integration]:
        before = finding.integration(state, word)
        settings = replace(before.settings, **wanted.settings())
        if settings.organization_id != before.settings.organization_id:
            message = f"is {before.settings.organization_id!r} and cannot be changed; make another integration"
            raise Invalid(
                f"organization_id of {before.settings.handle} {message}",
                problems=(Problem("organization_id", message),),
            )
        _check_free(state, settings, before.id)
        credentials, account = sealed.credentials, sealed.account
        if isinstance(credentials, UnsetType) and settings.base_url != before.settings.base_url:
            credentials, account = {}, ""
        # Whoever names the address, or gives credentials, says that what is there now is meant.
        confirms = not (isinstance(wanted.base_url, UnsetType) and isinstance(credentials, UnsetType))
        changed: Event = IntegrationChanged(
            before.id, settings, credentials, UNSET if isinstance(credentials, UnsetType) else account, confirms
        )
        is_same = settings == before.settings and isinstance(credentials, UnsetType)
        is_same = is_same and not (confirms and (before.instance is not None or before.behind))
        events = () if is_same else (changed,)
        after = replace(
            before,
            settings=settings,
            credentials=before.credentials if isinstance(credentials, UnsetType) else credentials,
            account=before.account if isinstance(credentials, UnsetType) else account,
            first_enabled_at_s=at_s
            if before.first_enabled_at_s is None and settings.enabled
            else before.first_enabled_at_s,
            instance=None if confirms else before.instance,
            behind="" if confirms else before.behind,
            doubted_at=state.position + 1 if confirms and before.behind else before.doubted_at,
            doubted_at_s=at_s if confirms and before.behind else before.doubted_at_s,
            confirmed_at=state.position + 1 if events and confirms else before.confirmed_at,
        )
        if not isinstance(sealed.webhook_secret, UnsetType):
            secrets = _with_new_secret(before.webhook_secrets, sealed.webhook_secret, at_s, GRACE_S)
            events = (*events, WebhookSecretsChanged(before.id, secrets))
            after = replace(after, webhook_secrets=secrets)
        return Change(settings.organization_id, events, after)

    return decide


def pin(integration_id: str, instance: PinnedInstance) -> Decide[str]:
    """Pin the instance that shows itself, unless one is pinned; the result is the name of the one that is, or empty.

    What an instance says when it is asked comes before what a webhook said: the webhook of a clone may be the first.
    """

    def decide(state: State, _at_s: float) -> Change[str]:
        one = state.integrations.get(integration_id)
        if one is None:
            return Change("", (), "")
        present, stream = one.instance, one.settings.organization_id
        if present is None or (instance.by_api and not present.by_api):
            return Change(stream, (InstancePinned(one.id, instance),), instance.name)
        return Change(stream, (), present.name)

    return decide


def login_refused(integration_id: str, wait_s: float) -> Decide[None]:
    """Keep that the instance refuses the credentials, and that they are not tried for so long."""

    def decide(state: State, at_s: float) -> Change[None]:
        one, until_s = state.integrations.get(integration_id), at_s + wait_s
        if one is None or (one.refused_until_s is not None and abs(one.refused_until_s - until_s) < SAME_S):
            return Change("", (), None)
        return Change(one.settings.organization_id, (LoginRefused(one.id, until_s),), None)

    return decide


def login_accepted(integration_id: str) -> Decide[None]:
    """Keep that the instance lets us in, if it did not."""

    def decide(state: State, _at_s: float) -> Change[None]:
        one = state.integrations.get(integration_id)
        if one is None or one.refused_until_s is None:
            return Change("", (), None)
        return Change(one.settings.organization_id, (LoginAccepted(one.id),), None)

    return decide


def delete(word: str) -> Decide[str]:
    """Forget an integration, its links and queues; incidents and records stay. The result is its id."""

    def decide(state: State, _at_s: float) -> Change[str]:
        gone = finding.integration(state, word)
        return Change(gone.settings.organization_id, (IntegrationDeleted(gone.id),), gone.id)

    return decide


def rotate(word: str, secret: SealedSecret, *, grace_s: float = GRACE_S) -> Decide[float]:
    """Another webhook secret; the present one stays valid for ``grace_s``. The result is when it ends, Unix seconds."""

    def decide(state: State, at_s: float) -> Change[float]:
        one = finding.integration(state, word)
        secrets = _with_new_secret(one.webhook_secrets, secret, at_s, grace_s)
        event = WebhookSecretsChanged(one.id, secrets)
        return Change(one.settings.organization_id, (event,), at_s + grace_s)

    return decide


def valid_secrets(one: Integration, at_s: float) -> list[SealedSecret]:
    """The webhook secrets that a signature may be made with now, newest first."""
    return [secret.sealed for secret in one.webhook_secrets if is_valid(secret, at_s)]


def is_valid(secret: WebhookSecret, at_s: float) -> bool:
    """Whether a signature may be made with it now."""
    return secret.valid_until_s is None or secret.valid_until_s > at_s


def _with_new_secret(
    present: tuple[WebhookSecret, ...], secret: SealedSecret, at_s: float, grace_s: float
) -> tuple[WebhookSecret, ...]:
    """The new secret in front of those that stay valid for a while, each no longer than it was to."""
    ends_s = at_s + grace_s
    older = [
        replace(one, valid_until_s=ends_s if one.valid_until_s is None else min(one.valid_until_s, ends_s))
        for one in present
    ]
    still = [one for one in older if one.valid_until_s is not None and one.valid_until_s > at_s]
    return (WebhookSecret(secret), *still)[:WEBHOOK_SECRETS_MAX]


def _handle_from(name: str) -> str:
    handle = slug(name)
    fault = handle_fault(handle) if handle else f"cannot be made from the name {name!r}"
    if fault is not None:
        problem = Problem("handle", f"{fault}; give one, such as prod-snow")
        raise Invalid(
            f"the name gives no handle: {fault}", problems=(problem,), hint="give a handle, such as prod-snow"
        )
    return handle


def _check_free(state: State, settings: Settings, own_id: str) -> None:
    """Refuse a handle or name that another integration has."""
    for other in state.integrations.values():
        if other.id == own_id:
            continue
        if other.settings.handle == settings.handle:
            raise _taken("handle", settings.handle, other, "the daemon")
        if (other.settings.organization_id, other.settings.name) == (settings.organization_id, settings.name):
            raise _taken("name", settings.name, other, f"organization {settings.organization_id}")


def _taken(field: Literal["handle", "name"], value: str, other: Integration, within: str) -> Exists:
    return Exists(
        f"{field} {value!r} is taken in {within} by {other.id} ({other.settings.handle})",
        hint=f"choose another {field}, or change that one: im integration configure {other.settings.handle}",
        problems=(Problem(field, f"is taken by {other.id}; choose another"),),
    )
