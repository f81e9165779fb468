"""The routes of an integration's links: list them, link an existing pair, unlink one.

Linking reads the record, which only the running integration can do; what is checked here is our own side.
"""

from typing import Final

import trio
from quart import Response

from syncd.core import finding, verdicts, views
from syncd.core.model import Link
from syncd.core.requests import read_pair
from syncd.core.state import link_id
from syncd.edges.api import examples
from syncd.edges.api.answers import LINK, PAGE, answer, body, filters, nothing, paged, wanted_page
from syncd.edges.api.description import Answer, Description
from syncd.edges.api.desk import RETRY_AFTER_S, Desk, caller, trace_id
from syncd.edges.api.routes import Routes
from syncd.errors import Busy, Exists, WrongState

TOPIC: Final = "Links"
BASE: Final = "/api/v1/integrations/<integration>/links"
ONE: Final = f"{BASE}/<incident_id>"
LIST: Final = Description(
    topic=TOPIC,
    summary="List links",
    notes="The oldest first.",
    query=PAGE,
    answers=(Answer(list[views.LinkView], headers=(LINK,), example=[examples.LINK]),),
)
JOIN: Final = Description(
    topic=TOPIC,
    summary="Link an incident with a record that exists",
    notes="The record is read first. Where the two differ, the rules of the sync decide, as for any other change.",
    takes=read_pair,
    example=examples.PAIR,
    answers=(Answer(views.LinkView, 201, example=examples.LINK),),
    refuses=(Exists,),
)
PART: Final = Description(
    topic=TOPIC,
    summary="Unlink an incident",
    notes="Both stay as they are, and apart until a person links them again.",
    answers=(Answer(None, 204),),
    refuses=(WrongState,),
)
LINK_S_MAX: Final = 60.0


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put them into the application."""

    async def find(integration: str) -> Response:
        page, _ = wanted_page(), filters(*PAGE)
        one = finding.integration(desk.state, integration)
        links = sorted(desk.state.links_under(one.id), key=_age)
        return await desk.shown(lambda: paged(page, links, key=_age, show=lambda link: views.link(desk.state, link)))

    async def join(integration: str) -> Response:
        pair = read_pair(await body())
        one = finding.integration(desk.state, integration)
        verdicts.check_pair(desk.state, one, pair)
        await desk.settled()
        with trio.move_on_after(LINK_S_MAX):
            who = caller()
            await desk.integrations.link(
                one.id, pair.incident_id, pair.external_id, by=who.by, trace=trace_id(), source=who.source
            )
            made = desk.state.links.get(link_id(one.id, pair.incident_id))
            if made is not None:
                shown = views.link(desk.state, made)
                return await desk.shown(lambda: answer(shown, 201))
        raise Busy(
            f"the record was not read within {LINK_S_MAX:g} s, or the pair was parted again meanwhile",
            hint=f"look what became of it: im integration links {one.settings.handle}",
            retry_after_s=RETRY_AFTER_S,
        )

    async def part(integration: str, incident_id: str) -> Response:
        await desk.change(verdicts.unlink(integration, incident_id))
        return nothing()

    routes.add("GET", BASE, "read", find, LIST)
    routes.add("POST", BASE, "operate", join, JOIN)
    routes.add("DELETE", ONE, "operate", part, PART)


def _age(one: Link) -> tuple[float, str]:
    return one.created_at_s, one.id
