"""The timeline and the stream: journal records as CloudEvents, one for each thing that happened."""

import re
from datetime import datetime
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from syncd.core import events as e
from syncd.core import telling, timeline
from syncd.core.model import (
    Attempt,
    Failure,
    Halves,
    Hint,
    ImportRun,
    NoteAttempt,
    OwnershipRule,
    PinnedInstance,
    Token,
    WebhookSecret,
)
from syncd.core.run import Run, Schedule
from syncd.core.state import State
from syncd.core.views import rfc3339
from tests.core.picture import (
    AT_S,
    HAPPENED,
    INC,
    INT,
    LINK,
    SEALED,
    apply,
    conflict,
    dead_letter,
    integration,
    picture,
    seen,
)

FAILURE = Failure("unavailable", "HTTP 503")
ATTEMPT = Attempt(1, "update", {"title": "x"}, {"short_description": "x"}, AT_S)
# One of every kind, and the types it tells.
EVERY: list[tuple[e.Event, list[str]]] = [
    (e.DaemonBorn("secret-journal-id"), ["im.daemon.born"]),
    (e.HistoryEnded(4711), ["im.daemon.history_ended"]),
    (e.TokenCreated(Token("token-1", "bot", "read", "secret-digest", AT_S)), ["im.token.created"]),
    (e.TokenRevoked("token-1"), ["im.token.revoked"]),
    (e.TokenUsed("token-1"), ["im.token.used"]),
    (e.IncidentDeclared(INC, "Down", "SEV-3"), ["im.incident.declared"]),
    (e.IncidentEdited(INC, {"title": "y"}), ["im.incident.updated"]),
    (e.NoteAdded(INC, "note-1", "hello", "ann"), ["im.incident.noted"]),
    (e.AnswerKept("key", msgspec.UNSET), []),  # type: ignore[arg-type]
    (e.IntegrationConfigured(integration()), ["im.integration.configured"]),
    (e.IntegrationChanged(INT, integration().settings, {"password": SEALED}), ["im.integration.changed"]),
    (
        e.WebhookSecretsChanged(INT, (WebhookSecret(SEALED), WebhookSecret(SEALED, AT_S))),
        ["im.integration.webhook_secret_rotated"],
    ),
    (e.OwnershipChanged(INT, "title", OwnershipRule("external")), ["im.integration.ownership_changed"]),
    (e.OwnershipChanged(INT, "title", None), ["im.integration.ownership_changed"]),
    (e.JournalBehind(INT, "INC0010001 was made for INC-9"), ["im.integration.journal_behind"]),
    (e.InstancePinned(INT, PinnedInstance("dev1", by_api=True)), ["im.integration.pinned"]),
    (e.LoginRefused(INT, AT_S), ["im.integration.login_refused"]),
    (e.LoginAccepted(INT), ["im.integration.login_accepted"]),
    (e.ClosingLearned(INT, may_close=False), ["im.integration.closing_learned"]),
    (e.DifferenceAccepted(LINK, {"title": Halves("a", "b")}, "told-in-a-note"), ["im.sync.accepted"]),
    (e.IntegrationDeleted(INT), ["im.integration.deleted"]),
    (e.Hinted(INT, "5" * 32, Hint("5" * 32, 3, "t"), body="secret-body"), ["im.sync.hinted"]),
    (e.HintsSettled(INT, 3, {}), []),
    (e.HintsPostponed(INT, ()), []),
    (e.Swept(INT, AT_S), ["im.integration.swept"]),
    (e.Polled(INT, AT_S), []),
    (e.RunStarted(Run("run-17", INT, "heal", "manual", AT_S)), ["im.integration.run_started"]),
    (e.RunPlanned(INT, "run-17", 3, (), {"duplicate": 1}), ["im.integration.run_planned"]),
    (e.RunEnded(INT, "run-17", "stopped", "the brake", "brake"), ["im.integration.run_ended"]),
    (e.ScheduleSet(INT, Schedule("1h")), ["im.integration.reconcile_schedule_set"]),
    (e.DuplicateSetAside(INT, "r2", INC), ["im.sync.duplicate_set_aside"]),
    (
        e.ImportStarted(INT, ImportRun(id="import-1", query="active=true", by="user:ann", started_at_s=AT_S)),
        ["im.integration.import_started"],
    ),
    (e.ImportAdvanced(INT, "5" * 32, {"imported": 1}), []),
    (e.ImportEnded(INT, "finished"), ["im.integration.import_ended"]),
    (e.LinkOpened(LINK, INT, INC), ["im.sync.link_opened"]),
    (e.LinkJoined(LINK, INT, INC, seen()), ["im.sync.linked"]),
    (e.LinkRemoved(LINK), ["im.sync.unlinked"]),
    (e.LinkParked(LINK, "merging it failed twice"), ["im.sync.parked"]),
    (e.LinkReleased(LINK), ["im.sync.released"]),
    (e.Observed(LINK, seen()), ["im.sync.observed"]),
    (
        e.Merged(LINK, (e.FieldDecided("title", "owner", Halves("a", "b")),), (conflict(),)),
        ["im.sync.decided", "im.sync.conflict"],
    ),
    (e.SendStarted(LINK, ATTEMPT), ["im.sync.send_started"]),
    (e.SendSettled(LINK, 1, seen(), {"title": Halves("x", "x")}), ["im.sync.sent"]),
    (e.SendFailed(LINK, FAILURE, AT_S + 5, ambiguous=True), ["im.sync.failed"]),
    (e.SendCleared(LINK), ["im.sync.send_cleared"]),
    (e.NoteSendStarted(LINK, "note-1", NoteAttempt(1, "hello", AT_S)), ["im.sync.note_started"]),
    (e.NoteSent(LINK, "note-1"), ["im.sync.note_sent"]),
    (e.NoteSendFailed(LINK, "note-1", FAILURE, AT_S + 5, ambiguous=False), ["im.sync.note_failed"]),
    (e.NotesRead({LINK: 1}), []),
    (e.NoteNamed(INC, "note-1", "n1"), []),
    (e.DeadLettered(dead_letter(2, "status"), hold=True), ["im.sync.dead_letter"]),
    (e.DeadLetterRetried("entry-2", LINK), ["im.sync.dead_letter_retried"]),
    (e.DeadLetterDiscarded("entry-2", LINK), ["im.sync.dead_letter_discarded"]),
    (e.ConflictSettled("conflict-1", "platform", link_id=LINK), ["im.sync.conflict_resolved"]),
    (e.ConflictSettled("conflict-1", None, link_id=LINK), ["im.sync.conflict_ignored"]),
]
PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text("utf-8")


def record(position: int, *events: e.Event, source: e.Source | None = None) -> e.Record:
    return e.Record(position, "acme", AT_S + position, "user:root", f"trace-{position}", events, source)


RECORDS = [record(position, event) for position, event in enumerate(HAPPENED, start=3)]


def test_everything_that_happened_is_told_in_order() -> None:
    told = timeline.entries(picture(), RECORDS, INC)
    assert [one.type for one in told] == [
        "im.incident.declared",
        "im.sync.linked",
        "im.sync.observed",
        "im.sync.decided",
        "im.sync.conflict",
        "im.sync.dead_letter",
        "im.sync.dead_letter",
    ]
    assert {one.subject for one in told} == {INC}
    assert len({one.id for one in told}) == len(told)
    assert (told[0].source, told[1].source) == ("/organizations/acme", "/integrations/int_A")
    assert (told[0].integration, told[1].integration) == (msgspec.UNSET, "prod")
    assert (told[1].position, told[1].trace, told[1].time) == (4, "trace-4", "2026-09-21T14:13:24.000000Z")
    assert told[3].data == {
        "field": "title",
        "reason": "held-for-review",
        "value": None,
        "base": {"platform": "Down", "external": "Down"},
    }


def test_every_kind_of_event_has_its_type_or_is_left_out_by_name() -> None:
    assert {type(event) for event, _ in EVERY} == set(get_args(e.Event))
    for event, types in EVERY:
        assert [one.type for one in timeline.happened(State(), record(9, event))] == types
        assert (not types) == isinstance(event, telling.UNTOLD)


def test_every_type_is_on_the_page_in_the_row_of_its_kind() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `im.")]
    for _, types in EVERY:
        for kind, _, word in (one.rpartition(".") for one in types):
            assert any(f"`{kind}." in row and re.search(rf"\.{word}`", row) for row in rows), f"{kind}.{word}"


@pytest.mark.parametrize("event", [event for event, types in EVERY if types], ids=lambda event: type(event).__name__)
def test_what_is_told_conforms_to_cloudevents_1_0(event: e.Event) -> None:
    asked = e.Source("token-1", "127.0.0.1")
    for one in timeline.happened(picture(), record(9, event, source=asked)):
        shown = msgspec.json.decode(msgspec.json.encode(one))
        # Section 3.1.1: required, and not empty. Type and source are ours: documented prefixes, absolute paths.
        assert shown["specversion"] == "1.0"
        assert shown["id"]
        assert re.fullmatch(r"/(integrations|organizations)/\S+", shown["source"])
        assert re.fullmatch(r"im\.(incident|sync|integration|token|daemon)\.[a-z_]+", shown["type"])
        # 3.1.2: a time is RFC 3339, a subject is not empty, the content type is that of ``data``.
        assert datetime.fromisoformat(shown["time"]).utcoffset() is not None
        assert shown["subject"]
        assert shown["datacontenttype"] == "application/json"
        assert isinstance(shown["data"], dict)
        # 2.2 and 3.2: names are lower-case letters and digits; extensions are plain values, never null.
        for name, value in shown.items():
            assert re.fullmatch(r"[a-z0-9]{1,20}", name)
            assert name == "data" or isinstance(value, str | int)


def test_no_secret_digest_or_webhook_body_is_told() -> None:
    told = b"".join(msgspec.json.encode(timeline.happened(picture(), record(9, event))) for event, _ in EVERY)
    for hidden in (b"secret-", SEALED.ciphertext.encode(), SEALED.nonce.encode()):
        assert hidden not in told


def test_every_event_about_a_link_or_incident_is_in_the_incidents_timeline() -> None:
    for event, types in EVERY:
        told = timeline.entries(picture(), [record(9, event)], INC)
        about = {one for one in types if one.startswith(("im.incident.", "im.sync."))} - {"im.sync.hinted"}
        assert {one.type for one in told} == (about or set(types) & {"im.integration.deleted"})


def test_what_happened_to_others_is_left_out() -> None:
    others = [record(20, e.IncidentEdited("INC-B", {"title": "x"}), e.IncidentEdited(INC, {"title": "y"}))]
    (told,) = timeline.entries(picture(), others, INC)
    assert told.data == {"changes": {"title": "y"}}


@pytest.mark.parametrize(
    "event",
    [event for event, _ in EVERY if timeline.entries(State(), [record(9, event)], INC)],
    ids=lambda event: type(event).__name__,
)
def test_an_incident_keeps_the_position_of_all_that_is_told_of_it(event: e.Event) -> None:
    state = apply(picture(), event)
    assert state.incidents[INC].positions[-1] == state.position


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("17", (17, float("inf"), float("inf"))),
        ("17-2", (17, 2, 0)),
        ("17-2-3", (17, 2, 3)),
        ("0", (0, float("inf"), float("inf"))),
        ("", None),
        ("-1", None),
        ("17-", None),
        ("17-2-3-4", None),
        ("١٧", None),
        ("9" * 19, None),
    ],
)
def test_a_readers_place_is_read_from_an_id_or_a_position(text: str, place: timeline.Place | None) -> None:
    assert timeline.place_of(text) == place


def test_places_are_in_the_order_of_the_events() -> None:
    told = timeline.happened(State(), record(9, *[event for event, _ in EVERY]))
    found = [place for one in told if (place := timeline.place_of(one.id)) is not None]
    assert found == sorted(found)
    assert len(set(found)) == len(told)


def test_a_timeline_that_lost_its_beginning_says_from_when_on_it_is_kept() -> None:
    state = picture()
    oldest = e.Record(70, "acme", AT_S, "ann", "t", (e.DaemonBorn("j"),))
    line = timeline.beginning(state.incidents[INC], oldest, 3)
    assert (line.type, line.subject, line.time) == ("im.incident.history_begins", INC, rfc3339(AT_S))
    assert line.data == {"kept_from": 70, "removed_records": 3}
    place = timeline.place_of(line.id)
    assert place is not None
    assert place[0] == 69
