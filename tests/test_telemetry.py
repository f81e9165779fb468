"""A record is one line, and no line holds a secret."""

import io
import logging
import re
from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.telemetry import configure_logging, log, redact_text, set_level, trace

AT_S = 1_700_000_000.25
CANARY = "correct-horse-battery"
TOUCHED = (
    *("syncd", "syncd.trace", "httpx", "httpcore", "hpack", "h2", "quart", "asyncio"),
    *("hypercorn", "hypercorn.access", "hypercorn.error"),
)


@pytest.fixture(autouse=True)
def levels_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in TOUCHED}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, former in levels.items():
        logging.getLogger(name).setLevel(former)


def started(level: str = "info", *, sync_trace: bool = False) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(level, stream, lambda: AT_S, sync_trace=sync_trace)
    return stream


def lines(stream: io.StringIO) -> list[str]:
    return stream.getvalue().splitlines()


def test_a_line_has_time_level_logger_message_and_fields() -> None:
    stream = started()
    logging.getLogger("syncd.actors.merger").info(
        "decided", extra={"incident": "INC-1", "winner": None, "is_echo": False, "count": 3, "reason": "later edit"}
    )
    assert stream.getvalue() == (
        "2023-11-14T22:13:20.250Z INFO syncd.actors.merger decided "
        'incident=INC-1 winner=null is_echo=false count=3 reason="later edit"\n'
    )


def test_the_time_is_that_of_the_clock_that_was_handed_in() -> None:
    stream, times = io.StringIO(), iter([0.0, 86_400.0])
    configure_logging("info", stream, lambda: next(times))
    log.info("first")
    log.info("second")
    assert [line.split()[0] for line in lines(stream)] == ["1970-01-01T00:00:00.000Z", "1970-01-02T00:00:00.000Z"]


def test_configuring_again_replaces_the_former_stream() -> None:
    former, stream = started(), started()
    log.info("once")
    assert former.getvalue() == ""
    assert len(lines(stream)) == 1


def test_the_level_holds_for_syncd_and_can_be_changed_while_running() -> None:
    stream = started("warning")
    log.info("too quiet")
    set_level("debug")
    logging.getLogger("syncd.systems").debug("heard")
    logging.getLogger("some.library").info("not ours")
    assert [line.split()[3] for line in lines(stream)] == ["heard"]


@pytest.mark.parametrize(
    "name", ["httpx", "httpcore", "httpcore.http11", "hypercorn.error", "hypercorn.access", "hpack"]
)
def test_talkative_libraries_speak_from_warning_on_even_at_debug(name: str) -> None:
    library = logging.getLogger(name)
    (library if name in TOUCHED else library.parent or library).setLevel(logging.DEBUG)  # as the library may have done
    stream = started("debug")
    library.debug("headers")
    library.info("HTTP Request: GET https://host/path?q=1")
    library.warning("trouble")
    assert [line.split()[1] for line in lines(stream)] == ["WARNING"]


@given(message=st.text(st.characters()), value=st.text(st.characters()), key=st.text(min_size=1))
def test_whatever_is_logged_stays_on_one_printable_line(message: str, value: str, key: str) -> None:
    stream = started()
    log.info("%s", message, extra={"fields": {key: value}})
    written = stream.getvalue()
    assert written.endswith("\n")
    assert len(lines(stream)) == 1
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029\ud800-\udfff]", written[:-1])
    written.encode()


def test_a_value_cannot_pose_as_another_field_or_line() -> None:
    stream = started()
    log.info("noted", extra={"by": 'ann" level=ERROR\n2023-11-14 forged', "then": "a=b"})
    assert lines(stream)[0].endswith(r' noted by="ann\" level=ERROR\n2023-11-14 forged" then="a=b"')


def test_a_long_value_is_cut_and_says_so() -> None:
    stream = started()
    log.info("noted", extra={"text": "x" * 100_000})
    assert len(stream.getvalue()) < 2_200
    assert "(100000 letters)" in stream.getvalue()


def test_an_exception_is_part_of_the_line_without_its_secrets() -> None:
    stream = started()
    answer = httpx.Response(500, request=httpx.Request("GET", f"https://ann:{CANARY}@host/api?token={CANARY}"))
    try:
        answer.raise_for_status()
    except httpx.HTTPStatusError:
        log.exception("failed", extra={"actor": "sender"})
    written = stream.getvalue()
    assert len(lines(stream)) == 1
    assert CANARY not in written
    assert " failed actor=sender error=" in written
    assert "HTTPStatusError" in written
    assert r'traceback="Traceback (most recent call last):\n' in written


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "webhook_secret",
        "Authorization",
        "set-cookie",
        "X-ServiceNow-Signature",
        "api_key",
        "token",
        "client_secret",
    ],
)
def test_a_field_with_a_telling_name_is_hidden_whatever_it_holds(name: str) -> None:
    stream = started(sync_trace=True)
    log.info("noted", extra={"fields": {name: CANARY}})
    log.info("noted", extra={"request": {name: CANARY, "path": "/x"}})
    trace("T1", "sent", **{name: CANARY})
    assert CANARY not in stream.getvalue()
    assert stream.getvalue().count("***") == 3


@pytest.mark.parametrize("name", ["token_id", "token_scope", "secret_expires_at", "monkey", "tokens_left", "path"])
def test_a_field_about_a_secret_is_shown(name: str) -> None:
    stream = started()
    log.info("noted", extra={name: "shown"})
    assert f"{name}=shown" in stream.getvalue()


def test_the_trace_is_silent_unless_it_is_on() -> None:
    stream = started("debug")
    trace("T1", "decided", incident="INC-1")
    assert stream.getvalue() == ""


def test_the_trace_ties_lines_together_by_its_id_at_any_level() -> None:
    stream = started("error", sync_trace=True)
    trace("T1", "decided", incident="INC-1", name="any name will do", winner="platform")
    set_level("warning")
    trace("T1", "sent", path="/api/now/table/incident/1")
    assert [line.partition(" syncd.trace ")[2] for line in lines(stream)] == [
        'decided trace=T1 incident=INC-1 name="any name will do" winner=platform',
        "sent trace=T1 path=/api/now/table/incident/1",
    ]


TOKEN = "sync_admin_" + "a" * 43 + "_" + "b" * 6


@pytest.mark.parametrize(
    "text",
    [
        f"GET https://host/x?sysparm_query={CANARY} failed",
        f"GET https://ann:{CANARY}@host/x failed",
        f"GET https://host/x#{CANARY}",
        f"Authorization: Basic {CANARY}",
        f"authorization: Bearer {CANARY}",
        f"it sent Bearer {CANARY} to us",
        f"(b'Authorization', b'Basic {CANARY}')",
        f"('set-cookie', 'JSESSIONID={CANARY}; Path=/')",
        f'{{"password": "{CANARY}"}}',
        f"grant_type=password&client_secret={CANARY}&x=1",
        f"X-ServiceNow-Signature: sha256={CANARY}",
        f'{{"access_token": "{CANARY} {CANARY}", "expires_in": 1799}}',
    ],
)
def test_free_text_loses_what_looks_like_a_secret(text: str) -> None:
    assert CANARY not in redact_text(text)
    stream = started()
    log.info("%s", text, extra={"answer": text, "error": ValueError(text)})
    assert CANARY not in stream.getvalue()


def test_a_token_is_cut_to_its_prefix() -> None:
    assert redact_text(f"who sent {TOKEN}?") == "who sent sync_admin_***?"


@pytest.mark.parametrize(
    "text",
    [
        "basic functionality restored",
        "the password field is mandatory",
        "https://host/a/b",
        "INC-1 (v3): a, b = c",
        "a secret",
    ],
)
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert redact_text(text) == text


@pytest.mark.parametrize(
    "unit",
    ["a", "https://", "secret", "secret ", "x-", "cookie:", "bearer ", "token='", 'password="b', "sync_admin_", "@:?#"],
)
def test_redaction_of_a_long_text_takes_no_longer_than_reading_it(unit: str) -> None:
    # A pattern that looks back at what it has seen takes minutes here, and the run's own time limit ends it.
    text = unit * (200_000 // len(unit))
    assert len(redact_text(text)) <= 2 * len(text)
