"""What the connection test finds, step by step, each with a verdict and what to do about it (contract section 6).

The judgements alone: what an answer means for the sync. The requests are made in ``systems/examination.py``.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from syncd.core import mapping
from syncd.core.model import PinnedInstance, Settings
from syncd.core.sending import Offset

Verdict: TypeAlias = Literal["ok", "warning", "failed", "skipped"]

CLOCK_WARNING_S: Final = 2.0
CLOCK_FAILED_S: Final = 120.0
WEBHOOK_LATELY_S: Final = 24 * 3600.0
CHOSEN_COLUMNS: Final = ("state", "impact", "urgency", "close_code", "hold_reason")
NEEDED_COLUMNS: Final = ("sys_id", "number", "sys_mod_count", "sys_updated_on", "sys_created_on", "correlation_id")


class Step(Struct, frozen=True):
    """One step. ``remedy`` is empty where there is nothing to do."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str = ""


class Report(Struct, frozen=True):
    """The whole test; ``failed`` when one of its steps did."""

    integration_id: str
    handle: str
    verdict: Literal["ok", "failed"]
    steps: list[Step]


def report(integration_id: str, handle: str, steps: list[Step]) -> Report:
    """All steps under one verdict."""
    verdict: Literal["ok", "failed"] = "failed" if any(one.verdict == "failed" for one in steps) else "ok"
    return Report(integration_id, handle, verdict, steps)


def account(name: str, rows: list[dict[str, str]]) -> Step:
    """The user row of our own account, as the instance shows it."""
    own = [row for row in rows if row.get("user_name") == name]
    if len(own) != 1:
        return Step("account", "warning", f"the instance does not show us the user {name}", "let it read sys_user")
    faults = []
    if own[0].get("locked_out") == "true" or own[0].get("active") == "false":
        return Step("account", "failed", f"the user {name} is locked or inactive", "unlock and activate it there")
    if (zone := own[0].get("time_zone", "")) not in ("GMT", "UTC"):
        faults.append(f"time zone {zone or 'of the instance'}")
    if (language := own[0].get("preferred_language", "")) not in ("en", ""):
        faults.append(f"language {language}")
    if faults:
        remedy = "give the user the time zone GMT and the language English: what it is shown depends on both"
        return Step("account", "warning", f"{name} has {' and '.join(faults)}", remedy)
    return Step("account", "ok", f"{name}, GMT, English")


def identity(name: str, pinned: PinnedInstance | None, base_url: str, handle: str) -> Step:
    """Which instance answers, and whether it is the one that the integration belongs to."""
    if not name:
        known = f"; by its webhooks it is {pinned.name!r}" if pinned is not None else ""
        return Step(
            "instance",
            "warning",
            f"the account may not see the name of the instance{known}",
            "let it read the property instance_name, or a copy of the instance is told apart by its webhooks only",
        )
    if pinned is not None and pinned.by_api and pinned.name != name:
        return Step(
            "instance",
            "failed",
            f"{name!r} answers, and the integration belongs to {pinned.name!r}",
            f"if it is the right one, confirm it: im integration configure {handle} --base-url {base_url}",
        )
    return Step("instance", "ok", name)


def clock(offset: Offset, *, is_measured: bool) -> Step:
    """The instance's clock against ours."""
    if not is_measured:
        return Step("clock", "warning", "the answers have no Date header", "compare the clocks by hand")
    off_s = abs(offset.s)
    words = f"the instance's clock is {offset.s:+.1f} s off ours, give or take {offset.error_s:.1f} s"
    sure_s = off_s - offset.error_s
    if sure_s > CLOCK_FAILED_S:
        return Step("clock", "failed", words, "set both clocks by NTP: signatures and the order of edits rest on them")
    return (
        Step("clock", "warning", words, "set both clocks by NTP")
        if sure_s > CLOCK_WARNING_S
        else Step("clock", "ok", words)
    )


def columns(rows: list[dict[str, str]], wanted: Collection[str]) -> Step:
    """A record as it is shown: an absent column is hidden from us, or has another name there."""
    if not rows:
        return Step(
            "read", "warning", "no incident is shown to us", "if there are some, let the account read them (role itil)"
        )
    absent = [name for name in wanted if name not in rows[0]]
    if not absent:
        return Step("read", "ok", f"incident, with all {len(wanted)} columns")
    needed = [name for name in absent if name in NEEDED_COLUMNS]
    remedy = f"let the account read {', '.join(absent)} of incident: a field that is not shown is never synced"
    return Step("read", "failed" if needed else "warning", f"not shown: {', '.join(absent)}", remedy)


def chosen_columns(settings: Settings) -> list[str]:
    """The columns whose choices matter: those of the mapping, and those that get a default."""
    return list(dict.fromkeys([*CHOSEN_COLUMNS, *(column for column, _ in _defaults(settings))]))


def choices(found: Mapping[str, Collection[str]], settings: Settings) -> Step:
    """The values there are on the instance, by column, against those that we read and write."""
    if not found.get("state"):
        return Step(
            "choices", "warning", "the choices of incident are not shown to us", "let the account read sys_choice"
        )
    missing = [*_missing(found, _written()), *_missing(found, _defaults(settings))]
    unread = sorted(set(found["state"]) - mapping.STATUS_OF_STATE.keys())
    if missing:
        remedy = "ServiceNow blanks what it does not know: choose a value that is there (external_defaults), or add it"
        words = ", ".join(f"{column} {value!r}" for column, value in dict.fromkeys(missing))
        return Step("choices", "failed", f"not a choice there: {words}", remedy)
    if unread:
        words = f"state {', '.join(unread)} has no mapping: records in it keep their status"
        return Step("choices", "warning", words, "see docs/sync.md, status mapping")
    return Step("choices", "ok", f"{', '.join(sorted(found))}: all values we write are there")


def _written() -> Iterator[tuple[str, str]]:
    yield from (("state", value) for value in mapping.STATE_OF_STATUS.values())
    for impact, urgency in mapping.PAIR_OF_SEVERITY.values():
        yield from (("impact", impact), ("urgency", urgency))


def _defaults(settings: Settings) -> Iterator[tuple[str, str]]:
    """Each column with each value that a default may give it."""
    for name, value in settings.external_defaults.items():
        if isinstance(value, str):
            yield name, value
        else:
            yield from value.items()


def _missing(found: Mapping[str, Collection[str]], wanted: Iterator[tuple[str, str]]) -> list[tuple[str, str]]:
    """What a column with choices does not offer; one without any takes all values."""
    return [(name, value) for name, value in wanted if found.get(name) and value and value not in found[name]]


def webhook(last_at_s: float | None, at_s: float, settings: Settings) -> Step:
    """Whether the way back works, as far as one that came tells."""
    script = f"put the script of `im integration webhook-script {settings.handle}` there, then touch an incident"
    if last_at_s is None:
        return Step("webhook", "warning", "no webhook has come since the daemon started", script)
    ago_s = max(0.0, at_s - last_at_s)
    words = f"the last one came {ago_s:.0f} s ago"
    if ago_s > WEBHOOK_LATELY_S:
        return Step("webhook", "warning", words, f"if incidents have changed since then: {script}")
    return Step("webhook", "ok", words)
