"""How each dead letter comes about (docs/operations.md, "Dead letters")."""

from collections.abc import Iterator
from typing import Final, cast

from tests.crash.installation import until
from tests.crash.rehearsal import Place, Row, Story

ROLES: Final = ["itil", "sn_incident_write", "snc_platform_rest_api_access"]
JOURNAL_ROLE: Final = "audit_viewer"


def mandatory_fields(place: Place) -> Iterator[None]:
    place.linked()
    place.edit(status="resolved")
    place.has_letter("refused")
    yield
    yield
    place.shows(state="6", close_code="Solution provided")


def unknown_close_code(place: Place) -> Iterator[None]:
    place.linked()
    place.edit(status="resolved", resolution_code="No such code", resolution_notes="restarted")
    place.has_letter("refused")
    yield
    yield
    place.shows(state="6", close_code="Solution provided", close_notes="restarted")


def business_rule(place: Place) -> Iterator[None]:
    place.linked()
    place.abort("short_description=Not wanted")
    place.edit(title="Not wanted", severity="SEV-1")
    place.has_letter("refused")
    place.shows(priority="1")
    yield
    place.control("DELETE", "/rules")
    yield
    place.shows(short_description="Not wanted")


def acl(place: Place) -> Iterator[None]:
    place.linked()
    place.acl(roles=["snc_platform_rest_api_access"])
    place.edit(title="Without a role")
    place.has_letter("refused")
    yield
    place.acl(roles=[*ROLES, JOURNAL_ROLE])
    yield
    place.shows(short_description="Without a role")


def unresolved_person(place: Place) -> Iterator[None]:
    place.linked()
    place.edit(assigned_to="nobody@nowhere.example", title="Flows all the same")
    place.has_letter("unresolved-person")
    place.shows(short_description="Flows all the same", assigned_to="")
    yield
    yield
    until(lambda: place.record()["assigned_to"] != "", "somebody is assigned")


def create(place: Place) -> Iterator[None]:
    place.control("POST", "/rules", {"policy": {"states": ["1"], "fields": ["subcategory"]}})
    place.configured()
    place.declare("Without a subcategory")
    place.has_letter("refused")
    yield
    yield
    until(place.is_linked, "the record is made")
    place.names["SYS_ID"] = str(place.links()[0]["external_id"])
    place.shows(subcategory="email", short_description="Without a subcategory")


def refused_note(place: Place) -> Iterator[None]:
    place.linked("Takes no notes")
    place.abort("short_description=Takes no notes")
    place.note("refused")
    place.has_letter("refused")
    yield
    place.control("DELETE", "/rules")
    yield
    assert place.notes_there() == ["ann:\nrefused"]


def dropped_field(place: Place) -> Iterator[None]:
    place.linked()
    place.acl(deny_write=["description"])
    place.edit(description="dropped in silence")
    place.has_letter("not-kept")
    yield
    place.acl(deny_write=[])
    yield
    place.shows(description="dropped in silence")


def rewritten_field(place: Place) -> Iterator[None]:
    place.linked()
    place.arm("title_prefix", "[P] ")
    place.edit(title="Rewritten")
    place.has_letter("not-kept")
    yield
    yield
    place.reconcile()
    assert place.record()["short_description"] == "[P] Rewritten"
    assert place.incident()["title"] == "Rewritten"


def dropped_note(place: Place) -> Iterator[None]:
    place.linked()
    place.acl(deny_write=["work_notes"])
    place.note("dropped in silence")
    place.has_letter("not-kept")
    yield
    place.acl(deny_write=[])
    yield
    assert place.notes_there() == ["ann:\ndropped in silence"]


def unconfirmed_create(place: Place, fault: str) -> list[str]:
    """Create without a clear answer under an account that drops correlation ids; the sys_ids of what was made."""
    place.acl(deny_write=["correlation_id"])
    place.linked("The first shows that correlation ids are dropped")
    place.arm(fault, times=1)
    title = f"The second, {place.handle}"
    place.declare(title)
    place.has_letter("unconfirmed")
    return made(place)


def made(place: Place) -> list[str]:
    """The records with the title of the second incident."""
    rows = cast("list[Row]", place.control("GET", "/incidents"))
    return [str(row["sys_id"]) for row in rows if row["short_description"] == f"The second, {place.handle}"]


def create_is_there(place: Place) -> Iterator[None]:
    (place.names["SYS_ID"],) = unconfirmed_create(place, "create_commits_then_reset")
    yield
    yield
    until(place.is_linked, "they are linked")
    assert made(place) == [place.names["SYS_ID"]]


def create_is_not_there(place: Place) -> Iterator[None]:
    assert unconfirmed_create(place, "create_500_without_commit") == []
    yield
    yield
    until(place.is_linked, "the record is made")
    assert len(made(place)) == 1


def unconfirmed_note(place: Place, fault: str) -> None:
    """Send a note without a clear answer under an account that may not read notes."""
    place.linked()
    place.acl(roles=ROLES, deny_read=["work_notes"])
    place.arm(fault, times=1)
    place.note("sent once")
    place.has_letter("unconfirmed")


def note_is_there(place: Place) -> Iterator[None]:
    unconfirmed_note(place, "patch_commits_then_reset")
    assert place.notes_there() == ["ann:\nsent once"]
    yield
    yield
    assert place.notes_there() == ["ann:\nsent once"]


def note_is_not_there(place: Place) -> Iterator[None]:
    unconfirmed_note(place, "patch_500_without_commit")
    assert place.notes_there() == []
    yield
    yield
    assert place.notes_there() == ["ann:\nsent once"]


LETTERS: Final[dict[str, Story]] = {
    "Refused: mandatory fields": mandatory_fields,
    "Refused: an unknown close code": unknown_close_code,
    "Refused: a business rule": business_rule,
    "Refused: an ACL": acl,
    "Unresolved: a person": unresolved_person,
    "Refused: a create": create,
    "Refused: a work note": refused_note,
    "Not kept: a field we may not write": dropped_field,
    "Not kept: a rule rewrote it": rewritten_field,
    "Not kept: a work note": dropped_note,
    "Unconfirmed: a create whose record is there": create_is_there,
    "Unconfirmed: a create whose record is not there": create_is_not_there,
    "Unconfirmed: a work note that is there": note_is_there,
    "Unconfirmed: a work note that is not there": note_is_not_there,
}
