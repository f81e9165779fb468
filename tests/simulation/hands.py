"""The hands of people on both sides: a planned deed done, and what the platform acknowledged remembered."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

import trio
from msgspec import Struct

from syncd.core.model import DeadLetter
from syncd.simulator.instance import Instance
from syncd.simulator.wire import Refusal
from tests.simulation.masses import Masses
from tests.simulation.places import OWN_COLUMNS, shown
from tests.simulation.plan import EXCLUSIVE, SEVERITIES, Deed
from tests.simulation.world import CLOSE, World

AGENTS: Final = ("beth.anglin", "fred.luddy")
PAIR_OF: Final = {"SEV-1": ("1", "1"), "SEV-2": ("2", "1"), "SEV-3": ("2", "2"), "SEV-4": ("3", "3")}
STATES_OF: Final = {"open": "12", "mitigated": "3", "resolved": "6"}
COLUMN_OF: Final = {"title": "short_description", "description": "description", "assigned_to": "assigned_to"}
MOSTLY: Final = 0.9  # an agent knows where a field stands
SEVERITY_COLUMN: Final = "u_sev"
SEVERITY_TEXTS: Final = {"SEV-1": ("critical",), "SEV-2": ("high",), "SEV-3": ("normal",), "SEV-4": ("low", "none")}
OK: Final = 200
UNPROCESSABLE: Final = 422
ACCEPTED: Final = (200, 202)
ON_THE_WAY_S_MAX: Final = 0.06  # from an edit to the write that carries it, where nothing is wrong


class Acknowledged(Struct, frozen=True):
    """An edit, or a new incident, that the platform answered with 2xx."""

    incident_id: str
    field: str
    value: str


class Hands:
    """Does what is planned for one world. ``acknowledged``: what the daemon answered with 2xx."""

    def __init__(self, world: World, rng: Random) -> None:
        self._world, self._rng = world, rng
        self.acknowledged: list[Acknowledged] = []
        self.noted: list[tuple[str, str]] = []
        self.imported = False
        """Some import was answered with 2xx."""
        self.masses = Masses(world)
        self._deeds: dict[str, Callable[[Deed], Awaitable[None]]] = {
            "declare": self._declare,
            "create": self._create,
            "external": self._edit_there,
            "describe": self._describe_all,
            "note": self._note,
            "agent note": self._note_there,
            "verdict": self._decide,
            "retry": self._retry,
            "rotate": self._rotate,
            "own": self._own,
            "direct": self._direct,
            "map": self._map,
            "mass": self.masses.change,
            "undo": self.masses.undo,
            "old": self.masses.old,
            "import": self._import,
            "reconcile": self._reconcile,
            "clock": self._set_clock_back,
        }

    async def do(self, deed: Deed) -> None:
        """Do one deed."""
        await self._deeds.get(deed.what, self._edit)(deed)

    async def _create(self, deed: Deed) -> None:
        fields = {"short_description": deed.value, "impact": "2", "urgency": "2"}
        self._there(deed).create_as(AGENTS[0], fields)

    def _there(self, deed: Deed) -> Instance:
        """Where an agent works, if there is more than one place."""
        places = list(self._world.instances.values())
        return places[deed.which // 2 % len(places)]

    async def _edit_there(self, deed: Deed) -> None:
        rows = self._there(deed).incidents()
        if rows:
            self._edit_record(rows[deed.which % len(rows)]["sys_id"], deed.field, deed.value)

    async def _retry(self, _: Deed) -> None:
        """Have what was refused sent again, while somebody edits it: before, or right after."""
        is_first, letters = self._rng.random() < 0.5, self._letters()
        if is_first:
            await self.edit_what_was_refused()
        await self._world.ask("POST", f"/api/v1/integrations/{self._world.integration_id}/dlq/retry", b"")
        for letter in letters if not is_first else ():
            await self._mend(letter)

    def _letters(self) -> list[DeadLetter]:
        return list(self._world.state.dead_letters.values()) if self._world.house is not None else []

    async def _direct(self, deed: Deed) -> None:
        await self.direct(deed.value)

    async def _declare(self, deed: Deed) -> None:
        await self._world.alive()
        body: dict[str, object] = {"title": deed.value, "severity": deed.second}
        answer = None
        for _ in range(2):  # nobody knows whether the first one was heard, so it is said again
            await self._world.alive()
            answer = answer or await self._world.ask("POST", "/api/v1/incidents", body, {"Idempotency-Key": deed.value})
        if answer is not None and answer.status_code == 201:
            self.acknowledged.append(Acknowledged(answer.json()["id"], "title", deed.value))

    async def _edit(self, deed: Deed) -> None:
        """Edit an incident, and before that, where both sides do, its record."""
        world = self._world
        await world.alive()
        incidents = list(world.state.incidents)
        if not incidents:
            return
        incident_id = incidents[deed.which % len(incidents)]
        value, body = deed.value, dict[str, object]()
        sys_id = world.ledger.record_of(incident_id)
        if deed.what in ("both", "crossing"):
            value = deed.second
        if deed.what == "both" and sys_id:
            self._edit_record(sys_id, deed.field, deed.value)
        if deed.what == "resolve":
            value = "resolved"
            body = {"resolution_code": deed.value, "resolution_notes": f"with {deed.value}"}
        await self._patch(incident_id, deed.field, value, body)
        if deed.what == "crossing" and sys_id:
            await trio.sleep(self._rng.uniform(0, ON_THE_WAY_S_MAX))
            self._edit_record(sys_id, deed.field, deed.value)

    async def _patch(self, incident_id: str, field: str, value: str, with_it: dict[str, object]) -> None:
        is_edit = (self._world.state.incidents[incident_id].value(field) or "") != value
        body = {**with_it, field: value or None if field == "assigned_to" else value}
        answer = await self._world.ask("PATCH", f"/api/v1/incidents/{incident_id}", body)
        if is_edit and answer is not None and answer.status_code == 200:
            self.acknowledged.append(Acknowledged(incident_id, field, self._world.ledger.meant(field, value)))

    def _edit_record(self, sys_id: str, field: str, value: str) -> None:
        places, there = self._world.ledger.places, self._world.holder(sys_id)
        fields: dict[str, object] = {COLUMN_OF.get(field, ""): value}
        if places.columns[field] in OWN_COLUMNS and self._rng.random() < MOSTLY:
            texts = SEVERITY_TEXTS.get(value, (value,)) if field == "severity" else (value,)
            fields = {places.columns[field]: self._rng.choice(texts)}
        elif field == "assigned_to":
            fields = {"assigned_to": self._world.people.named(value)}
        elif field == "severity":
            fields = dict(zip(("impact", "urgency"), PAIR_OF[value], strict=True))
        elif field == "status":
            row = there.record(sys_id)
            if shown(row, "status") == value:
                return
            fields = {"state": self._rng.choice(STATES_OF[value]), **(CLOSE if value == "resolved" else {})}
        try:
            there.edit_as(self._rng.choice(AGENTS), sys_id, fields)
        except Refusal:
            self._world.met["agent refused"] += 1

    async def _describe_all(self, _: Deed) -> None:
        for number, row in enumerate(self._world.instance.incidents()):
            self._edit_record(row["sys_id"], "description", f"described {number}")

    async def _reconcile(self, deed: Deed) -> None:
        """Begin a run, as a person does; nobody waits for its end."""
        await self._world.alive()
        body: dict[str, object] = {"dry_run": deed.value == "dry-run", "auto_heal": deed.value == "heal"}
        body["force"] = deed.second == "force"
        await self._world.ask("POST", f"/api/v1/integrations/{self._world.integration_id}/reconcile", body)

    async def _import(self, deed: Deed) -> None:
        """Bring old records in, or only look what would come."""
        await self._world.alive()
        body: dict[str, object] = {"query": deed.value, "dry_run": deed.second == "dry"}
        answer = await self._world.ask("POST", f"/api/v1/integrations/{self._world.integration_id}/import", body)
        self.imported |= deed.second != "dry" and answer is not None and answer.status_code in ACCEPTED
        self._world.met["import tried dry"] += deed.second == "dry" and answer is not None and answer.status_code == OK

    async def _note_there(self, deed: Deed) -> None:
        world, rows = self._world, self._world.instance.incidents()
        try:
            if rows:
                world.instance.note_as(deed.second, rows[deed.which % len(rows)]["sys_id"], deed.value)
        except Refusal:
            world.met["agent refused"] += 1

    async def _note(self, deed: Deed) -> None:
        world = self._world
        await world.alive()
        incidents = list(world.state.incidents)
        if not incidents:
            return
        incident_id = incidents[deed.which % len(incidents)]
        body: dict[str, object] = {"text": deed.value, "author": deed.second}
        answer = await world.ask("POST", f"/api/v1/incidents/{incident_id}/notes", body)
        if answer is not None and answer.status_code == 201:
            self.noted.append((incident_id, answer.json()["id"]))

    async def _decide(self, deed: Deed) -> None:
        """Settle a conflict under review, at the moment at which an agent edits that field again."""
        world = self._world
        await world.alive()
        pending = [one for one in world.state.conflicts.values() if one.status == "pending"]
        if not pending:
            return
        conflict = pending[deed.which % len(pending)]
        count = world.instance.record(conflict.external_id)["sys_mod_count"]
        if deed.value:
            value = self._rng.choice(SEVERITIES) if conflict.field == "severity" else deed.value
            self._edit_record(conflict.external_id, conflict.field, "open" if conflict.field == "status" else value)
        answer = await world.ask("POST", f"/api/v1/conflicts/{conflict.id}/resolve", verdict(self._rng, conflict.field))
        if answer is not None and answer.status_code == 200:
            has_moved = world.instance.record(conflict.external_id)["sys_mod_count"] != count
            world.met["conflict resolved while the record changed"] += has_moved

    async def edit_what_was_refused(self) -> None:
        """Edit a field that a dead letter is about, on either side."""
        await self._world.alive()
        if letters := self._letters():
            await self._mend(self._rng.choice(letters))

    async def _mend(self, letter: DeadLetter) -> None:
        await self._world.alive()
        value = f"{letter.fields[0]} mended {self._rng.randrange(1000)}"
        if letter.fields[0] not in COLUMN_OF or not letter.external_id:
            return
        if self._rng.random() < 0.5:
            self._edit_record(letter.external_id, letter.fields[0], value)
        else:
            await self._patch(letter.incident_id, letter.fields[0], value, {})

    async def _set_clock_back(self, deed: Deed) -> None:
        """Not before the clocks have met: nobody could tell then what is new."""
        world = self._world
        if world.house is not None and world.state.integrations[world.integration_id].new_since_s is not None:
            world.met["clock set back"] += 1
            world.set_clock_back(float(deed.value))

    async def _own(self, deed: Deed) -> None:
        """Another rule for who owns a field, or the default again."""
        await self._world.alive()
        path = f"/api/v1/integrations/{self._world.integration_id}/field-ownership/{deed.field}"
        if not deed.value:
            await self._world.ask("DELETE", path, b"")
            return
        priority, _, word = deed.second.partition(" ")
        body = {"owner": deed.value, "priority": int(priority), "exclusive": word == EXCLUSIVE}
        await self._world.ask("PUT", path, body)

    async def _map(self, deed: Deed) -> None:
        """Give a field another place, or another direction; or take that back."""
        await self._world.alive()
        path = f"/api/v1/integrations/{self._world.integration_id}/field-mapping/{deed.field}"
        if not deed.value:
            await self._world.ask("DELETE", path, b"")
            return
        body: dict[str, object] = {"external_field": deed.value, "direction": deed.second}
        if deed.value == SEVERITY_COLUMN:
            body["values"] = {value: list(texts) for value, texts in SEVERITY_TEXTS.items()}
        answer = await self._world.ask("PUT", path, body)
        assert answer is None or answer.status_code != UNPROCESSABLE, answer.text

    async def direct(self, direction: str) -> bool:
        """Turn the sync into another direction, or off; whether that was answered with 2xx."""
        await self._world.alive()
        is_on = direction != "disabled"
        body: dict[str, object] = {"enabled": is_on, **({"sync_direction": direction} if is_on else {})}
        answer = await self._world.ask("PATCH", f"/api/v1/integrations/{self._world.integration_id}", body)
        return answer is not None and answer.status_code == 200

    async def _rotate(self, deed: Deed) -> None:
        """Another webhook secret, while a delivery that was signed with the old one is under way."""
        world = self._world
        await world.alive()
        rows = world.instance.incidents()
        if rows:
            self._edit_record(rows[deed.which % len(rows)]["sys_id"], "title", deed.value)
        answer = await world.ask("POST", f"/api/v1/integrations/{world.integration_id}/webhook-secret/rotate", b"{}")
        if answer is not None and answer.status_code == 200:
            world.met["secret rotated with a delivery under way"] += world.instance.next_due_at_s() is not None
            world.set_webhook(answer.json()["webhook_secret"])


def verdict(rng: Random, field: str) -> dict[str, object]:
    """How somebody settles a conflict over this field."""
    typed = {"severity": rng.choice(SEVERITIES), "status": "mitigated"}.get(field, f"typed {rng.randrange(1000)}")
    return dict([rng.choice((("use", "platform"), ("use", "external"), ("value", typed)))])
