"""The incident store: declared once, edited by version, and its answers are what the fold makes of it."""

import msgspec
import pytest

from syncd.actors.ports import Platform
from syncd.core import views
from syncd.core.events import AnswerKept, IncidentDeclared, IncidentEdited
from syncd.core.fields import Fields
from syncd.core.requests import NewIncident, NewNote, incident_changes, new_incident, new_note
from syncd.core.state import State
from syncd.errors import Invalid, Stale, Unknown
from syncd.systems import platform
from tests.core.picture import AT_S, INC, apply, picture

WANTED = NewIncident(organization_id="acme", title="Down", severity="SEV-2", description="all of it")
AS_PORT: Platform = platform  # the module is the implementation


def test_the_answer_to_a_declaration_is_the_incident_that_the_fold_makes() -> None:
    state = picture()
    change = platform.declare(WANTED, incident_id="INC-B", by="user:root")(state, AT_S + state.position + 1)
    assert [type(event) for event in change.events] == [IncidentDeclared]
    apply(state, *change.events, stream=change.stream)
    assert msgspec.json.encode(views.incident(state, state.incidents["INC-B"])).decode() == change.result.body


def test_a_key_is_kept_with_the_first_answer_and_its_body() -> None:
    state = picture()
    first = platform.declare(WANTED, incident_id="INC-B", by="user:root", key="k", body_digest="d")(state, AT_S)
    assert [type(event) for event in first.events] == [IncidentDeclared, AnswerKept]
    apply(state, *first.events)
    again = platform.declare(WANTED, incident_id="INC-C", by="user:root", key="k", body_digest="d")(state, AT_S + 86399)
    assert (again.events, again.result.body, again.result.incident_id) == ((), first.result.body, "INC-B")
    assert again.result.repeated
    with pytest.raises(Invalid, match="another body"):
        platform.declare(WANTED, incident_id="INC-C", by="user:root", key="k", body_digest="e")(state, AT_S)
    late = platform.declare(WANTED, incident_id="INC-C", by="user:root", key="k", body_digest="e")(state, AT_S + 86400)
    assert late.result.incident_id == "INC-C"


def test_an_edit_journals_effective_changes_only_and_answers_what_the_fold_makes() -> None:
    state = picture()
    decide = platform.edit(INC, {"title": "Down here", "service": "shop"}, by="user:root", version=1)
    change = decide(state, AT_S + state.position + 1)
    assert change.events == (IncidentEdited(INC, {"service": "shop"}),)
    apply(state, *change.events)
    assert views.incident(state, state.incidents[INC]) == change.result
    assert change.result.version == 2


def test_an_edit_of_an_older_version_is_stale_and_of_nothing_unknown() -> None:
    with pytest.raises(Stale, match="has version 1"):
        platform.edit(INC, {"title": "x"}, by="u", version=2)(picture(), AT_S)
    with pytest.raises(Unknown):
        platform.edit("INC-Z", {"title": "x"}, by="u")(picture(), AT_S)


def test_a_note_is_by_its_author_or_by_whoever_asks() -> None:
    state = picture()
    change = platform.add_note(INC, NewNote("hi"), note_id="note-1", by="user:root")(state, AT_S + state.position + 1)
    apply(state, *change.events)
    assert state.notes[INC] == (change.result,)
    assert change.result.author == "user:root"
    assert platform.add_note(INC, NewNote("hi", "ann"), note_id="n", by="u")(state, AT_S).result.author == "ann"
    with pytest.raises(Unknown):
        platform.add_note("INC-Z", NewNote("hi"), note_id="n", by="u")(state, AT_S)


def test_values_are_canonical_before_they_are_compared() -> None:
    assert incident_changes(Fields({"title": " a ", "description": None, "service": "", "severity": 3})) == {
        "title": "a",
        "description": "",
        "severity": "SEV-3",
        "service": None,
    }
    assert new_incident(Fields({"title": "a", "severity": "1", "description": "x\r\n"})).description == "x"
    assert new_note(Fields({"text": "a\r\nb ", "author": None})) == NewNote("a\nb")


def test_an_answer_rests_on_no_earlier_state() -> None:
    change = platform.declare(WANTED, incident_id="INC-B", by="u", key="k", body_digest="d")(State(), AT_S)
    assert change.stream == "acme"
