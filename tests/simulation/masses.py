"""Changes of many records at once that nobody is told of: what a script, a rule for rights or a restore does there."""

from collections.abc import Mapping
from typing import Final

import trio

from syncd.core.drift import is_in_flight
from syncd.simulator.records import Committed
from syncd.simulator.tables import Row
from tests.simulation.places import shown
from tests.simulation.plan import Deed
from tests.simulation.world import ACCOUNT, CLOSE, World

SCRIPT: Final = "fred.luddy"  # under whose name it runs
RESOLVED: Final = {"state": "6", **CLOSE}
EMPTIED: Final = {"description": ""}
LONG_AGO: Final = "2020-01-01 00:00:00"
CHANGED: Final = ("title", "description", "status")
KEPT: Final = ("state", "description", "close_code", "close_notes")


class Masses:
    """Does what is planned in one world, and knows how it was before."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._before: dict[str, Row] = {}

    async def change(self, deed: Deed) -> None:
        """Change many records at once. ``second``: ``unstamped`` leaves the stamps alone, ``cut`` ends this life."""
        world = self._world
        await world.alive()
        rows = [row for row in world.instance.incidents() if row["sys_id"] in world.ledger.incident_of]
        chosen = [row["sys_id"] for row in rows[: deed.which]]
        self._before = {row["sys_id"]: row for row in rows}
        world.met[f"mass: {deed.value}"] += 1
        match deed.value:
            case "resolve":
                self._script(chosen, RESOLVED, deed)
            case "clear":
                self._script(chosen, EMPTIED, deed)
            case "retitle":
                self._script(chosen, {"short_description": f"by script at {trio.current_time():.0f}"}, deed)
            case "vanish":
                self._hide(f"sys_idIN{','.join(chosen)}", chosen)
            case "blind":
                self._hide("sys_idISNOTEMPTY", [row["sys_id"] for row in rows])
                world.silence.is_blind = True
            case _:
                world.instance.account(ACCOUNT).read_denied.add(("incident", "description"))
        if "cut" in deed.second:
            world.cut_power(is_gentle=deed.which % 2 == 0)

    async def undo(self, _: Deed) -> None:
        """Somebody in the instance notices, and puts everything back."""
        self.show_all()
        for sys_id, row in self._before.items():
            self._write(sys_id, {name: row[name] for name in KEPT}, is_stamped=True)
        self._before.clear()

    def show_all(self) -> None:
        """Our account may read everything again."""
        account = self._world.instance.account(ACCOUNT)
        account.hidden.pop("incident", None)
        account.read_denied.discard(("incident", "description"))
        self._world.silence.is_blind = False
        self._world.silence.shown_again()

    async def old(self, deed: Deed) -> None:
        """A record that is older than the integration."""
        world = self._world
        fields = {"short_description": deed.value, "impact": "2", "urgency": "2", "category": "hardware"}
        row = world.instance.create_as("admin", {**fields, "sys_created_on": LONG_AGO}, has_rules=False)
        world.ledger.old.add(row["sys_id"])
        world.committed_silently(Committed("insert", row, world.instance.kernel.accounts.actor("admin")))

    def _script(self, chosen: list[str], fields: Mapping[str, str], deed: Deed) -> None:
        for sys_id in chosen:
            self._write(sys_id, fields, is_stamped="unstamped" not in deed.second)

    def _write(self, sys_id: str, fields: Mapping[str, str], *, is_stamped: bool) -> None:
        world, before = self._world, self._world.instance.record(sys_id)
        row = world.instance.edit_as(SCRIPT, sys_id, fields, has_rules=False, has_stamps=is_stamped)
        if row is before:
            return
        world.committed_silently(Committed("update", row, world.instance.kernel.accounts.actor(SCRIPT)))
        for field in CHANGED:
            if shown(row, field) != shown(before, field):
                self._note(sys_id, field, shown(row, field))

    def _hide(self, query: str, chosen: list[str]) -> None:
        self._world.instance.account(ACCOUNT).hidden["incident"] = query
        for sys_id in chosen:
            self._note(sys_id, "", "")

    def _note(self, sys_id: str, field: str, value: str) -> None:
        """Remember what nobody was told of; not where somebody is about to look anyhow."""
        world = self._world
        state = world.state if world.house is not None else None
        name = state.link_of_record.get((world.integration_id, sys_id), "") if state is not None else ""
        link = state.links.get(name) if state is not None else None
        if state is None or link is None or link.state != "active" or is_in_flight(state, link):
            world.silence.told(sys_id)
            return
        world.silence.changed(trio.current_time(), sys_id, field, value)
