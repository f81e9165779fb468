"""Every answer of the Table API is a value or one typed error, whatever bytes it is made of."""

import json
from typing import Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.errors import ExternalFailed, Outcome
from syncd.systems.answers import Answer, date_s, observation, rows_of, stamp_s, stamp_text

JSON: Final = {"content-type": "application/json;charset=UTF-8"}
HTML: Final = {"content-type": "text/html;charset=UTF-8"}
PAGE: Final = b"<html><title>Instance Hibernating page</title></html>"
CUT: Final = (
    b'{"result":[{"sys_id":"a1","state":"2"},{"sys_id":"a2","sta ],"error":{"message":"Transaction cancelled: maximum '
    b'execution time exceeded","detail":"Check logs"},"status":"failure"}'
)
GLUED: Final = (
    b'{"result":[{"sys_id":"a1"}],"error":{"message":"Transaction cancelled","detail":"x"},"status":"failure"}'
)


def refusal(status: int, message: str, detail: str | None = None) -> Answer:
    """An answer in ServiceNow's error envelope."""
    body = {"error": {"message": message, "detail": detail}, "status": "failure"}
    return Answer(status, JSON, json.dumps(body).encode())


def outcome_of(answer: Answer, *, writes: bool) -> ExternalFailed:
    with pytest.raises(ExternalFailed) as caught:
        rows_of(answer, writes=writes)
    return caught.value


# Status, message, detail, what a write makes of it; a read makes the same of it, except for what is unclear.
CATALOGUE: Final[list[tuple[int, str, str | None, Outcome]]] = [
    (400, "Invalid table incidentx", None, "paused"),
    (400, "Invalid table incidentx", "Table incidentx does not exist", "paused"),
    (400, "Requested URI does not represent any resource", None, "paused"),
    (404, "Requested URI does not represent any resource", "/api/now/v9/table", "paused"),
    (400, "Exception while reading request", "Rejected large REST payload with content-length = 15105102", "refused"),
    (401, "User Not Authenticated", "Required to provide Auth information", "paused"),
    (401, "User is not authenticated", "Required to provide Auth information", "paused"),
    (403, "Operation Failed", "ACL Exception Insert Failed due to security constraints", "refused"),
    (403, "Operation Failed", "ACL Exception Update Failed due to security constraints", "refused"),
    (403, "Operation Failed", "Data Policy Exception: The following fields are mandatory: Close notes", "refused"),
    (403, "Operation Failed", "Operation against file 'incident' was aborted by Business Rule 'x'", "refused"),
    (403, "User Not Authorized", "Failed API level ACL Validation", "paused"),
    (403, "User is unauthorized to access table: incident", None, "paused"),
    (403, "Access to unscoped api is not allowed", None, "paused"),
    (403, "Missing required api access scope", None, "paused"),
    (404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval", "gone"),
    (405, "Method not supported", None, "paused"),
    (406, "Not acceptable", None, "paused"),
    (413, "Payload too large", None, "refused"),
    (415, "Unsupported media type", None, "paused"),
    (422, "Unprocessable", None, "refused"),
    (429, "Rate limit exceeded", "Rate limit of 100 requests per hour for Table API exceeded", "throttled"),
    (499, "Client closed request", None, "ambiguous"),
    (500, "Transaction cancelled: maximum execution time exceeded", None, "ambiguous"),
    (500, "Operation Failed", "unique key violation", "ambiguous"),
    (502, "", None, "ambiguous"),
    (503, "", None, "ambiguous"),
    (504, "", None, "ambiguous"),
]


@pytest.mark.parametrize(("status", "message", "detail", "outcome"), CATALOGUE)
def test_each_refusal_of_a_write_says_what_to_do_next_in_servicenows_own_words(
    status: int, message: str, detail: str | None, outcome: Outcome
) -> None:
    failed = outcome_of(refusal(status, message, detail), writes=True)
    assert (failed.outcome, failed.status) == (outcome, status)
    assert failed.message == (message or f"HTTP {status}")
    assert failed.detail == (detail or "")


@pytest.mark.parametrize(("status", "message", "detail", "outcome"), CATALOGUE)
def test_on_a_read_what_is_unclear_is_an_outage(
    status: int, message: str, detail: str | None, outcome: Outcome
) -> None:
    failed = outcome_of(refusal(status, message, detail), writes=False)
    assert failed.outcome == ("unavailable" if outcome == "ambiguous" else outcome)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"", PAGE, b"{", b'{"error":'])
def test_a_refusal_without_readable_words_is_judged_by_its_status(status: int, body: bytes) -> None:
    assert outcome_of(Answer(status, HTML, body), writes=True).outcome == (
        "throttled" if status == 429 else "ambiguous"
    )
    assert outcome_of(Answer(status, JSON, body), writes=False).outcome in {"throttled", "unavailable"}


def test_an_error_that_is_plain_text_is_read_too() -> None:
    failed = outcome_of(Answer(401, JSON, b'{"error":"invalid_client","error_description":"x"}'), writes=False)
    assert (failed.outcome, failed.message) == ("paused", "invalid_client")


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_named_and_not_followed_and_had_no_effect(status: int) -> None:
    answer = Answer(status, {"location": "https://developer.example.com/dev.do#!/home"}, b"")
    for writes in (True, False):
        failed = outcome_of(answer, writes=writes)
        assert failed.outcome == "unavailable"
        assert "developer.example.com" in failed.message


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://evil.example/login?token=tell", "redirected to evil.example, which"),
        ("https://user:tell@evil.example:99/", "redirected to evil.example, which"),
        ("//evil.example?tell", "redirected to evil.example, which"),
        ("/login.do?token=tell", "redirected to another page of the same host, which"),
        ("login/tell/tell/tell", "redirected to another page of the same host, which"),
        ("https://[tell", "redirected to what is no URL, which"),
        ("", "HTTP 302"),
    ],
)
def test_of_a_redirect_only_the_host_is_told(location: str, shown: str) -> None:
    failed = outcome_of(Answer(302, {"location": location}, b""), writes=False)
    assert failed.message.startswith(shown)
    assert "tell" not in str(failed)


@pytest.mark.parametrize(
    ("kind", "is_read"),
    [
        ("application/json", True),
        ("application/json;charset=UTF-8", True),
        ('Application/JSON; charset="utf-8"', True),
        ("application/json; charset = utf-8", True),
        ("application/json;charset=utf-16", False),
        ("application/json;charset=iso-8859-1", False),
        ("application/json;charset=", False),
        ("application/jsonp", False),
        ("text/json", False),
        ("text/html;application/json", False),
        ("text/html, application/json", False),
        ("application/json, text/html", False),
        ("json", False),
        ("", False),
    ],
)
def test_only_json_in_utf_8_is_data(kind: str, is_read: bool) -> None:
    answer = Answer(200, {"content-type": kind}, b'{"result":[]}')
    if is_read:
        assert rows_of(answer, writes=False) == []
    else:
        assert outcome_of(answer, writes=False).outcome == "unavailable"


UNCLEAR: Final = {
    "202 empty": Answer(202, {}, b""),
    "202 with a body": Answer(202, JSON, b'{"result":[]}'),
    "200 empty": Answer(200, JSON, b""),
    "hibernating": Answer(200, HTML, PAGE),
    "a page without a type": Answer(200, {}, PAGE),
    "cut inside a row": Answer(200, JSON, CUT),
    "error glued to the rows": Answer(200, JSON, GLUED),
    "empty error": Answer(200, JSON, b'{"result":[],"error":{}}'),
    "no result": Answer(200, JSON, b'{"rows":[]}'),
    "a number": Answer(200, JSON, b"7"),
    "a list": Answer(200, JSON, b"[]"),
    "rows that are none": Answer(200, JSON, b'{"result":[{"sys_id":"a"},3]}'),
    "result null": Answer(200, JSON, b'{"result":null}'),
    "not UTF-8": Answer(200, JSON, b'{"result":[{"sys_id":"\xff\xfe"}]}'),
    "more behind it": Answer(200, JSON, b'{"result":[]}{"result":[]}'),
    "too deep": Answer(200, JSON, b'{"result":' + b"[" * 100_000),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_success_that_is_none_is_an_outage_on_reads_and_ambiguous_on_writes(name: str) -> None:
    assert outcome_of(UNCLEAR[name], writes=False).outcome == "unavailable"
    assert outcome_of(UNCLEAR[name], writes=True).outcome == "ambiguous"


def test_a_list_and_a_single_record_are_rows() -> None:
    assert rows_of(Answer(200, JSON, b'{"result":[{"sys_id":"a"},{}]}'), writes=False) == [{"sys_id": "a"}, {}]
    assert rows_of(Answer(201, JSON, b'{"result":{"sys_id":"a"}}'), writes=True) == [{"sys_id": "a"}]
    assert rows_of(Answer(200, JSON, b'{"result":[]}'), writes=False) == []


def test_the_old_404_of_an_empty_list_is_an_empty_list_and_nothing_else_is() -> None:
    words = "Records matching query not found or table/record does not exist"
    old = refusal(404, "No Record found", words.replace("Records matching query", "Records matching query"))
    assert rows_of(old, writes=False) == []
    assert outcome_of(old, writes=True).outcome == "gone"
    assert outcome_of(refusal(404, "No Record found", "Record doesn't exist"), writes=False).outcome == "gone"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7", 7.0),
        (" 30 ", 30.0),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("soon", None),
        ("9" * 400, None),
    ],
)
def test_retry_after_is_whole_seconds_or_nothing(text: str, seconds: float | None) -> None:
    for status in (429, 503):
        failed = outcome_of(Answer(status, {"retry-after": text}, b""), writes=False)
        assert failed.retry_after_s == seconds
    assert outcome_of(Answer(500, {"retry-after": "7"}, b""), writes=False).retry_after_s is None


def test_servicenows_words_are_kept_up_to_2_kb_also_in_the_log_line() -> None:
    failed = outcome_of(refusal(403, "m" * 9000, "d" * 9000), writes=True)
    assert (len(failed.message), len(failed.detail)) == (2048, 2048)
    assert len(str(failed)) < 5000


@given(st.integers(100, 599), st.sampled_from([JSON, HTML, {}]), st.binary(max_size=80), st.booleans())
def test_no_bytes_do_anything_but_give_rows_or_the_typed_error(
    status: int, headers: dict[str, str], body: bytes, writes: bool
) -> None:
    try:
        rows = rows_of(Answer(status, headers, body), writes=writes)
    except ExternalFailed:
        return
    assert all(isinstance(row, dict) for row in rows)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["value", "link", "x"]), inner),
    max_leaves=4,
)
names = st.sampled_from(["sys_id", "sys_mod_count", "sys_updated_on", "sys_created_on", "number", "state", "u_x"])


@given(st.dictionaries(names, values))
def test_a_row_of_any_shape_is_an_observation_or_hidden(row: dict[str, object]) -> None:
    seen = observation(row, ("state", "priority"))
    assert seen is None or msgspec.json.decode(msgspec.json.encode(seen)) is not None
    assert seen is None or set(seen.columns) <= {"state"}


def test_a_row_shows_columns_that_were_there_and_none_that_were_not() -> None:
    row: dict[str, object] = {
        "sys_id": "a1",
        "sys_mod_count": "3",
        "sys_updated_on": "2026-11-23 10:00:00",
        "sys_updated_by": "agent",
        "sys_created_on": "",
        "short_description": "",
        "state": {"link": "https://x", "value": "2"},
        "close_notes": None,
        "correlation_id": "syncd:int_1:INC-1",
    }
    seen = observation(row, ("short_description", "description", "state", "close_notes"))
    assert seen is not None
    assert seen.columns == {"short_description": "", "state": "2", "close_notes": ""}
    assert (seen.mod_count, seen.updated_at_s, seen.created_at_s) == (3, 1795428000.0, None)
    assert seen.correlation_id == "syncd:int_1:INC-1"


@pytest.mark.parametrize("row", [{}, {"sys_id": ""}, {"state": "1"}])
def test_a_row_without_an_id_is_hidden(row: dict[str, object]) -> None:
    assert observation(row, ("state",)) is None


@pytest.mark.parametrize("text", ["", "x", "-1", "3.0", "²", "١", "9" * 5000])
def test_a_count_that_is_none_is_unknown(text: str) -> None:
    seen = observation({"sys_id": "a", "sys_mod_count": text}, ())
    assert seen is not None
    assert seen.mod_count is None


@given(st.integers(0, 4_000_000_000))
def test_a_stamp_is_read_as_it_was_written_in_utc(at_s: int) -> None:
    assert stamp_s(stamp_text(at_s)) == at_s
    assert stamp_s(stamp_text(at_s + 0.9)) == at_s


@given(st.text(max_size=30))
def test_any_other_text_is_no_stamp_and_no_date(text: str) -> None:
    assert stamp_s(text) is None or stamp_s(text) == stamp_s(stamp_text(stamp_s(text) or 0.0))
    assert date_s({"date": text}) is None or isinstance(date_s({"date": text}), float)


def test_the_date_header_is_utc_with_or_without_a_zone() -> None:
    assert date_s({"date": "Mon, 23 Nov 2026 10:00:00 GMT"}) == 1795428000.0
    assert date_s({"date": "Mon, 23 Nov 2026 10:00:00 -0000"}) == 1795428000.0
    assert date_s({}) is None
