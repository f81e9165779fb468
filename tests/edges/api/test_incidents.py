"""Incidents over HTTP: what a caller gets, and what is on disk when it gets it."""

from random import Random

import httpx
import pytest
import trio
from trio.testing import MockClock

from tests.edges.api.daemon import BODY, running
from tests.simulation.disk import SimDisk

PATH = "/api/v1/incidents"


def refusal(answer: httpx.Response, status: int, *paths: str) -> dict[str, object]:
    """The problem that an answer is; its faults name these paths."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, object] = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    assert {"type", "title"} <= problem.keys()
    assert tuple(fault["path"] for fault in answer.json().get("errors", [])) == paths
    return problem


async def test_a_declared_incident_is_answered_with_its_place_and_can_be_read() -> None:
    async with running() as daemon:
        answer = await daemon.socket.post(PATH, json=BODY | {"severity": "2", "service": "shop"})
        assert answer.status_code == 201
        assert answer.headers["content-type"] == "application/json"
        incident = answer.json()
        assert answer.headers["location"] == f"{PATH}/{incident['id']}"
        assert incident == incident | {
            "title": "Checkout is down",
            "severity": "SEV-2",
            "status": "open",
            "organization_id": "default",
            "service": "shop",
            "assigned_to": None,
            "version": 1,
            "updated_by": "user:root",
            "created_at": "2026-09-21T14:13:20.000000Z",
            "links": [],
        }
        assert incident["id"].startswith("INC-")
        read = await daemon.socket.get(answer.headers["location"])
        assert read.json() == incident
        assert read.headers["etag"] == '"1"'


async def test_what_was_answered_with_201_survives_a_power_cut() -> None:
    disk = SimDisk(Random(3))
    async with running(disk=disk) as daemon:
        incident = await daemon.declare()
        answer = await daemon.socket.post(PATH, json=BODY, headers={"Idempotency-Key": "k"})
        after = disk.crash()
        daemon.die()
    async with running(disk=after, seed=2) as daemon:
        assert (await daemon.socket.get(f"{PATH}/{incident['id']}")).json() == incident
        again = await daemon.socket.post(PATH, json=BODY, headers={"Idempotency-Key": "k"})
        assert again.content == answer.content


async def test_nothing_is_answered_before_it_is_durable(autojump_clock: MockClock) -> None:
    async with running() as daemon:
        incident = await daemon.declare()
        daemon.work.shut()
        for answer in (
            await daemon.socket.post(PATH, json=BODY),
            await daemon.socket.get(PATH),
            await daemon.socket.get(f"{PATH}/{incident['id']}"),
            await daemon.socket.get("/ready"),
        ):
            refusal(answer, 503)
            assert int(answer.headers["retry-after"]) > 0
        assert (await daemon.socket.get("/health")).json()["status"] == "healthy"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"title": ""}, "title"),
        ({"title": "two\nlines"}, "title"),
        ({"title": "bell\a"}, "title"),
        ({"title": "line\u2028separator"}, "title"),
        ({"title": "x" * 501}, "title"),
        ({"title": 5}, "title"),
        ({"title": None}, "title"),
        ({"description": "x" * 100_001}, "description"),
        ({"description": "nul\0"}, "description"),
        ({"severity": "SEV-5"}, "severity"),
        ({"severity": True}, "severity"),
        ({"severity": None}, "severity"),
        ({"organization_id": "daemon"}, "organization_id"),
        ({"organization_id": "a/b"}, "organization_id"),
        ({"assigned_to": ["ann"]}, "assigned_to"),
        ({"status": "resolved"}, "status"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_a_refused_declaration_names_the_field_and_leaves_nothing(fields: dict[str, object], path: str) -> None:
    async with running() as daemon:
        problem = refusal(await daemon.socket.post(PATH, json=BODY | fields), 422, path)
        assert path in str(problem["detail"])
        assert (await daemon.socket.get(PATH)).json() == []


async def test_all_faults_are_named_at_once() -> None:
    async with running() as daemon:
        refusal(await daemon.socket.post(PATH, json={"x": 1, "severity": 9}), 422, "x", "title", "severity")


@pytest.mark.parametrize("given", ["SEV-1", "sev-1", "1", 1, " Sev-1 "])
async def test_severity_is_taken_in_any_of_its_forms(given: object) -> None:
    async with running() as daemon:
        assert (await daemon.declare(severity=given))["severity"] == "SEV-1"


async def test_text_is_stored_in_its_canonical_form() -> None:
    async with running() as daemon:
        incident = await daemon.declare(title="  Down  ", description="a\r\nb\rc \n\n", assigned_to="")
        assert (incident["title"], incident["description"], incident["assigned_to"]) == ("Down", "a\nb\nc", None)


@pytest.mark.parametrize(
    ("content", "media", "status"),
    [
        (b"{", "application/json", 400),
        (b"\xff", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[]", "application/json", 400),
        (b'"\\ud83d"', "application/json", 400),
        (b"title=x", "application/x-www-form-urlencoded", 415),
        (b"{}", "", 415),
        (b"{}", "text/plain", 415),
        (b"", "application/json", 422),
        (b'{"a": "' + b"x" * (2 * 1024 * 1024) + b'"}', "application/json", 413),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(content: bytes, media: str, status: int) -> None:
    async with running() as daemon:
        headers = {"Content-Type": media} if media else {}
        answer = await daemon.socket.post(PATH, content=content, headers=headers)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"


async def test_an_idempotency_key_declares_once_and_gives_the_first_answer_again() -> None:
    async with running() as daemon:
        key = {"Idempotency-Key": "4b0c"}
        first = await daemon.socket.post(PATH, json=BODY, headers=key)
        await daemon.socket.patch(first.headers["location"], json={"title": "Other"})
        again = await daemon.socket.post(PATH, json=dict(reversed(BODY.items())), headers=key)
        assert (again.status_code, again.content) == (201, first.content)
        assert again.headers["location"] == first.headers["location"]
        refusal(await daemon.socket.post(PATH, json=BODY | {"title": "x"}, headers=key), 422, "Idempotency-Key")
        assert len((await daemon.socket.get(PATH)).json()) == 1


async def test_an_idempotency_key_belongs_to_its_caller_and_ends_after_a_day() -> None:
    async with running() as daemon:
        key = {"Idempotency-Key": "4b0c"}
        await daemon.socket.post(PATH, json=BODY, headers=key)
        other = daemon.client(peer=(1, 500, 500))
        assert (await other.post(PATH, json=BODY | {"title": "mine"}, headers=key)).status_code == 201
        daemon.clock.at_s += 24 * 3600
        assert (await daemon.socket.post(PATH, json=BODY | {"title": "new"}, headers=key)).status_code == 201
        assert len((await daemon.socket.get(PATH)).json()) == 3
        refusal(await daemon.socket.post(PATH, json=BODY, headers={"Idempotency-Key": "x" * 256}), 400)


async def test_an_edit_changes_what_it_names_and_counts_one_version() -> None:
    async with running() as daemon:
        incident = await daemon.declare(assigned_to="ann")
        daemon.clock.at_s += 1
        answer = await daemon.socket.patch(
            f"{PATH}/{incident['id']}", json={"status": "mitigated", "assigned_to": None, "title": incident["title"]}
        )
        assert answer.status_code == 200
        changed = {
            "status": "mitigated",
            "assigned_to": None,
            "version": 2,
            "updated_at": "2026-09-21T14:13:21.000000Z",
        }
        assert answer.json() == incident | changed
        assert (await daemon.socket.get(f"{PATH}/{incident['id']}")).json() == answer.json()


async def test_an_edit_to_the_same_values_is_no_change() -> None:
    async with running() as daemon:
        incident = await daemon.declare()
        position = daemon.journal.state.position
        answer = await daemon.socket.patch(f"{PATH}/{incident['id']}", json=BODY)
        assert (answer.status_code, answer.json()) == (200, incident)
        assert daemon.journal.state.position == position


@pytest.mark.parametrize("form", ["1", '"1"', 'W/"1"', "*"])
async def test_if_match_takes_the_version_bare_or_quoted(form: str) -> None:
    async with running() as daemon:
        incident = await daemon.declare()
        path = f"{PATH}/{incident['id']}"
        answer = await daemon.socket.patch(path, json={"title": "a"}, headers={"If-Match": form})
        assert answer.status_code == 200
        if form != "*":
            stale = await daemon.socket.patch(path, json={"title": "b"}, headers={"If-Match": form})
            assert refusal(stale, 412)["current"] == answer.json()
            assert (await daemon.socket.get(path)).json()["title"] == "a"


async def test_of_two_edits_of_the_same_version_one_wins() -> None:
    async with running() as daemon:
        path = f"{PATH}/{(await daemon.declare())['id']}"
        statuses: list[int] = []

        async def edit(title: str) -> None:
            answer = await daemon.socket.patch(path, json={"title": title}, headers={"If-Match": "1"})
            statuses.append(answer.status_code)

        async with trio.open_nursery() as nursery:
            for title in "abcde":
                nursery.start_soon(edit, title)
        assert sorted(statuses) == [200, 412, 412, 412, 412]


async def test_an_edit_is_held_to_the_rules_of_a_declaration() -> None:
    async with running() as daemon:
        path = f"{PATH}/{(await daemon.declare())['id']}"
        refusal(await daemon.socket.patch(path, json={"severity": "high", "version": 3}), 422, "version", "severity")
        refusal(await daemon.socket.patch(path, json={}), 422)
        refusal(await daemon.socket.patch(path, json={"title": "x"}, headers={"If-Match": "abc"}), 400)
        refusal(await daemon.socket.patch(f"{PATH}/INC-NONE", json={"title": "x"}), 404)
        refusal(await daemon.socket.get(f"{PATH}/INC-NONE"), 404)


async def test_notes_are_appended_and_do_not_raise_the_version() -> None:
    async with running() as daemon:
        incident = await daemon.declare()
        path = f"{PATH}/{incident['id']}/notes"
        first = await daemon.socket.post(path, json={"text": "looking into it\r\n"})
        assert first.status_code == 201
        assert first.json() == first.json() | {"text": "looking into it", "author": "user:root", "origin": "platform"}
        await daemon.socket.post(path, json={"text": "fixed", "author": "ann"})
        notes = (await daemon.socket.get(path)).json()
        assert [(note["text"], note["author"]) for note in notes] == [
            ("looking into it", "user:root"),
            ("fixed", "ann"),
        ]
        assert (await daemon.socket.get(f"{PATH}/{incident['id']}")).json()["version"] == 1
        refusal(await daemon.socket.post(path, json={"text": " \n"}), 422, "text")
        refusal(await daemon.socket.post(path, json={}), 422, "text")
        refusal(await daemon.socket.post(f"{PATH}/INC-NONE/notes", json={"text": "x"}), 404)


async def test_the_list_is_filtered() -> None:
    async with running() as daemon:
        old = await daemon.declare(title="Old", severity="SEV-1", organization_id="acme")
        daemon.clock.at_s += 10
        new = await daemon.declare(title="New one", severity="SEV-3")
        await daemon.socket.patch(f"{PATH}/{new['id']}", json={"status": "resolved"})

        async def ids(**query: str) -> list[str]:
            answer = await daemon.socket.get(PATH, params=query)
            assert answer.status_code == 200, answer.text
            return [one["id"] for one in answer.json()]

        assert await ids() == [new["id"], old["id"]]
        assert await ids(organization_id="acme") == [old["id"]]
        assert await ids(status="resolved") == [new["id"]]
        assert await ids(severity="sev-1") == [old["id"]]
        assert await ids(q="NEW") == [new["id"]]
        assert await ids(updated_since="2026-09-21T14:13:25Z") == [new["id"]]
        assert await ids(updated_since="2026-09-21T16:13:25+02:00") == [new["id"]]
        refusal(await daemon.socket.get(PATH, params={"status": "done"}), 422, "status")
        refusal(await daemon.socket.get(PATH, params={"severity": "high"}), 422, "severity")
        refusal(await daemon.socket.get(PATH, params={"sevrity": "SEV-1"}), 422, "sevrity")
        refusal(await daemon.socket.get(PATH, params={"updated_since": "yesterday"}), 422, "updated_since")
        refusal(await daemon.socket.get(PATH, params={"integration": "nowhere"}), 404)


async def test_pages_show_each_incident_once_while_others_arrive() -> None:
    async with running() as daemon:
        declared = [(await daemon.declare(title=f"n {number}"))["id"] for number in range(5)]
        seen: list[str] = []
        path: str | None = f"{PATH}?limit=2&q=n"
        while path is not None:
            answer = await daemon.socket.get(path)
            seen += [one["id"] for one in answer.json()]
            await daemon.declare(title="n later")
            path = answer.links["next"]["url"] if "next" in answer.links else None
        assert seen == list(reversed(declared))


@pytest.mark.parametrize(
    "query", [{"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"cursor": "€"}, {"cursor": "e30"}]
)
async def test_a_page_that_cannot_be_is_refused(query: dict[str, str]) -> None:
    async with running() as daemon:
        refusal(await daemon.socket.get(PATH, params=query), 422, *query)


async def test_the_timeline_tells_what_people_did_as_cloud_events() -> None:
    async with running() as daemon:
        incident = await daemon.declare()
        await daemon.declare(title="another")
        await daemon.socket.patch(f"{PATH}/{incident['id']}", json={"severity": "1"})
        await daemon.socket.post(f"{PATH}/{incident['id']}/notes", json={"text": "hello"})
        answer = await daemon.socket.get(f"{PATH}/{incident['id']}/timeline")
        events = answer.json()
        assert [event["type"] for event in events] == [
            "im.incident.declared",
            "im.incident.updated",
            "im.incident.noted",
        ]
        assert {event["subject"] for event in events} == {incident["id"]}
        assert {event["specversion"] for event in events} == {"1.0"}
        assert len({event["id"] for event in events}) == 3
        assert events[1]["data"] == {"changes": {"severity": "SEV-1"}}
        assert events[1]["by"] == "user:root"
        first = await daemon.socket.get(f"{PATH}/{incident['id']}/timeline?limit=2")
        rest = await daemon.socket.get(first.links["next"]["url"])
        assert first.json() + rest.json() == events


async def test_a_timeline_begins_with_a_line_about_what_is_no_longer_kept() -> None:
    async with running() as daemon:
        incident = await daemon.declare()
        for severity in ("1", "2", "3"):
            await daemon.socket.patch(f"{PATH}/{incident['id']}", json={"severity": severity})
        shelf = daemon.journal._kept._index._shelves[0]
        shelf.positions, shelf.offsets = shelf.positions[2:], shelf.offsets[2:]
        events = (await daemon.socket.get(f"{PATH}/{incident['id']}/timeline")).json()
        oldest = daemon.journal.first_position
        assert events[0]["type"] == "im.incident.history_begins"
        assert events[0]["data"]["kept_from"] == oldest
        assert {event["position"] for event in events[1:]} == set(range(oldest, daemon.journal.durable_position + 1))
        assert len(events) - 1 + events[0]["data"]["removed_records"] == 4


async def test_what_is_not_there_is_answered_with_a_problem_too() -> None:
    async with running() as daemon:
        refusal(await daemon.socket.get("/api/v1/nothing"), 404)
        refusal(await daemon.socket.get("/api/v1//incidents"), 404)
        answer = await daemon.socket.put(PATH, json={})
        refusal(answer, 405)
        assert answer.headers["allow"] == "GET, HEAD, POST"
        refusal(await daemon.socket.options(PATH), 405)
        head = await daemon.socket.head(PATH)
        assert head.status_code == 200
