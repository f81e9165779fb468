"""What the log says of a change: one line at info, whatever its texts hold."""

import io
import logging
import re
from itertools import product

import pytest

from syncd.actors.narrator import Narrator
from syncd.core import events as e
from syncd.core.events import Event, Record
from syncd.core.model import Failure, Halves, NoteAttempt
from syncd.telemetry import LineFormatter
from tests.core.picture import AT_S, INC, INT, LINK, conflict, dead_letter, picture, seen

LETTERS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x202E, 0x2066)]
FORMS = (
    "{}2026-11-24T09:14:03.000Z INFO syncd forged",
    'x{} level=ERROR trace=T1 "',
    "{}{}\r\n2026-11-24 ERROR {}",
    "\x1b[2J{}\x1b]0;x\x07",
)
PAYLOADS = [form.replace("{}", letter) for form, letter in product(FORMS, LETTERS)][:200]


def lines(*events: Event, level: int = logging.INFO, trace: str = "T1") -> list[str]:
    """What the narrator has written about a record with these events."""
    state = picture()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(LineFormatter(lambda: AT_S))
    log = logging.getLogger("syncd.sync")
    before = log.level
    log.addHandler(handler)
    log.setLevel(level)
    try:
        Narrator(lambda: state).narrate([Record(7, "acme", AT_S, "ann", trace, events)])
    finally:
        log.removeHandler(handler)
        log.setLevel(before)
    assert not stream.getvalue() or stream.getvalue().endswith("\n")
    return stream.getvalue().split("\n")[:-1]


TAKEN = e.FieldDecided("title", "one-side-changed", Halves("B", "B"), "B")
LET_GO = e.FieldDecided("title", "one-side-changed", Halves("B", "B"))


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ((e.IncidentEdited(INC, {"title": "B"}),), []),
        ((e.Merged(LINK, (LET_GO,), must_write=True),), []),
        ((e.SendSettled(LINK, 1, seen(), {"title": Halves("B", "B")}),), ["delivered"]),
        ((e.Merged(LINK, (TAKEN,)),), ["taken over"]),
        ((e.Merged(LINK, (LET_GO,), conflicts=(conflict(),)),), ["held for review"]),
        ((e.IncidentDeclared(INC, "A", "SEV-3", origin=INT), e.LinkJoined(LINK, INT, INC, seen())), ["record linked"]),
        ((e.NoteAdded(INC, "note-1", "text", "ann"),), []),
        ((e.NoteAdded(INC, "note-1", "text", "beth", INT, "j1"),), ["note taken over"]),
        ((e.NoteSent(LINK, "note-1"),), ["note delivered"]),
        ((e.LinkParked(LINK, "why"),), ["link parked"]),
        ((e.RunEnded(INT, "run-1", "finished", found={"missed webhook": 2}),), ["run ended"]),
        ((e.RunEnded(INT, "run-1", "stopped", "half of them would be closed"),), ["run ended"]),
    ],
)
def test_a_change_is_one_line_at_info_where_its_way_ends(events: tuple[Event, ...], said: list[str]) -> None:
    found = lines(*events)
    assert [line.split(" trace=")[0].split("syncd.sync ")[1] for line in found] == said
    assert all("integration=prod" in line for line in found)
    assert all(f"incident={INC}" in line for line in found if " run ended " not in line)


def test_at_debug_every_step_is_a_line() -> None:
    steps = (
        e.IncidentEdited(INC, {"title": "B"}),
        e.Merged(LINK, (LET_GO,), must_write=True),
        e.SendSettled(LINK, 1, seen(), {"title": Halves("B", "B")}),
    )
    assert len(lines(*steps, level=logging.DEBUG)) == 3


def test_there_are_two_hundred_of_them() -> None:
    assert len(set(PAYLOADS)) == len(PAYLOADS) == 200


@pytest.mark.parametrize("payload", PAYLOADS)
def test_no_text_of_a_stranger_makes_a_second_line_or_reaches_the_terminal(payload: str) -> None:
    failure = Failure(payload, payload, 403, payload)
    letter = dead_letter(9, payload)
    hostile = seen(short_description=payload)
    events: tuple[Event, ...] = (
        e.IncidentDeclared(INC, payload, "SEV-3", origin=payload),
        e.IncidentEdited(INC, {payload: payload}),
        e.NoteAdded(INC, payload, payload, payload, INT, payload),
        e.LinkJoined(LINK, INT, INC, hostile),
        e.LinkParked(LINK, payload),
        e.SendFailed(LINK, failure, AT_S, ambiguous=True),
        e.NoteSendStarted(LINK, payload, NoteAttempt(1, payload, AT_S)),
        e.NoteSendFailed(LINK, payload, failure, AT_S, ambiguous=False),
        e.DeadLettered(letter, hold=True),
        e.Merged(LINK, (e.FieldDecided(payload, payload, Halves(), payload),), conflicts=(conflict(field=payload),)),
        e.Hinted(INT, payload, None, payload, payload),
        e.RunEnded(INT, payload, "stopped", payload, found={payload: 1}),
    )
    found = lines(*events, level=logging.DEBUG, trace=payload)
    assert len(found) == len(events) - 1  # that a note is on its way is for the trace only
    for line in found:
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e\u2066]", line)
        assert line.startswith("2026-09-21T14:13:20.000Z ")
