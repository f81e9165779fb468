"""What every reason means, in words for whoever is on call: the rules that decide a value, and how a field is now.

Owns the sentences and the ways out, and decides nothing. ``tests/core/test_reasons.py`` fails when a reason has no
words here, and when docs/sync.md does not show these words. In a way out, ``{INC}``, ``{INTEGRATION}``, ``{FIELD}``,
``{CONFLICT}`` and ``{ENTRY}`` stand for the names at hand.
"""

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

Settling: TypeAlias = Literal[
    "created",  # the record was made from the incident
    "joined",  # the pair was joined, and this field agreed by construction
    "delivered",  # a write is known to have happened
    "decided-by-person",
    "told-in-a-note",  # the record is closed there, so the edit went there in words
    "left-to-auto-close",  # our account may not close, so the record is resolved
]
Standing: TypeAlias = Literal[
    "in-step",
    "shortened",
    "not-kept",
    "accepted",
    "held-for-review",
    "waiting",
    "trying-again",
    "being-sent",
    "outcome-unknown",
    "dead-letter",
    "discarded",
    "to-be-decided",
    "no-record",
    "parked",
    "closed-there",
    "hidden",
    "no-mapping",
    "switched-off",
]
Unsynced: TypeAlias = Literal["not-synced", "close-data"]


class Words(Struct, frozen=True):
    """``says``: one sentence. ``way_out``: what to do about it, empty when there is nothing to be done."""

    says: str
    way_out: str = ""


_RESOLVE: Final = "choose: im conflict resolve {CONFLICT} --use-platform | --use-external | --value V"
_OVERRULED: Final = "the value that lost is kept: im conflict show {CONFLICT}; edit {FIELD} again to bring it back"

RULES: Final[Mapping[str, Words]] = {
    "unchanged": Words("neither side has changed since they last agreed"),
    "same-meaning": Words("ServiceNow's value changed and still means the same here, so nothing was moved"),
    "converged": Words("both sides came to the same value, so nothing had to be moved"),
    "read-again": Words(
        "both sides seem to be the same, but ServiceNow was last read before the platform's edit, so it is read again"
    ),
    "one-side-changed": Words(
        "only one side had changed since they last agreed, or only its edits may spread, so the other follows it",
        _OVERRULED,
    ),
    "one-empty": Words("at the first comparison one side was empty, so it takes the other's value"),
    "first-link": Words(
        "at the first comparison the sides differed with no common past, so the field's owner stands", _OVERRULED
    ),
    "later-edit": Words("both sides changed it without having seen each other, and the later edit stands", _OVERRULED),
    "owner": Words(
        "both sides changed it without having seen each other, and the strategy lets the field's owner stand",
        _OVERRULED,
    ),
    "order-unknown": Words(
        "both sides changed it, and ServiceNow's whole-second stamps cannot tell which came later, so the owner stands",
        _OVERRULED,
    ),
    "held-for-review": Words(
        "both sides changed it without having seen each other, and the strategy asks a person; "
        "nothing moves until then",
        _RESOLVE,
    ),
    "exclusive": Words(
        "the field belongs to one side alone, so its owner's value was put back after the other side's edit",
        "the value that lost is kept: im conflict show {CONFLICT}; who owns it: "
        "im integration field-ownership list {INTEGRATION}",
    ),
    "put-back-too-often": Words(
        "the owner's value was put back again and again, and something undoes it each time; a person is asked",
        "see which rule of the instance does it; " + _RESOLVE,
    ),
    "told-in-a-note": Words(
        "the record is closed in ServiceNow and takes no edits, so this one went there as a work note"
    ),
    "left-to-auto-close": Words(
        "our account may not close records there, so this one is resolved, and ServiceNow's auto-close does the rest"
    ),
    "decided-by-person": Words("a person settled the conflict over it", _OVERRULED),
    "not-inbound": Words(
        "ServiceNow's value changed, and the direction of the integration, or of the field, does not let it come in",
        "to let edits in: im integration configure {INTEGRATION} --direction bidirectional, or see the field's own: "
        "im integration field-mapping list {INTEGRATION}; this one stays there until {FIELD} is edited again",
    ),
    "not-outbound": Words(
        "the platform's value changed, and the direction of the integration, or of the field, does not let it go out",
        "to let edits out: im integration configure {INTEGRATION} --direction bidirectional, or see the field's own: "
        "im integration field-mapping list {INTEGRATION}; this one stays here until {FIELD} is edited again",
    ),
    "unreadable": Words("ServiceNow does not show the field, or shows a value that means nothing here"),
    "created": Words("the record was made from this incident"),
    "joined": Words("the record was made from this incident, or the incident from it, so the sides began alike"),
    "delivered": Words("the platform's value was written to ServiceNow"),
}

STANDINGS: Final[Mapping[Standing, Words]] = {
    "in-step": Words("both sides mean the same"),
    "shortened": Words("ServiceNow kept as much of the value as its column holds; that is settled, and not drift"),
    "not-kept": Words(
        "ServiceNow answered success and kept something else; it is not sent again by itself",
        "see which rule of the instance did it, then: im integration dlq-retry {INTEGRATION} {ENTRY}, or edit {FIELD}",
    ),
    "accepted": Words("the sides differ, and that has been accepted until one of them changes again"),
    "held-for-review": Words("a person must choose; both sides keep what they have until then", _RESOLVE),
    "waiting": Words("the platform's value waits for its turn to be written"),
    "trying-again": Words(
        "the last attempt to write it did not succeed, and it is tried again by itself",
        "the connection as a whole: im integration sync-status {INTEGRATION}",
    ),
    "being-sent": Words("the platform's value is on its way to ServiceNow at this moment"),
    "outcome-unknown": Words(
        "a write got no clear answer; the record is read before anything is sent again, so nothing is written twice"
    ),
    "dead-letter": Words(
        "ServiceNow refused the value, or it could not be sent, so it is held back until something changes",
        "see its words: im integration dlq {INTEGRATION}; then: im integration dlq-retry {INTEGRATION} {ENTRY}",
    ),
    "discarded": Words(
        "a refused write was given up, so the sides stay different until the next edit",
        "edit {FIELD} to try again: im incident update {INC}",
    ),
    "to-be-decided": Words("something has changed and will be compared in a moment"),
    "no-record": Words(
        "the record does not exist in ServiceNow yet",
        "what holds it up: im integration links {INTEGRATION} and im integration dlq {INTEGRATION}",
    ),
    "parked": Words(
        "the link is set aside, and nothing is compared or written until something about it is new",
        "try it again: im integration reconcile {INTEGRATION} --auto-heal",
    ),
    "closed-there": Words(
        "the record is closed in ServiceNow and takes no edits, so what was edited here waits until it is open again",
        "open it there, or give our account the right to edit closed records and then edit {INC} here: "
        "each new edit is tried once",
    ),
    "hidden": Words(
        "ServiceNow does not show this field to our account, or has no such column, so it is neither read nor written",
        "see which column it is: im integration field-mapping list {INTEGRATION}; "
        "give the account read and write access to it (ACL), then: im integration reconcile {INTEGRATION} --auto-heal",
    ),
    "no-mapping": Words(
        "ServiceNow's value has no meaning here, so it is neither taken over nor overwritten",
        "change it there to a value that has one, or give it one: im integration field-mapping list {INTEGRATION}",
    ),
    "switched-off": Words(
        "the integration is disabled or its direction is none, so nothing is compared until it is on again",
        "switch it on: im integration configure {INTEGRATION} --enabled --direction bidirectional",
    ),
}

UNSYNCED: Final[Mapping[Unsynced, Words]] = {
    "not-synced": Words(
        "kept on the platform only, until it is mapped to a column of the instance",
        "map it: im integration field-mapping set {INTEGRATION} {FIELD} --external-field u_…",
    ),
    "close-data": Words("not compared; it goes to ServiceNow with the status when the record is resolved or closed"),
}


def filled(text: str, names: Mapping[str, str]) -> str:
    """A way out with its names in place; one that is not at hand stays a word in capitals."""
    for name in ("INC", "INTEGRATION", "FIELD", "CONFLICT", "ENTRY"):
        text = text.replace(f"{{{name}}}", names.get(name, "") or name)
    return text
