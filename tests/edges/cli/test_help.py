"""Help pages and completion scripts say what is parsed."""

import shutil
import subprocess
from collections.abc import Iterator

import pytest
from cyclopts import App

from syncd import __version__
from syncd.edges.cli.help import COLUMNS_MAX
from syncd.edges.cli.main import build
from syncd.edges.cli.session import World
from tests.edges.cli.conftest import Run

WORLD = World(environ={}, user_id=1000, now_s=0.0, new_key=str, read_stdin=bytes, ask_password=None, sleep_s=print)


def commands(app: App, *chain: str) -> Iterator[tuple[tuple[str, ...], App]]:
    """Every command that is shown, with the words that call it."""
    for name in app:
        if not name.startswith("-") and app[name].show:
            yield (*chain, name), app[name]
            yield from commands(app[name], *chain, name)


COMMANDS = dict(commands(build(WORLD)))


@pytest.mark.parametrize("chain", COMMANDS, ids=" ".join)
def test_a_page_has_every_option_and_every_subcommand(im: Run, chain: tuple[str, ...]) -> None:
    page = im(*chain, "--help").out
    command = COMMANDS[chain]
    wanted = set()
    if command.default_command is not None:
        wanted = {argument.name for argument in command.assemble_argument_collection() if argument.show}
    wanted |= {name for name in command if not name.startswith("-") and command[name].show}
    assert wanted - set(page.replace(",", " ").replace("[", " ").replace("]", " ").split()) == set()
    usage = page.partition("\n")[0]
    assert usage.startswith(f"Usage: im {' '.join(chain)}")
    filled = page.partition("\nExample")[0] + page.partition("\n\nOptions:")[2]  # an example is not broken
    assert max(map(len, filled.splitlines())) <= COLUMNS_MAX


def test_a_page_in_full(im: Run) -> None:
    assert im("incident", "note", "--help").out == (
        "Usage: im incident note INCIDENT_ID TEXT [OPTIONS]\n"
        "\n"
        "Add a work note; notes are only ever added, and go to the work notes of the\n"
        "linked records.\n"
        "\n"
        'Example: im incident note INC-4Q7ZK2M9XD "Failed over to the second region"\n'
        "\n"
        "Arguments:\n"
        "  INCIDENT_ID\n"
        "  TEXT         A single - reads standard input.\n"
        "\n"
        "Options:\n"
        "  --author TEXT\n"
        "\n"
        "Options of every command:\n"
        "  --format WORD  [one of: table, json] [default: table]\n"
        "  --server TEXT  URL of a daemon elsewhere [$INCIDENTS_SERVER].\n"
        "  --token TEXT   For --server [$INCIDENTS_TOKEN].\n"
        "  --socket TEXT  Socket of the daemon here [$INCIDENTS_SOCKET].\n"
    )


@pytest.mark.parametrize("word", ["declare", "status", "watch"])
def test_a_command_is_listed_with_the_first_words_of_its_own_page(im: Run, word: str) -> None:
    command = COMMANDS[word,]
    listed = " ".join((command.help or "").split())
    page = im(word, "--help").out
    assert " ".join(page.split("\n\n")[1].split()) == listed
    assert f"\nExample: im {word}" in page


def test_what_must_be_given_is_marked(im: Run) -> None:
    declare = im("declare", "--help").out
    assert "--title TEXT            [required]" in declare
    assert "1 to 4. [required]" in declare
    assert "Usage: im integration configure [HANDLE] [OPTIONS]" in im("integration", "configure", "--help").out


def test_a_label_that_is_too_long_stands_on_its_own_line(im: Run) -> None:
    lines = im("integration", "configure", "--help").out.splitlines()
    label = lines.index("  --create-external, --no-create-external")
    assert lines[label + 1].strip() == "A new incident makes a ServiceNow record."
    assert lines[label + 1].startswith("   ")


def test_help_for_a_mistyped_command_says_so(im: Run) -> None:
    outcome = im("incident", "lst", "--help")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith('im: Unknown command "lst". Did you mean "list"?')


def test_the_version_is_printed(im: Run) -> None:
    assert im("--version").out == f"{__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_commands_flags_and_choices(im: Run, shell: str) -> None:
    outcome = im("completion", shell)
    assert outcome.code == 0
    for word in ("dlq-retry", "--conflict-strategy" if shell != "fish" else "conflict-strategy", "ownership-priority"):
        assert word in outcome.out


INSTALLED = [shell for shell in ("bash", "zsh", "fish") if shutil.which(shell)]


@pytest.mark.parametrize("shell", INSTALLED)  # bash is everywhere; the others are checked where they are
def test_the_shell_accepts_its_completion_script(im: Run, shell: str) -> None:
    source = im("completion", shell).out.encode()
    check = subprocess.run([shell, "-n"], input=source, capture_output=True, timeout=20, check=False)
    assert (check.returncode, check.stderr) == (0, b"")
    broken = subprocess.run([shell, "-n"], input=source + b"\nif ((\n", capture_output=True, timeout=20, check=False)
    assert broken.returncode != 0
