"""Long lists of ids: what a URL carries, what an instance that ignores part of the query gets, and a proxy's limit."""

import pytest
import trio
from trio.testing import MockClock

from syncd.errors import ExternalFailed, ExternalUnreadable
from tests.network import MemoryNetwork, answer, request_in
from tests.systems.test_hostile_answers import client

IDS = [f"{number:032x}" for number in range(200)]
TOO_LONG = b"HTTP/1.1 414 URI Too Long\r\nContent-Length: 0\r\n\r\n"


def rows_of(*rows: str) -> bytes:
    return answer(b'{"result":[%s]}' % ",".join(rows).encode())


async def test_two_hundred_ids_fit_a_request_line_of_8_kib(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    heads: list[bytes] = []

    async def serve(stream: trio.abc.Stream) -> None:
        while request := await request_in(stream):
            heads.append(request)
            await stream.send_all(rows_of())

    assert await client(MemoryNetwork(nursery, serve)).read(IDS) == []
    line = heads[0].partition(b"\r\n")[0]
    assert len(line) < 8 * 1024
    assert b",".join(one.encode() for one in IDS) in line
    nursery.cancel_scope.cancel()


async def test_a_url_that_is_too_long_for_something_on_the_way_asks_for_a_shorter_one(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        while await request_in(stream):
            await stream.send_all(TOO_LONG)

    with pytest.raises(ExternalUnreadable) as refused:
        await client(MemoryNetwork(nursery, serve)).read(IDS)
    assert refused.value.status == 414
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "row",
    [
        '{"sys_id":"%s","correlation_id":"syncd:int_B:INC-1"}' % ("2" * 32),
        '{"sys_id":"%s","correlation_id":""}' % ("2" * 32),
        '{"sys_id":"%s","correlation_id":"syncd:int_A:INC-1"}' % ("0" * 32),
    ],
    ids=["another's", "none", "behind the cursor"],
)
async def test_rows_that_the_search_for_our_records_does_not_match_are_no_answer(
    autojump_clock: MockClock, nursery: trio.Nursery, row: str
) -> None:
    async def serve(stream: trio.abc.Stream) -> None:
        while await request_in(stream):
            await stream.send_all(rows_of(row))

    with pytest.raises(ExternalFailed, match="does not match"):
        await client(MemoryNetwork(nursery, serve)).ours("syncd:int_A:", "1" * 32)
    nursery.cancel_scope.cancel()


async def test_the_search_for_our_records_asks_for_ids_and_goes_on_behind_the_last_one(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    heads: list[bytes] = []

    async def serve(stream: trio.abc.Stream) -> None:
        while request := await request_in(stream):
            heads.append(request)
            await stream.send_all(rows_of('{"sys_id":"%s","correlation_id":"syncd:int_A:INC-1"}' % ("3" * 32)))

    (seen,) = await client(MemoryNetwork(nursery, serve)).ours("syncd:int_A:", "1" * 32)
    assert (seen.external_id, seen.columns) == ("3" * 32, {})
    assert b"sys_id%3E" + b"1" * 32 in heads[0]
    assert b"sysparm_fields=sys_id,number,correlation_id" in heads[0]
    nursery.cancel_scope.cancel()
