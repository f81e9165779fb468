"""State in rows and back: nothing is left out, what was captured no longer changes, and a digest tells states apart."""

import random

import msgspec
import pytest
from msgspec import Struct

from syncd.core import capture as module
from syncd.core.capture import Captured, Restoring, capture, digest, shape
from syncd.core.events import Record
from syncd.core.fold import evolve
from syncd.core.indices import DERIVED
from syncd.core.model import Link, Token
from syncd.core.queues import Line, Outbox
from syncd.core.state import State
from tests.core.picture import picture
from tests.core.world import KINDS, RARE_KINDS, World

HISTORIES = 40
ACTS = 80


def lived(seed: int, acts: int = ACTS) -> World:
    """A world after a random history."""
    rng = random.Random(seed)
    world = World()
    world.act("declare", 0, 0)
    world.quiet()
    for _ in range(acts):
        world.act(rng.choice(KINDS + RARE_KINDS), rng.randrange(15), rng.randrange(15))
    return world


def restored(captured: Captured, rows_a_piece: int = 3) -> State:
    """The state again, from JSON and in pieces."""
    restoring = Restoring(msgspec.json.decode(msgspec.json.encode(captured.scalars)))
    for table in captured.tables:
        lines = list(table.lines())
        for begin in range(0, max(1, len(lines)), rows_a_piece):
            restoring.add(table.part, table.of, b"[%b]" % b",".join(lines[begin : begin + rows_a_piece]))
    return restoring.finish()


def all_of(state: State) -> tuple[str, str]:
    """All of a state, with the order of its dicts; that of the indices means nothing, nor does what is empty there."""
    fields = msgspec.structs.asdict(state)
    indices = {name: fields.pop(name) for name in DERIVED}
    for name in ("retry_lines", "hint_lines"):
        indices[name] = {key: line.order for key, line in indices[name].items() if line.places}
    return repr(fields), repr({name: sorted(index.items()) for name, index in sorted(indices.items())})


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_a_state_that_was_taken_apart_is_the_same_again_and_goes_on_the_same_way(seed: int) -> None:
    world = lived(seed)
    again = restored(capture(world.state))
    assert all_of(again) == all_of(world.state)
    assert digest(again) == digest(world.state)
    known = len(world.records)
    for kind in KINDS:
        world.act(kind, seed % 15, 1)
    for encoded in world.records[known:]:
        again = evolve(again, msgspec.json.decode(encoded, type=Record))
    assert all_of(again) == all_of(world.state)


def test_what_was_captured_is_not_changed_by_the_fold_that_goes_on() -> None:
    for seed in range(10):
        world = lived(seed, acts=30)
        captured, before = capture(world.state), all_of(world.state)
        for kind in KINDS * 2:
            world.act(kind, seed, 2)
        assert all_of(restored(captured)) == before


def test_every_field_of_state_has_its_rows() -> None:
    """A picture with something in every field would show one that was left out."""
    state = picture()
    assert all_of(restored(capture(state))) == all_of(state)
    parts = {table.part.partition(".")[0] for table in capture(state).tables} | set(capture(state).scalars)
    empty = {name for name, value in msgspec.structs.asdict(state).items() if value == {}}
    assert parts | DERIVED | empty == {one.name for one in msgspec.structs.fields(State)}


def test_a_digest_tells_any_difference() -> None:
    digests = {digest(lived(3).state)}
    changed, reordered, marked = lived(3).state, lived(3).state, lived(3).state
    changed.last_number += 1
    reordered.incidents = dict(reversed(reordered.incidents.items()))
    marked.dirty["int_new"] = {}
    digests.update(map(digest, (changed, reordered, marked)))
    assert len(digests) == 4
    assert digest(lived(3).state) in digests


def test_what_a_later_version_wrote_is_refused_and_what_an_earlier_one_left_out_has_its_default() -> None:
    with pytest.raises(msgspec.ValidationError, match="mood is no value"):
        Restoring({"mood": 1})
    restoring = Restoring({"position": 7})
    with pytest.raises(msgspec.ValidationError, match="moods is no table"):
        restoring.add("moods", "", b"[]")
    bare = b'[["link",{"id":"link","integration_id":"i","incident_id":"INC-1","created_at_s":1.0}]]'
    assert restoring.add("links", "", bare) == 1
    state = restoring.finish()
    assert (state.position, state.last_number, state.links) == (7, 0, {"link": Link("link", "i", "INC-1", 1.0)})


def test_the_shape_changes_with_what_state_is_made_of(monkeypatch: pytest.MonkeyPatch) -> None:
    before = shape()
    assert shape.__wrapped__() == before

    class OtherToken(Token, frozen=True):
        colour: str = ""

    parts = module._PARTS
    other = module._part(dict[str, OtherToken])
    monkeypatch.setattr(module, "_PARTS", parts | {"tokens": other})
    assert shape.__wrapped__() != before


def test_a_field_of_a_kind_that_nobody_thought_of_is_refused_when_the_program_starts() -> None:
    assert [module._part(one).kind for one in (int, dict[str, Token], dict[str, dict[str, int]])] == [
        "scalar",
        "flat",
        "nested",
    ]
    assert module._part(dict[str, Line[str, tuple[float, str]]]).kind == "line"
    assert module._part(dict[str, Outbox]).kind == "outbox"

    class Whatever(Struct):
        pass

    for wanted in (Whatever, list[int], set[str]):
        with pytest.raises(TypeError, match="a field of State cannot be"):
            module._part(wanted)
