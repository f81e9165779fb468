"""The control API: what a person may do to an instance besides its own API."""

import json

import pytest

from syncd.simulator.wire import Request, Response
from tests.simulator.snow import AGENT, AGENT_SYS_ID, USER, Snow, body_of


def control(snow: Snow, method: str, path: str, body: object = None) -> Response:
    """One request to the control API, which asks for no credentials."""
    content = b"" if body is None else json.dumps(body).encode()
    return snow.instance.handle(Request(method, f"/control/{path}", (), content))


def test_incidents_are_created_edited_noted_and_deleted_as_a_person() -> None:
    snow = Snow()
    row = body_of(control(snow, "POST", "incidents", {"fields": {"short_description": "Pump"}}))
    assert row["sys_created_by"] == AGENT
    number = row["number"]
    edited = body_of(
        control(snow, "POST", f"incidents/{number}/edit", {"as_user": "fred.luddy", "fields": {"urgency": 1}})
    )
    assert (edited["urgency"], edited["sys_updated_by"]) == ("1", "fred.luddy")
    assert body_of(control(snow, "POST", f"incidents/{number}/notes", {"text": "seen"}))["sys_mod_count"] == "2"
    assert [note["value"] for note in body_of(control(snow, "GET", f"incidents/{number}/notes"))] == ["seen"]
    assert body_of(control(snow, "GET", f"incidents/{row['sys_id']}"))["urgency"] == "1"
    assert [one["number"] for one in body_of(control(snow, "GET", "incidents"))] == [number]
    assert control(snow, "DELETE", f"incidents/{number}").status == 200
    assert body_of(control(snow, "GET", "incidents")) == []


def test_requests_are_counted_until_the_counts_are_reset() -> None:
    snow = Snow()
    snow.create()
    snow.ask("GET")
    said = body_of(control(snow, "GET", "requests"))
    assert said["writes"] == 1
    assert said["counts"] == {"POST": 1, "POST incident": 1, "GET": 1, "GET incident": 1}
    assert [(line["method"], line["status"], line["user"]) for line in said["requests"]] == [
        ("POST", 201, USER),
        ("GET", 200, USER),
    ]
    assert body_of(control(snow, "DELETE", "requests")) == {"writes": 0}
    assert body_of(control(snow, "GET", "requests"))["requests"] == []


def test_faults_are_armed_and_disarmed_and_switches_are_set() -> None:
    snow = Snow()
    armed = body_of(control(snow, "POST", "faults", {"name": "slow", "value": 2, "times": 3, "probability": 1}))
    assert armed == {"name": "slow", "value": "2", "probability": 1.0, "times": 3}
    assert body_of(control(snow, "GET", "faults"))["faults"]["slow"]["armed"] is True
    assert snow.ask("GET").delay_s == 2
    assert control(snow, "DELETE", "faults/slow").status == 200
    assert snow.ask("GET").delay_s == 0
    for name, words in (("shuffle", "a switch is set"), ("nothing", "GET lists them")):
        refused = control(snow, "DELETE", f"faults/{name}")
        assert (refused.status, words in refused.body.decode()) == (400, True)
    control(snow, "POST", "faults", {"name": "empty_202"})
    control(snow, "DELETE", "faults")
    assert snow.ask("GET").status == 200
    for value in ("off", False):
        assert body_of(control(snow, "POST", "faults", {"name": "shuffle", "value": value}))["value"] == "off"
    assert body_of(control(snow, "GET", "faults"))["switches"]["shuffle"]["value"] == "off"


def test_webhooks_are_set_listed_and_replayed() -> None:
    snow = Snow()
    body_of(control(snow, "POST", "webhook", {"url": "http://127.0.0.1:9/hook", "secret": "s"}))
    snow.written("Größe")
    snow.wait(10)
    [outgoing] = snow.instance.due()
    snow.instance.delivered(outgoing, 202)
    [line] = body_of(control(snow, "GET", "webhooks"))
    assert (line["status"], line["error"], line["url"]) == (202, "", "http://127.0.0.1:9/hook")
    assert json.loads(line["body"])["short_description"] == "Größe"
    assert "X-ServiceNow-Signature" in line["headers"]
    assert body_of(control(snow, "POST", "webhooks/replay")) == {"replayed": 1}
    assert len(snow.instance.due()) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "hint"),
    [
        ("GET", "nothing", None, 404, "GET /control lists all routes"),
        ("GET", "incidents/INC9999999", None, 404, "GET /control/incidents"),
        ("POST", "incidents/INC9999999/edit", {"fields": {"state": "2"}}, 404, "INC9999999"),
        ("POST", "incidents", {}, 400, "fields is missing"),
        ("POST", "incidents", ["x"], 400, "JSON object"),
        ("POST", "faults", {"name": "nonsense"}, 400, "GET /control/faults"),
        ("POST", "faults", {"name": "slow", "times": "many"}, 400, "times is 'many'"),
        ("POST", "faults", {"name": "closed_write", "value": "never"}, 400, "refuse, ignore, allow"),
        ("POST", "incidents/INC9999999/notes", {"text": "x", "element": "state"}, 400, "work_notes or comments"),
        ("PUT", "requests", None, 404, "GET /control lists all routes"),
        ("POST", "users", {"user": "new"}, 400, "password is None; send a string"),
        ("POST", "acl", {"user": "nobody"}, 404, "no account 'nobody'"),
        ("POST", "acl", {"user": USER, "table": "sys_x"}, 404, "no table 'sys_x'"),
        ("POST", "acl", {"user": USER, "hide": "u_nothing=1"}, 400, "name a column of incident"),
        ("POST", "acl", {"user": USER, "deny_read": "state"}, 400, "send a list of strings"),
        ("POST", "rules", {"matrix": {"11": "1"}}, 400, "impact and urgency"),
        ("POST", "rules", {"policy": {"states": ["2"], "fields": ["u_x"]}}, 400, "a column of incident"),
        ("POST", "rules", {"matrix": []}, 400, "send an object"),
        ("POST", "clock", {"offset_s": True}, 400, "send a number"),
        ("POST", "tokens/revoke", {"refresh_too": "yes"}, 400, "send true or false"),
        ("POST", "faults", {"name": "slow", "value": []}, 400, "send a string, a number"),
        ("POST", "incidents", {"fields": {"state": "6"}}, 403, "Close notes"),
    ],
)
def test_a_wrong_request_says_what_to_send_instead(
    method: str, path: str, body: object, status: int, hint: str
) -> None:
    answer = control(Snow(), method, path, body)
    assert (answer.status, hint in answer.body.decode()) == (status, True)


def test_a_person_copies_edits_late_and_past_the_rules() -> None:
    snow = Snow()
    number = snow.written("Pump", correlation_id="ns:1")["number"]
    assert body_of(control(snow, "POST", f"incidents/{number}/copy", {"correlation": True}))["correlation_id"] == "ns:1"
    quiet = {"fields": {"impact": "1"}, "rules": False, "stamps": False}
    row = body_of(control(snow, "POST", f"incidents/{number}/edit", quiet))
    assert (row["impact"], row["priority"], row["sys_mod_count"]) == ("1", "5", "0")
    control(snow, "POST", f"incidents/{number}/edit", {"fields": {"state": "2"}, "late_s": 5})
    assert snow.instance.record(number)["state"] == "1"
    snow.wait(5)
    assert snow.instance.record(number)["state"] == "2"
    said = body_of(control(snow, "POST", f"incidents/{number}/notes", {"text": "hello", "element": "comments"}))
    assert said["sys_mod_count"] == "2"
    assert [note["element"] for note in snow.instance.notes(number)] == ["comments"]


def test_users_are_made_locked_and_limited() -> None:
    snow = Snow()
    user = body_of(control(snow, "POST", "users", {"user": "bot", "password": "pw", "time_zone": "Asia/Tokyo"}))
    assert (user["user_name"], user["time_zone"], user["active"]) == ("bot", "Asia/Tokyo", "true")
    assert snow.ask("GET", login=("bot", "pw")).status == 200
    control(snow, "POST", "users", {"user": "bot", "password": "new"})
    assert [snow.ask("GET", login=("bot", word)).status for word in ("pw", "new")] == [401, 200]
    control(snow, "POST", "users", {"user": "bot", "locked_out": True})
    assert snow.ask("GET", login=("bot", "new")).status == 401
    snow.create(category="secret")
    limits = {"user": USER, "deny_read": ["description"], "hide": "category=secret", "refuse_methods": ["DELETE"]}
    said = body_of(control(snow, "POST", "acl", limits))
    assert (said["deny_read"], said["hide"]) == (["incident.description"], {"incident": "category=secret"})
    assert snow.rows() == []
    body_of(control(snow, "POST", "acl", {"user": USER, "hide": "", "deny_read": [], "roles": ["itil"]}))
    assert "description" in snow.rows()[0]
    assert snow.instance.account(USER).roles == {"itil"}


def test_rules_columns_clock_and_tokens_are_set() -> None:
    snow = Snow()
    rules = {
        "matrix": {"3/3": "4"},
        "policy": {"states": ["2"], "fields": ["category"]},
        "abort": {"name": "No urgency 1", "query": "urgency=1"},
    }
    assert body_of(control(snow, "POST", "rules", rules)) == {"policies": 1, "aborts": ["No urgency 1"]}
    row = snow.create()
    assert row["priority"] == "4"
    assert snow.patch(row["sys_id"], state="2", category="").status == 403
    assert snow.patch(row["sys_id"], urgency="1").status == 403
    assert body_of(control(snow, "DELETE", "rules")) == {"policies": 0, "aborts": []}
    assert snow.patch(row["sys_id"], urgency="1", state="2", category="").status == 200
    control(snow, "POST", "columns", {"name": "u_team", "label": "Team", "length": 3})
    control(snow, "POST", "columns", {"name": "short_description", "length": 5})
    echo = snow.echo(row["sys_id"], u_team="north", short_description="Pump broken")
    assert (echo["u_team"], echo["short_description"]) == ("nor", "Pump ")
    limits = snow.rows("elementINu_team,short_description^ORDERBYelement", table="sys_dictionary")
    assert [(one["name"], one["max_length"], one["column_label"]) for one in limits] == [
        ("task", "5", "Short description"),
        ("incident", "3", "Team"),
    ]
    control(snow, "POST", "columns", {"name": "u_owner", "label": "Owner", "reference": "sys_user"})
    snow.echo(row["sys_id"], u_owner=AGENT_SYS_ID)
    (shown,) = snow.rows(f"sys_id={row['sys_id']}", fields="u_owner,u_owner.user_name")
    assert (shown["u_owner"]["value"], shown["u_owner.user_name"]) == (AGENT_SYS_ID, AGENT)
    assert body_of(control(snow, "POST", "clock", {"offset_s": 60})) == {"stamp": "2026-09-21 14:14:20"}
    assert body_of(control(snow, "POST", "tokens/revoke")) == {"revoked": "all"}
    assert any("/control/acl" in line for line in body_of(control(snow, "GET", ""))["routes"])


def test_control_requests_do_not_count_and_never_fail_with_the_instance() -> None:
    snow = Snow(faults=("hibernating",))
    assert control(snow, "GET", "incidents").status == 200
    assert not snow.instance.counts
    assert not snow.instance.requests
