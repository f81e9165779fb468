"""The routes of integrations: create, list, read, change, delete, status, webhook script and secret.

Secrets of a request are sealed here, before a decision sees them; the only one that leaves is a webhook secret, once.
"""

from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import trio
from msgspec import UNSET, UnsetType
from quart import Response, request

from syncd.core import finding, registry, settings, status, views
from syncd.core.duration import duration_s
from syncd.core.fields import Fields
from syncd.core.model import Integration, SealedSecret
from syncd.core.registry import WEBHOOK_SECRET, SealedSecrets
from syncd.core.rule import RULE_VERSION
from syncd.core.settings import WantedSecrets
from syncd.edges.api import examples
from syncd.edges.api.answers import LINK, PAGE, answer, body, filters, nothing, paged, wanted_page
from syncd.edges.api.description import LOCATION, TEXT, Answer, Description, Parameter
from syncd.edges.api.desk import DURABLE_S_MAX, Desk
from syncd.edges.api.figures import figures_of
from syncd.edges.api.routes import Routes
from syncd.edges.api.webhook_script import ScriptView, webhook_script
from syncd.errors import Busy, Exists

SECRET_BYTES: Final = 32


TOPIC: Final = "Integrations"
BASE: Final = "/api/v1/integrations"
ONE: Final = f"{BASE}/<integration>"
FILTERS: Final = (
    Parameter("org", "Of this organization.", TEXT),
    Parameter("type", "Of this type, such as `servicenow`.", TEXT),
)


def read_grace(body: Fields) -> float:
    """How long the old secret stays valid, in seconds, from a request's object; ``Invalid`` with every fault."""
    grace = body.duration("grace")
    body.done("the rotation")
    return registry.GRACE_S if isinstance(grace, UnsetType) else duration_s(grace)


LIST: Final = Description(
    topic=TOPIC,
    summary="List integrations",
    notes="The oldest first.",
    query=(*FILTERS, *PAGE),
    answers=(Answer(list[views.IntegrationView], headers=(LINK,), example=[examples.INTEGRATION]),),
)
CREATE: Final = Description(
    topic=TOPIC,
    summary="Connect a ServiceNow instance",
    notes="The webhook secret is in this answer, and in that to a rotation, and nowhere else.",
    takes=partial(settings.read, allowed_hosts=(), is_new=True),
    example=examples.NEW_INTEGRATION,
    answers=(
        Answer(views.NewIntegrationView, 201, (LOCATION,), example={**examples.INTEGRATION, "webhook_secret": "…"}),
    ),
    refuses=(Exists,),
)
EDIT: Final = Description(
    topic=TOPIC,
    summary="Change the settings of an integration",
    notes="`organization_id` stays what it is. Another `base_url` without new `credentials` clears the old ones.",
    takes=partial(settings.read, allowed_hosts=(), is_new=False),
    example={"enabled": False},
    answers=(Answer(views.IntegrationView, example=examples.INTEGRATION),),
    refuses=(Exists,),
)
SHOW: Final = Description(
    topic=TOPIC,
    summary="Show an integration",
    notes="Secrets are never shown.",
    answers=(Answer(views.IntegrationView, example=examples.INTEGRATION),),
)
DELETE: Final = Description(
    topic=TOPIC,
    summary="Delete an integration",
    notes="Its key is destroyed, so what was sealed for it cannot be opened again, wherever a copy is.",
    answers=(Answer(None, 204),),
)
STATUS: Final = Description(
    topic=TOPIC,
    summary="Show how the sync is doing",
    notes="One state, the reasons for it, and the numbers behind it.",
    answers=(Answer(status.StatusView),),
)
SCRIPT: Final = Description(
    topic=TOPIC,
    summary="Show the business rule for ServiceNow",
    notes="Ready to paste, signing included. `Accept: application/json` gives it as JSON.",
    answers=(Answer(ScriptView), Answer(TEXT, media="text/javascript")),
)
ROTATE: Final = Description(
    topic=TOPIC,
    summary="Make a new webhook secret",
    notes="The old one stays valid for `grace`, 24h if it is not given.",
    takes=read_grace,
    example={"grace": "24h"},
    answers=(Answer(views.RotatedView),),
)


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put them into the application."""

    async def create() -> Response:
        wanted, secrets = settings.read(await body(), desk.allowed_hosts, is_new=True)
        integration_id = f"int_{desk.ids.word()}"
        webhook_secret = secrets.webhook_secret
        if isinstance(webhook_secret, UnsetType):
            webhook_secret = new_secret(desk)
        sealed = await _sealed(desk, integration_id, WantedSecrets(secrets.credentials, webhook_secret))
        async with _key_of(desk, integration_id):
            made = await desk.change(registry.create(wanted, sealed, integration_id=integration_id))
        return answer(views.new_integration(made, webhook_secret), 201, {"Location": f"{BASE}/{made.id}"})

    async def find() -> Response:
        page, found = wanted_page(), filters(*FILTERS, *PAGE)
        chosen = sorted(
            (
                one
                for one in desk.state.integrations.values()
                if found.get("org") in {None, one.settings.organization_id}
                and found.get("type") in {None, one.settings.integration_type}
            ),
            key=_age,
        )
        return await desk.shown(lambda: paged(page, chosen, key=_age, show=views.integration))

    async def show(integration: str) -> Response:
        return await desk.show(views.integration(finding.integration(desk.state, integration)))

    async def edit(integration: str) -> Response:
        wanted, secrets = settings.read(await body(), desk.allowed_hosts, is_new=False)
        present = finding.integration(
            desk.state, integration
        )  # its id, which never changes, is what secrets are bound to
        after = await desk.change(registry.update(present.id, wanted, await _sealed(desk, present.id, secrets)))
        return answer(views.integration(after))

    async def delete(integration: str) -> Response:
        one = finding.integration(desk.state, integration)
        await desk.vault.leave(one.id)
        await _destroy_key(desk, await desk.change(registry.delete(one.id)))
        return nothing()

    async def show_status(integration: str) -> Response:
        one = finding.integration(desk.state, integration)
        while not (found := await figures_of(desk, [one])):  # deleted while its links were counted
            one = finding.integration(desk.state, integration)
        return await desk.show(found[0].status)

    async def show_script(integration: str) -> Response:
        one = finding.integration(desk.state, integration)
        await desk.settled()
        script = webhook_script(one, desk.public_url)
        best = request.accept_mimetypes.best_match(["text/javascript", "application/json"], "text/javascript")
        if best == "application/json":
            return answer(ScriptView(script, RULE_VERSION))
        return Response(script.encode(), content_type="text/javascript; charset=utf-8")

    async def rotate(integration: str) -> Response:
        grace_s = read_grace(await body())
        one = finding.integration(desk.state, integration)
        secret = new_secret(desk)
        sealed = await desk.seal(one.id, WEBHOOK_SECRET, secret)
        ends_s = await desk.change(registry.rotate(one.id, sealed, grace_s=grace_s))
        return answer(views.RotatedView(secret, views.rfc3339(ends_s)))

    routes.add("POST", BASE, "admin", create, CREATE)
    routes.add("GET", BASE, "read", find, LIST)
    routes.add("GET", ONE, "read", show, SHOW)
    routes.add("PATCH", ONE, "admin", edit, EDIT)
    routes.add("DELETE", ONE, "admin", delete, DELETE)
    routes.add("GET", f"{ONE}/sync-status", "read", show_status, STATUS)
    routes.add("GET", f"{ONE}/webhook-script", "read", show_script, SCRIPT)
    routes.add("POST", f"{ONE}/webhook-secret/rotate", "admin", rotate, ROTATE)


def new_secret(desk: Desk) -> str:
    """A webhook secret: 256 random bits as text."""
    return urlsafe_b64encode(desk.ids.secret(SECRET_BYTES)).decode().rstrip("=")


@asynccontextmanager
async def _key_of(desk: Desk, integration_id: str) -> AsyncIterator[None]:
    """The key that a new integration's secrets are sealed under goes again if that does not come to be."""
    try:
        yield
    finally:
        if integration_id not in desk.state.integrations:
            with trio.move_on_after(DURABLE_S_MAX, shield=True):
                await desk.vault.destroy(integration_id)


async def _destroy_key(desk: Desk, deleted_id: str) -> None:
    try:
        await desk.vault.destroy(deleted_id)
    except Busy as error:
        raise Busy(
            f"the integration is deleted, but its key is not destroyed yet: {error}",
            hint="that is made up for when the daemon starts next",
            retry_after_s=error.retry_after_s,
        ) from error


async def _sealed(desk: Desk, integration_id: str, secrets: WantedSecrets) -> SealedSecrets:
    credentials: dict[str, SealedSecret] | UnsetType = UNSET
    account = ""
    if not isinstance(secrets.credentials, UnsetType):
        credentials = {name: await desk.seal(integration_id, name, text) for name, text in secrets.credentials.items()}
        account = secrets.credentials.get("username", "")
    webhook_secret: SealedSecret | UnsetType = UNSET
    if not isinstance(secrets.webhook_secret, UnsetType):
        webhook_secret = await desk.seal(integration_id, WEBHOOK_SECRET, secrets.webhook_secret)
    return SealedSecrets(credentials, webhook_secret, account)


def _age(one: Integration) -> tuple[float, str]:
    return one.created_at_s, one.id
