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

_LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}

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


def logs_more_than_words(node: ast.AST) -> Iterator[ast.expr]:
    """A log line is words that never change, and fields: what is put into the words escapes what hides secrets."""
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=level), args=given, keywords=named) if (
            level in _LEVELS
        ):
            words = given[1:] if level == "log" else given
            is_plain = len(words) == 1 and isinstance(words[0], ast.Constant) and isinstance(words[0].value, str)
            if not is_plain or {one.arg for one in named} - {"extra", "exc_info"}:
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


def is_literal(node: ast.expr) -> bool:
    if isinstance(node, ast.IfExp):
        return is_literal(node.body) and is_literal(node.orelse)
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_every_log_line_is_words_that_are_written_here_and_fields() -> None:
    (narrates,) = broken(logs_more_than_words, SRC)
    assert narrates.startswith("actors/narrator.py:")  # it takes its words from what its own functions return
    source = ast.parse((SRC / "actors" / "narrator.py").read_text())
    told = [
        node.value.elts
        for node in ast.walk(source)
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple)
    ]
    assert len(told) > 15
    assert [ast.unparse(words) for _, words, _ in told if not is_literal(words)] == []


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
        (logs_more_than_words, "log.info(f'{user} came')"),
        (logs_more_than_words, "log.info('%s came', user)"),
        (logs_more_than_words, "log.warning('it failed: ' + str(error))"),
        (logs_more_than_words, "log.log(level, words, extra={'a': 1})"),
        (logs_more_than_words, "log.error('it failed', stack_info=True)"),
    ],
)
def test_each_rule_finds_what_it_forbids(rule: Rule, text: str) -> None:
    assert [found for node in ast.walk(ast.parse(text)) for found in rule(node)]


def test_what_only_sounds_like_a_secret_is_left_alone() -> None:
    text = "len(signatures) == 1; field == WEBHOOK_SECRET; token_id == other; auth == 'token'; secret is None"
    assert not [found for node in ast.walk(ast.parse(text)) for found in compares_a_secret(node)]


def test_each_test_that_a_page_names_is_there() -> None:
    root = SRC.parent.parent
    pages = [*root.glob("*.md"), *root.glob("docs/*.md")]
    named = {path for page in pages for path in re.findall(r"tests/[a-z0-9_/]+\.py", page.read_text())}
    assert len(named) > 50
    assert sorted(path for path in named if not (root / path).is_file()) == []
