"""The tables in docs/servicenow.md name tests and switches that exist, and name every behaviour once."""

import re
from pathlib import Path

from syncd.simulator.fault_catalogue import SWITCHES

DOCS = Path(__file__).parents[2] / "docs" / "servicenow.md"
TESTS = Path(__file__).parent
SYNC = [TESTS.parent / folder for folder in ("actors", "core", "edges", "systems")]
ROW = re.compile(
    r"^\| (\d+) \| [^|]+ \| (?:`(test_\w+)`|not yet simulated) \| (?:never (?:asked for|sent): )?`(test_\w+)` \|$",
    re.MULTILINE,
)


ASSUMED = re.compile(r"^\| (\d+) \| `(\w+)` \| ([^|]+) \| [^|]+ \| `(test_\w+)` \|$", re.MULTILINE)


def rows() -> list[tuple[int, str]]:
    """Number and test of each row; the test is empty where nothing shows the behaviour yet."""
    return [(int(number), test) for number, test, _ in ROW.findall(DOCS.read_text(encoding="utf-8"))]


def sources() -> str:
    """All test files of the simulator."""
    return "".join(path.read_text(encoding="utf-8") for path in TESTS.glob("test_*.py"))


def test_what_is_assumed_has_a_switch_with_both_positions_and_a_test_that_sets_each() -> None:
    text = sources()
    assumed = ASSUMED.findall(DOCS.read_text(encoding="utf-8"))
    assert {int(number) for number, *_ in assumed} == {27, 28, 31, 36, 46, 51, 58}
    for number, name, positions, test in assumed:
        switch = SWITCHES[name]
        assert positions == " or ".join(
            f"`{one}`" for one in (switch.default, *sorted({*switch.choices} - {switch.default}))
        )
        assert len(switch.choices) == 2, name
        assert test.startswith(f"test_item_{number}_{name}_")
        start = text.index(f"def {test}(")
        above = text[text.rindex("\n\n\n", 0, start) : text.index("\n\n\n", start)]
        assert all(f'"{one}"' in above for one in switch.choices), test


def test_the_checklist_has_every_item_once() -> None:
    assert [number for number, _ in rows()] == list(range(1, 83))


def test_every_test_of_the_checklist_exists_and_shows_its_item() -> None:
    defined = set(re.findall(r"^(?:async )?def (test_item_\w+)\(", sources(), re.MULTILINE))
    for number, test in rows():
        assert not test or (test in defined and test.startswith(f"test_item_{number}_")), (number, test)
    shown = {number for number, test in rows() if test}
    assert {int(name.split("_")[2]) for name in defined} == shown


def test_what_the_sync_survives_it_survives_in_a_test_of_its_own() -> None:
    text = "".join(path.read_text(encoding="utf-8") for folder in SYNC for path in folder.rglob("test_*.py"))
    defined = set(re.findall(r"^(?:async )?def (test_\w+)\(", text, re.MULTILINE))
    survived = {test for _, _, test in ROW.findall(DOCS.read_text(encoding="utf-8"))}
    assert survived <= defined
