"""Who a record is assigned to, and whom a text of the platform names (docs/sync.md, "People").

The platform names a person by e-mail address or user name, ServiceNow by ``sys_id``. A record shows all three in one
read, so reading asks nobody; writing rests on a look-up that is judged here. Never guesses: a display name names
nobody, and of two people who fit none is chosen.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import UNSET, Struct

from syncd.core.model import Half

PERSON_COLUMN: Final = "assigned_to"
NAME_LETTERS_MAX: Final = 200
_SCRIPT: Final = "javascript:"


class Person(Struct, frozen=True):
    """Whom ServiceNow knows by a text. ``sys_id`` empty: nobody can be chosen, and ``problem`` says why."""

    sys_id: str = ""
    problem: str = ""


class Candidate(Struct, frozen=True):
    """A row of ServiceNow's users. ``name``: what the look-up compared, an e-mail address or a user name."""

    sys_id: str
    name: str
    is_active: bool


def canonical_person(text: str) -> str:
    """The form in which two names are compared: ASCII letters without their case, as ServiceNow compares them too.

    Anything else must be equal. What a database may take for equal beyond that, such as accents, is somebody else.
    """
    return text.lower() if text.isascii() else text


def person_columns(column: str) -> tuple[str, ...]:
    """What must be read of a record to know whom a column refers to."""
    return column, f"{column}.user_name", f"{column}.email"


def raw_person(record: Mapping[str, str], column: str = PERSON_COLUMN) -> Half:
    """The raw external half of a person: ``user_name <email> sys_id``, empty when nobody is there.

    UNSET when the account may not read who it is, or the column refers to no users.
    """
    name, of_user, of_email = person_columns(column)
    sys_id = record.get(name)
    if not sys_id:
        return UNSET if sys_id is None else ""
    user_name, email = record.get(of_user), record.get(of_email)
    if user_name is None and email is None:
        return UNSET
    return f"{user_name or ''} <{email or ''}> {sys_id}"


def person_meant(raw: str, said: str) -> Half:
    """Whom a raw half means, in the platform's words: ``said`` if that names the same person, else the e-mail address,
    else the user name. UNSET for a person who has neither, such as one whose row was deleted.
    """
    if not raw:
        return ""
    names, _, _ = raw.rpartition(" ")
    user_name, _, email = names.rpartition(" <")
    shown = [name for name in (email.removesuffix(">").strip(), user_name.strip()) if _is_name(name)]
    if said and any(canonical_person(name) == canonical_person(said) for name in shown):
        return said
    return shown[0] if shown else UNSET


def _is_name(text: str) -> bool:
    return 0 < len(text) <= NAME_LETTERS_MAX and not any(
        unicodedata.category(one) in {"Cc", "Zl", "Zp"} for one in text
    )


def fault_of_name(text: str) -> str | None:
    """Why a text must not be put into a query; None when it may. ``^`` is structure there, and would widen it."""
    if not _is_name(text) or "^" in text or text.lower().startswith(_SCRIPT):
        return "it holds what no e-mail address and no user name has, so ServiceNow is not asked for it"
    return None


def columns_to_ask(text: str) -> tuple[str, ...]:
    """By which columns a text may name a person, in this order; an e-mail address can be a user name as well."""
    return ("email", "user_name") if "@" in text else ("user_name",)


def chosen(text: str, column: str, found: Sequence[Candidate]) -> Person | None:
    """The one active person whom a look-up by ``column`` found, exactly; None: nobody, so another may be tried."""
    wanted = canonical_person(text)
    exact = [one for one in found if one.sys_id and canonical_person(one.name) == wanted]
    active = [one for one in exact if one.is_active]
    words = {"email": "e-mail address", "user_name": "user name"}[column]
    if len(exact) > 1:
        return Person(problem=f"more than one person has the {words} {text!r}")
    if exact and not active:
        return Person(problem=f"the person with the {words} {text!r} is not active any more")
    return Person(active[0].sys_id) if active else None


def nobody(text: str) -> Person:
    """What a text that found no one comes to."""
    return Person(problem=f"nobody who is active has the e-mail address or user name {text!r}")
