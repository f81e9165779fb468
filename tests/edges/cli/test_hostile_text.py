"""Whatever strangers write, no command sends a terminal anything that it would obey, and JSON stays exact.

Two hundred texts, put behind every text of every answer, through every command.
"""

import json
from itertools import product
from pathlib import Path

import pytest

from syncd.edges.cli.client import Json
from tests.edges.cli.conftest import Run
from tests.edges.cli.fake_daemon import Canned, FakeDaemon, Heard, by_contract
from tests.edges.cli.test_main import LINES

CONTROLS = [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))]
FORMATS = [
    chr(code)
    for code in (
        0xAD,
        0x61C,
        0x200B,
        *range(0x200E, 0x2010),
        *range(0x2028, 0x202F),
        0x2060,
        *range(0x2066, 0x206A),
        0xFEFF,
    )
]
SEQUENCES = ("{}", "{}[2J{}]0;owned", "a{}b\u202e\x1b[31m", "\x1b[{}H\r\n{}", "\u2066{}\u2069\x07")
PAYLOADS = [form.replace("{}", letter) for form, letter in product(SEQUENCES, CONTROLS + FORMATS)][::2][:200]
OBEYED = {*map(ord, CONTROLS), *map(ord, FORMATS)} - {ord("\n"), 0xAD}
OWN_TEXT = "integration webhook-script"  # the daemon's own script, printed as it came


def stained(value: Json, payload: str) -> Json:
    """The same with a payload behind every text."""
    match value:
        case str():
            return value + payload
        case list():
            return [stained(one, payload) for one in value]
        case dict():
            return {key: stained(one, payload) for key, one in value.items()}
        case _:
            return value


def test_there_are_two_hundred_of_them() -> None:
    assert len(set(PAYLOADS)) == len(PAYLOADS) == 200


@pytest.mark.parametrize("line", [line for line, _ in LINES if not line.startswith(OWN_TEXT)])
def test_no_command_prints_what_a_terminal_obeys(im: Run, socket_path: Path, line: str) -> None:
    payload = PAYLOADS[0]

    def answer(heard: Heard) -> Canned:
        told = by_contract(heard)
        return told if isinstance(told.body, bytes) else Canned(told.status, stained(told.body, payload), told.headers)

    with FakeDaemon(answer, socket_path) as daemon:
        place = sum(line.encode()) % 7
        for payload in PAYLOADS[place::7]:
            outcome = im(*line.split(), "--socket", daemon.address)
            printed = outcome.out + outcome.err
            assert outcome.code in (0, 1, 3), outcome.err
            assert not {hex(ord(letter)) for letter in printed if ord(letter) in OBEYED}, (line, payload)


@pytest.mark.parametrize("line", [line for line, asked in LINES if len(asked) == 1 and not line.startswith(OWN_TEXT)])
def test_json_has_every_letter_as_it_came(im: Run, socket_path: Path, line: str) -> None:
    payload = "\x1b]0;x\x07\u202e\u2066\n\u00ad"
    told: list[Json] = []

    def answer(heard: Heard) -> Canned:
        canned = by_contract(heard)
        if isinstance(canned.body, bytes):
            return canned
        told.append(stained(canned.body, payload))
        return Canned(canned.status, told[-1], canned.headers)

    with FakeDaemon(answer, socket_path) as daemon:
        printed = im(*line.split(), "--format", "json", "--socket", daemon.address).out
    assert not any(letter in printed for letter in "\x1b\x07\u202e\u2066")
    assert json.loads(printed) == told[0] or told[0] is None
