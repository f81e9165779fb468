"""The control API and the page: what a person may do to an instance besides its own API."""

import json

import pytest

from syncd.simulator.wire import Request, Response
from tests.simulator.snow import AGENT, TABLE, USER, Snow, body_of


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
        ("GET", "nothing", None, 404, "there are: incidents"),
        ("GET", "incidents/INC9999999", None, 404, "GET /control/incidents"),
        ("POST", "incidents/INC9999999/edit", {"fields": {"state": "2"}}, 404, "INC9999999"),
        ("POST", "incidents", {}, 400, "fields is missing"),
        ("POST", "incidents", ["x"], 400, "JSON object"),
        ("POST", "faults", {"name": "nonsense"}, 400, "GET /control/faults"),
        ("POST", "faults", {"name": "slow", "times": "many"}, 400, "times is 'many'"),
        ("POST", "faults", {"name": "closed_write", "value": "never"}, 400, "refuse, ignore, allow"),
        ("POST", "incidents", {"fields": {"state": "6"}}, 403, "Close notes"),
    ],
)
def test_a_wrong_request_says_what_to_send_instead(
    method: str, path: str, body: object, status: int, hint: str
) -> None:
    answer = control(Snow(), method, path, body)
    assert (answer.status, hint in answer.body.decode()) == (status, True)


def test_control_requests_do_not_count_and_never_fail_with_the_instance() -> None:
    snow = Snow(faults=("hibernating",))
    assert control(snow, "GET", "incidents").status == 200
    assert not snow.instance.counts
    assert not snow.instance.requests


def test_the_page_shows_incidents_and_requests_and_escapes_them() -> None:
    snow = Snow()
    snow.create("<script>alert(1)</script>")
    answer = snow.instance.handle(Request("GET", "/"))
    text = answer.body.decode()
    assert (answer.status, answer.header("content-type")) == (200, "text/html;charset=UTF-8")
    assert "&lt;script&gt;alert(1)" in text
    assert "<script>" not in text
    assert f"201 POST {TABLE}" in text
    assert snow.instance.handle(Request("GET", "/page/other")).status == 404
