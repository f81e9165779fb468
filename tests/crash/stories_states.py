"""How each state of an integration comes about (docs/operations.md, "Is it well?")."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

from tests.crash.buggy_daemon import MERGING_FAILS, SENDER_FAILS
from tests.crash.daemon_process import free_port
from tests.crash.installation import until
from tests.crash.rehearsal import PASSWORD, Place, Row, Story


def healthy(place: Place) -> Iterator[None]:
    place.linked()
    yield
    yield
    place.shows(short_description="Checkout is down")


def last_request_failed(place: Place) -> Iterator[None]:
    place.linked()
    place.arm("query_acl", "refuse")
    place.acl(deny_match=["sys_id"])
    place.im("integration", "reconcile", place.handle, "--auto-heal", code=1)
    place.becomes("degraded", "Insufficient rights to query records")
    yield
    place.acl(deny_match=[])
    place.agent_writes(short_description="Not read meanwhile")
    yield
    assert place.incident()["title"] == "Not read meanwhile"


def dead_letters(place: Place) -> Iterator[None]:
    place.linked()
    place.abort("short_description=Refused twice")
    place.edit(title="Refused twice")
    place.has_letter("refused")
    place.becomes("degraded", "1 dead letter")
    yield
    place.control("DELETE", "/rules")
    yield
    place.shows(short_description="Refused twice")


def conflicts_wait(place: Place) -> Iterator[None]:
    place.configured(conflict_strategy="manual-review", conflict_window="always")
    place.linked()
    place.agent_writes(short_description="From the agent")
    place.edit(title="From the engineer", severity="SEV-1")
    place.becomes("degraded", "1 conflict")
    place.shows(short_description="From the agent", priority="1")
    (conflict,) = cast("list[Row]", place.ask("GET", f"/conflicts?integration={place.handle}"))
    place.names["CONFLICT"] = str(conflict["id"])
    yield
    yield
    place.shows(short_description="From the engineer")


def records_not_shown(place: Place) -> Iterator[None]:
    place.linked()
    place.control("DELETE", f"/incidents/{place.names['SYS_ID']}", {"as_user": "admin"})
    place.reconcile()
    place.becomes("degraded", "1 linked record")
    yield
    yield
    assert place.incident()["status"] == "open"
    assert place.links() == []


def run_stopped(place: Place) -> Iterator[None]:
    place.linked()
    names = [place.names["INC"], *(place.declare(f"Closed by script {number}") for number in range(10))]
    until(lambda: all(link["state"] == "active" for link in place.links()) and len(place.links()) == 11, "11 links")
    for link in place.links():
        closed = {"state": "7", "close_code": "Solution provided", "close_notes": "all of them"}
        body = {"fields": closed, "as_user": "admin", "rules": False}
        place.control("POST", f"/incidents/{link['external_id']}/edit", body)
    place.reconcile()
    place.becomes("degraded", "it would close 11 of 11 links")
    assert place.incident()["status"] == "open"
    yield
    yield
    place.names["INC"] = names[0]
    assert place.incident()["status"] == "closed"


def links_are_parked(place: Place) -> Iterator[None]:
    place.linked()
    place.agent_writes(description="from an agent")
    place.edit(title=f"This one {MERGING_FAILS}")
    place.becomes("degraded", "1 link parked")
    yield
    place.mend(MERGING_FAILS)
    yield
    place.shows(short_description=f"This one {MERGING_FAILS}")
    assert place.incident()["description"] == "from an agent"


def polls_do_not_get_through(place: Place) -> Iterator[None]:
    place.linked()
    place.acl(deny_range=["sys_updated_on"])
    place.configure(poll_interval="1s")
    place.becomes("degraded", "polls do not get through")
    yield
    place.acl(deny_range=[])
    place.agent_writes(short_description="Found by looking")
    yield
    until(lambda: place.incident()["title"] == "Found by looking", "the poll finds it", 40)


def value_without_mapping(place: Place) -> Iterator[None]:
    place.linked()
    place.agent_writes(state="17", short_description="Flows all the same")
    place.reconcile()
    place.becomes("degraded", f"im incident show {place.names['INC']}")
    assert (place.incident()["status"], place.incident()["title"]) == ("open", "Flows all the same")
    yield
    place.agent_writes(state="3")
    yield
    assert place.incident()["status"] == "mitigated"


def does_not_answer(place: Place) -> Iterator[None]:
    place.linked()
    place.arm("hibernating")
    place.edit(title="Edited meanwhile")
    place.becomes("down", "hibernating")
    yield
    place.control("DELETE", "/faults")
    yield
    place.shows(short_description="Edited meanwhile")


def leads_nowhere(place: Place) -> Iterator[None]:
    place.configured(base_url=f"http://127.0.0.1:{free_port()}")
    place.declare("Waits for its record")
    place.becomes("down", "cannot be reached")
    yield
    yield
    until(place.is_linked, "the record is made")


def disabled(place: Place) -> Iterator[None]:
    place.linked()
    place.configure(enabled=False)
    place.edit(title="Edited meanwhile")
    place.agent_writes(description="Written meanwhile")
    yield
    yield
    place.shows(short_description="Edited meanwhile")
    until(lambda: place.incident()["description"] == "Written meanwhile", "what was written there arrives")


def direction_none(place: Place) -> Iterator[None]:
    place.linked()
    place.configure(sync_direction="none")
    place.edit(title="Edited meanwhile")
    yield
    yield
    place.shows(short_description="Edited meanwhile")


def no_credentials(place: Place) -> Iterator[None]:
    place.configured(credentials=None)
    place.declare("Waits for its record")
    place.becomes("paused")
    yield
    yield
    until(place.is_linked, "the record is made")


def credentials_refused(place: Place) -> Iterator[None]:
    place.linked()
    place.control("POST", "/users", {"user": place.user, "password": f"{PASSWORD}-renewed"})
    place.control("DELETE", "/requests")
    place.edit(title="Edited meanwhile")
    place.becomes("paused", "working credentials")
    seen = cast("list[Row]", cast("Row", place.control("GET", "/requests"))["requests"])
    refused = [one["status"] for one in seen if one["status"] == 401]  # the polls of another section go on meanwhile
    assert refused == [401, 401], seen
    yield
    Path(place.names["FILE"]).write_text(f"{PASSWORD}-renewed")
    yield
    place.shows(short_description="Edited meanwhile")


def api_refuses(place: Place) -> Iterator[None]:
    place.linked()
    place.acl(refuse_methods=["GET"])
    place.edit(title="Edited meanwhile")
    place.becomes("paused", "User Not Authorized")
    yield
    place.acl(refuse_methods=[])
    yield
    place.shows(short_description="Edited meanwhile")


def begin_to_halt(place: Place) -> None:
    """Five failures with growing pauses take a while, so this begins before its turn comes."""
    place.configured()
    place.declare(f"This one {SENDER_FAILS}")


def halted(place: Place) -> Iterator[None]:
    until(lambda: place.status()["state"] == "paused", "its sender gives up", 60)
    place.names["INC"] = str(place.links()[0]["incident_id"])
    yield
    place.mend(SENDER_FAILS)
    yield
    until(place.is_linked, "the record is made")


HALTED: Final = "Paused: halted"
STATES: Final[dict[str, Story]] = {
    "Healthy": healthy,
    "Degraded: the last request failed": last_request_failed,
    "Degraded: dead letters": dead_letters,
    "Degraded: conflicts wait for a person": conflicts_wait,
    "Degraded: linked records are not shown": records_not_shown,
    "Degraded: a reconcile run was stopped": run_stopped,
    "Degraded: links are parked": links_are_parked,
    "Degraded: polls do not get through": polls_do_not_get_through,
    "Degraded: a value has no mapping": value_without_mapping,
    "Down: the instance does not answer": does_not_answer,
    "Down: the address leads nowhere": leads_nowhere,
    "Paused: disabled": disabled,
    "Paused: direction none": direction_none,
    "Paused: no credentials": no_credentials,
    "Paused: credentials are refused": credentials_refused,
    "Paused: the API refuses the account": api_refuses,
    HALTED: halted,
}
