"""Checklist items 14 to 21: the query grammar, its silent widening, order and pages."""

import pytest

from syncd.simulator.query import parse_query
from tests.simulator.snow import AGENT_SYS_ID, TABLE, USER, Snow, body_of, refusal_of

ZEROS = "0" * 32


def alphabet() -> Snow:
    """Incidents a to d with states 1, 2, 3, 8, one minute apart."""
    snow = Snow()
    for title, state in (("a pump", "1"), ("b pump", "2"), ("c valve", "3"), ("d valve", "8")):
        snow.written(title, state=state, description=f"about {title[0]}" if state != "1" else "")
        snow.wait(60)
    return snow


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("state=2", "b"),
        ("state=1^ORstate=2^short_descriptionLIKEpump", "ab"),
        ("short_descriptionLIKEpump^state=2^ORstate=3", "b"),
        ("state=1^NQstate=8", "ad"),
        ("stateIN2,3", "bc"),
        ("stateNOT IN2,3", "ad"),
        ("stateIN'2','3'", ""),
        ("short_descriptionLIKEvalv", "cd"),
        ("short_descriptionNOT LIKEvalv", "ab"),
        ("short_description*valv", "cd"),
        ("short_description!*valv", "ab"),
        ("short_descriptionSTARTSWITHb", "b"),
        ("short_descriptionENDSWITHpump", "ab"),
        ("descriptionISEMPTY", "a"),
        ("descriptionISNOTEMPTY", "bcd"),
        ("state!=1", "bcd"),
        ("state>2", "cd"),
        ("state<=2", "ab"),
        ("stateBETWEEN2@3", "bc"),
        ("short_description>b pump", "cd"),
        ("active=true", "abc"),
        ("sys_created_onBETWEEN2026-09-21 14:14:00@2026-09-21 14:15:59", "bc"),
        ("sys_created_onRELATIVEGT@minute@ago@3", "cd"),
        ("sys_created_onRELATIVEGE@minute@ago@3", "bcd"),
        ("sys_created_onRELATIVELT@minute@ago@3", "a"),
        ("sys_created_onRELATIVELE@minute@ago@3", "ab"),
        ("sys_created_onON2026-09-21", "abcd"),
        ("sys_created_onNOTON2026-09-21", ""),
        ("stateSAMEASincident_state", "abcd"),
        ("123TEXTQUERY321=valve", "cd"),
        ("sys_class_nameINSTANCEOFtask", "abcd"),
        (f"sys_id={ZEROS}", ""),
        ("sys_updated_on>2999-01-01 00:00:00", ""),
    ],
)
def test_item_14_operators_and_groups_select_these_rows(query: str, wanted: str) -> None:
    assert "".join(title[0] for title in alphabet().titles(query)) == wanted


def test_item_14_rows_come_in_the_order_of_several_fields() -> None:
    snow = Snow()
    for title, urgency in (("b", "1"), ("a", "1"), ("c", "3")):
        snow.written(title, urgency=urgency)
    ordered = snow.rows("ORDERBYDESCurgency^ORDERBYshort_description")
    assert [row["short_description"] for row in ordered] == ["c", "a", "b"]
    after_groups = snow.rows("urgency=1^NQurgency=3^ORDERBYDESCshort_description")
    assert [row["short_description"] for row in after_groups] == ["c", "b", "a"]


def test_item_14_a_query_may_walk_references() -> None:
    snow = Snow()
    snow.written("hers", assigned_to=AGENT_SYS_ID)
    snow.written("nobody's")
    assert snow.titles("assigned_to.email=beth.anglin@example.com") == ["hers"]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("u_nothing=1", "abcd"),
        ("state=2^u_nothing=1", "b"),
        ("state=2^ORu_nothing=1", "b"),
        ("stateRESEMBLES2", "abcd"),
        ("nonsense", "abcd"),
        ("assigned_to.u_nothing=1", "abcd"),
    ],
)
def test_item_15_what_is_not_understood_is_dropped_and_the_rest_runs(query: str, wanted: str) -> None:
    snow = alphabet()
    assert "".join(title[0] for title in snow.titles(query)) == wanted
    snow.instance.set_switch("invalid_query_no_rows", value=True)
    assert snow.titles(query) == []
    assert snow.titles("state=2") == ["b pump"]


def test_item_16_text_compares_without_case_and_a_doubled_caret_is_a_caret() -> None:
    snow = Snow()
    snow.written("Pump", correlation_id="Ns:ABC")
    snow.written("a^b", correlation_id="other")
    assert snow.titles("correlation_id=ns:abc") == ["Pump"]
    assert snow.titles("short_description=a^^b") == ["a^b"]
    assert snow.titles("short_description=pump^short_description=a^b") == []
    assert snow.titles("short_description=x^NQcorrelation_id=other") == ["a^b"], "a caret in a value widens"
    assert parse_query("short_description=a^b").groups[0][1][0] == ("b", "", "")


def test_item_17_date_literals_are_utc_seconds() -> None:
    snow = Snow(zone="America/Los_Angeles")
    snow.wait(0.9)
    snow.written("first")
    snow.wait(1)
    snow.written("second")
    assert snow.titles("sys_created_on=2026-09-21 14:13:20") == ["first"]
    assert snow.titles("sys_created_on>=2026-09-21 14:13:20") == ["first", "second"]
    assert snow.titles("sys_created_on>2026-09-21 14:13:20") == ["second"]
    assert snow.titles("sys_created_on<2026-09-21 14:13:20") == []


def test_item_17_a_generated_date_is_in_the_zone_of_the_session() -> None:
    snow = Snow()
    snow.written("first")
    user = snow.instance.kernel.accounts.user_row(USER)
    assert user is not None
    user["time_zone"] = "America/Los_Angeles"
    literal = "javascript:gs.dateGenerate('2026-09-21','07:13:20')"
    assert snow.titles(f"sys_created_on={literal}") == ["first"]


def test_item_18_query_acls_drop_a_clause_or_refuse_the_query() -> None:
    snow = alphabet()
    account = snow.instance.account(USER)
    account.range_denied.add(("incident", "sys_updated_on"))
    assert len(snow.rows("sys_updated_on>2999-01-01 00:00:00")) == 4
    assert snow.titles("state=2^sys_updated_on>2999-01-01 00:00:00") == ["b pump"]
    assert snow.titles("sys_updated_on=2026-09-21 14:13:20") == ["a pump"]
    account.match_denied.add(("incident", "state"))
    assert len(snow.rows("state=2")) == 4
    assert snow.titles("state>3") == ["d valve"]
    snow.instance.set_switch("query_acl", "refuse")
    status, message, detail = refusal_of(snow.ask("GET", query="state=2"))
    assert (status, message) == (403, "Insufficient rights to query records")
    assert str(detail).startswith("Field(s) present in the query do not have permission")
    assert snow.titles("short_descriptionLIKEpump") == ["a pump", "b pump"]


def test_item_18_without_range_rights_a_list_is_not_sorted_by_that_field() -> None:
    snow = Snow(incidents=25)
    snow.instance.account(USER).range_denied.add(("incident", "number"))
    orders = {tuple(row["number"] for row in snow.rows("ORDERBYnumber")) for _ in range(5)}
    assert len(orders) > 1


def test_item_19_rows_without_a_total_order_come_differently_each_time() -> None:
    snow = Snow(incidents=25)
    orders = [[row["number"] for row in snow.rows()] for _ in range(4)]
    assert len({tuple(order) for order in orders}) > 1
    tied = [[row["number"] for row in snow.rows("ORDERBYsys_class_name")] for _ in range(4)]
    assert len({tuple(order) for order in tied}) > 1
    total = [[row["number"] for row in snow.rows("ORDERBYsys_class_name^ORDERBYsys_id")] for _ in range(4)]
    assert len({tuple(order) for order in total}) == 1
    snow.instance.set_switch("shuffle", value=False)
    assert [row["number"] for row in snow.rows()] == [row["number"] for row in snow.instance.incidents()]


def test_item_20_row_acls_come_after_limit_and_offset() -> None:
    snow = Snow(incidents=25)
    snow.instance.account(USER).hidden["incident"] = "stateIN1,2,3"
    pages = [snow.ask("GET", limit="5", offset=str(start), query="ORDERBYstate^ORDERBYsys_id") for start in (0, 20)]
    assert [answer.header("x-total-count") for answer in pages] == ["25", "25"]
    assert body_of(pages[0])["result"] == []
    assert 'rel="next"' in pages[0].header("link")
    shown = body_of(pages[1])["result"]
    assert shown
    assert {row["state"] for row in shown} <= {"6", "7", "8"}
    snow.instance.set_switch("hidden_rows", "empty")
    assert snow.rows("ORDERBYstate^ORDERBYsys_id", limit="5") == [{}] * 5


def test_item_21_offset_pages_lose_and_repeat_rows_that_are_updated_meanwhile() -> None:
    snow = Snow()
    sys_ids = []
    for _ in range(6):
        sys_ids.append(snow.written()["sys_id"])
        snow.wait(1)
    query = "ORDERBYsys_updated_on^ORDERBYsys_id"
    first = [row["sys_id"] for row in snow.rows(query, limit="3")]
    snow.instance.edit_as("beth.anglin", sys_ids[0], {"urgency": "1"})
    second = [row["sys_id"] for row in snow.rows(query, limit="3", offset="3")]
    assert sys_ids[3] not in first + second
    assert second[-1] == sys_ids[0]
    assert sys_ids[0] in first


def test_bare_names_filter_by_raw_or_display_value() -> None:
    snow = alphabet()
    rows = body_of(snow.ask("GET", f"{TABLE}?state=in%20progress"))["result"]
    assert [row["short_description"] for row in rows] == ["b pump"]
