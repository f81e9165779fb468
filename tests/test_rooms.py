"""Which room may import what: docs/architecture.md, "Rooms", as a check that names file, line and import.

The rule is read from the source with ``ast``; nothing is imported, so a forbidden import is found even where it would
only run on another platform, under ``TYPE_CHECKING`` or inside a function.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

SRC = Path(__file__).parent.parent / "src"


class Room(NamedTuple):
    """What one room may import: ``ours`` below ``syncd``, ``libraries`` from elsewhere, and which standard modules."""

    ours: frozenset[str]
    libraries: frozenset[str]
    standard_only: frozenset[str] | None  # None: all but ``standard_never``
    standard_never: frozenset[str]


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def room(
    ours: str,
    libraries: str,
    *,
    standard_only: frozenset[str] | None = None,
    standard_never: str = "asyncio multiprocessing",
) -> Room:
    return Room(words(ours), words(libraries), standard_only, words(standard_never))


PURE = words("""
    __future__ abc base64 binascii bisect collections contextlib copy dataclasses datetime decimal difflib enum
    fractions functools hashlib heapq hmac html ipaddress itertools json keyword math numbers operator re statistics
    string struct textwrap types typing unicodedata urllib.parse zlib
""")
SEAMED = "asyncio multiprocessing random.SystemRandom secrets socket subprocess threading time"  # these have a seam
HALL = "errors pulse seams telemetry"  # every room but core and the simulator may stand in it
ALL_BUT_COMPOSITION = """
    __init__ house actors callers config core credentials edges errors journal lives master_key net pulse seams
    service_manager simulator systems telemetry vault
"""
DAEMON_LIBRARIES = "trio hypercorn quart quart_trio httpx httpcore h11 msgspec cryptography"

# The longest name that matches a module decides; the names are relative to ``syncd``.
ROOMS: dict[str, Room] = {
    "__init__": room("", ""),
    "__main__": room(f"{ALL_BUT_COMPOSITION} daemon demo", f"{DAEMON_LIBRARIES} cyclopts"),
    "daemon": room(ALL_BUT_COMPOSITION, DAEMON_LIBRARIES),
    "house": room(f"actors core credentials journal master_key systems vault {HALL}", "trio msgspec"),
    "demo": room(ALL_BUT_COMPOSITION, DAEMON_LIBRARIES),
    "errors": room("", "msgspec", standard_only=PURE | {"pathlib"}),
    "pulse": room("seams", "trio"),
    "seams": room("errors", "trio httpx msgspec"),
    "service_manager": room("errors", ""),
    "net": room("core errors", "trio httpx httpcore certifi"),
    "telemetry": room("__init__ errors seams", "trio msgspec"),
    "config": room("__init__ core errors", "msgspec"),
    "credentials": room("core errors seams", "cryptography msgspec"),
    "master_key": room("credentials errors seams", "msgspec"),
    "callers": room("credentials seams", ""),
    "lives": room("core errors seams", "msgspec"),
    "vault": room("core credentials errors master_key seams", "trio msgspec"),
    "core": room("core errors", "msgspec", standard_only=PURE),
    "journal": room(f"__init__ journal core {HALL}", "trio msgspec", standard_never=SEAMED),
    "systems": room(f"systems core credentials {HALL}", "trio httpx httpcore h11 msgspec", standard_never=SEAMED),
    "actors": room(f"actors journal core credentials {HALL}", "trio msgspec", standard_never=SEAMED),
    "edges": room("", ""),
    "edges.api": room(
        f"__init__ edges.api actors core credentials callers master_key vault {HALL}",
        "trio hypercorn quart quart_trio h11 wsproto msgspec",
    ),
    "edges.api.metrics": room(f"__init__ edges.api actors core {HALL}", "quart msgspec prometheus_client"),
    "edges.cli": room(f"__init__ edges.cli core config {HALL}", "cyclopts rich msgspec"),
    # `im journal` reads the files with no daemon running, so this one module may open them.
    "edges.cli.journal": room(
        f"__init__ edges.cli core config journal.reader journal.scan {HALL}", "cyclopts rich msgspec trio"
    ),
    "edges.cli.mending": room(f"__init__ edges.cli core config journal {HALL}", "cyclopts rich msgspec"),
    "edges.cli.past": room(f"__init__ edges.cli core config journal {HALL}", "cyclopts rich msgspec"),
    "edges.cli.bundle_files": room(f"__init__ edges.cli core config journal lives {HALL}", "cyclopts rich msgspec"),
    "simulator": room("simulator", "trio httpx h11"),
}

REAL_SEAMS = frozenset({"SystemClock", "SystemIds", "SystemDisk", "SystemNet", "ThreadWork"})
MAY_NAME_REAL_SEAMS = frozenset(
    {"seams", "net", "daemon", "demo", "__main__", "edges.cli.journal", "edges.cli.support_bundle"}
)


def covers(allowed: str, name: str) -> bool:
    return name == allowed or name.startswith(f"{allowed}.")


def room_of(module: str) -> Room | None:
    names = [name for name in ROOMS if covers(name, module)]
    return ROOMS[max(names, key=len)] if names else None


def is_module(name: str) -> bool:
    path = SRC.joinpath(*name.split("."))
    return name.removeprefix("syncd.") in ROOMS or path.is_dir() or path.with_suffix(".py").is_file()


def imports_of(node: ast.AST) -> Iterator[str]:
    """Every module an import statement, or an ``import_module`` of a literal, reaches; dotted and absolute."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=None) | ast.ImportFrom(level=1 | 2 | 3 | 4):
            yield "a relative name"
        case ast.ImportFrom(module=str(origin), names=names):
            for alias in names:
                full = f"{origin}.{alias.name}"
                # `from syncd import journal` reaches a room; `from syncd.errors import Busy` stays in errors.
                reaches_further = is_module(full) if covers("syncd", origin) else origin in {"urllib", "random"}
                yield full if reaches_further else origin
        case ast.Call(func=ast.Name(id=called) | ast.Attribute(attr=called), args=[ast.Constant(value=str(name)), *_]):
            if called in {"import_module", "__import__"}:
                yield name


def is_allowed(name: str, into: Room) -> bool:
    if covers("syncd", name):
        ours = name.removeprefix("syncd").removeprefix(".") or "__init__"  # `import syncd` is for ``__version__``
        return any(covers(allowed, ours) for allowed in into.ours)
    top = name.partition(".")[0]
    if top not in sys.stdlib_module_names:
        return top in into.libraries
    if into.standard_only is not None:
        return any(covers(allowed, name) for allowed in into.standard_only)
    return not any(covers(never, name) for never in into.standard_never)


def names_in(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name):
            yield name


def violations(module: str, path: str, source: str) -> list[str]:
    """What ``source``, as ``module`` (relative to ``syncd``), may not import or name; one "file:line: ..." each."""
    into = room_of(module)
    if into is None:
        return [f"{path}:1: syncd.{module} stands in no room; give it one in tests/test_rooms.py"]
    found = []
    for node in ast.walk(ast.parse(source, path)):
        line = getattr(node, "lineno", 0)
        found += [
            f"{path}:{line}: syncd.{module} may not import {name}"
            for name in imports_of(node)
            if not is_allowed(name, into)
        ]
        found += [
            f"{path}:{line}: syncd.{module} may not name {name}: take the seam as an argument"
            for name in names_in(node)
            if name in REAL_SEAMS and module not in MAY_NAME_REAL_SEAMS
        ]
    return found


def module_at(path: PurePosixPath) -> str:
    """The name of a file below ``src/syncd``: a package is named after its folder, ``syncd`` itself is ``__init__``."""
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


@pytest.mark.parametrize("path", sorted(SRC.glob("syncd/**/*.py")), ids=lambda path: path.relative_to(SRC).as_posix())
def test_a_module_imports_only_what_its_room_may(path: Path) -> None:
    module = module_at(PurePosixPath(path.relative_to(SRC / "syncd").as_posix()))
    found = violations(module, f"src/{path.relative_to(SRC).as_posix()}", path.read_text(encoding="utf-8"))
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source", "forbidden"),
    [
        ("core.merge", "import trio", "trio"),
        ("core.merge", "import time", "time"),
        ("core.merge", "from random import Random", "random.Random"),
        ("core.merge", "import os.path", "os.path"),
        ("core.merge", "import urllib.request", "urllib.request"),
        ("core.merge", "from urllib import request", "urllib.request"),
        ("core.merge", "def late() -> None:\n    import logging", "logging"),
        ("core.merge", "if TYPE_CHECKING:\n    from syncd.journal.writer import Journal", "syncd.journal"),
        ("core.merge", "from syncd.seams import Clock", "syncd.seams"),
        ("core.merge", "import importlib", "importlib"),
        ("core.merge", "from .model import Link", "a relative name"),
        ("journal.writer", "from syncd.actors.ports import Journal", "syncd.actors"),
        ("journal.writer", "import time", "time"),
        ("systems.servicenow", "from syncd import journal", "syncd.journal"),
        ("actors.merger", "import httpx", "httpx"),
        ("actors.merger", "from syncd.edges.api import app", "syncd.edges.api"),
        ("actors.merger", "import asyncio", "asyncio"),
        ("edges.api.app", "import syncd.systems", "syncd.systems"),
        ("edges.api.app", "from syncd.config import Settings", "syncd.config"),
        ("edges.cli.incident", "from syncd.edges.api import app", "syncd.edges.api"),
        ("edges.cli.incident", "import_module('syncd.actors.merger')", "syncd.actors.merger"),
        ("edges.cli.incident", "from syncd.journal.reader import read", "syncd.journal"),
        ("edges.cli.journal", "from syncd.journal.writer import write", "syncd.journal"),
        ("simulator.records", "from syncd.core.model import Incident", "syncd.core"),
        ("simulator.records", "from syncd import __version__", "syncd"),
        ("edges.cli.main", "import syncd.daemon", "syncd.daemon"),
        ("demo", "from syncd import daemon", "syncd.daemon"),
        ("seams", "import requests", "requests"),
    ],
)
def test_a_forbidden_import_is_named(module: str, source: str, forbidden: str) -> None:
    line = source.count("\n") + 1
    found = violations(module, "planted.py", source)
    assert len(found) == 1
    assert found[0].startswith(f"planted.py:{line}: syncd.{module} may not import {forbidden}")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "core.merge",
            "from collections.abc import Mapping\nfrom urllib.parse import quote\nfrom msgspec import Struct",
        ),
        ("core.merge", "from datetime import UTC, datetime\nfrom syncd.core import model\nimport syncd.errors"),
        ("journal.reader", "import trio\nfrom syncd.seams import Disk\nfrom syncd.telemetry import log"),
        ("actors.supervisor", "from random import Random\nfrom syncd.journal.writer import Journal"),
        ("edges.api.serve", "from hypercorn.trio.tcp_server import TCPServer\nfrom syncd import __version__"),
        ("edges.cli.journal", "from syncd.journal.reader import read\nfrom syncd.seams import SystemDisk"),
        ("__main__", "from syncd.daemon import run\nfrom syncd.demo import demo"),
    ],
)
def test_an_allowed_import_passes(module: str, source: str) -> None:
    assert violations(module, "planted.py", source) == []


@pytest.mark.parametrize(
    "source", ["from syncd.seams import SystemClock", "seams.SystemClock()", "clock = SystemClock()"]
)
def test_only_the_composition_names_a_real_seam(source: str) -> None:
    assert violations("daemon", "planted.py", source) == []
    found = violations("actors.merger", "planted.py", source)
    assert found == ["planted.py:1: syncd.actors.merger may not name SystemClock: take the seam as an argument"]


def test_a_module_without_a_room_is_refused() -> None:
    assert violations("utils", "planted.py", "") == [
        "planted.py:1: syncd.utils stands in no room; give it one in tests/test_rooms.py"
    ]


def test_the_table_speaks_of_rooms_only() -> None:
    for name, into in ROOMS.items():
        unknown = into.ours - ROOMS.keys() - {"journal.reader", "journal.scan"}
        assert not unknown, f"{name} may import {sorted(unknown)}, which is no room"
