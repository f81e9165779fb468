"""Help pages: what a command is for, how it is called, and its options, as plain text of at most 80 columns.

cyclopts would print them itself, but only through rich, which costs more time than all else that `im` does. What a page
says still comes from cyclopts' model of the command, so it cannot differ from what is parsed.
"""

import inspect
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cyclopts import App
from cyclopts.argument import Argument
from cyclopts.group_extractors import groups_from_app

from syncd.edges.cli.render import wrap

COLUMNS_MAX = 80
LABEL_MAX = 28  # what is longer stands on a line of its own
_INDENT, _GAP = "  ", "  "
_OURS = {"Parameters": "Options"}  # cyclopts' word to ours

Row = tuple[str, str]


NO_CONSOLE: Any = object()  # cyclopts would import rich to make one, even to print nothing on it


class Root(App):
    """The root of a command line with help pages of ours. Give it ``NO_CONSOLE`` for both consoles."""

    def help_print(self, tokens: str | Iterable[str] | None = None, *, console: Any = None) -> None:
        """What cyclopts runs for ``--help``, and for the name of a group of commands alone."""
        print(page(self, tokens))

    def version_print(self, console: Any = None) -> None:
        """What cyclopts runs for ``--version``."""
        print(self.version)


def page(root: App, words: str | Iterable[str] | None) -> str:
    """The page of the command that ``words`` name."""
    chain, path, _ = root.parse_commands(words)
    command = path[-1]
    own = _arguments(command)
    sections: dict[str, list[Row]] = {"Commands": _commands(command)}
    for argument in (*own, *_arguments(root.meta)):
        sections.setdefault(_section(argument), []).append(_row(argument))
    blocks = [_usage(root, chain, own, is_group=bool(sections["Commands"])), *_paragraphs(_text(command))]
    blocks += ["\n".join([f"{title}:", *_lines(rows)]) for title, rows in sections.items() if rows]
    return "\n\n".join(blocks)


def _text(command: App) -> str:
    """All that a command says of itself; what it is listed with above it is only the first sentence of that."""
    is_group = any(not name.startswith("-") for name in command)
    said = None if is_group else inspect.getdoc(command.default_command)
    return said or command.help or ""


def _arguments(app: App) -> list[Argument]:
    if app.default_command is None:
        return []
    return [argument for argument in app.assemble_argument_collection() if argument.show]


def _section(argument: Argument) -> str:
    groups: Any = argument.parameter.group  # by now a tuple of one Group
    name: str = groups[0].name
    return _OURS.get(name, name)


def _usage(root: App, chain: Sequence[str], own: Sequence[Argument], *, is_group: bool) -> str:
    words = ["Usage:", root.name[0], *chain]
    words += ["COMMAND"] if is_group else []
    words += [name if one.required else f"[{name}]" for one in own if (name := _place(one))]
    return " ".join([*words, "[OPTIONS]"])


def _paragraphs(text: str) -> Iterator[str]:
    """A docstring, its paragraphs filled anew; examples stay on the line that they were given."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if paragraph.startswith("Example"):
            yield paragraph
        elif paragraph:
            yield "\n".join(wrap(" ".join(paragraph.split()), COLUMNS_MAX))


def _commands(app: App) -> list[Row]:
    """By name, and what begins with a dash last."""
    shown = [
        (", ".join(one.names), _summary(one.app.help or ""))
        for _, group in groups_from_app(app)
        for one in group
        if one.app.show
    ]
    return sorted(shown, key=lambda row: (row[0].startswith("-"), row[0]))


def _summary(text: str) -> str:
    return " ".join(inspect.cleandoc(text).partition("\n\n")[0].split())


def _row(argument: Argument) -> Row:
    if place := _place(argument):
        label = place
    else:
        label = ", ".join(argument.names)
        label += "" if argument.negatives or argument.is_flag() else f" {_value(argument)}"
    choices, default = argument.get_choices(), argument.field_info.default
    notes = [
        argument.parameter.help or "",
        f"[one of: {', '.join(choices)}]" if choices else "",
        f"[default: {default}]" if argument.show_default else "",
        "[required]" if argument.required and not place else "",
    ]
    return label, " ".join(note for note in notes if note)


def _place(argument: Argument) -> str:
    """How a positional argument is called, empty for any other."""
    return "" if argument.index is None else argument.name.lstrip("-").upper()


def _value(argument: Argument) -> str:
    """What stands for the value of an option: the kind of word that it takes."""
    if argument.get_choices():
        return "WORD"
    kinds = {"int": "NUMBER", "float": "NUMBER"}
    name = getattr(argument.hint, "__name__", "") or str(argument.hint).partition(" ")[0]
    return kinds.get(name.partition(" ")[0], "TEXT")


def _lines(rows: Sequence[Row]) -> Iterator[str]:
    """Labels, and what they mean in a column beside them."""
    width = max((len(label) for label, _ in rows if len(label) <= LABEL_MAX), default=0)
    margin = _INDENT + " " * width + _GAP
    for label, text in rows:
        first, *rest = wrap(text, COLUMNS_MAX - len(margin))
        if len(label) > width:
            yield _INDENT + label
            first, rest = "", [first, *rest]
        if first or not rest:
            yield f"{_INDENT}{label:<{width}}{_GAP}{first}".rstrip()
        yield from (f"{margin}{line}" for line in rest if line)
