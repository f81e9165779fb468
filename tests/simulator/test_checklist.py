"""The checklist in docs/servicenow.md names tests that exist, and names every behaviour once."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs" / "servicenow.md"
TESTS = Path(__file__).parent
ROW = re.compile(r"^\| (\d+) \| [^|]+ \| (`(test_\w+)`|not yet simulated) \|$", re.MULTILINE)


def rows() -> list[tuple[int, str]]:
    """Number and test of each row; the test is empty where nothing shows the behaviour yet."""
    return [(int(number), test) for number, _, test in ROW.findall(DOCS.read_text(encoding="utf-8"))]


def test_the_checklist_has_every_item_once() -> None:
    assert [number for number, _ in rows()] == list(range(1, 83))


def test_every_test_of_the_checklist_exists_and_shows_its_item() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in TESTS.glob("test_*.py"))
    defined = set(re.findall(r"^(?:async )?def (test_item_\w+)\(", sources, re.MULTILINE))
    for number, test in rows():
        assert not test or (test in defined and test.startswith(f"test_item_{number}_")), (number, test)
    shown = {number for number, test in rows() if test}
    assert {int(name.split("_")[2]) for name in defined} == shown
