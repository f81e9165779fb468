"""The live stream of everything that happens: ``GET /api/v1/events`` as Server-Sent Events.

Theory of operation. A reader is a place in the journal. It reads the durable records behind its place, at most 256 KiB
of them at a time, turns them into events, and goes on behind them; when there are none it waits for the journal's next
group. Old and new events come the same way, so nothing can be missed or told twice where one ends and the other begins,
and a slow reader holds no more than its one batch. The queue of every reader is the journal itself.

Nothing of the request is used once the answer has begun (docs/http.md, "Defects of the stack").
"""

import re
from collections.abc import AsyncGenerator, Sequence
from math import inf
from typing import Final

import msgspec
import trio
from msgspec import Struct
from quart import Response, request

from syncd.actors.doorbell import Doorbell
from syncd.core import finding
from syncd.core.events import Record
from syncd.core.fields import Form, shown
from syncd.core.timeline import PLACE_PATTERN, CloudEvent, Place, happened, place_of
from syncd.edges.api.answers import filters
from syncd.edges.api.description import TEXT, Answer, Description, Parameter
from syncd.edges.api.desk import Desk
from syncd.edges.api.routes import Routes
from syncd.errors import Gone, Invalid, Problem, TooMany, Unknown

HEARTBEAT_S: Final = 15.0  # a client that vanished is noticed by sending only
STREAMS_MAX: Final = 64  # of the 512 places that a listener has
READS_AT_ONCE: Final = 2  # so that readers never take the threads that the journal's own writing needs
RECORDS_A_READ: Final = 200
BYTES_A_READ: Final = 256 * 1024
RETRY_AFTER_S: Final = 15
FAMILIES: Final = ("im.incident", "im.sync", "im.integration", "im.token", "im.daemon")


PLACE: Final[Form] = {"type": "string", "pattern": f"^{PLACE_PATTERN}$"}
FILTERS: Final = (
    Parameter("since", "What comes behind this position, or event's id; 0: from the oldest that is kept.", PLACE),
    Parameter("incident", "About this incident.", TEXT),
    Parameter("integration", "About what the sync of this integration does: id, handle or name.", TEXT),
    Parameter(
        "type",
        "Of a type that begins so.",
        {"type": "string", "pattern": f"^({'|'.join(map(re.escape, FAMILIES))})"},
    ),
)
FOLLOW: Final = Description(
    topic="Events",
    summary="Follow what happens",
    notes=(
        "Server-Sent Events without an end: `id` and `event` are a CloudEvent's id and type, `data` is the event. "
        "Every event once, in order, as soon as it is on disk; without `since` from now on."
    ),
    query=FILTERS,
    headers=(Parameter("Last-Event-ID", "Like `since`, and goes before it: a browser sends it by itself.", PLACE),),
    answers=(Answer(TEXT, media="text/event-stream"),),
    refuses=(Gone, TooMany, Unknown),
)


class Wanted(Struct, frozen=True):
    """Which events a reader asked for; empty: all. ``kind`` is the beginning of a type."""

    incident_id: str = ""
    integration_id: str = ""
    kind: str = ""

    def includes(self, event: CloudEvent) -> bool:
        """Whether the reader asked for this one."""
        return (
            event.type.startswith(self.kind)
            and (not self.incident_id or event.subject == self.incident_id)
            and (not self.integration_id or event.source == f"/integrations/{self.integration_id}")
        )


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put it into the application."""
    feed = Feed(desk)

    async def follow() -> Response:
        found = filters(*FILTERS)
        wanted = Wanted(
            incident_id=finding.incident(desk.state, found["incident"]).id if "incident" in found else "",
            integration_id=finding.integration(desk.state, found["integration"]).id if "integration" in found else "",
            kind=_kind(found["type"]) if "type" in found else "",
        )
        # A browser that connects again sends its first URL and says in the header where it stands.
        since, last = _place("since", found.get("since")), _place("Last-Event-ID", request.headers.get("Last-Event-ID"))
        start = feed.start(since if last is None else last)
        feed.check_room()
        await desk.settled()
        body = b"" if request.method == "HEAD" else feed.follow(start, wanted)
        response = Response(body, content_type="text/event-stream")
        response.headers["X-Accel-Buffering"] = "no"  # nginx would keep events until it has a bufferful
        response.timeout = None
        return response

    routes.add("GET", "/api/v1/events", "read", follow, FOLLOW)


def _kind(given: str) -> str:
    if not given.startswith(FAMILIES):
        fault = Problem("type", f"{shown(given)} begins no type of event; types begin with {', '.join(FAMILIES)}")
        raise Invalid(f"type {fault[1]}", problems=(fault,))
    return given


def _place(name: str, given: str | None) -> Place | None:
    place = None if given is None else place_of(given)
    if given is not None and place is None:
        fault = Problem(name, f"{shown(given)} is not a position, such as 17, nor the id of an event")
        raise Invalid(f"{name} {fault[1]}", problems=(fault,), hint="start with since=0, or without it for now")
    return place


class Feed:
    """All readers of one daemon."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._streams = 0
        self._reading = trio.CapacityLimiter(READS_AT_ONCE)

    def check_room(self) -> None:
        """``TooMany`` when as many follow as may."""
        if self._streams >= STREAMS_MAX:
            raise TooMany(
                f"{STREAMS_MAX} clients follow the events already", hint="end one of them", retry_after_s=RETRY_AFTER_S
            )

    def start(self, place: Place | None) -> Place:
        """The place to read on from; without one, now. ``Invalid`` for the future, ``Gone`` for what is not kept."""
        journal = self._desk.journal
        newest, oldest = journal.durable_position, journal.first_position
        if place is None:
            return newest, inf, inf
        position, index, _ = place
        if position > newest:
            fault = Problem("since", f"position {position} lies in the future; the newest is {newest}")
            hint = "if the journal was restored from a backup, start with since=0"
            raise Invalid(f"since: {fault[1]}", problems=(fault,), hint=hint)
        needed = position + 1 if index == inf else position  # the rest of that record, too
        if position > 0 and needed < oldest:
            raise Gone(
                f"position {position} is no longer kept; the oldest is {oldest}",
                hint="start with since=0 for all that is kept",
            )
        return place

    async def follow(self, start: Place, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        """What a client sees, in blocks, until it leaves or the daemon stops."""
        reader = _Reader(self._desk, self._reading, start, wanted)
        if self._streams >= STREAMS_MAX:
            return  # others came between the check and now
        self._streams += 1
        unsubscribe = self._desk.journal.subscribe(reader.on_durable)
        try:
            yield reader.still_here("retry: 1000\n")
            while reader.is_kept and not self._desk.stopping.is_set():
                yield await reader.next_block()
        finally:
            unsubscribe()
            self._streams -= 1


class _Reader:
    """One client's place in the journal."""

    def __init__(self, desk: Desk, reading: trio.CapacityLimiter, start: Place, wanted: Wanted) -> None:
        self._desk = desk
        self._reading = reading
        self._start = start
        self._position = start[0] if start[1] == inf else start[0] - 1
        self._told = str(start[0])
        self._wanted = wanted
        self._bell = Doorbell()

    @property
    def is_kept(self) -> bool:
        """What comes next is still there. One so slow that it is not is told when it asks again: that is 410."""
        return self._position == 0 or self._position >= self._desk.journal.first_position - 1

    def on_durable(self, _: Sequence[Record]) -> None:
        """Look again. Called by the journal; never waits."""
        self._bell.ring()

    def still_here(self, more: str = "") -> bytes:
        """A comment for the connection's sake, with the place to read on from: events left out move it, too."""
        return f": {self._position}\n{more}id: {self._told}\n\n".encode()

    async def next_block(self) -> bytes:
        """The next events; without any, a sign of life after a while, or when the daemon stops."""
        with trio.move_on_after(HEARTBEAT_S):
            while not self._desk.stopping.is_set():
                async with self._reading:
                    if not self.is_kept:  # history ended while events were left out, or while others read
                        break
                    records = await self._desk.journal.since(self._position, RECORDS_A_READ, BYTES_A_READ)
                if not records:
                    await self._news()
                    continue
                events = [one for record in records for one in happened(self._desk.state, record)]
                block = b"".join(map(_written, filter(self._is_next, events)))
                await self._desk.journal.settled()  # an integration's name may be newer than these records
                self._position = records[-1].position
                self._told = str(self._position)
                if block:
                    return block
        return self.still_here()

    def _is_next(self, event: CloudEvent) -> bool:
        place = place_of(event.id)
        return place is not None and place > self._start and self._wanted.includes(event)

    async def _news(self) -> None:
        """Return when there may be something to read, or when the daemon stops."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wait_for_stop, nursery.cancel_scope)
            await self._bell.wait()
            nursery.cancel_scope.cancel()

    async def _wait_for_stop(self, waiting: trio.CancelScope) -> None:
        await self._desk.stopping.wait()
        waiting.cancel()


def _written(event: CloudEvent) -> bytes:
    """JSON has no line breaks of its own, so an event is three lines."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event.id.encode(), event.type.encode(), msgspec.json.encode(event))
