"""The shapes in which a write comes back: what ServiceNow, or a customer's rules in it, can make of what we sent.

Each names what brings it about in the simulator, what a person does, and what is then to be seen.
"""

from collections.abc import Awaitable, Callable

import trio
from msgspec import Struct

from syncd.core.model import SYNCED_FIELDS
from syncd.simulator.records import Committed
from syncd.simulator.rules import AbortRule, DataPolicy
from tests.actors.stage import AGENT, edit, edit_record, link
from tests.simulation.world import CLOSE, World

Act = Callable[[World, str], Awaitable[None]]
CODE = {"resolution_code": "No such code", "resolution_notes": "done"}


class Letter(Struct, frozen=True):
    """A dead letter as it should be; ``words`` in its error, ``remedy`` in its remedy."""

    fields: tuple[str, ...]
    kind: str
    words: str
    remedy: str
    operation: str = "update"


class Shape(Struct, frozen=True):
    """``prepare``: before the incident is declared. ``shown``: columns of the record in the end.

    ``defaults``: what the integration's ``external_defaults`` get. ``is_told``: ``sync-status`` has a reason beside the
    letters.
    """

    name: str
    act: Act
    prepare: Callable[[World], None] = lambda _: None
    letters: tuple[Letter, ...] = ()
    shown: dict[str, str] = {}
    link_state: str = "active"
    reason: str = ""
    defaults: Callable[[World], dict[str, object]] | None = None
    is_told: bool = False


def sets(**fields: object) -> Act:
    """An edit on the platform."""

    async def act(world: World, incident_id: str) -> None:
        await edit(world, incident_id, **fields)

    return act


def after(columns: dict[str, object], **fields: object) -> Act:
    """An edit in ServiceNow, and, if there are ``fields``, one on the platform when that has come in."""

    async def act(world: World, incident_id: str) -> None:
        world.instance.edit_as("admin", link(world, incident_id).external_id, columns)
        await trio.sleep(10)
        if fields:
            await edit(world, incident_id, **fields)

    return act


def switch(name: str, value: str) -> Callable[[World], None]:
    return lambda world: world.instance.set_switch(name, value)


def denied(what: str, column: str) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        account = world.instance.account("svc.sync")
        (account.write_denied if what == "write" else account.read_denied).add(("incident", column))

    return prepare


def policy(state: str, column: str) -> Callable[[World], None]:
    return lambda world: world.instance.rulebook.policies.append(DataPolicy((state,), (column,)))


def aborts(name: str, query: str) -> Callable[[World], None]:
    return lambda world: world.instance.rulebook.aborts.append(AbortRule(name, query))


def _lower_priority(world: World) -> None:
    world.instance.rulebook.matrix["1", "1"] = "2"


def _reset_state(world: World) -> None:
    """An after rule takes a record that is put on hold back to In Progress."""

    def reset(committed: Committed) -> None:
        row = world.instance.kernel.incidents.rows[committed.row["sys_id"]]
        if row["state"] == "3":
            row["state"] = row["incident_state"] = "2"

    world.instance.records.on_commit.append(reset)


def _no_code_policy(world: World) -> None:
    world.instance.set_switch("close_policy", "off")


async def _reassigned(world: World, incident_id: str) -> None:
    edit_record(world, incident_id, assigned_to=world.instance.kernel.accounts.actor(AGENT).sys_id)
    await trio.sleep(10)
    await edit(world, incident_id, status="resolved")


async def _form_save(world: World, incident_id: str) -> None:
    await edit(world, incident_id, description="first line\nsecond line  \n")
    await trio.sleep(10)
    edit_record(world, incident_id, description="first line\r\nsecond line")


def _group(world: World) -> str:
    """A group that the agent is no member of."""
    store, agent = world.instance.kernel.store, world.instance.kernel.accounts.actor(AGENT).sys_id
    groups = store.tables["sys_user_group"].rows
    own = {row["group"] for row in store.find("sys_user_grmember", "user", agent)}
    return next(group for group in groups if group not in own)


NOT_KEPT = "see what ServiceNow kept"
SHAPES = (
    Shape("cut", sets(title="x" * 170), shown={"short_description": "x" * 160}),
    Shape("cut close notes", sets(status="resolved", resolution_notes="n" * 5000), shown={"close_notes": "n" * 4000}),
    Shape(
        "dropped by ACL",
        sets(description="more"),
        denied("write", "description"),
        (Letter(("description",), "not-kept", "description 'more' became ''", NOT_KEPT),),
    ),
    Shape(
        "state dropped by ACL",
        sets(status="mitigated"),
        denied("write", "state"),
        (Letter(("status",), "not-kept", "status 'mitigated' became '1'", NOT_KEPT),),
    ),
    Shape(
        "prefixed",
        sets(title="new title"),
        switch("title_prefix", "[P] "),
        (Letter(("title",), "not-kept", "title 'new title' became '[P] new title'", NOT_KEPT),),
        {"short_description": "[P] new title"},
    ),
    Shape(
        "prefixed and cut",
        sets(title="y" * 160),
        switch("title_prefix", "[P] "),
        (Letter(("title",), "not-kept", "became '[P] yyy", NOT_KEPT),),
    ),
    Shape(
        "blanked choice",
        sets(status="resolved", **CODE),
        _no_code_policy,
        (Letter(("status",), "not-kept", "close_code 'No such code' became ''", "'Solution provided'"),),
        {"state": "6", "close_code": ""},
    ),
    Shape(
        "unknown close code",
        sets(status="resolved", **CODE),
        letters=(Letter(("status",), "refused", "mandatory: Resolution code", "Solution provided"),),
    ),
    Shape(
        "recomputed priority",
        sets(severity="SEV-1"),
        _lower_priority,
        (Letter(("severity",), "not-kept", "severity 'SEV-1' became '2'", NOT_KEPT),),
        {"impact": "1", "urgency": "1", "priority": "2"},
    ),
    Shape(
        "reset state",
        sets(status="mitigated"),
        _reset_state,
        (Letter(("status",), "not-kept", "status 'mitigated' became '2'", NOT_KEPT),),
        {"state": "2"},
    ),
    Shape(
        "closed, refused",
        after({"state": "7", "close_code": "Duplicate", "close_notes": "x"}, title="late"),
        link_state="parked",
        reason="takes no edits",
    ),
    Shape(
        "closed, ignored",
        after({"state": "8"}, title="late"),
        switch("closed_write", "ignore"),
        link_state="parked",
        reason="takes no edits",
    ),
    Shape("may not close", sets(status="closed"), switch("close_by_api", "refuse"), shown={"state": "6"}),
    Shape(
        "aborted by a rule",
        sets(title="forbidden words"),
        aborts("No such words", "short_descriptionLIKEforbidden"),
        (Letter(("title",), "refused", "aborted by Business Rule 'No such words", "correct the record"),),
    ),
    Shape(
        "data policy",
        sets(status="mitigated"),
        policy("3", "hold_reason"),
        (Letter(("status",), "refused", "mandatory", "external_defaults"),),
    ),
    Shape(
        "mandatory field of a new record",
        sets(title="still refused"),
        policy("1", "caller_id"),
        (Letter(SYNCED_FIELDS, "refused", "mandatory", "external_defaults", "create"),),
        link_state="pending",
    ),
    Shape(
        "reassign rule",
        _reassigned,
        letters=(Letter(("status",), "refused", "Abort changes on group", "takes only members"),),
        defaults=lambda world: {"resolve": {**CLOSE, "assignment_group": _group(world)}},
    ),
    Shape(
        "unknown reference", sets(title="t"), shown={"caller_id": ""}, defaults=lambda _: {"caller_id": "Nobody Atall"}
    ),
    Shape("unreadable field", sets(description="unseen", title="t"), denied("read", "description"), is_told=True),
    Shape("unreadable priority", sets(severity="SEV-1", title="t"), denied("read", "priority"), is_told=True),
    Shape("customised state", after({"state": "10"}, status="mitigated"), shown={"state": "10"}, is_told=True),
    Shape("saved by a form", _form_save, shown={"description": "first line\r\nsecond line"}),
)
