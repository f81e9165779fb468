"""The client against a simulated instance, and against answers that no honest instance gives."""

import math
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Final

import httpx
import pytest
import trio
from trio.testing import MockClock

from syncd.core.model import Cursor
from syncd.errors import ExternalFailed, Outcome
from syncd.simulator.instance import Instance, InstanceOptions
from syncd.simulator.transport import SimulatorTransport
from syncd.systems.exchange import READ_S_MAX, WRITE_S_MAX
from syncd.systems.line import RECORD_BYTES_MAX
from syncd.systems.offset import OffsetMeter
from syncd.systems.servicenow import ServiceNow
from syncd.systems.signin import Credentials

EPOCH_S: Final = 1_790_000_000.0
URL: Final = "https://dev12345.service-now.com/"
SIGN_IN: Final = Credentials("svc.sync", "sync-secret")
JSON: Final = {"content-type": "application/json;charset=UTF-8"}


class VirtualClock:
    """Trio's time as wall time."""

    def now_s(self) -> float:
        return EPOCH_S + trio.current_time()


def instance_of(*faults: str, offset_s: float = 0.0) -> Instance:
    options = InstanceOptions(incidents=3, clock_offset_s=offset_s, faults=faults)
    return Instance(options, VirtualClock().now_s, Random(1))


def client(
    transport: httpx.AsyncBaseTransport,
    *,
    credentials: Credentials = SIGN_IN,
    rate: float = 1000.0,
    concurrency: int = 4,
) -> ServiceNow:
    return ServiceNow(URL, credentials, transport, VirtualClock(), rate=rate, concurrency=concurrency)


def to(instance: Instance) -> ServiceNow:
    return client(SimulatorTransport(instance))


class Bytes(httpx.AsyncByteStream):
    """A body in chunks; ``then`` is raised after the last."""

    def __init__(self, *chunks: bytes, then: Exception | None = None) -> None:
        self._chunks = chunks
        self._then = then
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            await trio.lowlevel.checkpoint()
            yield chunk
        if self._then is not None:
            raise self._then

    async def aclose(self) -> None:
        self.is_closed = True


class Scripted(httpx.AsyncBaseTransport):
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response], takes_s: float = 0.0) -> None:
        self._answer = answer
        self._takes_s = takes_s
        self.requests: list[httpx.Request] = []
        self.at_s: list[float] = []
        self.under_way = self.most = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.at_s.append(trio.current_time())
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await trio.sleep(self._takes_s)
            return self._answer(request)
        finally:
            self.under_way -= 1


def answering(*chunks: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Scripted:
    shown = JSON if headers is None else headers
    return Scripted(lambda request: httpx.Response(status, headers=shown, stream=Bytes(*chunks), request=request))


def raising(error: Exception) -> Scripted:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    return Scripted(answer)


async def read_fails(transport: httpx.AsyncBaseTransport) -> ExternalFailed:
    with pytest.raises(ExternalFailed) as caught:
        await client(transport).read(["a" * 32])
    return caught.value


async def write_fails(transport: httpx.AsyncBaseTransport) -> ExternalFailed:
    with pytest.raises(ExternalFailed) as caught:
        await client(transport).update("a" * 32, {"state": "2"})
    return caught.value


# -- what an honest instance says --------------------------------------------------------------------------------------


async def test_records_are_read_by_id_and_a_missing_one_is_left_out(autojump_clock: MockClock) -> None:
    instance = instance_of()
    first, second = (row["sys_id"] for row in instance.incidents()[:2])
    shown = await to(instance).read([first, "0" * 32, second])
    assert {seen.external_id for seen in shown} == {first, second}
    record = instance.record(first)
    seen = next(seen for seen in shown if seen.external_id == first)
    assert seen.columns["short_description"] == record["short_description"]
    assert seen.columns["priority"] == record["priority"]
    assert seen.mod_count == int(record["sys_mod_count"])


async def test_a_create_is_echoed_found_by_its_correlation_id_and_changed(autojump_clock: MockClock) -> None:
    external = to(instance_of())
    columns = {"short_description": "Mail", "impact": "1", "urgency": "1", "correlation_id": "syncd:int_1:INC-1"}
    made = await external.create(columns)
    assert (made.columns["priority"], made.mod_count, made.created_by) == ("1", 0, "svc.sync")
    assert [seen.external_id for seen in await external.with_correlation("syncd:int_1:INC-1")] == [made.external_id]
    changed = await external.update(made.external_id, {"state": "2"})
    assert (changed.columns["state"], changed.mod_count) == ("2", 1)


async def test_a_correlation_id_is_compared_exactly_on_our_side(autojump_clock: MockClock) -> None:
    external = to(instance_of())
    await external.create({"short_description": "x", "correlation_id": "syncd:int_1:inc-1"})
    assert await external.with_correlation("syncd:int_1:INC-1") == []


async def test_new_records_are_walked_through_in_order_each_once(autojump_clock: MockClock) -> None:
    instance = instance_of()
    external = to(instance)
    made = []
    for number in range(5):
        made.append(str(instance.create_as("beth.anglin", {"short_description": f"n{number}"})["sys_id"]))
        if number % 2:
            await trio.sleep(3)
    cursor, walked = Cursor(EPOCH_S - 0.3), []
    for _ in range(10):
        page = (await external.created_after(cursor)).rows
        if not page:
            break
        walked += [seen.external_id for seen in page[:2]]  # as if a page held two
        last = page[:2][-1]
        assert last.created_at_s is not None
        cursor = Cursor(last.created_at_s, last.external_id)
    assert sorted(walked) == sorted(made)
    assert len(set(walked)) == len(walked)


async def test_a_cursor_within_a_second_begins_with_that_whole_second(autojump_clock: MockClock) -> None:
    instance = instance_of()
    made = instance.create_as("beth.anglin", {"short_description": "n"})["sys_id"]
    await trio.sleep(0.8)
    assert [seen.external_id for seen in (await to(instance).created_after(Cursor(EPOCH_S + 0.7))).rows] == [made]


@pytest.mark.parametrize("query", ["priority=1", "priority=1^ORpriority=2", "category=x^NQpriority=1^NQpriority=2"])
async def test_an_import_query_narrows_the_given_records_and_never_widens_them(
    autojump_clock: MockClock, query: str
) -> None:
    instance = instance_of()
    high = instance.create_as("beth.anglin", {"short_description": "h", "impact": "1", "urgency": "1"})["sys_id"]
    low = instance.create_as("beth.anglin", {"short_description": "l", "impact": "3", "urgency": "3"})["sys_id"]
    instance.create_as("beth.anglin", {"short_description": "other", "impact": "1", "urgency": "1"})
    assert await to(instance).passing([high, low], query) == {high}
    assert await to(instance).passing([high, low], "") == {high, low}


@pytest.mark.parametrize(
    ("fault", "on_read", "on_write"),
    [
        ("request_lost", "unavailable", "ambiguous"),
        ("answer_lost", "unavailable", "ambiguous"),
        ("hibernating", "unavailable", "ambiguous"),
        ("maintenance_503", "unavailable", "ambiguous"),
        ("bad_gateway_502", "unavailable", "ambiguous"),
        ("redirect_302", "unavailable", "unavailable"),
        ("empty_202", "unavailable", "ambiguous"),
        ("error_500", "unavailable", "ambiguous"),
        ("semaphore_429", "throttled", "throttled"),
        ("unauthorized_401", "paused", "paused"),
        ("api_acl_403", "paused", "paused"),
        ("truncated_200=cut", "unavailable", None),
        ("truncated_200=intact", "unavailable", None),
    ],
)
async def test_each_accident_of_an_instance_has_its_outcome(
    autojump_clock: MockClock, fault: str, on_read: Outcome, on_write: Outcome | None
) -> None:
    instance = instance_of()
    known = instance.incidents()[0]["sys_id"]
    instance.set_fault(fault)
    with pytest.raises(ExternalFailed) as caught:
        await to(instance).read([known])
    assert caught.value.outcome == on_read
    if on_write is not None:
        with pytest.raises(ExternalFailed) as caught:
            await to(instance).update(known, {"state": "2"})
        assert caught.value.outcome == on_write


@pytest.mark.parametrize("fault", ["create_commits_then_500", "create_commits_then_reset", "create_500_without_commit"])
async def test_a_create_that_may_have_happened_is_ambiguous(autojump_clock: MockClock, fault: str) -> None:
    instance = instance_of(fault)
    with pytest.raises(ExternalFailed) as caught:
        await to(instance).create({"short_description": "x", "correlation_id": "syncd:int_1:INC-1"})
    assert caught.value.outcome == "ambiguous"


async def test_a_data_policy_refuses_with_its_own_words(autojump_clock: MockClock) -> None:
    instance = instance_of()
    known = instance.incidents()[0]["sys_id"]
    with pytest.raises(ExternalFailed) as caught:
        await to(instance).update(known, {"state": "6"})
    assert caught.value.outcome == "refused"
    assert "mandatory" in caught.value.detail


async def test_a_wrong_password_pauses(autojump_clock: MockClock) -> None:
    external = client(SimulatorTransport(instance_of()), credentials=Credentials("svc.sync", "wrong"))
    with pytest.raises(ExternalFailed) as caught:
        await external.read(["a" * 32])
    assert caught.value.outcome == "paused"


# -- answers that are not to be believed -------------------------------------------------------------------------------


def rows(*ids: str, created: str = "2026-11-23 10:00:00") -> bytes:
    shown = ",".join(f'{{"sys_id":"{one}","sys_created_on":"{created}"}}' for one in ids)
    return f'{{"result":[{shown}]}}'.encode()


async def test_more_rows_than_were_asked_for_are_an_outage_and_never_data(autojump_clock: MockClock) -> None:
    external = client(answering(rows("a", "b")))
    with pytest.raises(ExternalFailed, match="sys_id does not match") as caught:
        await external.read(["a"])
    assert caught.value.outcome == "unavailable"
    with pytest.raises(ExternalFailed, match="sys_id does not match"):
        await external.passing(["a"], "active=true")


@pytest.mark.parametrize("cursor", [Cursor(1795428000.0, "b"), Cursor(1795428001.0), Cursor(1795428900.0, "a")])
async def test_a_page_that_does_not_move_on_is_an_outage(autojump_clock: MockClock, cursor: Cursor) -> None:
    with pytest.raises(ExternalFailed, match="sys_created_on"):
        await client(answering(rows("b"))).created_after(cursor)


async def test_an_echo_of_another_record_or_of_none_is_ambiguous(autojump_clock: MockClock) -> None:
    for body in (b'{"result":{"sys_id":"b"}}', b'{"result":{}}', b'{"result":[]}', rows("a", "b")):
        with pytest.raises(ExternalFailed) as caught:
            await client(answering(body)).update("a", {"state": "2"})
        assert caught.value.outcome == "ambiguous"


@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd", "deflate"])
async def test_a_compressed_answer_is_refused_unread(autojump_clock: MockClock, encoding: str) -> None:
    headers = JSON | {"content-encoding": encoding}
    failed = await read_fails(answering(b"\x1f\x8b" * 9, headers=headers))
    assert failed.outcome == "unavailable"
    assert "compressed" in failed.message
    assert (await write_fails(answering(b"x", headers=headers))).outcome == "ambiguous"


async def test_an_endless_answer_is_cut_off_and_closed(autojump_clock: MockClock) -> None:
    class Endless(Bytes):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                await trio.lowlevel.checkpoint()
                yield b" " * 1_000_000

    body = Endless()
    transport = Scripted(lambda request: httpx.Response(200, headers=JSON, stream=body, request=request))
    failed = await read_fails(transport)
    assert f"more than {RECORD_BYTES_MAX} bytes" in failed.message
    assert body.is_closed


@pytest.mark.parametrize(
    "headers_and_body",
    [
        ({"content-type": "text/html"}, b"<html>sign in</html>"),
        (JSON, b'{"result":[{"sys_id":"a'),
        (JSON, b""),
        (JSON, b'{"result":[{"sys_id":"a"}],"error":{"message":"cancelled"}}'),
    ],
    ids=["page", "truncated", "empty", "error"],
)
async def test_a_200_that_is_no_data_is_an_outage(
    autojump_clock: MockClock, headers_and_body: tuple[dict[str, str], bytes]
) -> None:
    headers, body = headers_and_body
    assert (await read_fails(answering(body, headers=headers))).outcome == "unavailable"
    assert (await write_fails(answering(body, headers=headers))).outcome == "ambiguous"


@pytest.mark.parametrize(
    ("error", "on_write"),
    [
        (httpx.ConnectError("refused"), "unavailable"),
        (httpx.ConnectTimeout("slow"), "unavailable"),
        (httpx.PoolTimeout("full"), "unavailable"),
        (httpx.ReadError("reset"), "ambiguous"),
        (httpx.WriteError("reset"), "ambiguous"),
        (httpx.RemoteProtocolError("no answer"), "ambiguous"),
    ],
)
async def test_only_what_never_left_is_surely_without_effect(
    autojump_clock: MockClock, error: Exception, on_write: Outcome
) -> None:
    assert (await read_fails(raising(error))).outcome == "unavailable"
    assert (await write_fails(raising(error))).outcome == on_write


async def test_a_connection_that_breaks_inside_the_body_is_ambiguous_for_a_write(autojump_clock: MockClock) -> None:
    body = Bytes(b'{"result":', then=httpx.ReadError("reset"))
    transport = Scripted(lambda request: httpx.Response(200, headers=JSON, stream=body, request=request))
    assert (await write_fails(transport)).outcome == "ambiguous"
    assert body.is_closed


async def test_an_instance_that_never_answers_is_given_up_in_time(autojump_clock: MockClock) -> None:
    silent = Scripted(lambda request: httpx.Response(200, request=request), takes_s=math.inf)
    failed = await read_fails(silent)
    assert (failed.outcome, trio.current_time()) == ("unavailable", READ_S_MAX)
    failed = await write_fails(silent)
    assert (failed.outcome, trio.current_time()) == ("ambiguous", READ_S_MAX + WRITE_S_MAX)


# -- how it asks -------------------------------------------------------------------------------------------------------


async def test_a_list_asks_for_plain_values_without_a_count_and_pins_the_version(autojump_clock: MockClock) -> None:
    transport = answering(rows())
    await client(transport).read(["a", "b"])
    asked = transport.requests[0].url
    assert asked.path == "/api/now/v2/table/incident"
    assert asked.params["sysparm_query"] == "sys_idINa,b"
    assert asked.params["sysparm_exclude_reference_link"] == "true"
    assert asked.params["sysparm_no_count"] == "true"
    assert "sysparm_display_value" not in asked.params
    assert "sys_id" in asked.params["sysparm_fields"].split(",")


def test_a_clock_that_was_set_is_measured_anew() -> None:
    meter = OffsetMeter()
    meter.add(1000.0, 1000.2, 1000.3)
    meter.add(1601.0, 1001.2, 1001.3)
    assert meter.offset.s == pytest.approx(600.25, abs=0.6)
    assert meter.offset.error_s <= 1.0


# -- work notes --------------------------------------------------------------------------------------------------------


def incident_id_of(instance: Instance) -> str:
    return instance.incidents()[0]["sys_id"]


async def test_notes_of_the_same_words_are_counted_by_author_and_by_all_of_their_text(
    autojump_clock: MockClock,
) -> None:
    instance = instance_of()
    one, sys_id = to(instance), incident_id_of(instance)
    text = "ann:\nrolled back\n\n2026-11-23 01:31:07 - Beth Anglin (Work notes)\nno header"
    assert await one.count_notes(sys_id, text, "svc.sync") == 0
    for _ in range(2):
        await one.add_note(sys_id, text)
    await one.add_note(sys_id, "ann:\nrolled back")
    instance.note_as("beth.anglin", sys_id, text)
    assert await one.count_notes(sys_id, text, "svc.sync") == 2
    assert await one.count_notes(sys_id, text, "") == 3
    assert await one.count_notes(sys_id, "ann:\nrolled", "svc.sync") == 0


async def test_where_the_journal_is_hidden_the_notes_in_the_record_are_counted(autojump_clock: MockClock) -> None:
    instance = instance_of()
    one, sys_id = to(instance), incident_id_of(instance)
    await one.add_note(sys_id, "ann:\nrolled back\n\nto 4.2.1")
    await one.add_note(sys_id, "ann:\nand forward")
    account = instance.account("svc.sync")
    account.roles -= {"audit_viewer"}
    assert await one.count_notes(sys_id, "ann:\nrolled back\n\nto 4.2.1", "svc.sync") == 1
    assert await one.count_notes(sys_id, "ann:\nand forward", "svc.sync") == 1
    account.read_denied.add(("incident", "work_notes"))
    assert await one.count_notes(sys_id, "ann:\nand forward", "svc.sync") is None


async def test_a_probe_is_an_answer_without_rows_and_more_than_that_is_an_outage(autojump_clock: MockClock) -> None:
    instance = instance_of()
    await to(instance).probe()
    instance.account("svc.sync").match_denied.add(("incident", "sys_id"))
    with pytest.raises(ExternalFailed, match="does not match"):
        await to(instance).probe()


async def test_a_page_whose_rows_are_all_hidden_is_not_the_end(autojump_clock: MockClock) -> None:
    instance = Instance(InstanceOptions(incidents=0), VirtualClock().now_s, Random(1))
    for number in range(450):
        instance.create_as("beth.anglin", {"short_description": f"hidden {number}"})
        await trio.sleep(1)
    last = instance.create_as("beth.anglin", {"short_description": "shown"})["sys_id"]
    instance.account("svc.sync").hidden["incident"] = "short_descriptionSTARTSWITHhidden"
    external = to(instance)
    page = (await external.created_after(Cursor(EPOCH_S - 60))).rows
    assert [seen.external_id for seen in page] == [last]
    assert (await external.created_after(Cursor(page[0].created_at_s or 0.0, last))).rows == ()
    assert len(instance.requests) == 4


async def test_a_page_out_of_order_is_an_outage(autojump_clock: MockClock) -> None:
    with pytest.raises(ExternalFailed, match="sys_created_on"):
        await client(answering(rows("b", "a"))).created_after(Cursor(0.0))


async def test_where_queries_are_kept_to_there_is_no_fault(autojump_clock: MockClock) -> None:
    assert await to(instance_of()).query_faults() == []


@pytest.mark.parametrize("mode", ["drop", "refuse"])
async def test_missing_query_rights_are_found_and_named(autojump_clock: MockClock, mode: str) -> None:
    instance = instance_of()
    instance.account("svc.sync").range_denied.add(("incident", "sys_created_on"))
    instance.set_switch("query_acl", mode)
    instance.set_switch("shuffle", "on")
    faults = await to(instance).query_faults()
    assert "ServiceNow ignores the range in a query on sys_created_on" in faults
    assert not any("sys_updated_on" in fault for fault in faults)


async def test_an_instance_that_ignores_ids_is_no_instance_to_ask(autojump_clock: MockClock) -> None:
    instance = instance_of()
    instance.account("svc.sync").match_denied.add(("incident", "sys_id"))
    with pytest.raises(ExternalFailed, match="sys_id does not match"):
        await to(instance).query_faults()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (403, b'{"error":{"message":"User is unauthorized to access table: sys_properties","detail":null}}'),
        (400, b'{"error":{"message":"Invalid table sys_properties","detail":null}}'),
        (200, b'{"result":[]}'),
        (200, b'{"result":[{"name":"instance_name"}]}'),
        (200, b'{"result":[{"name":"other","value":"x"}]}'),
        (200, b'{"result":[{"name":"instance_name","value":"x"},{"name":"other","value":"y"}]}'),
    ],
)
async def test_a_name_that_is_hidden_or_in_doubt_is_none(autojump_clock: MockClock, status: int, body: bytes) -> None:
    assert await client(answering(body, status=status)).instance_name() == ""


async def test_the_name_of_an_instance_is_what_it_calls_itself(autojump_clock: MockClock) -> None:
    assert await to(instance_of()).instance_name() == "dev12345"


async def test_close_codes_are_those_that_are_active_read_once_a_minute(autojump_clock: MockClock) -> None:
    instance = instance_of()
    one = to(instance)
    codes = await one.close_codes()
    assert "Solution provided" in codes
    assert len(codes) == len(set(codes))
    choice = next(row for row in instance.kernel.store.find("sys_choice", "value", "Solution provided"))
    choice["inactive"] = "true"
    asked = instance.counts["GET"]
    assert await one.close_codes() == codes
    assert instance.counts["GET"] == asked
    await trio.sleep(61)
    assert "Solution provided" not in await one.close_codes()


async def test_an_account_that_may_not_read_choices_is_shown_no_close_codes(autojump_clock: MockClock) -> None:
    instance = instance_of()
    instance.account("svc.sync").hidden["sys_choice"] = "sys_idISNOTEMPTY"
    assert list(await to(instance).close_codes()) == []
