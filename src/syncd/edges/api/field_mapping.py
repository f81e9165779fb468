"""The routes of field mapping: list an integration's mappings, set one, take one back."""

from typing import Final

from quart import Response

from syncd.core import field_mapping, finding
from syncd.edges.api import examples
from syncd.edges.api.answers import LINK, PAGE, answer, body, filters, paged, wanted_page
from syncd.edges.api.description import Answer, Description
from syncd.edges.api.desk import Desk
from syncd.edges.api.routes import Routes
from syncd.errors import Invalid

TOPIC: Final = "Field mapping"
BASE: Final = "/api/v1/integrations/<integration>/field-mapping"
LIST: Final = Description(
    topic=TOPIC,
    summary="List where each field stands",
    notes="By a mapping that was set, or by default; `service` stands nowhere by default, and is not synced then.",
    query=PAGE,
    answers=(Answer(list[field_mapping.MappingView], headers=(LINK,), example=[examples.MAPPING]),),
)
SET: Final = Description(
    topic=TOPIC,
    summary="Map a field to a column",
    notes=(
        "Replaces the mapping there was. `severity` and `status` need `values`, all of them; text may have a "
        "`transform`. Refused with the values named when a value has no place, when one could not be read back, and "
        "when two fields would stand in one column."
    ),
    takes=field_mapping.read,
    example=examples.NEW_MAPPING,
    answers=(Answer(field_mapping.MappingView, example=examples.MAPPING),),
)
TAKE_BACK: Final = Description(
    topic=TOPIC,
    summary="Take a field's mapping back",
    notes="The field stands where it does by default, or is not synced any more. Refused while another field stands "
    "in that column.",
    answers=(Answer(field_mapping.MappingView),),
    refuses=(Invalid,),
)


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put them into the application."""

    async def find(integration: str) -> Response:
        page, _ = wanted_page(), filters(*PAGE)
        mappings = enumerate(field_mapping.views(finding.integration(desk.state, integration).settings))
        return await desk.shown(
            lambda: paged(page, mappings, key=lambda one: (float(one[0]), one[1].field), show=lambda one: one[1])
        )

    async def put(integration: str, field: str) -> Response:
        wanted = field_mapping.read(await body())
        mapped = await desk.change(field_mapping.put(integration, field, wanted))
        return answer(mapped)

    async def take_back(integration: str, field: str) -> Response:
        mapped = await desk.change(field_mapping.delete(integration, field))
        return answer(mapped)

    routes.add("GET", BASE, "read", find, LIST)
    routes.add("PUT", f"{BASE}/<field>", "admin", put, SET)
    routes.add("DELETE", f"{BASE}/<field>", "admin", take_back, TAKE_BACK)
