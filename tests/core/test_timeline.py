"""The timeline: journal records as CloudEvents, one for each thing that happened to one incident."""

from syncd.core import events as e
from syncd.core import timeline
from syncd.core.model import Attempt, Failure, Halves
from tests.core.picture import AT_S, HAPPENED, INC, LINK, apply, picture, seen


def record(position: int, *events: e.Event) -> e.Record:
    return e.Record(position, "acme", AT_S + position, "user:root", f"trace-{position}", events)


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
    assert (told[0].source, told[1].source) == ("/organizations/acme", "/integrations/prod")
    assert (told[1].position, told[1].trace, told[1].time) == (4, "trace-4", "2026-09-21T14:13:24.000000Z")
    assert told[3].data == {
        "field": "title",
        "reason": "held-for-review",
        "value": None,
        "base": {"platform": "Down", "external": "Down"},
    }


def test_sends_and_verdicts_are_told() -> None:
    state = picture()
    attempt = Attempt(1, "update", {"title": "x"}, {"short_description": "x"}, AT_S)
    records = [
        *RECORDS,
        record(9, e.SendStarted(LINK, attempt)),
        record(10, e.SendFailed(LINK, Failure("unavailable", "HTTP 503"), AT_S + 5, ambiguous=True)),
        record(11, e.SendSettled(LINK, 2, seen(), {"title": Halves("x", "x")})),
        record(12, e.DeadLetterRetried("entry-2"), e.DeadLetterDiscarded("entry-2")),
        record(13, e.ConflictSettled("conflict-1", "platform")),
        record(14, e.ConflictSettled("conflict-1", None)),
        record(15, e.LinkOpened(LINK, "int_A", INC), e.LinkRemoved(LINK)),
        record(16, e.SendCleared(LINK)),
        record(17, e.LinkParked(LINK, "merging it failed twice"), e.LinkReleased(LINK)),
    ]
    told = timeline.entries(apply(state, e.DeadLetterDiscarded("entry-2")), records, INC)[7:]
    assert [one.type.removeprefix("im.sync.") for one in told] == [
        "send_started",
        "failed",
        "sent",
        "dead_letter_retried",
        "dead_letter_discarded",
        "conflict_resolved",
        "conflict_ignored",
        "link_opened",
        "unlinked",
        "parked",
        "released",
    ]
    assert told[-2].data == {"reason": "merging it failed twice"}
    assert told[1].data["next_attempt_at"] == "2026-09-21T14:13:25.000000Z"


def test_what_happened_to_others_is_left_out() -> None:
    others = [record(20, e.IncidentEdited("INC-B", {"title": "x"}), e.IncidentEdited(INC, {"title": "y"}))]
    (told,) = timeline.entries(picture(), others, INC)
    assert told.data == {"changes": {"title": "y"}}
