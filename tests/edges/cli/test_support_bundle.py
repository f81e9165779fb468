"""A support bundle has what it is allowed to have, and no other word of any answer."""

import json
import re
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import trio
from msgspec import inspect

from syncd.core import events as e
from syncd.core.conflicts import ConflictView
from syncd.core.daemon_status import DaemonView
from syncd.core.events import Change, Record
from syncd.core.explain import Explanation
from syncd.core.field_mapping import MappingView
from syncd.core.importing import ImportView
from syncd.core.ownership import OwnershipView
from syncd.core.run_views import RunView, ScheduleView
from syncd.core.status import StatusView
from syncd.core.views import DeadLetterView, IncidentView, IntegrationView, NoteView
from syncd.edges.api.keys import KeysView
from syncd.edges.cli.client import Json
from syncd.edges.cli.discretion import Origin, Values, Words, shown_as
from syncd.journal.codec import SegmentHeader, encode_record, frame_bytes, segment_header_bytes
from syncd.journal.files import segment_path
from syncd.journal.writer import Journal
from syncd.lives import Life, write_life
from syncd.seams import SystemClock, SystemDisk, ThreadWork
from tests.core.picture import AT_S, HAPPENED, INC, integration
from tests.edges.api.daemon import running
from tests.edges.api.live import listening
from tests.edges.api.test_conflicts import given, pictured
from tests.edges.cli.conftest import Run as Im
from tests.edges.cli.fake_daemon import CONFLICT, Canned, FakeDaemon, Heard, by_contract, problem

SHOWS: Final[dict[str, Any]] = {
    "/api/v1/status": DaemonView,
    "/api/v1/integrations": list[IntegrationView],
    "/api/v1/conflicts": list[ConflictView],
    "/api/v1/keys": KeysView,
    "/api/v1/incidents/…": IncidentView,
    "…/notes": list[NoteView],
    "…/explain": Explanation,
    "…/sync-status": StatusView,
    "…/field-ownership": list[OwnershipView],
    "…/field-mapping": list[MappingView],
    "…/reconcile/history": list[RunView],
    "…/reconcile/schedule": ScheduleView,
    "…/import": ImportView,
    "…/dlq": list[DeadLetterView],
}
# Every text of an answer that the bundle has as it is, by the route and the place in the answer.
AS_IT_IS = """
    /api/v1/status version started_at last_end.at last_end.reason state journal.disk journal.snapshot_at
    /api/v1/status journal.scrubbed_at
    /api/v1/integrations [].id [].handle [].organization_id [].integration_type [].sync_direction
    /api/v1/integrations [].conflict_strategy [].conflict_window [].transaction_quota [].poll_interval
    /api/v1/integrations [].closed_policy [].credentials_set[] [].created_at [].first_enabled_at
    …/sync-status at state queue.paced_by webhooks.last_received_at webhooks.coverage.since polling.last_poll
    …/sync-status polling.seen_upto api.breaker last_errors[].at last_errors[].kind last_reconcile next_reconcile
    …/field-ownership [].field [].owner
    …/field-mapping [].field [].external_field [].transform [].direction
    …/reconcile/history [].id [].mode [].trigger [].status [].started_at [].finished_at
    …/reconcile/history [].drifts[].incident_id [].drifts[].external_id [].drifts[].field [].drifts[].cause
    …/reconcile/schedule interval set_at next_run_at
    …/import id status started_at finished_at
    …/dlq [].id [].incident_id [].external_id [].operation [].fields[] [].error.kind [].created_at
    …/dlq [].last_attempt_at [].next_attempt_at [].note_id
    /api/v1/conflicts [].id [].integration_id [].incident_id [].external_id [].field [].platform_at [].external_at
    /api/v1/conflicts [].strategy [].decided [].created_at [].resolved_at [].reason
    /api/v1/incidents/… id organization_id severity status created_at updated_at links[].integration_id
    /api/v1/incidents/… links[].external_id links[].external_number links[].state
    …/notes [].id [].created_at [].origin
    …/explain fields[].field fields[].integration_id fields[].external_id fields[].platform_at fields[].external_from
    …/explain fields[].external_at fields[].rule fields[].ruled_at fields[].trace fields[].conflict
    …/explain fields[].dead_letter fields[].standing fields[].write.to fields[].write.at
    …/explain fields[].write.next_attempt_at fields[].write.error.kind
    /api/v1/keys master_id source next_id data_keys[].id data_keys[].integration_id
"""
# And what --include-text adds to these.
WITH_TEXT = """
    /api/v1/status reasons[] journal.snapshot_failure journal.damage[]
    /api/v1/integrations [].name [].import_query [].account
    /api/v1/integrations [].external_defaults.close_code
    …/sync-status reasons[] last_errors[].message last_errors[].detail
    …/reconcile/history [].reason
    …/import query reason
    …/dlq [].error.message [].error.detail [].remedy [].would_send.close_code
    /api/v1/conflicts [].base [].platform [].external [].platform_by [].external_by [].resolved_by
    /api/v1/incidents/… title description assigned_to service resolution_code resolution_notes updated_by
    …/notes [].text [].author
    …/explain fields[].base fields[].base_external fields[].platform fields[].platform_by fields[].external
    …/explain fields[].external_raw fields[].external_by fields[].write.became fields[].write.error.message
    …/explain fields[].write.error.detail
"""


def places(text: str) -> set[tuple[str, str]]:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    return {(route, place) for route, *found in lines for place in found}


def route_of(path: str) -> str:
    """The route that a path is of, in short."""
    words = path.removeprefix("/api/v1/").split("/")
    if words[0] == "integrations" and len(words) > 2:
        return f"…/{'/'.join(words[2:])}"
    if words[0] == "incidents":
        return f"…/{words[2]}" if len(words) > 2 else "/api/v1/incidents/…"
    return path


class Planted:
    """Answers with all that a route may show: a canary in the place of every text, and in keys of every object."""

    def __init__(self) -> None:
        self.canaries: dict[str, tuple[str, str]] = {}
        self.answers = {route: self._of(inspect.type_info(shows), route, "") for route, shows in SHOWS.items()}

    def __call__(self, heard: Heard) -> Canned:
        """What a daemon would say."""
        if heard.path == "/metrics":
            lines = ['syncd_x{integration="a",by="%s"} 1', 'other_x{integration="%s"} 1', "# HELP syncd_y %s", "%s 1"]
            named = [line % self._canary("/metrics", line) for line in lines]
            return Canned(body="\n".join([*named, 'syncd_links{integration="prod"} 1.0']).encode())
        answer = self.answers.get(route_of(heard.path))
        return problem(404, "nothing") if answer is None else Canned(body=answer)

    def found_in(self, text: str) -> set[tuple[str, str]]:
        return {place for canary, place in self.canaries.items() if canary in text}

    def _canary(self, route: str, place: str) -> str:
        canary = f"CanarY{len(self.canaries):04}Y"
        self.canaries[canary] = (route, place)
        return canary

    def _of(self, kind: inspect.Type, route: str, place: str) -> Json:
        match kind:
            case inspect.Metadata(type=inner):
                return self._of(inner, route, place)
            case inspect.StrType():
                return self._canary(route, place)
            case inspect.LiteralType(values=values):
                return "pending" if "ignored" in values else self._canary(route, place)  # its incident is asked for
            case inspect.ListType(item_type=inner) | inspect.VarTupleType(item_type=inner):
                return [self._of(inner, route, f"{place}[]")]
            case inspect.DictType(value_type=inner):
                keys = (self._canary(route, f"{place}.KEY"), "close_code")
                return {key: self._of(inner, route, f"{place}.{key}" if key in "close_code" else "") for key in keys}
            case inspect.StructType(fields=fields):
                shown = {one.name: self._of(one.type, route, f"{place}.{one.name}".lstrip(".")) for one in fields}
                new: dict[str, Json] = {
                    self._canary(route, f"{place}.KEY"): 1,
                    "of_the_next_version": self._canary(route, f"{place}.NEW"),
                }
                return {**shown, **new}
            case inspect.UnionType(types=types):
                return self._of(min(types, key=_plainness), route, place)
            case inspect.BoolType():
                return True
            case inspect.IntType() | inspect.FloatType():
                return 1
        raise AssertionError(f"{route} {place}: what is a {kind}?")


def _plainness(kind: inspect.Type) -> int:
    """Of the ways to fill a field, the one with a text in it."""
    return (
        0
        if isinstance(kind, inspect.StrType | inspect.Metadata | inspect.LiteralType)
        else (2 if isinstance(kind, inspect.NoneType) else 1)
    )


@pytest.fixture
def bundle(im: Im, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """``bundle(*argv, **environ)``: make one and read it, with what was printed under ``printed``."""

    def call(*argv: str, **environ: str) -> dict[str, Any]:
        path = tmp_path / "bundle.json"
        path.unlink(missing_ok=True)
        done = im("support-bundle", "--output", str(path), *argv, environ={"INCIDENTS_STATE_DIR": "/none", **environ})
        assert (done.code, done.err) == (0, "")
        text = path.read_text("utf-8")
        return {**json.loads(text), "text": text, "printed": done.out}

    return call


Bundled = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(("flags", "allowed"), [((), AS_IT_IS), (("--include-text",), AS_IT_IS + WITH_TEXT)])
def test_no_text_of_any_answer_is_in_it_but_what_is_allowed(
    bundle: Bundled, socket_path: Path, flags: tuple[str, ...], allowed: str
) -> None:
    planted = Planted()
    with FakeDaemon(planted, socket_path) as daemon:
        made = bundle("--socket", daemon.address, *flags)
    assert made["left_out"] == ["the files of the journal: there is none in /none"]
    assert {route_of(one.path) for one in daemon.heard} - {"/metrics"} == planted.answers.keys()
    assert planted.found_in(made["text"]) == places(allowed)
    assert made["metrics"] == ['syncd_links{integration="prod"} 1.0']
    assert len(planted.canaries) > 300


def test_values_of_closed_sets_are_shown_and_other_values_by_length_and_mark(
    bundle: Bundled, socket_path: Path
) -> None:
    told: list[Json] = [
        {**CONFLICT, "field": "status", "base": "open", "platform": "resolved", "external": "7", "status": "resolved"},
        {**CONFLICT, "base": None, "platform": "Mail", "external": "Mail"},
        {**CONFLICT, "base": "", "platform": "Post", "external": "12 monkeys"},
    ]

    def answers(heard: Heard) -> Canned:
        return Canned(body=told) if heard.path == "/api/v1/conflicts" else by_contract(heard)

    with FakeDaemon(answers, socket_path) as daemon:
        made = bundle("--socket", daemon.address)
    first, second, third = ((one["base"], one["platform"], one["external"]) for one in made["conflicts"])
    assert first == ("open", "resolved", "7")
    assert second[0] is None
    assert second[1] == second[2] == {"letters": 4, "mark": second[1]["mark"]}
    assert third[0] == ""
    assert third[1]["mark"] not in {second[1]["mark"], third[2]["mark"]}
    assert re.fullmatch("[0-9a-f]{8}", third[1]["mark"])


def test_a_mark_cannot_be_looked_up_for_its_key_is_of_one_bundle_alone() -> None:
    marks = {msgspec.json.encode(Words("Mail"), enc_hook=shown_as(key, with_text=False)) for key in ("a", "b", "c")}
    assert len(marks) == 3


def test_of_what_goes_into_columns_their_names_are_shown() -> None:
    given = {"close_code": "Mail server", "create": {"subcategory": "7"}, "Not a column": "x", "state": 5}
    shown = msgspec.json.decode(msgspec.json.encode(Values(given), enc_hook=shown_as("k", with_text=False)))
    assert shown == {"close_code": {"letters": 11, "mark": shown["close_code"]["mark"]}, "create.subcategory": "7"}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:password@dev1.service-now.com/path?query#fragment", "https://dev1.service-now.com"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("https://[::1", ""),
        ("nonsense", ""),
    ],
)
def test_of_a_url_only_scheme_host_and_port_are_shown(url: str, shown: str) -> None:
    assert msgspec.json.decode(msgspec.json.encode(Origin(url), enc_hook=shown_as("k", with_text=True))) == shown


def test_it_is_readable_by_its_owner_alone_and_never_takes_the_place_of_another_file(
    im: Im, daemon: FakeDaemon, tmp_path: Path
) -> None:
    path = tmp_path / "b.json"
    words = ("support-bundle", "--output", str(path), "--socket", daemon.address)
    told = json.loads(im(*words, "--format", "json").out)
    assert (told["path"], told["bytes"]) == (str(path), path.stat().st_size)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = path.read_bytes()
    again = im(*words)
    assert (again.code, again.out) == (1, "")
    assert again.err == f"im: {path} cannot be written: File exists - give --output the name of a new file\n"
    assert path.read_bytes() == before
    nowhere = im("support-bundle", "--output", str(tmp_path / "none" / "b.json"), "--socket", daemon.address)
    assert (nowhere.code, nowhere.err.count("\n")) == (1, 1)


def test_without_a_name_it_gets_one_with_the_time(
    im: Im, daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert im("support-bundle", "--socket", daemon.address).code == 0
    assert (tmp_path / "syncd-support-bundle-20261124T091406Z.json").is_file()


def test_what_the_daemon_refuses_or_says_strangely_is_named_and_the_rest_is_there(
    bundle: Bundled, socket_path: Path
) -> None:
    def answers(heard: Heard) -> Canned:
        if heard.path == "/api/v1/keys":
            return problem(403, "a word of the daemon")
        if heard.path == "/api/v1/status":
            return Canned(body={"version": ["a word of the daemon"]})
        if heard.path == "/api/v1/conflicts":
            return Canned(body=b"a word of the daemon")
        return by_contract(heard)

    with FakeDaemon(answers, socket_path) as daemon:
        made = bundle("--socket", daemon.address)
    assert (made["daemon"], made["keys"], made["conflicts"]) == (None, None, [])
    strange = "what the daemon answers is not what this im understands"
    assert set(made["left_out"]) >= {
        f"/api/v1/status: {strange}",
        f"/api/v1/conflicts: {strange}",
        "/api/v1/keys: the daemon refused it with 403",
    }
    assert made["integrations"][0]["settings"]["handle"] == "prod-snow"
    assert "a word of the daemon" not in made["text"]


def test_refused_settings_are_named_without_their_value(bundle: Bundled, daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "syncd.toml").write_text('log_level = "a-password-in-the-wrong-line"\n')
    made = bundle("--socket", daemon.address, INCIDENTS_CONFIG=str(tmp_path / "syncd.toml"))
    assert made["settings"] is None
    assert any("settings: they are refused" in one for one in made["left_out"])
    assert "a-password" not in made["text"] + made["printed"]


def test_from_elsewhere_it_has_no_files_and_says_so(bundle: Bundled) -> None:
    with FakeDaemon(by_contract, None) as daemon:
        made = bundle("--server", daemon.address)
    assert (made["files"], made["settings"]) == (None, None)
    assert sum("--server" in one for one in made["left_out"]) == 2
    assert made["daemon"]["version"] == "1.2.3"


@pytest.fixture
async def lived_in(tmp_path: Path) -> Path:
    """A state folder as a daemon left it, with an incident, a conflict and dead letters."""
    disk, folder = SystemDisk(), tmp_path / "state"
    async with trio.open_nursery() as nursery:
        journal = await Journal.open(disk, folder, SystemClock(), ThreadWork())
        await nursery.start(journal.run)
        for event in (e.DaemonBorn("journal-1"), e.IntegrationConfigured(integration()), *HAPPENED):
            stream = "daemon" if isinstance(event, e.DaemonBorn) else "acme"
            await journal.transact(partial(given, Change(stream, (event,), None)), by="t", trace="t")
        nursery.cancel_scope.cancel()
    write_life(disk, folder, Life(AT_S, AT_S + 60, 70, "cannot sync: I/O error", 8))
    return folder


async def test_without_a_daemon_it_is_made_from_the_files(bundle: Bundled, lived_in: Path, socket_path: Path) -> None:
    made = bundle("--socket", str(socket_path), INCIDENTS_STATE_DIR=str(lived_in))
    assert made["left_out"] == [f"what only a running daemon knows: no daemon listens at {socket_path}"]
    assert "not in it: what only a running daemon knows" in made["printed"]
    assert (made["daemon"], made["keys"], made["metrics"]) == (None, None, [])
    files = made["files"]
    assert (files["journal"]["verdict"], files["kinds"]["DeadLettered"], files["counted"]) == ("clean", 2, 8)
    assert (files["last_end"]["code"], files["last_end"]["reason"]) == (70, "cannot sync: I/O error")
    assert files["replayed"]["conflicts"] == {"pending": 1}
    (one,) = made["integrations"]
    assert (one["settings"]["handle"], one["sync_status"], len(one["dead_letters"])) == ("prod", None, 2)
    (conflict,), (incident,) = made["conflicts"], made["incidents"]
    assert (conflict["field"], conflict["platform"]["letters"]) == ("title", len("Down here"))
    assert incident["incident"]["id"] == INC
    assert {field["standing"] for field in incident["fields"]} >= {"held-for-review", "dead-letter"}
    assert "Down" not in made["text"]
    assert (
        "Down here" in bundle("--include-text", "--socket", str(socket_path), INCIDENTS_STATE_DIR=str(lived_in))["text"]
    )


async def test_a_journal_that_is_refused_is_reported(bundle: Bundled, lived_in: Path, socket_path: Path) -> None:
    (segment,) = (lived_in / "journal").iterdir()
    block = bytearray(segment.read_bytes())
    block[len(block) // 2] ^= 1
    segment.write_bytes(block)
    made = bundle("--socket", str(socket_path), INCIDENTS_STATE_DIR=str(lived_in))
    assert made["files"]["journal"]["verdict"] == "refused"
    assert str(segment) in made["files"]["journal"]["problem"]
    assert made["left_out"][-1] == "what is in the journal: it was refused"
    assert made["integrations"] == []


async def test_so_is_one_with_a_record_that_cannot_be_folded(
    bundle: Bundled, tmp_path: Path, socket_path: Path
) -> None:
    header, record = SegmentHeader(1, 1, 0), Record(1, "acme", AT_S, "t", "t", (e.LinkRemoved("nowhere"),))
    (tmp_path / "state" / "journal").mkdir(parents=True)
    frame, _ = frame_bytes(encode_record(record), 1, 0)
    segment_path(tmp_path / "state", 1).write_bytes(segment_header_bytes(header) + frame)
    made = bundle("--socket", str(socket_path), INCIDENTS_STATE_DIR=str(tmp_path / "state"))
    assert made["left_out"][-1] == "what is in the journal: it was refused"
    assert made["files"]["kinds"] == {"LinkRemoved": 1}


async def test_a_real_daemon_answers_all_that_is_asked(im: Im, tmp_path: Path) -> None:
    async with running() as daemon:
        await pictured(daemon)
        await daemon.socket.post("/api/v1/integrations/prod/reconcile", json={"dry_run": True})
        async with listening(daemon, tmp_path / "s"):
            call = partial(im, "support-bundle", "--output", str(tmp_path / "b.json"), "--socket", str(tmp_path / "s"))
            done = await trio.to_thread.run_sync(lambda: call(environ={"INCIDENTS_STATE_DIR": "/none"}))
        assert done.code == 0
        made = json.loads((tmp_path / "b.json").read_text())
    assert [one for one in made["left_out"] if "journal" not in one] == []
    assert made["daemon"]["incidents"] == 1
    (one,) = made["integrations"]
    assert one["runs"][0]["drifts"][0]["cause"] == "missed-webhook"
    assert one["sync_status"]["queue"]["outbox"] >= 0
    assert {len(one["ownership"]), len(one["mapping"]), len(one["dead_letters"])} == {7, 6, 2}
    assert made["incidents"][0]["fields"]
    assert any(line.startswith("syncd_links{") for line in made["metrics"])
