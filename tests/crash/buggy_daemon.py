"""``syncd`` with two bugs: each strikes where an incident's title has its words, until there is a file of that name.

What cannot be rehearsed on a sound daemon: a link that is parked, and an integration that is halted.
"""

import os
from pathlib import Path
from typing import Final

from syncd.__main__ import main
from syncd.actors import merger, sender
from syncd.core.deciding import merge_link
from syncd.core.events import Change
from syncd.core.model import Link
from syncd.core.outbox import due_links
from syncd.core.state import State

MENDED: Final = "BUGGY_DAEMON_MENDED"  # the variable that names the folder of those files
MERGING_FAILS, SENDER_FAILS = "crashes its merger", "crashes the sender"


def _strike(state: State, link: Link, word: str) -> None:
    if word in state.incidents[link.incident_id].title and not Path(os.environ[MENDED], word).exists():
        raise LookupError("a case nobody thought of")


def _merge_link(state: State, at_s: float, name: str) -> Change[bool]:
    _strike(state, state.links[name], MERGING_FAILS)
    return merge_link(state, at_s, name)


def _due_links(state: State, integration_id: str, at_s: float, limit: int, *, without: frozenset[str]) -> list[Link]:
    due = due_links(state, integration_id, at_s, limit, without=without)
    for link in due:
        _strike(state, link, SENDER_FAILS)
    return due


if __name__ == "__main__":
    vars(merger)["merge_link"] = _merge_link
    vars(sender)["due_links"] = _due_links
    main()
