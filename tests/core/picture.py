"""A small State that events made: an integration, a linked incident, a pending conflict, two dead letters."""

import re

from syncd.core import events as e
from syncd.core import status
from syncd.core.fold import evolve
from syncd.core.health import Counts
from syncd.core.model import (
    Conflict,
    DeadLetter,
    Failure,
    Halves,
    Integration,
    Observation,
    SealedSecret,
    Settings,
    WebhookSecret,
)
from syncd.core.state import State
from syncd.core.status import StatusView

AT_S = 1_790_000_000.0
INT = "int_A"
INC = "INC-A"
LINK = f"{INT}/{INC}"
SYS_ID = "5" * 32
SEALED = SealedSecret("key", "nonce", "ciphertext")


def integration(integration_id: str = INT, handle: str = "prod", **settings: object) -> Integration:
    """An integration with credentials and one webhook secret."""
    values: dict[str, object] = {
        "organization_id": "acme",
        "name": handle.title(),
        "handle": handle,
        "base_url": "https://example.service-now.com",
        "conflict_strategy": "manual-review",
    } | settings
    return Integration(
        id=integration_id,
        settings=Settings(**values),  # type: ignore[arg-type]
        created_at_s=AT_S,
        credentials={"username": SEALED, "password": SEALED},
        webhook_secrets=(WebhookSecret(SEALED),),
        account="api",
    )


def seen(**columns: str) -> Observation:
    """What ServiceNow shows of the linked record."""
    shown = {
        "short_description": "Down",
        "description": "",
        "state": "1",
        "impact": "2",
        "urgency": "2",
        "priority": "3",
    }
    return Observation(
        external_id=SYS_ID,
        columns=shown | columns,
        number="INC0010001",
        mod_count=3,
        updated_at_s=AT_S,
        updated_by="ann",
        created_at_s=AT_S,
        created_by="ann",
    )


def conflict(**values: object) -> Conflict:
    """A title that both sides changed."""
    made: dict[str, object] = {
        "id": "conflict-1",
        "integration_id": INT,
        "incident_id": INC,
        "external_id": SYS_ID,
        "field": "title",
        "base": "Down",
        "platform": "Down here",
        "external": "Down there",
        "platform_by": "user:root",
        "external_by": "ann",
        "platform_at_s": AT_S,
        "external_from_s": AT_S - 1,
        "external_at_s": AT_S + 1,
        "strategy": "manual-review",
        "status": "pending",
        "decided": "",
        "created_at_s": AT_S + 2,
    }
    return Conflict(**(made | values))  # type: ignore[arg-type]


def dead_letter(number: int, *fields: str) -> DeadLetter:
    """A refused group of fields."""
    return DeadLetter(
        id=f"entry-{number}",
        integration_id=INT,
        link_id=LINK,
        incident_id=INC,
        external_id=SYS_ID,
        operation="update",
        fields=fields,
        error=Failure("refused", "Data Policy Exception", status=403, detail="close_code is mandatory"),
        remedy="set external_defaults.close_code",
        attempts=1,
        created_at_s=AT_S + number,
        last_attempt_at_s=AT_S + number,
    )


HAPPENED: tuple[e.Event, ...] = (
    e.IncidentDeclared(INC, "Down here", "SEV-3"),
    e.LinkJoined(LINK, INT, INC, seen(), {"title": Halves("Down", "Down")}),
    e.Observed(LINK, seen(short_description="Down there")),
    e.Merged(
        LINK,
        (e.FieldDecided("title", "held-for-review", Halves("Down", "Down")),),
        conflicts=(conflict(),),
        must_write=True,
    ),
    e.DeadLettered(dead_letter(2, "status"), hold=True),
    e.DeadLettered(dead_letter(3, "severity"), hold=True),
)


def apply(state: State, *events: e.Event, stream: str = "acme", by: str = "user:root") -> State:
    """One record with these events, one second after the last."""
    position = state.position + 1
    return evolve(state, e.Record(position, stream, AT_S + position, by, f"trace-{position}", events))


def picture() -> State:
    """The State after all that happened, each in a record of its own."""
    state = apply(State(), e.DaemonBorn("journal-1"), stream="daemon")
    apply(state, e.IntegrationConfigured(integration()))
    for event in HAPPENED:
        apply(state, event)
    return state


WAY_OUT = re.compile(r"\bim (integration|incident|conflict|journal) ")
"""A command that leads on."""


def shown(state: State, counts: Counts | None = None, at_s: float = AT_S) -> StatusView:
    """What sync-status says of the integration."""
    return status.status(state, state.integrations[INT], counts or Counts(), at_s)
