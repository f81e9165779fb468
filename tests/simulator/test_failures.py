"""Checklist items 57 to 67: everything that goes wrong on the way, on request."""

import json

import pytest

from syncd.simulator.wire import Response
from tests.simulator.snow import AGENT, TABLE, USER, Snow, body_of, refusal_of

CANCELLED = "Transaction cancelled: maximum execution time exceeded"
BODY = {"short_description": "Pump", "correlation_id": "ns:1"}


def is_expected(answer: Response, suffix: str) -> bool:
    """True when an answer is the accident that its name promises."""
    match suffix:
        case "reset":
            return answer.is_reset and answer.status == 0
        case "504_html":
            return answer.status == 504 and answer.header("content-type").startswith("text/html")
    return answer.status == 500 and refusal_of(answer)[1] == CANCELLED


@pytest.mark.parametrize("suffix", ["500", "reset", "504_html"])
def test_item_57_a_create_commits_and_its_answer_says_otherwise(suffix: str) -> None:
    snow = Snow()
    snow.instance.arm(f"create_commits_then_{suffix}", times=1)
    assert is_expected(snow.ask("POST", TABLE, BODY), suffix)
    assert snow.titles("correlation_id=ns:1") == ["Pump"]
    assert snow.ask("POST", TABLE, BODY).status == 201


def test_item_57_a_create_fails_without_a_commit() -> None:
    snow = Snow()
    snow.instance.arm("create_500_without_commit", times=1)
    assert is_expected(snow.ask("POST", TABLE, BODY), "500")
    assert snow.instance.incidents() == []


def test_item_57_a_create_is_still_running_when_the_client_gives_up() -> None:
    snow = Snow()
    snow.instance.arm("create_visible_late", 30, times=1)
    assert snow.ask("POST", TABLE, BODY).is_reset
    assert snow.rows("correlation_id=ns:1") == []
    snow.wait(29)
    assert snow.rows("correlation_id=ns:1") == []
    snow.wait(1)
    assert [row["sys_created_on"] for row in snow.rows("correlation_id=ns:1")] == ["2026-09-21 14:13:20"]


@pytest.mark.parametrize("suffix", ["500", "reset", "504_html"])
@pytest.mark.parametrize(("verb", "method"), [("patch", "PATCH"), ("patch", "PUT"), ("delete", "DELETE")])
def test_item_58_a_change_or_deletion_takes_effect_and_its_answer_says_otherwise(
    verb: str, method: str, suffix: str
) -> None:
    snow = Snow()
    sys_id = snow.written()["sys_id"]
    admin = ("admin", "admin")
    snow.instance.arm(f"{verb}_500_without_commit", times=1)
    snow.instance.arm(f"{verb}_commits_then_{suffix}", times=1)
    assert is_expected(snow.ask(method, f"{TABLE}/{sys_id}", {"urgency": "1"}, login=admin), "500")
    assert [row["urgency"] for row in snow.instance.incidents()] == ["3"]
    assert is_expected(snow.ask(method, f"{TABLE}/{sys_id}", {"urgency": "1"}, login=admin), suffix)
    assert [row["urgency"] for row in snow.instance.incidents()] == ([] if verb == "delete" else ["1"])


@pytest.mark.parametrize("form", ["cut", "intact"])
def test_item_59_a_list_is_torn_and_ends_in_an_error(form: str) -> None:
    snow = Snow(incidents=9)
    snow.instance.arm("truncated_200", form, times=1)
    answer = snow.ask("GET", fields="number,state")
    assert (answer.status, answer.header("content-type")) == (200, "application/json;charset=UTF-8")
    text = answer.body.decode()
    assert text.startswith('{"result":[{"')
    assert text.endswith(',"status":"failure"}')
    assert f'],"error":{{"message":"{CANCELLED}"' in text
    if form == "intact":
        assert {"result", "error"} <= json.loads(text).keys()
    else:
        with pytest.raises(ValueError):
            json.loads(text)
    assert snow.ask("GET").status == 200
    assert body_of(snow.ask("GET"))["result"]


@pytest.mark.parametrize(
    ("fault", "status", "text"),
    [
        ("hibernating", 200, b"Instance Hibernating page"),
        ("maintenance_503", 503, b"Maintenance"),
        ("bad_gateway_502", 502, b"Bad Gateway"),
        ("gateway_timeout_504", 504, b"Time-out"),
        ("redirect_302", 302, b""),
    ],
)
def test_item_60_pages_and_redirects_come_instead_of_json_on_every_path(fault: str, status: int, text: bytes) -> None:
    snow = Snow()
    snow.instance.arm(fault)
    paths = [("GET", TABLE), ("POST", TABLE), ("POST", "/oauth_token.do"), ("GET", "/api/now/v1/stats/incident")]
    for method, path in paths:
        answer = snow.ask(method, path)
        assert answer.status == status
        assert text in answer.body
        if status == 302:
            assert answer.header("location").startswith("https://developer.")
        else:
            assert answer.header("content-type").startswith("text/html")
    assert snow.instance.incidents() == []


def test_item_61_an_empty_202_means_that_nothing_happened() -> None:
    snow = Snow()
    sys_id = snow.written()["sys_id"]
    snow.instance.arm("empty_202", times=2)
    answers = [snow.ask("GET"), snow.patch(sys_id, urgency="1")]
    assert [(answer.status, answer.body) for answer in answers] == [(202, b"")] * 2
    assert snow.get(sys_id)["urgency"] == "3"


def test_item_62_a_rate_rule_shows_its_headers_and_then_refuses() -> None:
    snow = Snow()
    assert not snow.ask("GET").header("x-ratelimit-limit")
    snow.instance.arm("rate_limit", 3)
    answers = [snow.ask("GET") for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    reset_s = str(int(snow.now_s // 3600 + 1) * 3600)
    for answer in answers:
        assert (answer.header("x-ratelimit-limit"), answer.header("x-ratelimit-reset")) == ("3", reset_s)
        assert len(answer.header("x-ratelimit-rule")) == 32
    detail = "Rate limit of 3 requests per hour for Table API exceeded"
    assert refusal_of(answers[3]) == (429, "Rate limit exceeded", detail)
    wait_s = int(answers[3].header("retry-after"))
    assert snow.ask("GET", login=("admin", "admin")).status == 200, "the rule counts each user"
    snow.wait(wait_s)
    assert snow.ask("GET").status == 200


def test_item_62_the_limit_is_overrun_until_the_counters_are_flushed() -> None:
    snow = Snow(faults=("rate_limit=3", "rate_flush_s=30"))
    assert [snow.ask("GET").status for _ in range(6)] == [200] * 6
    snow.wait(30)
    assert snow.ask("GET").status == 429


def test_item_63_a_full_queue_is_429_without_rate_headers_or_json() -> None:
    snow = Snow()
    snow.instance.arm("semaphore_429", times=1)
    answer = snow.ask("GET")
    assert (answer.status, answer.body) == (429, b"")
    assert not answer.header("retry-after")
    assert not answer.header("x-ratelimit-limit")


def test_item_64_a_session_without_roles_is_403_until_there_is_a_new_one() -> None:
    snow = Snow()
    snow.instance.arm("api_acl_403", times=1)
    cookie = ("Cookie", "JSESSIONID=ABC")
    wanted = (403, "User Not Authorized", "Failed API level ACL Validation")
    assert [refusal_of(snow.ask("GET", headers=(cookie,))) for _ in range(2)] == [wanted] * 2
    assert snow.ask("GET").status == 200


def test_item_65_answers_are_slow_or_trickle() -> None:
    snow = Snow()
    snow.instance.arm("slow", 12, times=1)
    snow.instance.arm("trickle", 5, times=1)
    answer = snow.ask("GET")
    assert (answer.delay_s, answer.trickle_s) == (12, 5)
    assert (snow.ask("GET").delay_s, snow.ask("GET").trickle_s) == (0, 0)


def test_item_65_the_transaction_quota_cancels_what_takes_too_long() -> None:
    snow = Snow(incidents=9)
    snow.instance.arm("slow", 90)
    torn = snow.ask("GET")
    assert (torn.status, torn.delay_s) == (200, 60)
    assert CANCELLED.encode() in torn.body
    cancelled = snow.ask("POST", TABLE, BODY)
    assert (cancelled.delay_s, refusal_of(cancelled)[:2]) == (60, (500, CANCELLED))


def test_item_66_roles_are_lost_between_two_calls() -> None:
    snow = Snow(incidents=25)
    sys_id = snow.instance.incidents()[0]["sys_id"]
    assert "description" in snow.get(sys_id)
    account = snow.instance.account(USER)
    account.read_denied.add(("incident", "description"))
    account.hidden["incident"] = f"sys_id!={sys_id}"
    account.range_denied.add(("incident", "sys_updated_on"))
    rows = snow.rows("sys_updated_on>2999-01-01 00:00:00")
    assert [row["sys_id"] for row in rows] == [sys_id]
    assert "description" not in rows[0]


def test_item_67_two_records_may_carry_one_correlation_id() -> None:
    snow = Snow()
    sys_id = snow.create("Pump", correlation_id="ns:1", description="leaks", urgency="1")["sys_id"]
    plain = snow.instance.copy_as(AGENT, sys_id)
    assert (plain["short_description"], plain["description"], plain["correlation_id"]) == ("Pump", "leaks", "")
    assert plain["priority"] == snow.instance.record(sys_id)["priority"]
    number = snow.instance.record(sys_id)["number"]
    assert snow.instance.notes(plain["sys_id"])[0]["value"] == f"Created from a similar incident: {number}"
    snow.instance.copy_as(AGENT, sys_id, has_correlation=True)
    assert len(snow.rows("correlation_id=ns:1", limit="2")) == 2
    snow.instance.edit_as("kibana", plain["sys_id"], {"correlation_id": "alert-7"})
    assert snow.titles("correlation_id=alert-7") == ["Pump"]


@pytest.mark.parametrize(("fault", "count"), [("request_lost", 0), ("answer_lost", 1)])
def test_a_connection_is_reset_before_or_after_the_effect(fault: str, count: int) -> None:
    snow = Snow()
    snow.instance.arm(fault, times=1)
    assert snow.ask("POST", TABLE, BODY).is_reset
    assert len(snow.instance.incidents()) == count


def test_a_fault_strikes_with_its_probability_and_as_often_as_wanted() -> None:
    snow = Snow(faults=("error_500=0.5",))
    assert {snow.ask("GET").status for _ in range(40)} == {200, 500}
    snow.instance.disarm("error_500")
    snow.instance.set_fault("unauthorized_401*2")
    assert [snow.ask("GET").status for _ in range(3)] == [401, 401, 200]
    snow.instance.set_fault("slow=3@0")
    assert snow.ask("GET").delay_s == 0
    snow.instance.disarm()
    assert snow.instance.kernel.faults.armed() == []


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("nonsense", "--list-faults"),
        ("slow=soon", "not a number"),
        ("error_500=2", "between 0 and 1"),
        ("closed_write=never", "refuse, ignore, allow"),
        ("rate_flush_s=x", "not a number"),
        ("slow=1*often", "not a number of times"),
    ],
)
def test_a_wrong_fault_says_what_to_write_instead(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=hint):
        Snow(faults=(text,))
