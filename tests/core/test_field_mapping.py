"""Which mappings are taken, and that both laws of a lens hold for whatever is."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from syncd.core import field_mapping
from syncd.core.events import IntegrationChanged
from syncd.core.fields import Fields
from syncd.core.lens import DEFAULT_LENS, Lens, lens_of, moved
from syncd.core.model import SEVERITIES, STATUSES, Settings
from syncd.errors import Invalid, Unknown
from tests.core.picture import INT, picture
from tests.core.world import SETTINGS

Body = Mapping[str, object]
SEVERITY: Body = {"external_field": "u_sev", "values": {"SEV-1": "A", "SEV-2": "B", "SEV-3": "C", "SEV-4": ["D", "E"]}}
STATUS: Body = {
    "external_field": "state",
    "values": {"open": ["1", "2"], "mitigated": "3", "resolved": "6", "closed": "7", "canceled": "8"},
}


def lens_with(field: str, body: Body) -> Lens:
    return lens_of(settings_with(field, body))


def wanted(body: Body) -> field_mapping.WantedMapping:
    return field_mapping.read(Fields(body))


def settings_with(field: str, body: Body) -> Settings:
    state = picture()
    change = field_mapping.put(INT, field, wanted(body))(state, 0.0)
    (event,) = change.events
    assert isinstance(event, IntegrationChanged)
    return event.settings


def refused(field: str, body: Body) -> str:
    with pytest.raises(Invalid) as caught:
        field_mapping.put(INT, field, wanted(body))(picture(), 0.0)
    return str(caught.value)


def both_laws(lens: Lens, field: str, value: str, record: dict[str, str]) -> None:
    columns = lens.put({field: value}, record)
    after = record | columns
    assert lens.meaning(field, lens.raw_of(field, after), value) == value, "PutGet"
    assert lens.put({field: value}, after) == {}, "written once"
    shown = lens.meaning(field, lens.raw_of(field, record))
    if isinstance(shown, str):
        assert lens.put({field: shown}, record) == {}, "GetPut"
    if columns:
        assert lens.raw_of(field, after) == lens.written(field, value)


@given(st.sampled_from(SEVERITIES), st.sampled_from(["A", "B", "C", "D", "E", "F", "", "a"]))
def test_a_severity_by_values_obeys_both_laws(value: str, there: str) -> None:
    both_laws(lens_with("severity", SEVERITY), "severity", value, {"u_sev": there})


@given(
    st.permutations(["1", "2", "3", "6", "7", "8", "10", "11"]),
    st.lists(st.integers(0, 4), min_size=3, max_size=3),
    st.sampled_from(STATUSES),
    st.sampled_from(["1", "2", "3", "6", "7", "8", "10", "11", "12", ""]),
)
def test_whatever_states_are_given_to_the_statuses_both_laws_hold(
    states: list[str], extra: list[int], value: str, there: str
) -> None:
    values = {status: [state] for status, state in zip(STATUSES, states, strict=False)}
    for state, index in zip(states[len(STATUSES) :], extra, strict=True):
        values[STATUSES[index]].append(state)
    lens = lens_with("status", {"external_field": "state", "values": values})
    for hold_reason in ("", "1"):
        both_laws(lens, "status", value, {"state": there, "hold_reason": hold_reason})


words = st.text(min_size=1, max_size=60)


@given(
    st.sampled_from([{}, {"transform": "upper"}, {"transform": "lower"}]),
    st.sampled_from(["title", "description", "service"]),
    words,
    words,
)
def test_texts_obey_both_laws_in_any_letters(transform: Body, field: str, said: str, there: str) -> None:
    lens = lens_with(field, {"external_field": "u_text", **transform})
    canonical = lens_with(field, {"external_field": "u_text"}).meaning(field, said)
    if isinstance(canonical, str) and canonical:
        both_laws(lens, field, canonical, {"u_text": there})


def test_with_a_transform_the_platforms_own_letters_stay_and_new_ones_come_in_small() -> None:
    lens = lens_with("service", {"external_field": "u_service", "transform": "upper"})
    assert lens.put({"service": "Checkout"}, {"u_service": ""}) == {"u_service": "CHECKOUT"}
    assert lens.meaning("service", "CHECKOUT", "Checkout") == "Checkout"
    assert lens.meaning("service", "PAYMENTS", "Checkout") == "payments"
    assert lens.meaning("service", "") == ""


def test_an_unknown_text_where_values_are_says_nothing_and_is_shown() -> None:
    lens = lens_with("severity", SEVERITY)
    assert lens.meaning("severity", "Z") is UNSET
    assert lens.unmapped("severity", {"u_sev": "Z"}) == "Z"
    assert lens.is_unfilled("severity", "")


def test_other_fields_stay_as_they_are_and_the_new_column_is_read() -> None:
    lens = lens_with("service", {"external_field": "u_service"})
    assert lens.fields == (*DEFAULT_LENS.fields, "service")
    assert lens.columns == (*DEFAULT_LENS.columns, "u_service")
    assert all(lens.lenses[field] is DEFAULT_LENS.lenses[field] for field in DEFAULT_LENS.fields)


def without(value: str) -> Body:
    values = SEVERITY["values"]
    assert isinstance(values, dict)
    return {"external_field": "u_sev", "values": {name: text for name, text in values.items() if name != value}}


def changed(**values: object) -> Body:
    before = SEVERITY["values"]
    assert isinstance(before, dict)
    return {"external_field": "u_sev", "values": before | {name.replace("_", "-"): one for name, one in values.items()}}


@pytest.mark.parametrize(
    ("field", "body", "words"),
    [
        ("severity", without("SEV-3"), ["values", "SEV-3", "not total"]),
        ("severity", {"external_field": "u_sev"}, ["values", "not total", "SEV-1, SEV-2, SEV-3, SEV-4"]),
        ("severity", changed(SEV_2="A"), ["'A'", "SEV-1 and SEV-2", "read back"]),
        ("severity", changed(SEV_4=["D", "D"]), ["'D'", "SEV-4 twice"]),
        ("severity", changed(SEV_4=4), ["values.SEV-4", "4 is no text; put it in quotes"]),
        ("severity", changed(SEV_4=["4", 5]), ["values.SEV-4", "5 is no text"]),
        ("severity", changed(SEV_4=[]), ["values.SEV-4", "has nothing in its list"]),
        ("severity", changed(SEV_4=" "), ["values.SEV-4", "' ' is empty"]),
        ("severity", changed(SEV_4="x" * 201), ["values.SEV-4", "has 201 letters, the limit is 200"]),
        (
            "status",
            {**STATUS, "values": {"open": "1", "mitigated": "3", "resolved": "done", "closed": "07", "canceled": "8"}},
            ["values.resolved", "'done' is no whole number, and state holds nothing else", "values.closed", "'07'"],
        ),
        ("severity", changed(SEV_4=["D", "a\nb"]), ["values.SEV-4", "control character U+000A"]),
        ("severity", changed(SEV_4=" A "), ["values.SEV-4", "SEV-1 and SEV-4"]),
        ("severity", changed(SEV_5="F"), ["values.SEV-5", "is no severity"]),
        ("severity", {**SEVERITY, "transform": "upper"}, ["transform", "is for text"]),
        ("severity", {**SEVERITY, "external_field": "priority"}, ["'priority'", "u_severity"]),
        ("severity", {**SEVERITY, "external_field": "short_description"}, ["short_description", "title", "fight"]),
        ("status", {**STATUS, "external_field": "u_status"}, ["'u_status'", "state"]),
        ("title", {"external_field": "description"}, ["description", "fight"]),
        ("title", {"external_field": "urgency"}, ["urgency", "severity", "fight"]),
        ("title", {"external_field": "u_title", "transform": "reverse"}, ["transform", "'reverse'", "upper"]),
        ("title", {"external_field": "u_title", "direction": "sideways"}, ["direction", "'sideways'"]),
        ("service", {"external_field": "u_service", "values": {"a": "b"}}, ["values", "any text"]),
        ("service", {"external_field": "assigned_to"}, ["'assigned_to'"]),
        ("assigned_to", {"external_field": "assignment_group"}, ["'assignment_group'", "u_assigned_to"]),
        ("assigned_to", {"external_field": "opened_by"}, ["'opened_by'"]),
        ("assigned_to", {"external_field": "u_owner", "values": {"ann": "a"}}, ["values", "any text"]),
        ("assigned_to", {"external_field": "u_owner", "transform": "upper"}, ["transform", "sys_id of a user"]),
        ("service", {"external_field": "caller_id.name"}, ["external_field", "'caller_id.name'"]),
        ("service", {"external_field": "sys_domain"}, ["'sys_domain'"]),
        ("service", {"external_field": "close_notes"}, ["'close_notes'"]),
        ("service", {}, ["external_field", "missing"]),
        ("service", {"external_field": "u_service", "colour": 1}, ["colour", "not known"]),
    ],
)
def test_what_would_do_harm_is_refused_with_the_values_named(field: str, body: Body, words: list[str]) -> None:
    message = refused(field, body)
    assert all(word in message for word in words), message


@pytest.mark.parametrize("field", ["work_notes", "resolution_code", "nothing"])
def test_a_field_that_cannot_be_mapped_is_named_with_those_that_can(field: str) -> None:
    for decide in (field_mapping.put(INT, field, wanted({"external_field": "u_x"})), field_mapping.delete(INT, field)):
        with pytest.raises(Unknown, match="cannot be mapped"):
            decide(picture(), 0.0)


def test_taking_back_what_was_not_set_changes_nothing_and_what_would_fight_is_refused() -> None:
    state = picture()
    assert field_mapping.delete(INT, "title")(state, 0.0).events == ()
    for field, column in (("title", "u_title"), ("description", "short_description")):
        (event,) = field_mapping.put(INT, field, wanted({"external_field": column}))(state, 0.0).events
        assert isinstance(event, IntegrationChanged)
        state.integrations[INT] = replace(state.integrations[INT], settings=event.settings)
    with pytest.raises(Invalid, match="short_description stands for description") as caught:
        field_mapping.delete(INT, "title")(state, 0.0)
    assert caught.value.hint == "free it first: im integration field-mapping delete prod description"
    assert field_mapping.delete(INT, "description")(state, 0.0).events


def test_the_same_mapping_again_changes_nothing() -> None:
    state = picture()
    state.integrations[INT] = replace(state.integrations[INT], settings=settings_with("severity", SEVERITY))
    assert field_mapping.put(INT, "severity", wanted(SEVERITY))(state, 0.0).events == ()


def test_every_field_is_listed_with_where_it_stands() -> None:
    shown = {one.field: one for one in field_mapping.views(settings_with("severity", SEVERITY))}
    assert (shown["severity"].external_field, shown["severity"].default) == ("u_sev", False)
    assert shown["severity"].values["SEV-4"] == ["D", "E"]
    assert (shown["service"].external_field, shown["service"].default) == (None, True)
    default = {one.field: one for one in field_mapping.views(SETTINGS)}
    assert default["severity"].values == {"SEV-1": ["1"], "SEV-2": ["2"], "SEV-3": ["3"], "SEV-4": ["4", "5"]}
    assert default["status"].values["open"][0] == "2", "the one that is written comes first"
    for field, texts in ((one.field, one.values) for one in default.values()):
        for value, found in texts.items():
            assert all(DEFAULT_LENS.meaning(field, text) == value for text in found)


def test_only_another_column_makes_a_field_meet_anew() -> None:
    first = settings_with("severity", SEVERITY)
    assert moved(SETTINGS, first) == {"severity"}
    assert moved(first, settings_with("severity", changed(SEV_4="D"))) == frozenset()
    assert moved(SETTINGS, settings_with("status", STATUS)) == frozenset()
    assert moved(SETTINGS, settings_with("service", {"external_field": "u_service"})) == {"service"}


def test_a_person_may_stand_in_another_column_that_refers_to_users() -> None:
    lens = lens_with("assigned_to", {"external_field": "u_owner"})
    record = {"u_owner": "b1", "u_owner.user_name": "beth", "u_owner.email": "", "assigned_to": "d1"}
    assert {"u_owner", "u_owner.user_name", "u_owner.email"} <= set(lens.columns)
    assert lens.get(record)["assigned_to"] == "beth"
    assert lens.put({"assigned_to": "beth"}, record) == {}
    assert lens.put({"assigned_to": ""}, record) == {"u_owner": ""}
    assert lens.get({"u_owner": "g1"})["assigned_to"] is UNSET, "it refers to something else than users"
    own = lens_with("assigned_to", {"external_field": "assigned_to", "direction": "inbound"})
    assert own.columns == DEFAULT_LENS.columns
