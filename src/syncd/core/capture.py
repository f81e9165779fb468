"""State as rows of JSON and back: what a snapshot holds, and the digest by which two states are compared.

How a field of State is taken apart follows from its type, so a new field needs nothing here. ``capture`` copies the
dicts, which is quick, and leaves the Structs in them, which are frozen; their encoding can then take its time while the
fold goes on. Dicts keep their order, as the fold goes through some of them. Indices (``indices.py``) are left out and
made anew. Later versions read what earlier ones
wrote: a field that is not there has its default.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from types import GenericAlias
from typing import Any, Final, TypeAlias, get_args, get_origin

import msgspec
from msgspec import Struct

from syncd.core.indices import DERIVED, derive
from syncd.core.queues import Line, Outbox
from syncd.core.state import State

FOLD: Final = 1  # raised when the fold gives another meaning to what State looked like before

Decoder: TypeAlias = "msgspec.json.Decoder[list[tuple[Any, Any]]]"

_QUEUES: Final = ("ready", "later")


class Table(Struct, frozen=True):
    """One dict of a state: ``part`` is the field, ``of`` the outer key where there is one. ``rows``: a copy of it."""

    part: str
    of: str
    rows: Mapping[Any, Any]

    def lines(self) -> Iterator[bytes]:
        """Each row as one piece of JSON: ``[key,value]``."""
        return map(_encoder.encode, self.rows.items())


class Captured(Struct, frozen=True):
    """A state as of ``position``, in pieces that nothing changes any more."""

    position: int
    at_s: float
    scalars: dict[str, int | float | str]
    tables: tuple[Table, ...]


class _Part(Struct, frozen=True):
    """How one field of State is taken apart: ``kind``, and what its keys and values are."""

    kind: str
    row: Any


_encoder = msgspec.json.Encoder()


def capture(state: State) -> Captured:
    """Copy what there is to copy; takes some milliseconds for a hundred thousand links."""
    scalars: dict[str, int | float | str] = {}
    tables: list[Table] = []
    for name, part in _PARTS.items():
        if name in DERIVED:
            continue
        value = getattr(state, name)
        match part.kind:
            case "scalar":
                scalars[name] = value
            case "flat":
                tables.append(Table(name, "", value.copy()))
            case "nested":
                tables.extend(Table(name, of, inner.copy()) for of, inner in value.items())
            case "line":
                tables.extend(Table(name, of, line.places.copy()) for of, line in value.items())
            case _:
                for of, outbox in value.items():
                    tables.append(Table(f"{name}.names", of, outbox.names.copy()))
                    tables.extend(Table(f"{name}.{one}", of, getattr(outbox, one).places.copy()) for one in _QUEUES)
    return Captured(state.position, state.at_s, scalars, tuple(tables))


class Restoring:
    """A state that is put together again: its scalars first, then its rows in the order in which they were written."""

    def __init__(self, scalars: Mapping[str, int | float | str]) -> None:
        self._state = State()
        for name, value in scalars.items():
            if name not in _PARTS or _PARTS[name].kind != "scalar":
                raise msgspec.ValidationError(f"{name} is no value that this version knows")
            setattr(self._state, name, msgspec.convert(value, _PARTS[name].row))

    def add(self, part: str, of: str, rows: bytes | msgspec.Raw) -> int:
        """Add rows to a table; returns how many. ``msgspec.ValidationError`` for what this version does not know."""
        name, _, queue = part.partition(".")
        if part not in _DECODERS:
            raise msgspec.ValidationError(f"{part} is no table that this version knows")
        found = _DECODERS[part].decode(rows)
        whole = getattr(self._state, name)
        match _PARTS[name].kind:
            case "flat":
                whole.update(found)
            case "nested":
                whole.setdefault(of, {}).update(found)
            case "line":
                whole.setdefault(of, Line()).places.update(found)
            case _:
                outbox = whole.setdefault(of, Outbox())
                (outbox.names if queue == "names" else getattr(outbox, queue).places).update(found)
        return len(found)

    def finish(self) -> State:
        """The state, with every queue in its order, and what follows from the rest made anew."""
        for name, part in _PARTS.items():
            if part.kind == "line":
                _sort(getattr(self._state, name).values())
            elif part.kind == "outbox":
                _sort(getattr(one, queue) for one in getattr(self._state, name).values() for queue in _QUEUES)
        derive(self._state)
        return self._state


def digest(state: State) -> str:
    """A word by which two states are the same, down to the order of their dicts, or are not."""
    captured = capture(state)
    found = hashlib.sha256(_encoder.encode(captured.scalars))
    for table in captured.tables:
        found.update(_encoder.encode((table.part, table.of)))
        for line in table.lines():
            found.update(line)
    return found.hexdigest()


@cache
def shape() -> str:
    """A word that changes when State, what is in it, or the meaning of its fold does."""
    schema = msgspec.json.schema_components([_tuple(str, part.row) for part in _PARTS.values()])
    return hashlib.sha256(_encoder.encode((FOLD, list(_PARTS), schema))).hexdigest()[:16]


def _sort(lines: Iterable[Line[Any, Any]]) -> None:
    for line in lines:
        line.order = sorted(line.places.values())


def _part(wanted: object) -> _Part:
    """How a field of this type is taken apart. ``TypeError`` for one that nobody taught this module."""
    if wanted in (int, float, str, bool):
        return _Part("scalar", wanted)
    if get_origin(wanted) is not dict:
        raise TypeError(f"a field of State cannot be a {wanted}")
    key, value = get_args(wanted)
    if value is Outbox:
        return _Part("outbox", None)
    if get_origin(value) is Line:
        return _Part("line", _tuple(*get_args(value)))
    if get_origin(value) is dict:
        return _Part("nested", _tuple(*get_args(value)))
    return _Part("flat", _tuple(key, value))


def _tuple(*wanted: object) -> Any:
    return GenericAlias(tuple, wanted)


def _decoders() -> Iterator[tuple[str, Decoder]]:
    make: Callable[[object], Decoder] = lambda row: msgspec.json.Decoder(list[row])  # type: ignore[valid-type]  # noqa: E731
    for name, part in _PARTS.items():
        if part.kind == "outbox":
            queues = {one.name: one.type for one in msgspec.structs.fields(Outbox)}
            yield f"{name}.names", make(_tuple(*get_args(queues["names"])))
            yield from ((f"{name}.{one}", make(_tuple(*get_args(queues[one])))) for one in _QUEUES)
        elif part.kind != "scalar":
            yield name, make(part.row)


_PARTS: Final = {one.name: _part(one.type) for one in msgspec.structs.fields(State)}
_DECODERS: Final = dict(_decoders())
