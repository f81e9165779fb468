"""docs/operations.md is true: each state and each dead letter is produced, shown, and resolved by its own commands.

How they come about is in ``stories_states.py`` and ``stories_letters.py``; what must be shown then, and which commands
are run, is read from the page.
"""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.buggy_daemon import MENDED
from tests.crash.installation import Installation, until
from tests.crash.rehearsal import Place
from tests.crash.stories_letters import LETTERS
from tests.crash.stories_states import HALTED, STATES, begin_to_halt

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
STORIES = STATES | LETTERS
CHAPTERS = ("Is it well?", "Dead letters")
SHOWN = re.compile(r"^Shown by `([^`]+)`: (.+)\.$", re.MULTILINE)
COMMAND = re.compile(r"^ {4}(.+)$", re.MULTILINE)


def sections() -> dict[str, str]:
    """The sections of the two chapters, by heading."""
    found = {}
    for chapter in re.split(r"^## ", PAGE.read_text(), flags=re.MULTILINE):
        if chapter.startswith(tuple(f"{name}\n" for name in CHAPTERS)):
            for part in re.split(r"^### ", chapter, flags=re.MULTILINE)[1:]:
                heading, _, text = part.partition("\n")
                found[heading] = text
    return found


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    one = Installation(tmp_path_factory.mktemp("installation"))
    one.daemon.module = "tests.crash.buggy_daemon"
    one.daemon.environ |= {
        "INCIDENTS_AUTH": "none",
        "PYTHONPATH": str(PAGE.parents[1]),
        MENDED: str(one.folder / "mended"),
    }
    try:
        one.start()
        begin_to_halt(place_of(one, HALTED))
        yield one
    finally:
        one.stop()


def place_of(installation: Installation, heading: str) -> Place:
    return Place(installation, re.sub("[^a-z]+", "-", heading.lower()))


def test_every_section_has_a_story_a_line_of_what_is_shown_and_a_command() -> None:
    found = sections()
    assert sorted(found) == sorted(STORIES)
    for heading, text in found.items():
        assert SHOWN.search(text), heading
        assert COMMAND.search(text), heading


@pytest.mark.parametrize("heading", STORIES)
def test_it_is_produced_and_shown_and_its_commands_resolve_it(heading: str, installation: Installation) -> None:
    text, place = sections()[heading], place_of(installation, heading)
    story = STORIES[heading](place)
    try:
        next(story)
        for command, line in SHOWN.findall(text):
            shown = " ".join(run(place, command).split())
            for words in re.findall(r"`([^`]+)`", line):
                assert words in shown, shown
        next(story)
        for command in COMMAND.findall(text):
            run(place, command)
        until(place.is_well, lambda: f"all is well again; {place.told()}", 40)
        assert next(story, "over") == "over"
    finally:
        place.calm()


def run(place: Place, command: str) -> str:
    """Run a command line of the page with the installed `im`, what stands for a name put in its place."""
    im, *words = (place.named(word) for word in shlex.split(command))
    assert im == "im"
    return place.im(*words)
