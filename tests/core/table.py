"""A ServiceNow that is a dict: it cuts, derives the priority, refuses, ignores, stamps, and sends webhooks."""

import math
from typing import Final

from syncd.core.lens import DEFAULT_LENS
from syncd.core.mapping import READ_COLUMNS
from syncd.core.model import SYNCED_FIELDS, Observation
from syncd.core.webhook import Webhook
from tests.core.promises import TITLE_COLUMN_LETTERS, Ledger

Columns = dict[str, str]

ACCOUNT: Final = "svc.sync"
START_S: Final = 1_790_000_000.0
PRIORITY_OF: Final = {
    "11": "1", "12": "2", "13": "3", "21": "2", "22": "3", "23": "4", "31": "3", "32": "4", "33": "5",
}  # fmt: skip

PEOPLE: Final = {"": ("", ""), "p1": ("ann", "ann@example.com"), "p2": ("ben", "")}


class Refused(Exception):
    """ServiceNow's data policy said no."""


class Table:
    """``skew_s``: its clock minus ours. ``hooks``: webhooks that nobody has delivered yet.

    ``hidden``: columns that our account may not read at the moment.
    """

    def __init__(self, skew_s: float) -> None:
        self.now_s = START_S
        self.skew_s = skew_s
        self.rows: dict[str, Columns] = {}
        self.hooks: list[Webhook] = []
        self.ledger = Ledger()
        self.hidden: set[str] = set()

    def observe(self, external_id: str) -> Observation:
        """The record as a read shows it now."""
        row = self.rows[external_id]
        return Observation(
            external_id=external_id,
            columns={name: row[name] for name in READ_COLUMNS if name in row and name not in self.hidden},
            number=row["number"],
            mod_count=None if "sys_mod_count" in self.hidden else int(row["sys_mod_count"]),
            updated_at_s=float(row["sys_updated_on"]),
            updated_by=row["sys_updated_by"],
            created_at_s=float(row["sys_created_on"]),
            created_by=row["sys_created_by"],
            correlation_id=row.get("correlation_id", ""),
        )

    def store(self, external_id: str, columns: Columns, by: str) -> None:
        """Insert or update as ServiceNow does: cut, derive the priority, stamp, and send a webhook."""
        before = self.rows.get(external_id, {})
        locked = by == ACCOUNT and before.get("state") == "7"
        after = before | ({} if locked else columns)
        if by == ACCOUNT and after.get("state") in {"6", "7"} and not after.get("close_code"):
            raise Refused
        after["short_description"] = after.get("short_description", "")[:TITLE_COLUMN_LETTERS]
        after["priority"] = PRIORITY_OF[after.setdefault("impact", "2") + after.setdefault("urgency", "2")]
        person = after.setdefault("assigned_to", "")
        after["assigned_to.user_name"], after["assigned_to.email"] = PEOPLE[person]
        if before and after == before:
            return
        stamp = str(math.floor(self.now_s + self.skew_s))
        self.ledger.now += 1
        if not before:
            created = {"number": f"INC00{external_id}", "state": "1", "description": "", "sys_mod_count": "-1"}
            after = created | after | {"sys_created_on": stamp, "sys_created_by": by}
        count = int(after["sys_mod_count"]) + 1
        self.rows[external_id] = after | {"sys_mod_count": str(count), "sys_updated_on": stamp, "sys_updated_by": by}
        for field in SYNCED_FIELDS:
            raw, value = DEFAULT_LENS.raw_of(field, before), DEFAULT_LENS.raw_of(field, after)
            if before and raw == value:
                continue
            self.ledger.stored(external_id, field, DEFAULT_LENS.meaning(field, value), is_ours=by == ACCOUNT)
        operation = "update" if before else "insert"
        self.hooks.append(Webhook(sys_id=external_id, operation=operation, sys_mod_count=count, updated_by=by))
