"""What the API shows of State: the contract's names, no secrets, times that people and programs read."""

import msgspec
import pytest

from syncd.core import conflicts, finding, views
from syncd.core import events as e
from syncd.core.model import Failure, Token
from syncd.errors import Unknown
from tests.core.picture import AT_S, INC, INT, LINK, SYS_ID, apply, picture

URL = f"https://example.service-now.com/nav_to.do?uri=incident.do?sys_id={SYS_ID}"


def as_json(view: object) -> dict[str, object]:
    shown: dict[str, object] = msgspec.json.decode(msgspec.json.encode(view))
    return shown


def test_times_are_utc_with_microseconds() -> None:
    assert views.rfc3339(0) == "1970-01-01T00:00:00.000000Z"
    assert views.rfc3339(AT_S + 0.25) == "2026-09-21T14:13:20.250000Z"
    assert views.optional_time(None) is None


def test_an_incident_is_shown_with_its_links() -> None:
    state = picture()
    shown = as_json(views.incident(state, state.incidents[INC]))
    assert list(shown) == [
        *("id", "organization_id", "title", "description", "severity", "status", "assigned_to", "service"),
        *("resolution_code", "resolution_notes", "version", "created_at", "updated_at", "updated_by", "links"),
    ]
    assert shown["links"] == [
        {
            "integration_id": INT,
            "integration": "prod",
            "external_id": SYS_ID,
            "external_number": "INC0010001",
            "external_url": URL,
            "state": "active",
        }
    ]


def test_a_link_is_shown_as_the_contract_names_it() -> None:
    state = picture()
    assert as_json(views.link(state, state.links[LINK])) == {
        "incident_id": INC,
        "external_id": SYS_ID,
        "external_number": "INC0010001",
        "external_url": URL,
        "state": "active",
        "reason": None,
        "created_at": "2026-09-21T14:13:24.000000Z",
        "last_synced_at": "2026-09-21T14:13:24.000000Z",
        "delivery": None,
    }


def test_what_a_record_has_not_got_yet_is_shown_with_the_last_words_and_the_next_try() -> None:
    state = picture()
    apply(state, e.NoteAdded(INC, "note-1", "rolled back", "ann"))
    apply(state, e.NoteSendFailed(LINK, "note-1", Failure("unavailable", "no answer"), AT_S + 60, ambiguous=False))
    shown = as_json(views.link(state, state.links[LINK]))
    assert shown["delivery"] == {
        "waiting": ["note note-1"],
        "since": "2026-09-21T14:13:29.000000Z",
        "attempts": 1,
        "next_attempt_at": "2026-09-21T14:14:20.000000Z",
        "error": {"kind": "unavailable", "status": None, "message": "no answer", "detail": ""},
    }


def test_no_sealed_secret_is_shown() -> None:
    state = picture()
    text = msgspec.json.encode(views.integration(state.integrations[INT])).decode()
    assert "ciphertext" not in text
    assert "nonce" not in text
    assert '"credentials_set":["password","username"]' in text


def test_a_conflict_is_shown_as_the_contract_names_it() -> None:
    state = picture()
    shown = as_json(conflicts.view(state, state.conflicts["conflict-1"]))
    assert list(shown) == [
        *("id", "integration_id", "integration", "incident_id", "external_id", "field", "base"),
        *(
            "platform",
            "external",
            "platform_by",
            "external_by",
            "platform_at",
            "external_from",
            "external_at",
            "strategy",
            "status",
        ),
        *("decided", "version", "created_at", "resolved_at", "resolved_by", "reason", "rule", "would_write"),
    ]
    assert shown["external_from"] == "2026-09-21T14:13:19.000000Z"
    assert shown["external_at"] == "2026-09-21T14:13:21.000000Z"
    assert (shown["decided"], shown["resolved_at"]) == (None, None)


def test_a_dead_letter_carries_servicenow_s_words_and_its_next_attempt() -> None:
    state = picture()
    shown = as_json(views.dead_letter(state, state.dead_letters["entry-2"]))
    assert shown == {
        "id": "entry-2",
        "incident_id": INC,
        "external_id": SYS_ID,
        "operation": "update",
        "fields": ["status"],
        "attempts": 1,
        "error": {
            "kind": "refused",
            "status": 403,
            "message": "Data Policy Exception",
            "detail": "close_code is mandatory",
        },
        "remedy": "set external_defaults.close_code",
        "created_at": "2026-09-21T14:13:22.000000Z",
        "last_attempt_at": "2026-09-21T14:13:22.000000Z",
        "next_attempt_at": None,
        "note_id": None,
        "would_send": {},
    }


def test_a_token_is_shown_without_its_digest() -> None:
    token = Token("token-1", "ci", "read", "digest", AT_S)
    assert as_json(views.token(token, AT_S + 1))["last_used_at"] == "2026-09-21T14:13:21.000000Z"
    assert "digest" not in as_json(views.token(token)).values()
    assert as_json(views.new_token(token, "text"))["token"] == "text"


def test_a_slip_in_a_handle_is_answered_with_the_one_that_is_near() -> None:
    state = picture()
    with pytest.raises(Unknown) as caught:
        finding.integration(state, "prdo")
    assert caught.value.hint == "did you mean prod? Or list them: im integration list"
    with pytest.raises(Unknown) as caught:
        finding.integration(state, "production-servicenow")
    assert caught.value.hint.endswith("im integration configure prod --handle production-servicenow")
