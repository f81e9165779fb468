"""Checklist items 80 to 82: batch, aggregate, and the tables beside the incident."""

import base64
import json

from syncd.simulator.fixtures import GONE_USER_SYS_ID
from tests.simulator.snow import TABLE, USER, Snow, body_of, refusal_of


def item(name: str, method: str, url: str, body: object = None, **more: object) -> dict[str, object]:
    """One request of a batch."""
    text = {} if body is None else {"body": base64.b64encode(json.dumps(body).encode()).decode()}
    return {"id": name, "method": method, "url": url, "headers": [], **text, **more}


def test_item_80_a_batch_is_always_200_with_bodies_in_base64() -> None:
    snow = Snow()
    requests = [
        item("a", "POST", TABLE, {"short_description": "Pump"}),
        item("b", "GET", f"{TABLE}?sysparm_fields=short_description", exclude_response_headers=True),
        item("c", "GET", f"{TABLE}/{'0' * 32}"),
        {**item("d", "POST", TABLE), "body": "not base64!"},
    ]
    answer = snow.ask("POST", "/api/now/v1/batch", {"batch_request_id": "7", "rest_requests": requests})
    said = body_of(answer)
    assert (answer.status, said["batch_request_id"], said["unserviced_requests"]) == (200, "7", [])
    served = {one["id"]: one for one in said["serviced_requests"]}
    assert [served[name]["status_code"] for name in "abcd"] == [201, 200, 404, 400]
    assert json.loads(base64.b64decode(served["b"]["body"])) == {"result": [{"short_description": "Pump"}]}
    assert served["b"]["headers"] == []
    assert "Location" in {one["name"] for one in served["a"]["headers"]}


def test_item_80_what_does_not_fit_the_time_is_not_serviced() -> None:
    snow = Snow(faults=("request_ms=10", "batch_ms=20"))
    requests = [item(name, "POST", TABLE, {"short_description": name}) for name in "abc"]
    said = body_of(snow.ask("POST", "/api/now/batch", {"batch_request_id": "1", "rest_requests": requests}))
    assert [one["id"] for one in said["serviced_requests"]] == ["a", "b"]
    assert said["unserviced_requests"] == ["c"]
    assert [row["short_description"] for row in snow.instance.incidents()] == ["a", "b"]
    assert refusal_of(snow.ask("POST", "/api/now/batch", {}))[:2] == (400, "Exception while reading request")


def test_item_81_counts_are_text_and_may_include_hidden_rows() -> None:
    snow = Snow(incidents=25)
    snow.instance.account(USER).hidden["incident"] = "active=true"
    path = "/api/now/stats/incident"
    assert body_of(snow.ask("GET", path, count="true")) == {"result": {"stats": {"count": "25"}}}
    snow.instance.set_switch("count_hidden_rows", value=False)
    inactive = sum(row["active"] == "false" for row in snow.instance.incidents())
    assert body_of(snow.ask("GET", path, count="true"))["result"]["stats"]["count"] == str(inactive)
    closed = sum(row["state"] == "7" for row in snow.instance.incidents())
    assert body_of(snow.ask("GET", path, query="state=7"))["result"]["stats"]["count"] == str(closed)
    groups = body_of(snow.ask("GET", path, group_by="state"))["result"]
    assert {group["groupby_fields"][0]["value"] for group in groups} == {"7", "8"}
    assert refusal_of(snow.ask("GET", "/api/now/stats/nothing"))[:2] == (400, "Invalid table nothing")


def test_item_82_choices_and_dictionary_can_be_read() -> None:
    snow = Snow()
    states = snow.rows("name=incident^element=state^inactive=false^language=en^ORDERBYsequence", table="sys_choice")
    assert [(row["value"], row["label"]) for row in states][:2] == [("1", "New"), ("2", "In Progress")]
    assert snow.rows("element=state^language=de", table="sys_choice")
    codes = snow.rows("name=incident^element=close_code", table="sys_choice")
    assert "Solution provided" in {row["value"] for row in codes}
    query = "name=task^elementINshort_description,correlation_id"
    limits = {row["element"]: row["max_length"] for row in snow.rows(query, table="sys_dictionary")}
    assert limits == {"short_description": "160", "correlation_id": "100"}
    snow.instance.account(USER).roles -= {"personalize_dictionary"}
    assert snow.rows(query, table="sys_dictionary") == []


def test_item_82_people_are_namesakes_share_addresses_left_or_are_locked_out() -> None:
    snow = Snow(incidents=25)

    def people(query: str) -> set[str]:
        return {row["user_name"] for row in snow.rows(query, table="sys_user")}

    assert people("name=Ana Ruiz") == {"ana.ruiz", "ana.ruiz2"}
    assert people("email=OPERATIONS@example.com") == {"ops.night", "ops.day"}
    assert people("active=false") == {"ingrid.gone"}
    assert people("locked_out=true") == {"lars.locked"}
    assert people(f"sys_id={GONE_USER_SYS_ID}") == set()
    [orphan] = snow.rows(f"assigned_to={GONE_USER_SYS_ID}", display_value="all")
    assert orphan["assigned_to"]["value"] == GONE_USER_SYS_ID
    assert orphan["assigned_to"]["display_value"] == ""


def test_item_82_groups_and_their_members_can_be_read() -> None:
    snow = Snow()
    [group] = snow.rows("name=Network", table="sys_user_group")
    rows = snow.rows(f"group={group['sys_id']}", table="sys_user_grmember", fields="user.user_name")
    assert {row["user.user_name"] for row in rows} == {"beth.anglin", "ops.night", "ops.day"}


def test_an_audit_row_tells_who_changed_what() -> None:
    snow = Snow()
    sys_id = snow.create()["sys_id"]
    snow.echo(sys_id, description="leaks", work_notes="seen")
    rows = snow.rows(f"documentkey={sys_id}^ORDERBYfieldname", table="sys_audit")
    said = [(row["fieldname"], row["oldvalue"], row["newvalue"], row["user"]) for row in rows]
    assert said == [("description", "", "leaks", USER), ("work_notes", "JOURNAL FIELD ADDITION", "seen", USER)]
