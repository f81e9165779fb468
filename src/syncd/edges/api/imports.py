"""The routes of imports: bring existing records in, look how far that is, stop it.

An import goes on in the daemon whoever waits; a dry run is the work of its request, and is gone with it.
"""

from typing import Final

import trio
from quart import Response

from syncd.core import finding, importing
from syncd.core.importing import ImportView
from syncd.core.requests import no_fields
from syncd.edges.api.answers import answer, body, filters
from syncd.edges.api.description import Answer, Description
from syncd.edges.api.desk import Desk, caller
from syncd.edges.api.integrations import ONE, TOPIC
from syncd.edges.api.reconcile import WAIT
from syncd.edges.api.routes import Routes
from syncd.errors import WrongState

WAIT_S_MAX: Final = 300.0
EXAMPLE: Final = {"query": "active=true^priority<3", "dry_run": True}
IMPORT: Final = Description(
    topic=TOPIC,
    summary="Bring existing records in",
    notes=(
        "Each record that matches becomes a linked incident, with its work notes. The answer is 202 at once, with the "
        "import as it stands, or with `wait` 200 when it is over (202 if that takes longer than 5 minutes). It goes on "
        "over a restart; the same query again waits for it, or goes on where it was stopped. A dry run changes "
        "nothing, always answers 200, when it is over, and names the first 20 records that would come in."
    ),
    takes=importing.read_import,
    example=EXAMPLE,
    query=(WAIT,),
    answers=(Answer(ImportView), Answer(ImportView, 202)),
    refuses=(WrongState,),
)
SHOW: Final = Description(topic=TOPIC, summary="Show how far the last import is", answers=(Answer(ImportView),))
STOP: Final = Description(
    topic=TOPIC,
    summary="Stop the import",
    notes="What came in stays. The same query again goes on from there. One that is over stays as it is.",
    takes=no_fields,
    answers=(Answer(ImportView),),
)


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put them into the application."""

    async def bring_in(integration: str) -> Response:
        waits = filters(WAIT).get("wait") == "true"
        wanted = importing.read_import(await body())
        run_id, by = f"import-{desk.ids.word()}", caller().by
        one = finding.integration(desk.state, integration)
        importing.check_allowed(one)
        desk.integrations.check_runs(one.id)
        if wanted.dry_run:
            await desk.settled()
            tried = await desk.integrations.try_import(one.id, wanted.query, run_id=run_id, by=by)
            return answer(importing.view_of_tried(one, tried))
        run = await desk.change(lambda state, at_s: importing.start(state, at_s, one.id, wanted, run_id=run_id, by=by))
        if waits:
            with trio.move_on_after(WAIT_S_MAX):
                await desk.integrations.import_over(one.id)
        _, run = importing.last(desk.state, one.id)
        shown = importing.view(one, run)
        is_over = waits and run.status != "running"
        return await desk.shown(lambda: answer(shown, 200 if is_over else 202))

    async def show(integration: str) -> Response:
        return await desk.show(importing.view(*importing.last(desk.state, integration)))

    async def stop(integration: str) -> Response:
        no_fields(await body())
        by = caller().by
        await desk.change(lambda state, _: importing.stop(state, integration, f"stopped by {by}"))
        return await desk.show(importing.view(*importing.last(desk.state, integration)))

    routes.add("POST", f"{ONE}/import", "operate", bring_in, IMPORT)
    routes.add("GET", f"{ONE}/import", "read", show, SHOW)
    routes.add("POST", f"{ONE}/import/stop", "operate", stop, STOP)
