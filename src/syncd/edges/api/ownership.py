"""The routes of field ownership: list an integration's rules, set one, restore a default."""

from typing import Final

from quart import Response

from syncd.actors.ports import Decide
from syncd.core import finding, ownership
from syncd.core.ownership import OwnershipView
from syncd.edges.api import examples
from syncd.edges.api.answers import LINK, PAGE, answer, body, filters, paged, wanted_page
from syncd.edges.api.description import Answer, Description
from syncd.edges.api.desk import Desk
from syncd.edges.api.routes import Routes

TOPIC: Final = "Field ownership"
BASE: Final = "/api/v1/integrations/<integration>/field-ownership"
ONE: Final = f"{BASE}/<field>"
LIST: Final = Description(
    topic=TOPIC,
    summary="List who owns each field",
    query=PAGE,
    answers=(Answer(list[OwnershipView], headers=(LINK,), example=[examples.OWNERSHIP]),),
)
PUT: Final = Description(
    topic=TOPIC,
    summary="Set the rule of a field",
    notes="Replaces the rule there was. What waits for a person, or to be delivered, is decided anew.",
    takes=ownership.read,
    example=examples.RULE,
    answers=(Answer(OwnershipView, example=examples.OWNERSHIP),),
)
RESTORE: Final = Description(topic=TOPIC, summary="Restore a field's default owner", answers=(Answer(OwnershipView),))


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put them into the application."""

    async def find(integration: str) -> Response:
        page, _ = wanted_page(), filters(*PAGE)
        rules = ownership.views(finding.integration(desk.state, integration))
        return await desk.shown(lambda: paged(page, rules, key=_place, show=_itself))

    async def put(integration: str, field: str) -> Response:
        rule = ownership.read(await body())
        return await change(ownership.change(integration, field, rule))

    async def restore(integration: str, field: str) -> Response:
        return await change(ownership.change(integration, field, None))

    async def change(decide: Decide[OwnershipView]) -> Response:
        view = await desk.change(decide)
        return answer(view)

    routes.add("GET", BASE, "read", find, LIST)
    routes.add("PUT", ONE, "admin", put, PUT)
    routes.add("DELETE", ONE, "admin", restore, RESTORE)


def _place(one: OwnershipView) -> tuple[float, str]:
    """Fields stand in the order of docs/sync.md."""
    return float(ownership.FIELDS.index(one.field)), one.field


def _itself(one: OwnershipView) -> OwnershipView:
    return one
