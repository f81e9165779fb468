"""A clone: the same data under another name, at start and again at will."""

import json

import pytest

from syncd.simulator.wire import Request
from tests.simulator.snow import AGENT, AGENT_SYS_ID, TABLE, USER, Snow, basic, body_of

URL = "http://127.0.0.1:9/hook"


def test_a_clone_holds_all_data_and_calls_with_the_same_secret_and_its_own_name() -> None:
    prod = Snow(name="prod", incidents=10, webhook_url=URL, webhook_secret="s", faults=("title_prefix=[P] ",))
    prod.instance.note_as(AGENT, prod.instance.incidents()[1]["sys_id"], "before the clone")
    prod.instance.account(USER).read_denied.add(("incident", "description"))
    clone = prod.instance.add_clone("test")
    assert clone.incidents() == prod.instance.incidents()
    for row in clone.incidents():
        assert clone.notes(row["sys_id"]) == prod.instance.notes(row["sys_id"])
    sys_id = next(row["sys_id"] for row in clone.incidents() if row["active"] == "true")
    prod.wait(60)
    prod.instance.due()
    for instance in (prod.instance, clone):
        instance.edit_as(AGENT, sys_id, {"assigned_to": AGENT_SYS_ID, "urgency": "1", "short_description": "Pump"})
    prod.wait(60)
    said = [json.loads(call.body) for instance in (prod.instance, clone) for call in instance.due()]
    assert [(one["sys_id"], one["instance_name"]) for one in said] == [(sys_id, "prod"), (sys_id, "test")]
    assert said[0]["short_description"] == said[1]["short_description"] == "[P] Pump"
    assert said[0]["event_id"] != said[1]["event_id"]
    answer = clone.handle(Request("GET", f"{TABLE}/{sys_id}", [basic(USER, "sync-secret")]))
    assert (answer.status, "description" in body_of(answer)["result"]) == (200, False)


def test_what_is_done_to_one_instance_stays_there_until_the_clone_is_copied_again() -> None:
    prod = Snow(name="prod", incidents=3)
    clone = prod.instance.add_clone("test")
    row = prod.written("in production", correlation_id="ns:1", work_notes="link")
    lost = clone.create_as(AGENT, {"short_description": "in test"})
    assert (row["number"], row["sys_id"] == lost["sys_id"]) == (lost["number"], False)
    prod.instance.delete_as("admin", prod.instance.incidents()[0]["sys_id"])
    assert len(clone.incidents()) == 4
    answer = prod.instance.handle(Request("POST", "/control/clone", (), b"{}"))
    assert body_of(answer) == {"incidents": {"test": 3}}
    assert clone.incidents() == prod.instance.incidents()
    assert [note["value"] for note in clone.notes(row["number"])] == ["link"]
    with pytest.raises(KeyError):
        clone.record(lost["sys_id"])
    clone.edit_as(AGENT, row["number"], {"urgency": "1"})
    assert prod.instance.record(row["number"])["urgency"] == "3"
    clone.rulebook.matrix["3", "3"] = "1"
    assert prod.written()["priority"] == "5"


def test_columns_and_late_commits_survive_a_copy() -> None:
    prod = Snow(name="prod")
    clone = prod.instance.add_clone("test")
    prod.instance.handle(Request("POST", "/control/columns", (), b'{"name": "u_team", "label": "Team"}'))
    row = prod.written("Pump", u_team="north")
    own = clone.create_as(AGENT, {"short_description": "own"})
    clone.edit_as(AGENT, own["sys_id"], {"urgency": "1"}, late_s=5)
    prod.instance.refresh_clones()
    assert clone.record(row["sys_id"])["u_team"] == "north"
    prod.wait(5)
    clone.settle()
    assert [one["sys_id"] for one in clone.incidents()] == [row["sys_id"]]


def test_without_a_clone_the_control_api_says_how_to_get_one() -> None:
    answer = Snow().instance.handle(Request("POST", "/control/clone", (), b""))
    assert (answer.status, "--clone-name" in answer.body.decode()) == (400, True)
