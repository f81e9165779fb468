"""Checklist items 1 to 13: paths, methods, answers, headers and sessions."""

import json

import pytest

from syncd.simulator.wire import Request
from tests.simulator.snow import AGENT_SYS_ID, NETWORK, TABLE, USER, Snow, basic, body_of, links, refusal_of

NOT_FOUND = "Record doesn't exist or ACL restricts the record retrieval"


def test_item_1_each_method_answers_with_its_own_status_and_shape() -> None:
    snow = Snow()
    created = snow.ask("POST", TABLE, {"short_description": "Pump"})
    row = body_of(created)["result"]
    assert created.status == 201
    assert created.header("location") == f"https://dev12345.service-now.com{TABLE}/{row['sys_id']}"
    assert {"number", "state", "description", "sys_mod_count"} <= row.keys()
    one = f"{TABLE}/{row['sys_id']}"
    assert isinstance(body_of(snow.ask("GET"))["result"], list)
    assert isinstance(body_of(snow.ask("GET", one))["result"], dict)
    for method in ("PATCH", "PUT"):
        changed = snow.ask(method, one, {"urgency": "1"})
        assert (changed.status, body_of(changed)["result"]["urgency"]) == (200, "1")
    deleted = snow.ask("DELETE", one, login=("admin", "admin"))
    assert (deleted.status, deleted.body) == (204, b"")


def test_item_1_a_post_may_tunnel_a_patch_and_a_write_may_ask_for_no_body() -> None:
    snow = Snow()
    one = f"{TABLE}/{snow.create()['sys_id']}"
    tunnel = ("X-HTTP-Method-Override", "PATCH")
    answer = snow.ask("POST", one, {"urgency": "1"}, headers=(tunnel, ("X-no-response-body", "true")))
    assert (answer.status, answer.body) == (200, b"")
    assert body_of(snow.ask("GET", one))["result"]["urgency"] == "1"


@pytest.mark.parametrize("version", ["", "v1/", "v2/"])
def test_item_2_all_versions_serve_the_same_rows(version: str) -> None:
    snow = Snow()
    number = snow.create()["number"]
    assert body_of(snow.ask("GET", f"/api/now/{version}table/incident"))["result"][0]["number"] == number


@pytest.mark.parametrize(
    ("version", "switch", "status"), [("", "off", 200), ("", "on", 404), ("v1/", "off", 404), ("v2/", "on", 200)]
)
def test_item_2_an_empty_list_is_404_on_v1_and_by_switch_without_a_version(
    version: str, switch: str, status: int
) -> None:
    snow = Snow()
    snow.instance.set_switch("empty_list_404", switch)
    answer = snow.ask("GET", f"/api/now/{version}table/incident")
    assert answer.status == status
    if status == 404:
        assert refusal_of(answer)[1] == "No Record found"
        assert str(refusal_of(answer)[2]).startswith("Records matching query not found")
    else:
        assert body_of(answer) == {"result": []}


def test_item_3_put_keeps_what_was_not_sent_and_creates_nothing() -> None:
    snow = Snow()
    row = snow.create("Pump", description="leaks")
    put = body_of(snow.ask("PUT", f"{TABLE}/{row['sys_id']}", {"urgency": "1"}))["result"]
    assert (put["short_description"], put["description"], put["urgency"]) == ("Pump", "leaks", "1")
    for method in ("PUT", "PATCH"):
        assert refusal_of(snow.ask(method, f"{TABLE}/{'0' * 32}", {"urgency": "1"})) == (
            404,
            "No Record found",
            NOT_FOUND,
        )
    assert len(snow.instance.incidents()) == 1


def test_item_4_every_value_is_text_and_empty_is_never_null() -> None:
    snow = Snow(incidents=25)
    snow.create("Pump", urgency=1, active=True, description=None)
    for row in snow.rows(exclude_reference_link="true"):
        assert all(isinstance(value, str) for value in row.values())
    written = snow.rows("short_description=Pump")[0]
    assert (written["urgency"], written["active"], written["description"]) == ("1", "true", "")


def test_item_5_a_reference_is_link_and_value_or_plain_and_an_empty_one_is_empty_text() -> None:
    snow = Snow()
    sys_id = snow.create(assigned_to=AGENT_SYS_ID)["sys_id"]
    linked, plain = snow.get(sys_id), snow.get(sys_id, exclude_reference_link="true")
    link = f"https://dev12345.service-now.com/api/now/table/sys_user/{AGENT_SYS_ID}"
    assert linked["assigned_to"] == {"link": link, "value": AGENT_SYS_ID}
    assert plain["assigned_to"] == AGENT_SYS_ID
    assert linked["assignment_group"] == plain["assignment_group"] == ""


def test_item_6_display_values_are_labels_names_and_local_times() -> None:
    snow = Snow(zone="America/Los_Angeles")
    snow.instance.account(USER)
    user = snow.instance.kernel.accounts.user_row(USER)
    assert user is not None
    user["time_zone"] = ""
    sys_id = snow.create(assigned_to=AGENT_SYS_ID, state="2")["sys_id"]
    shown = snow.get(sys_id, display_value="true", exclude_reference_link="true")
    assert (shown["state"], shown["assigned_to"], shown["priority"]) == ("In Progress", "Beth Anglin", "5 - Planning")
    assert shown["sys_created_on"] == "2026-09-21 07:13:20"
    both = snow.get(sys_id, display_value="all")
    assert all({"display_value", "value"} <= cell.keys() for cell in both.values())
    assert both["sys_created_on"] == {"display_value": "2026-09-21 07:13:20", "value": "2026-09-21 14:13:20"}
    assert both["assignment_group"] == {"display_value": "", "value": ""}
    assert both["assigned_to"]["link"].endswith(AGENT_SYS_ID)


def test_item_7_fields_limit_the_keys_walk_references_and_ignore_unknown_names() -> None:
    snow = Snow()
    snow.create(assigned_to=AGENT_SYS_ID)
    [row] = snow.rows(fields="number,assigned_to.email,u_nothing,assigned_to.nothing")
    assert row == {"number": row["number"], "assigned_to.email": "beth.anglin@example.com"}


def test_item_8_pages_are_linked_and_counted_unless_that_is_suppressed() -> None:
    snow = Snow(incidents=25)
    first = snow.ask("GET", limit="10", query="active!=maybe^ORDERBYnumber")
    assert first.header("x-total-count") == "25"
    assert links(first).keys() == {"first", "next", "last"}
    assert links(first)["next"].endswith("sysparm_offset=10")
    assert "sysparm_query=active%21%3Dmaybe%5EORDERBYnumber" in links(first)["next"]
    last = snow.ask("GET", limit="10", offset="20")
    assert links(last).keys() == {"first", "prev", "last"}
    assert len(body_of(last)["result"]) == 5
    assert links(snow.ask("GET", limit="10", suppress_pagination_header="true")) == {}
    uncounted = snow.ask("GET", limit="10", no_count="true")
    assert (uncounted.header("x-total-count"), links(uncounted)) == ("10", {})
    assert links(snow.ask("GET", limit="25")) == {}


def test_item_8_the_default_limit_is_ten_thousand() -> None:
    snow = Snow()
    template = snow.written()
    for index in range(10_001):
        snow.instance.kernel.store.put("incident", **{**template, "sys_id": f"{index:032x}"})
    assert len(snow.rows(fields="sys_id")) == 10_000


def test_item_8_a_negative_offset_is_an_error() -> None:
    assert Snow().ask("GET", offset="-1").status == 400


def test_item_9_bad_bodies_and_unknown_tables_are_400() -> None:
    snow = Snow()
    status, message, detail = refusal_of(snow.ask("POST", TABLE, b'{"short_description": '))
    assert (status, message) == (400, "Exception while reading request")
    assert detail
    assert refusal_of(snow.ask("POST", TABLE, b"[" * 100_000))[:2] == (400, "Exception while reading request")
    size = 10_485_761
    status, message, detail = refusal_of(snow.ask("POST", TABLE, b" " * size))
    assert (status, message) == (400, "Exception while reading request")
    limit = "Max allowed: 10485760 bytes."
    assert detail == f"Rejected large REST payload with content-length = {size} bytes. {limit}"
    assert refusal_of(snow.ask("GET", "/api/now/table/incidentx")) == (400, "Invalid table incidentx", None)
    status, message, _ = refusal_of(snow.ask("GET", "/api/now/tables/incident"))
    assert (status, message) == (400, "Requested URI does not represent any resource")


def test_item_10_every_failed_login_has_the_same_body() -> None:
    snow = Snow()
    snow.instance.account("fred.luddy").is_basic_restricted = True
    logins = [
        None,
        ("nobody", "x"),
        (USER, "wrong"),
        ("ingrid.gone", "ingrid-secret"),
        ("lars.locked", "lars-secret"),
        ("fred.luddy", "fred-secret"),
    ]
    answers = [snow.ask("GET", login=login) for login in logins]
    assert {answer.status for answer in answers} == {401}
    assert {answer.body for answer in answers} == {answers[0].body}
    assert refusal_of(answers[0]) == (401, "User is not authenticated", "Required to provide Auth information")


def test_item_11_of_an_array_body_only_the_first_record_is_created() -> None:
    snow = Snow()
    answer = snow.ask("POST", TABLE, [{"short_description": "one"}, {"short_description": "two"}])
    assert body_of(answer)["result"]["short_description"] == "one"
    assert [row["short_description"] for row in snow.instance.incidents()] == ["one"]


def test_item_12_answers_carry_a_transaction_id_and_the_date_of_the_instance() -> None:
    snow = Snow(clock_offset_s=3600)
    answers = [snow.ask("GET"), snow.ask("GET", login=None), snow.ask("GET", "/api/now/table/nothing")]
    ids = {answer.header("x-transaction-id") for answer in answers}
    assert len(ids) == 3
    assert "" not in ids
    assert {answer.header("date") for answer in answers} == {"Mon, 21 Sep 2026 15:13:20 GMT"}
    assert not any(answer.header("etag") for answer in answers)


def test_item_13_requests_of_one_session_queue_and_the_eleventh_waiting_one_is_dropped() -> None:
    snow = Snow()
    snow.instance.set_switch("request_ms", 1000)
    fresh = snow.ask("GET")
    session = fresh.header("set-cookie").partition(";")[0]
    assert session.startswith("JSESSIONID=")
    cookie = ("Cookie", session)
    answers = [snow.ask("GET", headers=(cookie,)) for _ in range(12)]
    assert [answer.delay_s for answer in answers[:11]] == [float(n) for n in range(1, 12)]
    assert (answers[11].status, answers[11].body) == (202, b"")
    assert snow.ask("GET").delay_s == 1, "without cookies every request has its own session"
    snow.wait(5.5)
    assert snow.ask("GET", headers=(cookie,)).status == 200


def test_item_13_a_slow_answer_holds_up_its_session() -> None:
    snow = Snow()
    cookie = ("Cookie", "JSESSIONID=ABC")
    snow.instance.arm("slow", 30, times=1)
    assert snow.ask("GET", headers=(cookie,)).delay_s == 30
    assert snow.ask("GET", headers=(cookie,)).delay_s == 30
    assert snow.ask("GET").delay_s == 0


def test_the_same_seed_gives_the_same_answers() -> None:
    def answers(seed: int) -> list[bytes]:
        snow = Snow(seed=seed, incidents=25, faults=("answer_lost=0.3", "error_500=0.2"))
        rows = snow.instance.incidents()
        heard = []
        for row in rows:
            reply = snow.patch(row["sys_id"], description="changed", work_notes="seen")
            heard.append(json.dumps([reply.status, reply.headers, reply.delay_s]).encode() + reply.body)
        return [*heard, snow.ask("GET").body]

    assert answers(3) == answers(3)
    assert answers(3) != answers(4)


def test_a_login_is_found_in_the_request_log() -> None:
    snow = Snow()
    request = Request("GET", TABLE, [basic(USER, "sync-secret")])
    snow.instance.handle(request)
    assert [(line.status, line.user_name, line.at_s) for line in snow.instance.requests] == [(200, USER, snow.now_s)]
    assert (snow.instance.counts["GET incident"], snow.instance.writes()) == (1, 0)


def test_flags_in_parameters_are_read_in_any_case_as_some_clients_write_them() -> None:
    snow = Snow()
    sys_id = snow.create(assignment_group=NETWORK)["sys_id"]
    plain = snow.get(sys_id, display_value="True", exclude_reference_link="True")
    assert (plain["state"], plain["assignment_group"]) == ("New", "Network")
    assert snow.get(sys_id, display_value="ALL")["state"] == {"display_value": "New", "value": "1"}
