"""What an error says leads somewhere: the pages and headings that the source names are there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from syncd import __main__ as program
from syncd import errors
from syncd.config import DEFAULT_FILE, read_config
from syncd.errors import BadConfig, JournalFailed, SyncdError

ROOT: Final = Path(__file__).parents[1]
SRC: Final = ROOT / "src" / "syncd"
OPERATIONS: Final = "docs/operations.md"
AFTER: Final = re.compile(r'(docs/[\w/-]+\.(?:md|json|yml))(?:, "([^"]+)")?')
BEFORE: Final = re.compile(r"'([^']+)' in (docs/[\w/-]+\.md)")


def headings(page: str) -> set[str]:
    """Those of a page, and the words in bold that begin a paragraph."""
    found = re.findall(r"^(?:#+ (.+)|\*\*(.+?)\.?\*\*.*)$", (ROOT / page).read_text(), re.MULTILINE)
    return {one or other for one, other in found}


def references() -> Iterator[tuple[str, str, str]]:
    """Where in the source, which page, and which heading of it, which may be empty."""
    for path in sorted(SRC.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                where = f"{path.relative_to(SRC)}:{node.lineno}"
                text = " ".join(node.value.split())
                yield from ((where, page, heading or "") for page, heading in AFTER.findall(text))
                yield from ((where, page, heading) for heading, page in BEFORE.findall(text))


def ending_errors(base: type[SyncdError] = SyncdError) -> Iterator[type[SyncdError]]:
    """The errors that end the daemon or halt an integration."""
    for one in vars(errors).values():
        if isinstance(one, type) and issubclass(one, base):
            kinds = (errors.StartRefused, errors.JournalFailed, errors.CannotUnseal, errors.ActorGaveUp)
            if issubclass(one, kinds) and one is not errors.StartRefused:
                yield one


def test_every_page_and_heading_that_the_source_names_is_there() -> None:
    found = list(references())
    assert len(found) > 20
    assert len([heading for _, _, heading in found if heading]) > 10
    lost = [(where, page, heading) for where, page, heading in found if not (ROOT / page).is_file()]
    lost += [
        (where, page, heading)
        for where, page, heading in found
        if heading and (ROOT / page).is_file() and not any(one.startswith(heading) for one in headings(page))
    ]
    assert lost == []


@pytest.mark.parametrize("kind", list(ending_errors()), ids=lambda kind: kind.__name__)
def test_every_error_that_ends_something_has_a_heading(kind: type[SyncdError]) -> None:
    assert kind.page in headings(OPERATIONS)


@pytest.mark.parametrize("error", [BadConfig("x = 1: no", hint="say yes"), JournalFailed("cannot sync it")])
def test_the_daemon_names_the_heading_as_its_last_line(error: SyncdError, capsys: pytest.CaptureFixture[str]) -> None:
    program._told(error)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"syncd: {error}"
    assert lines[-1] == f'  see {OPERATIONS}, "{error.page}"'


def test_the_refused_setting_of_the_page_is_refused_like_that() -> None:
    with pytest.raises(BadConfig) as caught:
        read_config({}, {"HOME": "/root"}, lambda _: b'log_levl = "debug"\n', uid=0)
    shown = f"    syncd: {caught.value}\n      {caught.value.hint}\n"
    assert str(DEFAULT_FILE) in shown
    assert shown in (ROOT / OPERATIONS).read_text()


@pytest.mark.parametrize("command", ["serve", "demo", "simulator"])
def test_each_command_of_the_daemon_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        program.main([command, "--help"])
    assert "example:" in capsys.readouterr().out.lower().replace("examples:", "example:")
