"""The names of all faults and switches, each with its meaning in one line.

Owns the two tables that ``--list-faults`` prints. Never holds what is armed: that is ``faults.py``.
"""

from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["FAULTS", "SWITCHES", "Fault", "Switch", "catalogue_text"]

Unit = Literal["probability", "seconds", "number", "text"]


@dataclass(frozen=True)
class Fault:
    """Something that strikes single requests or webhooks. ``unit``: what its value means."""

    name: str
    unit: Unit
    default: str
    summary: str


@dataclass(frozen=True)
class Switch:
    """A standing property. ``choices``: the allowed values; empty means a number or free text."""

    name: str
    default: str
    choices: tuple[str, ...]
    summary: str
    is_number: bool = False


def _chances(*pairs: tuple[str, str]) -> list[Fault]:
    return [Fault(name, "probability", "1", summary) for name, summary in pairs]


_ALL_FAULTS: Final = [
    *_chances(
        ("request_lost", "the connection is reset before anything happens"),
        ("answer_lost", "the request takes effect, then the connection is reset"),
        ("create_commits_then_500", "POST stores the record, then answers 500 (execution time exceeded)"),
        ("create_commits_then_reset", "POST stores the record, then resets the connection"),
        ("create_commits_then_504_html", "POST stores the record, then the edge answers 504 with HTML"),
        ("create_500_without_commit", "POST stores nothing and answers 500"),
        ("patch_commits_then_500", "PATCH/PUT takes effect, then answers 500 (execution time exceeded)"),
        ("patch_commits_then_reset", "PATCH/PUT takes effect, then resets the connection"),
        ("patch_commits_then_504_html", "PATCH/PUT takes effect, then the edge answers 504 with HTML"),
        ("patch_500_without_commit", "PATCH/PUT changes nothing and answers 500"),
        ("delete_commits_then_500", "DELETE takes effect, then answers 500"),
        ("delete_commits_then_reset", "DELETE takes effect, then resets the connection"),
        ("delete_commits_then_504_html", "DELETE takes effect, then the edge answers 504 with HTML"),
        ("delete_500_without_commit", "DELETE changes nothing and answers 500"),
        ("hibernating", "200 with the hibernation page (HTML) on every path, the token endpoint included"),
        ("maintenance_503", "503 with a maintenance page (HTML)"),
        ("bad_gateway_502", "502 with HTML, nothing happens"),
        ("gateway_timeout_504", "504 with HTML, nothing happens"),
        ("redirect_302", "302 to another host"),
        ("empty_202", "202 with an empty body, nothing happens"),
        ("error_500", "500 in the standard envelope, nothing happens"),
        ("semaphore_429", "429 at once without rate headers and without JSON: the node's queue is full"),
        ("unauthorized_401", "401 although the credentials are right"),
        ("api_acl_403", "403 Failed API level ACL Validation; with cookies it stays for that session"),
        ("webhook_lost", "a webhook is never sent"),
        ("webhook_doubled", "a webhook is sent twice, as by a script that calls execute() twice"),
        ("webhook_wrong_key", "the webhook is signed with another key"),
        ("webhook_signature_null", "the signature header is the word null"),
        ("webhook_unsigned", "the webhook has no signature header"),
        ("webhook_old_timestamp", "the webhook's timestamp is an hour old (and correctly signed)"),
        ("webhook_altered", "the webhook's body is changed after signing"),
        ("notes_doubled", "a note is stored twice, as by an after rule that calls current.update()"),
    ),
    Fault("create_visible_late", "seconds", "10", "POST resets the connection; the record appears this much later"),
    Fault("late_commit", "seconds", "10", "a write is stamped now, but visible and answered only this much later"),
    Fault("slow", "seconds", "1", "the answer waits this long before its first byte"),
    Fault("trickle", "seconds", "1", "the body trickles over this time"),
    Fault(
        "truncated_200", "text", "cut", "a list ends in an error glued to the array: `cut` inside a row, or `intact`"
    ),
    Fault("rate_limit", "number", "100", "rate rule: so many requests an hour and user, then 429 with Retry-After"),
    Fault("webhook_delay", "seconds", "5", "a webhook leaves this much later than its rule ran"),
    Fault("webhook_reordered", "seconds", "5", "each webhook leaves up to this much later, by chance"),
]

FAULTS: Final = {fault.name: fault for fault in _ALL_FAULTS}

_ON_OFF: Final = ("on", "off")

_ALL_SWITCHES: Final = [
    Switch("empty_list_404", "off", _ON_OFF, "an empty list is 404 on the unversioned path too, as on v1"),
    Switch("invalid_query_no_rows", "off", _ON_OFF, "glide.invalid_query.returns_no_rows: bad clauses give no rows"),
    Switch("query_acl", "drop", ("drop", "refuse"), "a clause on a field without query ACL is dropped, or 403"),
    Switch("shuffle", "on", _ON_OFF, "rows without a total order come in another order each time"),
    Switch("hidden_rows", "gone", ("gone", "empty"), "rows hidden by ACL vanish from pages, or arrive as {}"),
    Switch("count_hidden_rows", "on", _ON_OFF, "aggregate counts include rows that the user cannot see"),
    Switch("priority_direct", "overridden", ("overridden", "kept"), "a written priority is recomputed, or kept"),
    Switch("new_defaults", "base", ("base", "customer"), "impact and urgency of a new record: 3 and 3, or 2 and 2"),
    Switch(
        "state_conflict", "state", ("state", "incident_state"), "which one wins when a write sets both, and differently"
    ),
    Switch("unknown_label", "value", ("value", "blank"), "a choice that does not exist is shown as itself, or blank"),
    Switch("close_code_check", "blank", ("blank", "keep"), "an unknown close_code is blanked, or stored"),
    Switch("close_policy", "on", _ON_OFF, "the data policy for close_code and close_notes in states 6 and 7"),
    Switch("closed_write", "refuse", ("refuse", "ignore", "allow"), "non-admin writes to closed or cancelled records"),
    Switch("closed_notes", "refuse", ("refuse", "allow"), "notes on closed records where closed_write is not allow"),
    Switch("close_by_api", "allow", ("allow", "refuse", "ignore"), "non-admin writes that set state 7"),
    Switch("abort_on_group", "on", _ON_OFF, "business rule `Abort changes on group`"),
    Switch(
        "outside_assignee",
        "allow",
        ("allow", "refuse", "blank"),
        "an assignee who is no member of the record's group is kept, refused by a rule, or cleared",
    ),
    Switch("dangling_references", "keep", ("keep", "blank"), "a reference to a sys_id that does not exist"),
    Switch("reference_names", "display", ("display", "always"), "names of references resolve in display input only"),
    Switch("note_stamps", "on", _ON_OFF, "a note without other changes moves sys_mod_count and the stamp"),
    Switch("late_update_stamp", "start", ("start", "commit"), "a late update is stamped when it begins, or commits"),
    Switch("failed_writes", "kept", ("kept", "undone"), "what `patch_commits…` and `delete_commits…` leave behind"),
    Switch("title_prefix", "", (), "rewrite rule: short_description gets this prefix if it lacks it"),
    Switch("assign_starts_work", "off", _ON_OFF, "rewrite rule: assigning a New incident sets In Progress"),
    Switch(
        "assign_on_priority", "", (), "assignment rule: this user_name is assigned when the priority rises to 1 or 2"
    ),
    Switch("comment_resumes", "on", _ON_OFF, "the caller's comment takes Awaiting Caller back to In Progress"),
    Switch("cascade_to_children", "off", _ON_OFF, "states 2, 3 and 6 of a parent go to its children"),
    Switch("reopen_clears", "off", _ON_OFF, "reopening clears resolved_at, resolved_by, close_code, close_notes"),
    Switch("admin_only_sys_fields", "off", _ON_OFF, "only admin may write sys_created_on and the other stamps"),
    Switch("post_keeps_sys_id", "off", _ON_OFF, "POST honours a sys_id chosen by the client"),
    Switch("autoclose_days", "0", (), "resolved incidents close after so many days; 0 is off", is_number=True),
    Switch("autoclose_from", "resolved_at", ("resolved_at", "last_update"), "what the auto-close job counts from"),
    Switch("sessions", "on", _ON_OFF, "session cookies are set, and requests of one session run one by one"),
    Switch("transaction_quota_s", "60", (), "a transaction that takes longer is cancelled", is_number=True),
    Switch("rate_flush_s", "0", (), "rate counters are flushed this often, so a limit is overrun", is_number=True),
    Switch("lockout_after", "0", (), "so many failed logins in a row lock the user; 0 is never", is_number=True),
    Switch("basic_enforced_at", "", (), "from this UTC stamp on Basic is refused to restricted users"),
    Switch("api_key_policy", "off", _ON_OFF, "x-sn-apikey is accepted"),
    Switch("batch_ms", "30000", (), "what a batch does not service within this time stays undone", is_number=True),
    Switch("request_ms", "0", (), "how long a simple request takes", is_number=True),
    Switch("rule_mode", "async", ("async", "after"), "the webhook rule runs later, or while the writer waits"),
    Switch("rule_delay_s_min", "0.05", (), "an async rule runs at least this much later", is_number=True),
    Switch("rule_delay_s_max", "0.3", (), "an async rule runs at most this much later", is_number=True),
    Switch("rule_skips_api_user", "on", _ON_OFF, "the rule's condition leaves out writes of the API user"),
    Switch("rule_operations", "all", ("all", "no-delete"), "whether a delete rule exists"),
    Switch("webhook_payload", "extended", ("extended", "page"), "the product page's keys, or the extended form"),
    Switch("webhook_notes", "off", _ON_OFF, "the extended form carries the newest work notes"),
    Switch("webhook_signature", "base64", ("base64", "hex"), "how the signature is written"),
    Switch("webhook_timestamp", "on", _ON_OFF, "the timestamp is sent and signed, or neither"),
]

SWITCHES: Final = {switch.name: switch for switch in _ALL_SWITCHES}


def catalogue_text() -> str:
    """All faults and switches as lines for a terminal."""
    width = max(map(len, [*FAULTS, *SWITCHES])) + 2
    lines = ["Faults (NAME, NAME=VALUE, with @PROBABILITY and *TIMES where wanted):"]
    lines.extend(
        f"  {fault.name:<{width}}{fault.summary} [{fault.unit}, default {fault.default}]" for fault in FAULTS.values()
    )
    lines.append("")
    lines.append("Switches (NAME=VALUE):")
    for switch in SWITCHES.values():
        values = "|".join(switch.choices) or ("number" if switch.is_number else "text")
        lines.append(f"  {switch.name:<{width}}{switch.summary} [{values}, default {switch.default or 'empty'}]")
    return "\n".join(lines)
