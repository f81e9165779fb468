"""The route of the connection test: as one report, or as a line for each step as it is done.

Owns the last step, which is about our own door. Steps that were begun are ended when the client is gone.
"""

from types import TracebackType
from typing import Final, Self

import msgspec
import trio
from quart import Response, request
from quart.wrappers.response import ResponseBody

from syncd.actors.ports import Examination
from syncd.core import examination as judge
from syncd.core import finding
from syncd.core.examination import Step
from syncd.core.fields import Fields
from syncd.core.model import Integration
from syncd.edges.api.answers import JSON, answer, body
from syncd.edges.api.description import Answer, Description
from syncd.edges.api.desk import Desk
from syncd.edges.api.integrations import ONE, TOPIC
from syncd.edges.api.routes import Routes

LINES: Final = "application/x-ndjson"
CLOSE_S_MAX: Final = 1.0


def read_write_check(body: Fields) -> bool:
    """Whether the test may write, from a request's object; ``Invalid`` with every fault."""
    writes = body.flag("write_check")
    body.done("the test")
    return writes is True


TEST: Final = Description(
    topic=TOPIC,
    summary="Test the way to ServiceNow, step by step",
    notes=(
        "Works for one that is paused, down or disabled, and ends within 60 s. A step that fails is no refusal: the "
        "report says so. Writes nothing to ServiceNow without `write_check`. With `Accept: application/x-ndjson` each "
        "step is a line as soon as it is done."
    ),
    takes=read_write_check,
    example={"write_check": False},
    answers=(Answer(judge.Report),),
)


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put it into the application."""

    async def test(integration: str) -> Response:
        writes = read_write_check(await body())
        one = finding.integration(desk.state, integration)
        await desk.settled()
        steps = _Steps(desk.integrations.examine(one.id, writes=writes), one, desk)
        if request.accept_mimetypes.best_match([JSON, LINES], JSON) == LINES:
            response = Response(steps, content_type=LINES)
            response.timeout = None  # the test has its own
            return response
        done: list[Step] = []
        async with steps:
            while (step := await steps.next()) is not None:
                done.append(step)
        return answer(judge.report(one.id, one.settings.handle, done))

    routes.add("POST", f"{ONE}/test", "operate", test, TEST)


class _Steps(ResponseBody):
    """The steps of one test, and at last the one about webhooks; as a body, a line of JSON each."""

    def __init__(self, examination: Examination, one: Integration, desk: Desk) -> None:
        self._examination = examination
        self._one = one
        self._desk = desk
        self._is_over = False

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with trio.move_on_after(CLOSE_S_MAX, shield=True):
            await self._examination.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if (step := await self.next()) is None:
            raise StopAsyncIteration
        return msgspec.json.encode(step) + b"\n"

    async def next(self) -> Step | None:
        """The next step, done; None after the last."""
        if self._is_over:
            return None
        if (step := await anext(self._examination, None)) is not None:
            return step
        self._is_over = True
        counts = self._desk.webhook_counts.of(self._one.id)
        return judge.webhook(counts.last_at_s, self._desk.clock.now_s(), self._one.settings)
