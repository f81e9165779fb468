"""`im integration …`: one organization's connection to one ServiceNow instance, its state, links and dead letters.

`configure`, `reconcile`, `field-ownership` and `field-mapping` are in files of their own and are attached here.
"""

from typing import Annotated

from cyclopts import App, Parameter

from syncd.edges.cli.client import Json, Listing, path_of, read
from syncd.edges.cli.configure import configure
from syncd.edges.cli.examination import examine
from syncd.edges.cli.field_mapping import app as field_mapping
from syncd.edges.cli.imports import import_
from syncd.edges.cli.ownership import app as ownership
from syncd.edges.cli.reconcile import app as reconcile
from syncd.edges.cli.render import age, clip, facts, table, tree, when
from syncd.edges.cli.session import All, Flag, Injected, Whole
from syncd.edges.cli.shapes import DeadLetter, DeliveryError, Integration, Link, Requeued, RotatedSecret
from syncd.edges.cli.sync_status import sync_status
from syncd.edges.cli.transport import WrongUsage

app = App(name="integration", help="Connect ServiceNow instances and watch over them.")
app.command(configure)
app.command(examine, name="test")
app.command(sync_status)
app.command(reconcile)
app.command(ownership)
app.command(field_mapping)
app.command(import_, name="import")


@app.command(name="list")
def list_(
    *,
    org: str | None = None,
    type_: Annotated[str | None, Parameter(name="--type")] = None,
    limit: Whole = 100,
    everything: All = False,
    session: Injected,
) -> int:
    """List integrations.

    Example: im integration list --org acme-corp
    """
    found = session.client.pages(
        path_of("integrations"), {"org": org, "type": type_}, limit=None if everything else limit
    )
    empty = "no integrations; make one: im integration configure"
    if org or type_:
        empty = "no integrations of that kind; see all: im integration list"
    session.show_list(found, lambda: _integrations(found), empty=empty)
    return 0


def _integrations(found: Listing) -> str:
    return table(
        ["HANDLE", "ID", "ORG", "DIRECTION", "ENABLED", "NAME"],
        (
            [
                each.handle,
                each.id,
                each.organization_id,
                each.sync_direction,
                "yes" if each.enabled else "no",
                each.name,
            ]
            for each in read(found.body, list[Integration])
        ),
    )


@app.command
def get(integration: str, /, *, session: Injected) -> int:
    """Show an integration's settings, without its secrets.

    Example: im integration get prod-snow
    """
    answer = session.client.get(path_of("integrations", integration))
    session.show(answer.body, lambda: facts(tree(read(answer.body, dict[str, Json]), session.now_s)))
    return 0


@app.command
def delete(integration: str, /, *, session: Injected) -> int:
    """Remove an integration and its links; incidents and ServiceNow records stay as they are.

    Example: im integration delete prod-snow
    """
    answer = session.client.call("DELETE", path_of("integrations", integration))
    session.confirm(answer.body or b'{"deleted":true}', lambda: [f"{integration} deleted"])
    return 0


@app.command
def links(integration: str, /, *, limit: Whole = 100, everything: All = False, session: Injected) -> int:
    """List the pairs of incident and ServiceNow record.

    Example: im integration links prod-snow --format table
    """
    found = session.client.pages(path_of("integrations", integration, "links"), {}, limit=None if everything else limit)

    def rows() -> str:
        return table(
            ["INCIDENT", "EXTERNAL", "STATE", "LINKED", "SYNCED", "WHY"],
            (
                [
                    link.incident_id,
                    link.external_number or link.external_id,
                    link.state,
                    age(link.created_at, session.now_s),
                    age(link.last_synced_at, session.now_s),
                    _waits(link, session.now_s) or link.reason,
                ]
                for link in read(found.body, list[Link])
            ),
            wraps=True,
        )

    session.show_list(found, rows, empty="no links")
    return 0


def _waits(link: Link, now_s: float) -> str | None:
    """What the record has not got yet, after how many tries, when the next one is, and what the last one met."""
    if (delivery := link.delivery) is None:
        return None
    words = f"waiting: {', '.join(delivery.waiting)}"
    if delivery.error is not None:
        words += f"; tries: {delivery.attempts}, next {age(delivery.next_attempt_at, now_s)}: {_said(delivery.error)}"
    return words


@app.command
def link(integration: str, incident_id: str, external_id: str, /, *, session: Injected) -> int:
    """Link an incident with a ServiceNow record that exists, given by its sys_id; the two are then merged.

    Example: im integration link prod-snow INC-4Q7ZK2M9XD 9d385017c611228701d22104cc95c371
    """
    body: dict[str, Json] = {"incident_id": incident_id, "external_id": external_id}
    answer = session.client.call("POST", path_of("integrations", integration, "links"), body=body)

    def confirmation() -> list[str]:
        made = read(answer.body, Link)
        return [f"{made.incident_id} linked to {made.external_number or made.external_id}"]

    session.confirm(answer.body, confirmation)
    return 0


@app.command
def unlink(integration: str, incident_id: str, /, *, session: Injected) -> int:
    """Part an incident from its ServiceNow record; both stay as they are, and apart until you link them again.

    Example: im integration unlink prod-snow INC-4Q7ZK2M9XD
    """
    answer = session.client.call("DELETE", path_of("integrations", integration, "links", incident_id))
    done = f"{incident_id} unlinked; both sides stay as they are, and apart until you link them again"
    session.confirm(answer.body or b'{"unlinked":true}', lambda: [done])
    return 0


@app.command
def webhook_script(integration: str, /, *, session: Injected) -> int:
    """Print the ServiceNow business rule that tells us about changes, ready to paste.

    Example: im integration webhook-script prod-snow > rule.js
    """
    accept = "application/json" if session.is_json else "text/javascript"
    answer = session.client.get(path_of("integrations", integration, "webhook-script"), accept=accept)
    # Printed as it came: it is the daemon's own text, and an escape in it would be another program.
    session.show(answer.body, lambda: answer.body.decode(errors="replace").rstrip("\n"))
    return 0


@app.command
def rotate_secret(
    integration: str,
    /,
    *,
    grace: Annotated[str | None, Parameter(help="How long the old one stays valid; 24h if not given.")] = None,
    session: Injected,
) -> int:
    """Make a new webhook secret; the old one stays valid for a while, so that ServiceNow can be changed in peace.

    Example: im integration rotate-secret prod-snow
    """
    body: Json = {} if grace is None else {"grace": grace}
    answer = session.client.call("POST", path_of("integrations", integration, "webhook-secret", "rotate"), body=body)

    def confirmation() -> list[str]:
        made = read(answer.body, RotatedSecret)
        return [
            f"webhook secret, not shown again: {made.webhook_secret}",
            f"the old one is valid until {when(made.previous_valid_until, session.now_s)}",
            f"next: put it into ServiceNow, see im integration webhook-script {integration}",
        ]

    session.confirm(answer.body, confirmation)
    return 0


@app.command
def dlq(integration: str, /, *, limit: Whole = 100, everything: All = False, session: Injected) -> int:
    """List dead letters: changes that ServiceNow refused, with its own words and the remedy.

    Example: im integration dlq prod-snow
    """
    found = session.client.pages(path_of("integrations", integration, "dlq"), {}, limit=None if everything else limit)

    def rows() -> str:
        return table(
            ["ENTRY", "INCIDENT", "WHAT", "TRIES", "SINCE", "NEXT TRY", "WHY"],
            (
                [
                    entry.id,
                    entry.incident_id,
                    ", ".join(entry.fields) if entry.operation == "update" else entry.operation,
                    str(entry.attempts),
                    age(entry.created_at, session.now_s),
                    age(entry.next_attempt_at, session.now_s),
                    _why(entry),
                ]
                for entry in read(found.body, list[DeadLetter])
            ),
            wraps=True,
        )

    session.show_list(found, rows, empty="no dead letters")
    return 0


def _why(entry: DeadLetter) -> str:
    """ServiceNow's words, the remedy, and what a retry would send now."""
    parts = [_said(entry.error) if entry.error is not None else "no reason given", entry.remedy]
    if entry.would_send is not None:
        columns = ", ".join(f"{column}={clip(text, 40)}" for column, text in entry.would_send.items())
        parts.append(f"would send {columns}" if columns else "nothing differs any more")
    return " -> ".join(filter(None, parts))


def _said(error: DeliveryError) -> str:
    status = f"HTTP {error.status}" if error.status else None
    return ": ".join(word for word in (status, error.kind, error.message, error.detail) if word)


@app.command
def dlq_retry(
    integration: str,
    entry: str | None = None,
    /,
    *,
    everything: Annotated[Flag, Parameter(name="--all", help="Every dead letter.")] = False,
    session: Injected,
) -> int:
    """Try a dead letter again, or all of them; what is sent is worked out afresh.

    Example: im integration dlq-retry prod-snow entry-17
    """
    if everything == (entry is not None):
        raise WrongUsage("which dead letter is not clear", hint="give an ENTRY of `im integration dlq`, or --all")
    if entry is None:
        answer = session.client.call("POST", path_of("integrations", integration, "dlq", "retry"))
        session.confirm(answer.body, lambda: [f"queued again: {read(answer.body, Requeued).queued}"])
    else:
        answer = session.client.call("POST", path_of("integrations", integration, "dlq", entry, "retry"))
        session.confirm(answer.body, lambda: [f"{entry} is queued again"])
    return 0


@app.command
def dlq_discard(integration: str, entry: str, /, *, session: Injected) -> int:
    """Give a dead letter up; the two sides stay different until the next edit of those fields.

    A reconcile does not write them either.

    Example: im integration dlq-discard prod-snow entry-17
    """
    answer = session.client.call("POST", path_of("integrations", integration, "dlq", entry, "discard"))
    session.confirm(answer.body, lambda: [f"{entry} discarded; its fields stay different until the next edit of them"])
    return 0
