"""What an authentic webhook sets off: a hint that its record is to be read, unless it was told before.

Its body is never applied (docs/sync.md, "Webhooks are hints"); it is kept as evidence of what was seen when.
"""

from msgspec import Struct

from syncd.core.events import Change, Event, Hinted, InstancePinned
from syncd.core.model import Hint, Link, PinnedInstance
from syncd.core.rule import rule_seen
from syncd.core.state import WEBHOOKS_REMEMBERED_S, State
from syncd.core.traces import join
from syncd.errors import Forbidden, Unknown


class Webhook(Struct, frozen=True, kw_only=True):
    """What a webhook's body says, as far as we look at it (contract section 5). Only ``sys_id`` is required.

    ``keys``: all that it names, but for an operation or a count that says nothing.
    """

    sys_id: str
    event_id: str = ""
    operation: str = ""
    sys_mod_count: int | None = None
    number: str = ""
    updated_on: str = ""
    updated_by: str = ""
    has_note: bool = False
    instance_name: str = ""
    script_version: str = ""
    keys: frozenset[str] = frozenset()


def duplicate_key(webhook: Webhook) -> str:
    """What makes two webhooks the same; empty when nothing does (two changes in one second look alike)."""
    if webhook.event_id:
        return f"id {webhook.event_id}"
    if webhook.sys_mod_count is not None:
        return f"change {webhook.sys_id} {webhook.sys_mod_count} {webhook.operation}"
    return ""


def accept_webhook(
    state: State, at_s: float, webhook: Webhook, *, integration_id: str, body: str, trace: str
) -> Change[bool]:
    """Make an authentic webhook durable; the result says whether it was a duplicate.

    ``Forbidden`` for one that another instance sent: a clone has the same records and signs with the same secret.
    """
    integration = state.integrations.get(integration_id)
    if integration is None:
        raise Unknown(f"integration {integration_id} is gone", hint="remove the business rule that still calls it")
    pinned, name = integration.instance, webhook.instance_name
    if pinned is not None and name and name != pinned.name:
        raise Forbidden(
            f"this webhook is from instance {name!r}, and the integration belongs to {pinned.name!r}",
            hint="delete the business rule in a copy of the instance; `im integration configure … --base-url …` "
            "confirms one that was renamed",
        )
    key = duplicate_key(webhook)
    accepted_at_s = state.seen.get(integration_id, {}).get(key)
    if accepted_at_s is not None and at_s - accepted_at_s <= WEBHOOKS_REMEMBERED_S:
        return Change("", (), result=True)
    hint = _hint(state, at_s, webhook, integration_id, trace)
    rule = rule_seen(webhook.script_version, webhook.operation, webhook.keys, integration.settings)
    occasion = "delete" if webhook.operation == "delete" else "write"
    is_known = integration.rules.get(occasion) == rule
    event = Hinted(integration_id, webhook.sys_id, hint, key, body, None if is_known else rule, occasion)
    events: tuple[Event, ...] = (event,)
    if pinned is None and name:
        events = (*events, InstancePinned(integration_id, PinnedInstance(name, by_api=False)))
    return Change(integration.settings.organization_id, events, result=False)


def _hint(state: State, at_s: float, webhook: Webhook, integration_id: str, trace: str) -> Hint | None:
    """The hint, joined with one that still waits; None when what it names has been read already."""
    count, deleted = webhook.sys_mod_count, webhook.operation == "delete"
    waiting = state.hints.get(integration_id, {}).get(webhook.sys_id)
    link = state.links.get(state.link_of_record.get((integration_id, webhook.sys_id), ""))
    next_at_s = at_s
    if waiting is not None:
        next_at_s = min(at_s, waiting.next_at_s)  # told again and again, it keeps its place in the line
        counts = [one for one in (count, waiting.mod_count) if one is not None]
        count, deleted = max(counts, default=None), deleted or waiting.deleted
    elif not (deleted or webhook.has_note) and count is not None and link is not None and count <= _read_count(link):
        return None
    has_note = webhook.has_note or (waiting is not None and waiting.has_note)
    return Hint(
        webhook.sys_id,
        state.position + 1,
        trace if waiting is None else join(waiting.trace, trace),
        mod_count=count,
        deleted=deleted,
        next_at_s=next_at_s,
        has_note=has_note,
    )


def _read_count(link: Link) -> int:
    """As of which count both the record and its notes have been read."""
    counts = [-1 if count is None else count for count in (link.known_count, link.noted_count)]
    return min(counts)
