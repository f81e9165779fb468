"""Rules about the source that no run of it would show, read with ``ast``, as ``test_rooms.py`` reads the imports."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parent.parent / "src" / "syncd"

_TELLING = re.compile(r"(.*_)?(signature|digest|token|secret|mac|hmac|password|api_key)s?")
_QUARTS_OWN = {"nursery", "add_background_task", "background_task", "before_serving", "after_serving", "while_serving"}
_ENDS_THE_DAEMON = {"SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseException", "BaseExceptionGroup"}

Rule = Callable[[ast.AST], Iterator[ast.expr]]


def named(node: ast.expr) -> str:
    """The word by which a value is known where it is used: ``client.secret``, ``secret_of(x)`` and ``secret[0]``."""
    match node:
        case ast.Name(id=word) | ast.Attribute(attr=word):
            return word
        case ast.Call(func=inner) | ast.Subscript(value=inner) | ast.Await(value=inner):
            return named(inner)
        case _:
            return ""


def compares_a_secret(node: ast.AST) -> Iterator[ast.expr]:
    """``==`` stops at the first letter that differs, and so tells by its time how far a guess was right."""
    match node:
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = [left, *others]
            for at, op in enumerate(ops):
                is_telling = any(_TELLING.fullmatch(named(side)) for side in sides[at : at + 2])
                if isinstance(op, ast.Eq | ast.NotEq) and is_telling:
                    yield node


def hands_work_to_quart(node: ast.AST) -> Iterator[ast.expr]:
    """What runs in Quart's nursery is lost without a word when one of it fails."""
    match node:
        case ast.Attribute(value=owner, attr=word) if word in _QUARTS_OWN and named(owner) in {"app", "quart"}:
            yield node


def ends_the_daemon(node: ast.AST) -> Iterator[ast.expr]:
    """An application that raises more than an Exception ends the daemon, whatever the doors contain."""
    match node:
        case ast.Raise(exc=ast.expr() as raised) if named(raised) in _ENDS_THE_DAEMON:
            yield raised
        case ast.Call(func=ast.Attribute(value=ast.Name(id="sys"), attr="exit") | ast.Name(id="exit")):
            yield node


def broken(rule: Rule, folder: Path) -> list[str]:
    return [
        f"{path.relative_to(SRC)}:{found.lineno}: {ast.unparse(found)}"
        for path in sorted(folder.rglob("*.py"))
        if SRC / "simulator" not in path.parents  # it guards nothing: its accounts are a rehearsal's
        for node in ast.walk(ast.parse(path.read_text()))
        for found in rule(node)
    ]


@pytest.mark.parametrize(
    ("rule", "folder"),
    [(compares_a_secret, ""), (hands_work_to_quart, "edges/api"), (ends_the_daemon, "edges/api")],
)
def test_the_source_keeps(rule: Rule, folder: str) -> None:
    assert list((SRC / folder).rglob("*.py"))
    assert broken(rule, SRC / folder) == []


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (compares_a_secret, "if given != request.signature: pass"),
        (compares_a_secret, "x = digest_of(a) == kept.body_digest"),
        (compares_a_secret, "0 < n == len(b) == secrets[0]"),
        (compares_a_secret, "mac == other"),
        (hands_work_to_quart, "app.nursery.start_soon(f)"),
        (hands_work_to_quart, "self.app.add_background_task(f)"),
        (ends_the_daemon, "raise SystemExit(3)"),
        (ends_the_daemon, "sys.exit()"),
    ],
)
def test_each_rule_finds_what_it_forbids(rule: Rule, text: str) -> None:
    assert [found for node in ast.walk(ast.parse(text)) for found in rule(node)]


def test_what_only_sounds_like_a_secret_is_left_alone() -> None:
    text = "len(signatures) == 1; field == WEBHOOK_SECRET; token_id == other; auth == 'token'; secret is None"
    assert not [found for node in ast.walk(ast.parse(text)) for found in compares_a_secret(node)]
