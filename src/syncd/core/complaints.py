"""Why an integration is not well, and what is worth knowing of one that is: sentences for people.

Every one ends with a command or with the heading of a page that helps (``tests/core/test_complaints.py``).
"""

from collections.abc import Iterator

from syncd.core import coverage, polling, reconciling, rule
from syncd.core.backlog import Queue
from syncd.core.health import Counts
from syncd.core.hints import REREAD_AFTER_S
from syncd.core.model import Integration
from syncd.core.polling import Polling
from syncd.core.state import State
from syncd.core.tally import Tally

UNMAPPED_SHOWN = 5
BROKEN_NAMED = 3
BACKLOG_S = 300.0  # what waits longer than this, and was not refused, is worth a look


def reasons(
    state: State, integration: Integration, tally: Tally, counts: Counts, queue: Queue, letters: int, pending: int
) -> tuple[list[str], list[str], list[str]]:
    """Why it is paused, down or degraded, worst first."""
    settings, handle = integration.settings, integration.settings.handle
    paused = []
    if not settings.enabled:
        paused.append(f"disabled; run: im integration configure {handle} --enabled")
    if settings.sync_direction == "none":
        paused.append(f"sync_direction is none; run: im integration configure {handle} --direction bidirectional")
    if not integration.credentials:
        paused.append(f"no credentials; run: im integration configure {handle} --username … --password-file …")
    if counts.halted:
        usual = f"start it again: im integration configure {handle} --no-enabled, and then --enabled"
        if counts.breaker == "paused":
            usual = f"give it working credentials: {_signing_in(integration)}"
        paused.append(f"{counts.halted}; {counts.way_out or usual}")
    find_out = f"find out why: im integration test {handle}"
    down = []
    if counts.breaker == "open":
        down.append(f"the instance does not answer; it is being probed: {counts.trouble}; {find_out}")
    degraded = []
    if counts.trouble and not (paused or down):
        degraded.append(f"the last request failed: {counts.trouble}; {find_out}")
    degraded += polling.troubles(counts.polling, counts.trouble, handle)
    degraded += coverage.troubles(counts.coverage, handle, counts.polling)
    degraded += [
        f"{fault}: new records made while nobody told us of them are not found; give the account query rights there "
        f"(a query_range ACL on incident), then run: im integration reconcile {handle} --auto-heal"
        for fault in counts.query_faults
    ]
    if counts.stranger and integration.instance is not None and counts.stranger != integration.instance.name:
        degraded.append(
            f"webhooks of another instance, {counts.stranger!r}, came with this integration's secret and were refused; "
            f"if it is a copy, delete the business rule there; if ours was renamed, confirm it: "
            f"im integration configure {handle} --base-url {settings.base_url}"
        )
    if letters:
        degraded.append(f"{_count(letters, 'dead letter')}; see: im integration dlq {handle}")
    if pending:
        waits = "waits" if pending == 1 else "wait"
        degraded.append(
            f"{_count(pending, 'conflict')} {waits} for a person; see: im conflict list --integration {handle}"
        )
    degraded += _aside(tally, handle)
    degraded += _unseen(state, integration)
    degraded += _stopped(state, integration, counts)
    if (queue.oldest_age_s or 0.0) >= BACKLOG_S and queue.outbox > queue.retrying and not (paused or down):
        degraded.append(_backlog(queue))
    degraded += _unmapped(tally)
    return paused, down, degraded


def _aside(tally: Tally, handle: str) -> Iterator[str]:
    """Links that have to wait for more than their turn."""
    if gone := tally.gone:
        yield (
            f"{_count(gone, 'linked record')} {'is' if gone == 1 else 'are'} not shown by ServiceNow: deleted there, "
            f"or hidden from our account. Parked until shown again; which: im integration links {handle}"
        )
    if unshown := tally.unshown:
        yield (
            f"{_count(unshown, 'linked record')} {'is' if unshown == 1 else 'are'} not shown by ServiceNow and not "
            "parked, since so many at once are rather hidden from our account than deleted; what goes to them is tried "
            f"again and again; see what the account may read: im integration test {handle}"
        )
    if tally.parked:
        yield f"{_count(tally.parked, 'link')} parked; see: im integration links {handle}"


def _unseen(state: State, integration: Integration) -> Iterator[str]:
    """Records that webhooks named, and ServiceNow has not shown for a while: they are asked for on and on."""
    late = [one for one in state.hints.get(integration.id, {}).values() if one.tries > len(REREAD_AFTER_S)]
    handle = integration.settings.handle
    if broken := [one.external_id for one in late if one.unreadable]:
        more = ", …" if len(broken) > BROKEN_NAMED else ""
        yield (
            f"{_count(len(broken), 'record')} {'gives' if len(broken) == 1 else 'give'} an answer that cannot be read, "
            f"and did not come in: {', '.join(broken[:BROKEN_NAMED])}{more}; asked for again every five minutes. "
            "Look in ServiceNow for a field with far too much in it; see docs/operations.md, "
            '"Degraded: linked records are not shown"'
        )
    if waiting := len(late) - len(broken):
        yield (
            f"webhooks told of {_count(waiting, 'record')} that ServiceNow does not show our account; asked for again "
            f"every five minutes. See whether it may read incidents: im integration test {handle}; if so many are "
            f"gone for good: im integration reconcile {handle} --auto-heal"
        )


def _stopped(state: State, integration: Integration, counts: Counts) -> Iterator[str]:
    """What the brake, or an instance that answers wrongly, has kept from being done."""
    handle, last = integration.settings.handle, reconciling.last_ended(state, integration.id)
    if last is not None and last.stopped_by in ("brake", "answers"):
        way_out = f"see: im integration reconcile history {handle}"
        if last.stopped_by == "brake":
            way_out = f"to do it all the same: im integration reconcile {handle} --auto-heal --force"
        yield f"{last.id} stopped: {last.reason}; {way_out}"
    if counts.braked:
        yield (
            f"a part of what changed while we were not there was not taken over: {counts.braked}; see `--dry-run`, and "
            f"to do it all the same: im integration reconcile {handle} --auto-heal --force"
        )
    if counts.blind:
        yield (
            f"what changed while we were not there was not taken over: {counts.blind}; it is looked at again every "
            f"five minutes; see what the account may read: im integration test {handle}"
        )


def _signing_in(integration: Integration) -> str:
    """The command that gives credentials of the kind it has."""
    flags = "--username … --password-file …"
    if "client_id" in integration.credentials:
        flags = "--client-id … --client-secret-file …" + f" {flags}" * ("username" in integration.credentials)
    elif "api_key" in integration.credentials:
        flags = "--api-key-file …"
    return f"im integration configure {integration.settings.handle} {flags}"


def remarks(state: State, integration: Integration, tally: Tally, polls: Polling | None) -> Iterator[str]:
    """What is worth knowing and no trouble."""
    if tally.shut:
        yield (
            f"{_count(tally.shut, 'link')} parked, as its record is closed in ServiceNow and takes no edits; "
            f"see: im integration links {integration.settings.handle}"
        )
    if unclear := len(tally.looked_for):
        yield (
            f"{_count(unclear, 'create or note')} without a clear answer, looked for before it is sent again, up to "
            f"twice the transaction quota ({integration.settings.transaction_quota}); "
            f"see: im integration links {integration.settings.handle}"
        )
    if waits := tally.awaits_autoclose:
        yield (
            f"{_count(waits, 'incident')} closed here and Resolved in ServiceNow, where our account may not close; "
            'its auto-close will; see docs/sync.md, "Closing"'
        )
    yield from polling.remarks(polls)
    if copies := len(state.set_aside.get(integration.id, {})):
        verb = "carries" if copies == 1 else "carry"
        yield (
            f"{_count(copies, 'record')} {verb} the correlation id of another one, as copies do: left alone; "
            f"found by: im integration reconcile history {integration.settings.handle}"
        )
    yield from rule.remarks(integration)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _backlog(queue: Queue) -> str:
    """A queue that is longer than its pace allows."""
    doubt = ", looked for as it got no clear answer" if queue.oldest_looked_up else ""
    pace = "" if queue.clears_in_s is None else f", all of it for about {queue.clears_in_s:.0f} s more"
    return (
        f"{_count(queue.outbox, 'change')} {'waits' if queue.outbox == 1 else 'wait'} to be written, the oldest for "
        f'{queue.oldest_age_s:.0f} s{doubt}{pace}; see docs/operations.md, "Sync delays"'
    )


def _unmapped(tally: Tally) -> Iterator[str]:
    """Values without a mapping are left alone on both sides, and shown here, with an incident to look at."""
    for (field, raw), count in tally.unmapped.most_common(UNMAPPED_SHOWN):
        see = f"see: im incident show {tally.examples[field, raw]}"
        yield f"{_count(count, 'record')} with {field} {raw[:40]!r}, which has no mapping: left alone; {see}"
    for field, count in tally.unread.items():
        if count:
            yield (
                f"{_count(count, 'record')} without {field}, which our account may not read: left alone; "
                'see docs/operations.md, "A field is not synced"'
            )
