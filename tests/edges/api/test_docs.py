"""docs/http.md lists the paths that there are, with the scope each needs, and no other; and tests that there are."""

import re
from pathlib import Path

import pytest

from syncd.core.sketch import sketch_of
from syncd.edges.api.app import build_quart
from syncd.edges.api.integrations import CREATE
from syncd.edges.api.routes import Routes
from tests.edges.api.daemon import running

PAGE = (Path(__file__).parents[3] / "docs" / "http.md").read_text("utf-8")
ROW = re.compile(r"^\| `([A-Z]+) (/[^`]*)` \| (open|read|operate|admin|signature) \|", re.MULTILINE)


async def test_every_path_is_on_the_page_with_its_scope_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    tables: list[Routes] = []

    def keep(table: Routes) -> None:
        tables.append(table)

    monkeypatch.setattr(Routes, "check", keep)
    async with running() as daemon:
        app = build_quart(daemon.desk)
    there = {
        (method, re.sub(r"<([a-z_]+)>", r"{\1}", rule.rule), tables[-1].scopes[rule.endpoint] or "open")
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    listed = set(ROW.findall(PAGE))
    assert listed == there | {("POST", "/api/v1/webhooks/{integration}", "signature")}


def test_every_setting_of_an_integration_is_on_the_page() -> None:
    assert callable(CREATE.takes)
    names = sketch_of(CREATE.takes).schema["properties"]
    assert isinstance(names, dict)
    assert {"name", "credentials", "transaction_quota"} <= names.keys()
    for name in names:
        assert f"`{name}`" in PAGE


def test_every_test_that_the_page_names_is_there() -> None:
    tests = Path(__file__).parents[2]
    there = {
        name for path in tests.rglob("test_*.py") for name in re.findall(r"def (test_\w+)\(", path.read_text("utf-8"))
    }
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 50
    assert named - there == set()
