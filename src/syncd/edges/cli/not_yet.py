"""Commands of the product that this version has not: known by name, so that they are refused and not misunderstood.

They stand in no help and no completion, take any arguments, and say in one line what to use instead.
"""

from typing import Annotated, Final, NoReturn

from cyclopts import App, Parameter

from syncd.errors import SyncdError

VERSION_WORDS: Final = "is not in this version of syncd"


class NotInThisVersion(SyncdError):
    """Asked for by a name that we know, and cannot do."""


def refused(what: str, instead: str = "") -> NotInThisVersion:
    """The error that says so. ``instead``: what does nearly the same, if anything does."""
    return NotInThisVersion(f"{what} {VERSION_WORDS}", hint=instead)


def refuse(app: App, name: str, *, command: str, instead: str = "") -> None:
    """Make ``name`` a hidden command of ``app`` that is always refused. ``command``: its full line, without ``im``."""

    def absent(*_words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)]) -> NoReturn:
        raise refused(f"im {command}", instead)

    text = f"im {command} {VERSION_WORDS}."
    app.command(absent, name=name, help=f"{text}\n\nInstead: {instead}." if instead else text, show=False)
