"""Finding what callers name: the thing itself, or a 404 that says how to find it.

An integration is named by id, handle, or its display name where that is unique (contract section 1).
"""

import re
from difflib import get_close_matches
from typing import Final

from syncd.core.fields import shown
from syncd.core.model import Conflict, DeadLetter, Incident, Integration, Link
from syncd.core.state import State, link_id
from syncd.errors import Unknown

HANDLE: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
HANDLES_LISTED_MAX: Final = 20


def incident(state: State, incident_id: str) -> Incident:
    """The incident of that id; ``Unknown`` otherwise."""
    found = state.incidents.get(incident_id)
    if found is None:
        raise Unknown(f"there is no incident {shown(incident_id)}", hint="list them: im incident list")
    return found


def integration(state: State, word: str) -> Integration:
    """The integration of that id, handle or unique name; ``Unknown`` with the handles there are otherwise."""
    found = state.integrations.get(word) or by_handle(state, word)
    if found is not None:
        return found
    named = [one for one in state.integrations.values() if one.settings.name == word]
    if len(named) == 1:
        return named[0]
    if named:
        handles = ", ".join(one.settings.handle for one in named)
        raise Unknown(
            f"{len(named)} integrations are named {shown(word)}; their handles are {handles}", hint="give a handle"
        )
    message, hint = _nothing_called(state, word)
    raise Unknown(message, hint=hint)


def by_handle(state: State, handle: str) -> Integration | None:
    """The integration of that handle; None if it is free."""
    return next((one for one in state.integrations.values() if one.settings.handle == handle), None)


def _nothing_called(state: State, word: str) -> tuple[str, str]:
    """The message and the hint for a name that nothing has."""
    handles = [one.settings.handle for one in state.integrations.values()]
    if not handles:
        new = word if HANDLE.fullmatch(word) else "prod-snow"
        hint = f"make one: im integration configure {new} --name 'Production ServiceNow' --base-url https://… --org …"
        return f"there is no integration {shown(word)}, and no other either", hint
    listed = ", ".join(handles[:HANDLES_LISTED_MAX]) + (", …" if len(handles) > HANDLES_LISTED_MAX else "")
    message = f"there is no integration {shown(word)}; the handles are {listed}"
    if not HANDLE.fullmatch(word):
        return message, "give one of these handles, or list them: im integration list"
    if near := get_close_matches(word, handles, n=1, cutoff=0.7):
        return message, f"did you mean {near[0]}? Or list them: im integration list"
    return message, f"give one of these, or rename one: im integration configure {handles[0]} --handle {word}"


def conflict(state: State, conflict_id: str) -> Conflict:
    """The conflict of that id; ``Unknown`` otherwise."""
    found = state.conflicts.get(conflict_id)
    if found is None:
        raise Unknown(f"there is no conflict {shown(conflict_id)}", hint="list them: im conflict list")
    return found


def dead_letter(state: State, within: Integration, letter_id: str) -> DeadLetter:
    """The dead letter of that id under an integration; ``Unknown`` when it was delivered, discarded or never was."""
    found = state.dead_letters.get(letter_id)
    if found is None or found.integration_id != within.id:
        handle = within.settings.handle
        raise Unknown(
            f"there is no dead letter {shown(letter_id)} under {handle}; it may have been delivered or discarded",
            hint=f"list them: im integration dlq {handle}",
        )
    return found


def link(state: State, within: Integration, incident_id: str) -> Link:
    """The link of an incident under an integration; ``Unknown`` when it has none there."""
    found = state.links.get(link_id(within.id, incident(state, incident_id).id))
    if found is None:
        handle = within.settings.handle
        raise Unknown(f"{incident_id} is not linked under {handle}", hint=f"list them: im integration links {handle}")
    return found
