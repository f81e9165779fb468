"""The live stream: everything once and in order, whoever reads how slowly and comes back how often."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import Any, NamedTuple

import msgspec
import pytest
import trio
import trio.testing
from msgspec.structs import replace
from trio.testing import MockClock

from syncd.core.events import Record
from syncd.core.timeline import happened
from syncd.edges.api import events
from syncd.edges.api.app import build_api
from syncd.edges.api.gate import Gate
from syncd.edges.api.serve import DEFAULT_LIMITS
from tests.edges.api.daemon import Daemon, running
from tests.edges.api.doors import Caller, Door, open_door


class Told(NamedTuple):
    """One event as a client sees it."""

    id: str
    type: str
    data: dict[str, Any]


class Follower:
    """A client of the stream. ``last_id`` is where it would go on after a lost connection."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.last_id = ""
        self.beats = 0
        self._wire = b""
        self._text = b""
        self.is_ended = False

    async def begin(self, query: str = "", *headers: str) -> int:
        """Ask, and return the status of the answer."""
        lines = [f"GET /api/v1/events{query} HTTP/1.1", "host: localhost", *headers, "", ""]
        await self.caller.send("\r\n".join(lines).encode())
        while b"\r\n\r\n" not in self._wire:
            self._wire += await self.caller.chunk()
        head, _, self._wire = self._wire.partition(b"\r\n\r\n")
        status = int(head.split()[1])
        assert status != 200 or b"content-type: text/event-stream" in head.lower()
        return status

    async def more(self) -> bool:
        """Wait for the next bytes; False when there will be none."""
        received = await self.caller.chunk()
        self._wire += received
        while b"\r\n" in self._wire:
            size_text, _, rest = self._wire.partition(b"\r\n")
            size = int(size_text, 16)
            if size == 0:
                self.is_ended = True
                return False
            if len(rest) < size + 2:
                break
            self._text += rest[:size]
            self._wire = rest[size + 2 :]
        return bool(received)

    def taken(self) -> Iterator[Told]:
        """The whole events that have arrived."""
        while b"\n\n" in self._text:
            block, _, self._text = self._text.partition(b"\n\n")
            fields = dict(line.split(": ", 1) for line in block.decode().split("\n") if not line.startswith(":"))
            self.last_id = fields["id"]
            if "data" in fields:
                assert fields["event"] == msgspec.json.decode(fields["data"])["type"]
                yield Told(fields["id"], fields["event"], msgspec.json.decode(fields["data"]))
            else:
                self.beats += 1

    async def take(self, count: int) -> list[Told]:
        """Exactly so many events."""
        found = list(self.taken())
        while len(found) < count:
            assert await self.more(), f"ended after {len(found)} of {count} events"
            found += self.taken()
        assert len(found) == count
        return found


@asynccontextmanager
async def streaming() -> AsyncIterator[tuple[Daemon, Door]]:
    """A daemon behind a door in memory."""
    async with running(auth="none") as daemon, open_door(Gate(daemon.api)) as door:
        yield daemon, door


async def follower(door: Door, query: str = "", *headers: str) -> Follower:
    one = Follower(door.dial())
    assert await one.begin(query, *headers) == 200
    return one


async def ids(daemon: Daemon, position: int = 0) -> list[str]:
    """Every event there is behind a position, as the journal tells."""
    records: list[Record] = await daemon.journal.since(position, 100_000)
    return [one.id for record in records for one in happened(daemon.desk.state, record)]


async def test_what_is_kept_comes_first_and_what_happens_follows(autojump_clock: MockClock) -> None:
    async with streaming() as (daemon, door):
        await daemon.configure()
        incident = await daemon.declare()
        one = await follower(door, "?since=0")
        old = await one.take(len(await ids(daemon)))
        assert [event.type for event in old] == [
            "im.daemon.born",
            "im.integration.configured",
            "im.incident.declared",
        ]
        assert (old[2].data["subject"], old[2].data["specversion"]) == (incident["id"], "1.0")
        await daemon.declare(title="Another")
        (new,) = await one.take(1)
        assert new.data["data"]["title"] == "Another"


async def test_without_a_place_it_begins_now_and_says_where_that_is(autojump_clock: MockClock) -> None:
    async with streaming() as (daemon, door):
        await daemon.declare()
        one = await follower(door)
        await one.more()
        assert list(one.taken()) == []
        assert one.last_id == str(daemon.journal.durable_position)
        await daemon.declare(title="Another")
        (new,) = await one.take(1)
        assert new.data["data"]["title"] == "Another"


async def test_a_reader_goes_on_in_the_middle_of_a_record(autojump_clock: MockClock) -> None:
    async with streaming() as (daemon, door):
        incident = await daemon.declare()
        integration = await daemon.configure(organization_id=incident["organization_id"])
        await daemon.integrations.link(integration["id"], incident["id"], "a" * 32)
        all_ids = await ids(daemon)
        for at, event_id in enumerate(all_ids):
            one = await follower(door, "?since=0", f"Last-Event-ID: {event_id}")  # as a browser connects again
            assert [event.id for event in await one.take(len(all_ids) - at - 1)] == all_ids[at + 1 :]
            await one.caller.hang_up()


@pytest.mark.parametrize("seed", range(3))
def test_under_load_every_reader_gets_everything_once_and_in_order(seed: int) -> None:
    """Readers come at any time and place, read at their own pace, leave in the middle and come back."""
    rng = Random(seed)

    async def write(daemon: Daemon) -> None:
        for number in range(50):
            await trio.sleep(rng.choice((0, 0, 0, 0.3, 20)))
            async with trio.open_nursery() as burst:
                for _ in range(rng.choice((1, 1, 8))):
                    burst.start_soon(partial(daemon.declare, title=f"{number}"))

    async def read(daemon: Daemon, door: Door, over: trio.Event) -> None:
        await trio.sleep(rng.uniform(0, 200))
        start = rng.randrange(daemon.journal.durable_position + 1)
        got: list[str] = []
        last = str(start)
        one = await follower(door, f"?since={start}")
        while True:
            if rng.random() < 0.2:
                await one.caller.hang_up()
                one = await follower(door, f"?since={last}")
            await trio.sleep(rng.choice((0, 0, 1, 8)))
            with trio.move_on_after(1):
                await one.more()
            got += [event.id for event in one.taken()]
            last = one.last_id or last
            if over.is_set() and got and got[-1] == (await ids(daemon))[-1]:
                break
        assert got == await ids(daemon, start)
        await one.caller.hang_up()

    async def scenario() -> None:
        async with streaming() as (daemon, door):
            over = trio.Event()
            async with trio.open_nursery() as nursery:
                for _ in range(4):
                    nursery.start_soon(read, daemon, door, over)
                await write(daemon)
                await daemon.declare(title="the last")
                over.set()

    trio.run(scenario, clock=MockClock(autojump_threshold=0))


async def test_nothing_leaves_before_it_is_on_disk(autojump_clock: MockClock) -> None:
    async with streaming() as (daemon, door):
        one = await follower(door)
        await one.more()
        daemon.work.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(daemon.http.post, "/api/v1/incidents")  # refused: it journals nothing
            nursery.start_soon(lambda: daemon.http.post("/api/v1/incidents", json={"title": "T", "severity": "1"}))
            with trio.move_on_after(60):
                while True:
                    await one.more()
                    assert list(one.taken()) == []
            daemon.work.gate.set()
            (told,) = await one.take(1)
        assert told.type == "im.incident.declared"


async def test_a_quiet_stream_lives_for_hours_with_a_sign_of_life_every_15_s(autojump_clock: MockClock) -> None:
    async with streaming() as (daemon, door):
        one = await follower(door)
        with trio.move_on_after(3 * 3600 + 1):
            while True:
                await one.more()
                list(one.taken())
        assert one.beats == 1 + 3 * 3600 / events.HEARTBEAT_S
        assert one.last_id == str(daemon.journal.durable_position)


async def test_events_that_are_left_out_move_the_place_of_the_reader(autojump_clock: MockClock) -> None:
    async with streaming() as (daemon, door):
        one = await follower(door, "?type=im.token.")
        for _ in range(3):
            await daemon.declare()
        await trio.sleep(events.HEARTBEAT_S + 1)
        while one.beats < 2:
            await one.more()
            assert list(one.taken()) == []
        assert one.last_id == str(daemon.journal.durable_position)


async def test_filters_choose_by_incident_integration_and_type(autojump_clock: MockClock) -> None:
    async with streaming() as (daemon, door):
        integration = await daemon.configure(organization_id="default", handle="prod-snow")
        first, second = await daemon.declare(), await daemon.declare()
        await daemon.integrations.link(integration["id"], second["id"], "a" * 32)
        found = {}
        for query in (
            f"incident={first['id']}",
            "integration=prod-snow",
            "type=im.incident",
            f"incident={second['id']}&type=im.sync.",
        ):
            one = await follower(door, f"?since=0&{query}")
            await trio.testing.wait_all_tasks_blocked()
            await one.more()
            await one.more()
            found[query.partition("=")[0] + query[-9:]] = [event.type for event in one.taken()]
            await one.caller.hang_up()
        assert list(found.values()) == [
            ["im.incident.declared"],
            ["im.integration.configured", "im.sync.linked"],
            ["im.incident.declared", "im.incident.declared"],
            ["im.sync.linked"],
        ]


async def test_a_client_that_reads_nothing_is_cut_and_holds_one_batch_at_most(autojump_clock: MockClock) -> None:
    async with streaming() as (daemon, door):
        for _ in range(30):
            await daemon.declare(description="x" * 100_000)
        caller = door.dial_unread()
        stuck = Follower(caller)
        await stuck.begin("?since=0")
        reading = await follower(door, "?since=0")
        assert len(await reading.take(31)) == 31  # a neighbour that does not read is no hindrance
        await trio.sleep(2 * DEFAULT_LIMITS.send_s)
        assert await caller.seconds_to_close() == 0
        for _ in range(events.STREAMS_MAX - 1):  # its place is free again
            await follower(door)


async def test_a_read_takes_little_at_a_time_and_always_something(autojump_clock: MockClock) -> None:
    async with running() as daemon:
        for _ in range(8):
            await daemon.declare(description="x" * 100_000)
        sizes, position = [], 0
        while records := await daemon.journal.since(position, 200, 256 * 1024):
            sizes.append(sum(len(msgspec.json.encode(record)) for record in records))
            position = records[-1].position
        assert position == daemon.journal.durable_position
        assert max(sizes) < 256 * 1024 + 110_000
        assert len(await daemon.journal.since(0, 200, 1)) == 1


async def test_streams_end_at_once_when_the_daemon_stops_and_look_whole(autojump_clock: MockClock) -> None:
    async with streaming() as (daemon, door):
        one = await follower(door)
        await one.more()
        daemon.desk.stopping.set()
        assert await door.seconds_to_stop() == 0
        while await one.more():
            pass
        assert one.is_ended


async def test_no_more_than_64_follow_and_a_place_that_is_left_is_free(autojump_clock: MockClock) -> None:
    async with streaming() as (daemon, door):
        followers = [await follower(door) for _ in range(events.STREAMS_MAX)]
        for one in followers:
            await one.more()
        refused = await daemon.http.get("/api/v1/events")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "15")
        assert "64 clients follow" in refused.json()["detail"]
        await followers[0].caller.hang_up()
        await trio.sleep(events.HEARTBEAT_S + 1)
        await follower(door)


class Compacted:
    """A journal whose older records are gone."""

    def __init__(self, journal: Any, oldest: int) -> None:
        self._journal = journal
        self.first_position = oldest

    def __getattr__(self, name: str) -> Any:
        return getattr(self._journal, name)

    async def since(self, position: int, *limits: int) -> list[Record]:
        found: list[Record] = await self._journal.since(max(position, self.first_position - 1), *limits)
        return found


async def test_a_place_that_is_no_longer_kept_is_410_and_names_the_oldest(autojump_clock: MockClock) -> None:
    async with running(auth="none") as daemon:
        for _ in range(9):
            await daemon.declare()
        desk = replace(daemon.desk, journal=Compacted(daemon.journal, 6))
        async with open_door(Gate(build_api(desk))) as door:
            for query, status in (("1", 410), ("4", 410), ("5-0", 410), ("5", 200), ("6-0", 200), ("0", 200)):
                one = Follower(door.dial())
                assert (query, await one.begin(f"?since={query}")) == (query, status)
                if status == 200:
                    first = (await one.take(len(await ids(daemon, 5)) - (query == "6-0")))[0]
                    assert first.id == ("7-0" if query == "6-0" else "6-0")
            gone = Follower(door.dial())
            await gone.caller.send(b"GET /api/v1/events?since=4 HTTP/1.1\r\nhost: localhost\r\n\r\n")
            answer = msgspec.json.decode((await gone.caller.answer()).body)
            assert answer["detail"] == "position 4 is no longer kept; the oldest is 6"
            assert answer["hint"] == "start with since=0 for all that is kept"


class EndsWhileRead(Compacted):
    """A journal whose history ends ahead of a reader after its first two records."""

    async def since(self, position: int, *limits: int) -> list[Record]:
        found = await super().since(position, 2)
        self.first_position = 6
        return found


async def test_history_that_ends_ahead_of_a_reader_ends_its_stream_also_where_all_is_left_out(
    autojump_clock: MockClock,
) -> None:
    async with running(auth="none") as daemon:
        for _ in range(9):
            await daemon.declare()
        desk = replace(daemon.desk, journal=EndsWhileRead(daemon.journal, 1))
        async with open_door(Gate(build_api(desk))) as door:
            one = Follower(door.dial())
            assert await one.begin("?since=1&type=im.token") == 200
            for _ in range(5):
                if not await one.more():
                    break
            assert [*one.taken(), one.is_ended, one.last_id] == [True, "3"]


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("since=soon", 422, "since 'soon' is not a position"),
        ("since=-1", 422, "is not a position"),
        ("since=", 422, "is not a position"),
        ("since=99", 422, "position 99 lies in the future; the newest is 1"),
        ("since=1-0-0-0", 422, "is not a position"),
        ("incident=INC-X", 404, "there is no incident 'INC-X'"),
        ("integration=nowhere", 404, "there is no integration"),
        ("type=incident", 422, "begins no type of event"),
        ("limit=5", 422, "known are since, incident, integration, type"),
        ("since=0&since=1", 422, "is given twice"),
    ],
)
async def test_a_question_that_cannot_be_answered_is_refused_by_name(query: str, status: int, words: str) -> None:
    async with running() as daemon:
        answer = await daemon.socket.get(f"/api/v1/events?{query}")
        assert answer.status_code == status
        assert words in answer.json()["detail"]


async def test_head_answers_at_once() -> None:
    async with running() as daemon:
        answer = await daemon.socket.head("/api/v1/events")
        assert (answer.status_code, answer.content) == (200, b"")
