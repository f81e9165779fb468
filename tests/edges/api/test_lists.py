"""Lists: pages that show each thing once whatever happens between them, filters that do what they say, or are refused.

What is a list is asked of the route table, so a list that is added later is held to the same.
"""

import re
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from syncd.core import events as e
from syncd.core.events import Change
from syncd.core.model import Observation
from syncd.core.run import Run
from syncd.core.state import State
from syncd.edges.api.app import build_quart
from tests.core.picture import AT_S, HAPPENED, INC, INT, conflict, dead_letter, integration
from tests.edges.api.daemon import Daemon, running

INCIDENTS = "/api/v1/incidents"
NAMES = {"incident_id": INC, "integration": "prod", "conflict_id": "conflict-1"}
Shown = dict[str, Any]


def given(change: Change[None], state: State, at_s: float) -> Change[None]:
    """A decision that was made elsewhere."""
    return change


async def happen(daemon: Daemon, *events: e.Event, stream: str = "acme") -> None:
    """One record."""
    await daemon.journal.transact(partial(given, Change(stream, events, None)), by="t", trace="t")


async def furnished(daemon: Daemon) -> None:
    """At least three of everything that is listed, some of them made in the same instant."""
    await happen(daemon, e.IntegrationConfigured(integration()))
    for event in HAPPENED:
        await happen(daemon, event)
    for number in range(3):
        incident_id = f"INC-{number}"
        await happen(
            daemon,
            e.IncidentDeclared(incident_id, "Down", "SEV-2"),
            e.NoteAdded(INC, f"note-{number}", "text", "ann"),
            e.LinkJoined(f"{INT}/{incident_id}", INT, incident_id, Observation(f"{number}" * 32, {})),
            e.Merged(f"{INT}/{INC}", (), conflicts=(replace(conflict(), id=f"conflict-{number + 20}"),)),
            e.DeadLettered(replace(dead_letter(number), id=f"entry-{number + 20}"), hold=True),
            e.IntegrationConfigured(integration(f"int_{number}", f"other-{number}")),
            e.RunStarted(Run(f"run-{number}", INT, "report", "manual", started_at_s=AT_S)),
            e.RunEnded(INT, f"run-{number}", "finished"),
        )
        await daemon.token("read")


async def read(daemon: Daemon, path: str, **query: str) -> list[Shown]:
    answer = await daemon.socket.get(path, params=query)
    assert answer.status_code == 200, answer.text
    shown: list[Shown] = answer.json()
    return shown


async def lists(daemon: Daemon) -> list[str]:
    """The paths that answer with a JSON array."""
    found = []
    for rule in build_quart(daemon.desk).url_map.iter_rules():
        path = re.sub(r"<([a-z_]+)>", lambda name: NAMES.get(name.group(1), "unknown"), rule.rule)
        if "GET" in (rule.methods or ()) and path != "/api/v1/events":  # which has no end
            answer = await daemon.socket.get(path)
            if answer.status_code == 200 and answer.content.startswith(b"["):
                found.append(path)
    return found


async def followed(daemon: Daemon, path: str, between: Callable[[], Any] = lambda: None, **query: str) -> list[Shown]:
    """All pages, one behind the other; ``between`` runs after each."""
    seen: list[Shown] = []
    answer = await daemon.socket.get(path, params=query)
    while True:
        assert answer.status_code == 200, answer.text
        assert len(answer.json()) <= int(query["limit"])
        seen += answer.json()
        if "next" not in answer.links:
            return seen
        assert answer.links["next"]["url"].partition("?")[0] == path
        if (waiting := between()) is not None:
            await waiting
        answer = await daemon.socket.get(answer.links["next"]["url"])


async def test_every_list_is_paged_and_refuses_what_it_does_not_know() -> None:
    async with running() as daemon:
        await furnished(daemon)
        paths = await lists(daemon)
        assert {path.rpartition("/")[2] for path in paths} >= {
            *("incidents", "notes", "timeline", "integrations", "links", "dlq", "conflicts", "tokens", "history")
        }
        cursors = {}
        for path in paths:
            whole = await read(daemon, path)
            assert len(whole) >= 3, path
            for limit in ("1", "2", "1000"):
                assert await followed(daemon, path, limit=limit) == whole, (path, limit)
            first = await daemon.socket.get(path, params={"limit": "1"})
            cursors[path] = first.links["next"]["url"].partition("cursor=")[2]
            for query in (
                *({"limit": limit} for limit in ("0", "1001", "-1", "x", "", "1.5", "1e2", "٣", "9" * 5000)),
                *({"cursor": cursor} for cursor in ("", "x", "€", "e30", "WzEsMl0", "bnVsbA", "A" * 5000)),
                *({name: "x"} for name in ("colour", "Limit", "offset", "page", "per_page")),
            ):
                answer = await daemon.socket.get(path, params=query)
                assert answer.status_code == 422, (path, query)
                assert [fault["path"] for fault in answer.json()["errors"]] == list(query), (path, query)
            twice = await daemon.socket.get(f"{path}?limit=1&limit=2")
            assert [fault["path"] for fault in twice.json()["errors"]] == ["limit"]
        for path, other in product(paths, paths):
            answer = await daemon.socket.get(path, params={"cursor": cursors[other]})
            assert answer.status_code == (200 if path == other else 422), (path, other)


async def test_an_unknown_filter_is_refused_with_those_that_there_are() -> None:
    async with running() as daemon:
        answer = await daemon.socket.get("/api/v1/tokens?scope=read")
        assert answer.json()["errors"] == [{"path": "scope", "message": "is not known here; known are limit, cursor"}]


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_there_all_the_time_is_shown_once_while_others_come_and_go(seed: int) -> None:
    rng = Random(seed)
    async with running(seed=seed) as daemon:
        await happen(daemon, e.IntegrationConfigured(integration()))
        alive: dict[str, list[str]] = {"tokens": [], "links": [], "incidents": []}
        gone: set[str] = set()
        made = iter(range(10_000))

        async def add(count: int) -> None:
            for _ in range(count):
                incident_id = f"INC-{rng.randrange(10**6):06}-{next(made)}"
                joined = e.LinkJoined(f"{INT}/{incident_id}", INT, incident_id, Observation(incident_id, {}))
                await happen(daemon, e.IncidentDeclared(incident_id, "t", "SEV-1"), joined)
                alive["incidents"].append(incident_id)
                alive["links"].append(incident_id)
                token = await daemon.socket.post("/api/v1/tokens", json={"name": "x", "scope": "read"})
                alive["tokens"].append(token.json()["id"])
                daemon.clock.at_s += rng.choice([0, 0, 1])

        async def stir() -> None:
            await add(rng.randrange(3))
            for _ in range(rng.randrange(3)):
                token_id = alive["tokens"].pop(rng.randrange(len(alive["tokens"])))
                await daemon.socket.delete(f"/api/v1/tokens/{token_id}")
                incident_id = alive["links"].pop(rng.randrange(len(alive["links"])))
                await happen(daemon, e.LinkRemoved(f"{INT}/{incident_id}"))
                gone.update((token_id, incident_id))

        await add(12)
        for path, kind, key in (
            ("/api/v1/tokens", "tokens", "id"),
            ("/api/v1/integrations/prod/links", "links", "incident_id"),
            (INCIDENTS, "incidents", "id"),
        ):
            before = set(alive[kind])
            seen = [one[key] for one in await followed(daemon, path, stir, limit=str(rng.randrange(1, 4)))]
            assert len(seen) == len(set(seen))
            assert before & set(alive[kind]) <= set(seen)


async def test_the_filters_of_incidents_hold_singly_and_together() -> None:
    rng = Random(7)
    async with running() as daemon:
        await happen(daemon, e.IntegrationConfigured(integration()))
        await happen(daemon, e.IntegrationConfigured(integration("int_B", "test")))
        start_s = daemon.clock.at_s
        for number in range(40):
            incident_id = f"INC-{number}"
            await happen(
                daemon,
                e.IncidentDeclared(
                    incident_id,
                    rng.choice(["Checkout", "checkout is DOWN", "Mail"]),
                    rng.choice(["SEV-1", "SEV-2"]),
                    status=rng.choice(["open", "resolved"]),
                    description=rng.choice(["", "the Checkout"]),
                ),
                stream=rng.choice(["acme", "default"]),
            )
            if rng.random() < 0.5:
                under = rng.choice([INT, "int_B"])
                number_shown = Observation(f"{number}" * 8, {}, number=f"INC00{number}")
                await happen(daemon, e.LinkJoined(f"{under}/{incident_id}", under, incident_id, number_shown))
            daemon.clock.at_s += 1
        everything = await read(daemon, INCIDENTS, limit="1000")
        middle = next(one["updated_at"] for one in everything if one["id"] == "INC-20")
        assert daemon.clock.at_s == start_s + 40

        def text_of(one: Shown) -> str:
            numbers = [link["external_number"] for link in one["links"]]
            return " ".join([one["id"], one["title"], one["description"], *numbers]).casefold()

        tests: dict[str, dict[str, Callable[[Shown], bool]]] = {
            "organization_id": {"acme": lambda one: one["organization_id"] == "acme", "none": lambda one: False},
            "status": {"open": lambda one: one["status"] == "open"},
            "severity": {text: lambda one: one["severity"] == "SEV-2" for text in ("SEV-2", "sev-2", "2")},
            "q": {"CHECKOUT": lambda one: "checkout" in text_of(one), "inc0017": lambda one: "inc0017" in text_of(one)},
            "integration": {
                word: lambda one: any(link["integration"] == "prod" for link in one["links"])
                for word in ("prod", INT, "Prod")
            },
            "updated_since": {middle: lambda one: one["updated_at"] >= middle},
        }
        cases = 0
        for chosen in product(*([None, *words] for words in tests.values())):
            query = {name: word for name, word in zip(tests, chosen, strict=True) if word is not None}
            expected = [one for one in everything if all(tests[name][word](one) for name, word in query.items())]
            assert await read(daemon, INCIDENTS, **query, limit="1000") == expected, query
            cases += bool(expected)
        assert cases > 50
        paged = await followed(daemon, INCIDENTS, q="checkout", severity="2", updated_since=middle, limit="2")
        assert paged == await read(daemon, INCIDENTS, q="checkout", severity="2", updated_since=middle)


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        (INCIDENTS, {"severity": ""}, 422),
        (INCIDENTS, {"severity": "5"}, 422),
        (INCIDENTS, {"status": ""}, 422),
        (INCIDENTS, {"status": "OPEN"}, 422),
        (INCIDENTS, {"updated_since": ""}, 422),
        (INCIDENTS, {"integration": ""}, 404),
        (INCIDENTS, {"integration": "nowhere"}, 404),
        ("/api/v1/conflicts", {"status": "open"}, 422),
        ("/api/v1/conflicts", {"incident": "INC-NONE"}, 404),
        ("/api/v1/conflicts", {"integration": "nowhere"}, 404),
    ],
)
async def test_a_filter_with_a_value_that_cannot_be_is_refused(path: str, query: dict[str, str], status: int) -> None:
    async with running() as daemon:
        answer = await daemon.socket.get(path, params=query)
        assert answer.status_code == status
        assert [fault["path"] for fault in answer.json().get("errors", [])] == (list(query) if status == 422 else [])


async def test_the_filters_of_conflicts_and_integrations_hold_singly_and_together() -> None:
    async with running() as daemon:
        await furnished(daemon)
        ignored = replace(conflict(), id="conflict-40", status="ignored", incident_id="INC-1")
        elsewhere = replace(conflict(), id="conflict-41", integration_id="int_1", status="resolved")
        await happen(daemon, e.Merged(f"{INT}/INC-1", (), conflicts=(ignored, elsewhere)))
        await happen(daemon, e.IntegrationConfigured(integration("int_C", "far", organization_id="other")))
        for path, words in {
            "/api/v1/conflicts": {
                "integration": {"prod": ("integration_id", INT), "other-1": ("integration_id", "int_1")},
                "status": {"pending": ("status", "pending"), "ignored": ("status", "ignored")},
                "incident": {INC: ("incident_id", INC), "INC-1": ("incident_id", "INC-1")},
            },
            "/api/v1/integrations": {
                "org": {"acme": ("organization_id", "acme"), "other": ("organization_id", "other")},
                "type": {"servicenow": ("integration_type", "servicenow"), "jira": ("integration_type", "jira")},
            },
        }.items():
            everything = await read(daemon, path)
            for chosen in product(*([None, *values] for values in words.values())):
                query = {name: word for name, word in zip(words, chosen, strict=True) if word is not None}
                wanted = [words[name][word] for name, word in query.items()]
                expected = [one for one in everything if all(one[field] == value for field, value in wanted)]
                assert await read(daemon, path, **query) == expected, query


async def test_a_page_costs_no_more_than_a_look_at_every_incident() -> None:
    """10,000 of them take some 30 ms; comparing each with each would take minutes."""
    async with running() as daemon:
        await happen(daemon, *(e.IncidentDeclared(f"INC-{number:05}", "Down", "SEV-3") for number in range(10_000)))
        began_s = time.thread_time()
        page = await daemon.socket.get(INCIDENTS, params={"limit": "100", "q": "down"})
        deep = page.links["next"]["url"]
        for _ in range(3):
            deep = (await daemon.socket.get(deep)).links["next"]["url"]
        assert time.thread_time() - began_s < 5
        assert len(page.json()) == 100
