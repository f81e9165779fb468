"""The description has every path with what it takes, answers and refuses, and its examples are true."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
import trio
from jsonschema_rs import Draft202012Validator, meta
from quart import Response
from quart_trio import QuartTrio

from syncd.core import views
from syncd.core.fields import Fields
from syncd.core.requests import no_fields
from syncd.edges.api import docs_page
from syncd.edges.api.answers import answer
from syncd.edges.api.app import WEBHOOK, build_quart
from syncd.edges.api.description import Answer, Description
from syncd.edges.api.openapi import document
from syncd.edges.api.routes import OPEN, Described, Routes
from syncd.edges.api.webhook_body import decode_webhook
from tests.edges.api.daemon import running
from tests.edges.api.test_docs import PAGE, ROW

NOTHING = Description(topic="Tests", summary="Do nothing", takes=no_fields, answers=(Answer(views.NoteView),))


async def described() -> dict[str, Any]:
    async with running() as daemon:
        answer = await daemon.socket.get("/api/v1/openapi.json")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        found: dict[str, Any] = answer.json()
        return found


async def routes_of() -> list[Described]:
    tables: list[Routes] = []

    def keep(table: Routes) -> None:
        tables.append(table)

    async with running() as daemon:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Routes, "check", keep)
            build_quart(daemon.desk)
    return tables[0].described


def operations(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]


async def test_every_path_is_described_with_the_scope_that_docs_http_md_says() -> None:
    told = await described()
    assert told["openapi"] == "3.1.0"
    found = {
        (method, path, *((scopes or [name])[0] for one in operation["security"] for name, scopes in one.items()))
        for method, path, operation in operations(told)
    }
    assert found == {row if row[2] != "open" else row[:2] for row in ROW.findall(PAGE)}


async def test_every_reference_leads_somewhere_and_every_schema_is_one() -> None:
    told = await described()
    for target in re.findall(r'"\$ref":"#/([^"]+)"', msgspec.json.encode(told).decode()):
        place: Any = told
        for step in target.split("/"):
            place = place[step]
    schemas = [
        *told["components"]["schemas"].values(),
        *(one["schema"] for _, _, operation in operations(told) for one in operation["parameters"]),
        *(
            content["schema"]
            for _, _, operation in operations(told)
            for holder in (operation.get("requestBody"), *operation["responses"].values())
            for content in (holder or {}).get("content", {}).values()
        ),
    ]
    assert len(schemas) > 100
    for schema in schemas:
        meta.validate({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


async def test_names_parts_and_answers_are_complete() -> None:
    told = await described()
    names = [operation["operationId"] for _, _, operation in operations(told)]
    assert len(names) == len(set(names))
    for method, path, operation in operations(told):
        parts = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert parts == set(re.findall(r"\{(\w+)\}", path)), path
        answers = operation["responses"].keys()
        assert {"400", "408", "413", "431", "500", "503"} <= answers, (method, path)
        assert any(status.startswith("2") for status in answers), (method, path)
        assert ({"401", "403", "421", "429"} <= answers) is ("token" in str(operation["security"])), (method, path)
        assert "415" not in answers or "requestBody" in operation
        for status in answers:
            if status >= "4":
                assert operation["responses"][status] == {"$ref": f"#/components/responses/{status}"}


async def test_every_example_of_a_body_is_read_and_every_example_of_an_answer_is_one() -> None:
    bodies = answers = 0
    for route in await routes_of():
        told = route.description
        if told.example is not None and callable(told.takes):
            assert isinstance(told.example, dict)
            told.takes(Fields(told.example))
            bodies += 1
        for one in told.answers:
            if one.example is not None:
                shown: Any = msgspec.convert(one.example, type=one.shows, strict=True)
                assert msgspec.to_builtins(shown) == one.example
                answers += 1
    assert (bodies, answers) >= (9, 13)
    webhook, _ = decode_webhook(msgspec.json.encode(WEBHOOK.example))
    assert isinstance(WEBHOOK.takes, dict)
    assert Draft202012Validator(WEBHOOK.takes).is_valid(WEBHOOK.example)
    assert (webhook.number, webhook.operation, webhook.sys_mod_count) == ("INC0010026", "update", 3)


async def test_what_is_shown_has_no_key_beside_those_of_its_schema() -> None:
    """A view that gains a field gains it in the description, since that is where its schema comes from."""
    schemas = (await described())["components"]["schemas"]
    async with running() as daemon:
        incident, integration = await daemon.declare(), await daemon.configure()
    assert incident.keys() == schemas["IncidentView"]["properties"].keys()
    assert integration.keys() == schemas["NewIntegrationView"]["properties"].keys()
    assert schemas["IncidentView"]["properties"]["created_at"] == {"type": "string", "format": "date-time"}
    assert schemas["IncidentView"]["properties"]["severity"]["enum"] == ["SEV-1", "SEV-2", "SEV-3", "SEV-4"]


async def test_a_route_without_a_description_does_not_start() -> None:
    async def handler() -> Response:
        await trio.lowlevel.checkpoint()
        return answer({})

    routes = Routes(QuartTrio(__name__))
    with pytest.raises(ValueError, match="GET /x has no description"):
        routes.add("GET", "/x", "read", handler)
    assert routes.described == []
    routes.add("GET", "/x", OPEN, handler, NOTHING)
    routes.add("GET", "/y", "read", handler, NOTHING)
    with pytest.raises(ValueError, match="another route has the summary 'Do nothing'"):
        document(routes.described)


# The page


class Reading(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(page)
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


async def test_the_page_shows_every_path_and_loads_and_runs_nothing() -> None:
    async with running() as daemon:
        answer = await daemon.socket.get("/docs")
        assert (await daemon.http.get("/docs")).status_code == 401
        assert (await daemon.http.get("/api/v1/openapi.json")).status_code == 401
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    page = Reading(answer.text)
    told = await described()
    for method, path, operation in operations(told):
        assert f"{method} {path}" in page.text
        assert operation["summary"] in page.text
    for name in told["components"]["schemas"]:
        assert ("article", {"id": f"schema-{name}"}) in page.tags
    assert "curl -X POST -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d" in page.text
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "img", "iframe", "form", "object", "base"})
    anchors = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name in {"src", "style"} for name in attributes)
        target = attributes.get("href") or "/"
        assert target.startswith("/") or target[1:] in anchors, target


async def test_the_policy_of_the_page_allows_its_own_style_and_nothing_else() -> None:
    async with running() as daemon:
        answer = await daemon.socket.get("/docs")
    style = re.search(r"<style>(.*?)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert answer.headers["content-security-policy"] == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def test_whatever_a_description_says_stays_text() -> None:
    attack = "<script>alert(1)</script>\"'&`<b>`"
    hostile = Description(
        topic="Tests",
        summary=attack,
        notes=attack,
        takes={"type": "object", "description": attack},
        example={"title": attack},
        answers=(Answer({"type": "string", "description": attack}, example=attack),),
    )
    made = document([Described("POST", "/x", "read", hostile)])
    page = Reading(docs_page.page(made))
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "b"})
    assert page.text.count("<script>alert(1)</script>") >= 4
