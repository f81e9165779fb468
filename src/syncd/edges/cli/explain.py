"""`im incident explain`: why each field says what it says, a card for each field and link.

The words for rules and standings come from the daemon (docs/sync.md, "Why a field says what it says"); here they are
only laid out.
"""

from collections.abc import Iterator

from msgspec import Struct

from syncd.edges.cli.client import path_of, read
from syncd.edges.cli.render import COLUMNS_MAX, clip, facts, safe, when
from syncd.edges.cli.session import Injected
from syncd.edges.cli.shapes import DeliveryError

VALUE_CELLS_MAX = 28  # two of them, the record's number and the handle on one line


class Write(Struct):
    """What followed a decision."""

    to: str = ""
    at: str | None = None
    became: str | None = None
    attempts: int = 0
    next_attempt_at: str | None = None
    error: DeliveryError | None = None


class FieldExplained(Struct):
    """One field of one link."""

    field: str = ""
    integration: str = ""
    external_number: str | None = None
    base: str | None = None
    base_external: str | None = None
    platform: str | None = None
    platform_by: str | None = None
    platform_at: str | None = None
    external: str | None = None
    external_raw: str | None = None
    external_by: str | None = None
    external_from: str | None = None
    external_at: str | None = None
    rule: str | None = None
    why: str | None = None
    ruled_at: str | None = None
    trace: str | None = None
    write: Write | None = None
    conflict: str | None = None
    standing: str = ""
    meaning: str = ""
    way_out: str | None = None


class FieldNotSynced(Struct):
    """A field that no rule looks at."""

    field: str = ""
    platform: str | None = None
    why: str = ""
    way_out: str | None = None


class Explanation(Struct):
    """The answer."""

    fields: list[FieldExplained] = []
    not_synced: list[FieldNotSynced] = []


def explain(incident_id: str, /, *, field: str | None = None, session: Injected) -> int:
    """Show why each field says what it says: both values, who made them, the rule that decided, and what followed.

    Example: im incident explain INC-4Q7ZK2M9XD --field title
    """
    answer = session.client.get(path_of("incidents", incident_id, "explain"), {"field": field})
    session.show(answer.body, lambda: "\n\n".join(cards(read(answer.body, Explanation), session.now_s, field=field)))
    return 0


def cards(told: Explanation, now_s: float, *, field: str | None = None) -> Iterator[str]:
    """A card for each field and link, and a line for each field that is not synced. ``field``: the one asked for."""
    for one in told.fields:
        yield f"{_headline(one)}\n{facts(_lines(one, now_s))}"
    if not told.fields and (field is None or not told.not_synced):
        yield "no integration has a record for it, so there is nothing to compare"
    if told.not_synced:
        yield facts((one.field, _not_synced(one)) for one in told.not_synced)


def _not_synced(one: FieldNotSynced) -> str:
    return "; ".join(filter(None, (f"{_quoted(one.platform, missing='nothing')} here", one.why, one.way_out)))


def _headline(one: FieldExplained) -> str:
    record = f"{one.external_number or 'a record to be made'} ({one.integration})"
    there = _quoted(one.external) if one.external is not None else _quoted(one.external_raw, missing="not shown")
    return clip(safe(f"{one.field}: {_quoted(one.platform)} here, {there} in {record}"), COLUMNS_MAX)


def _lines(one: FieldExplained, now_s: float) -> Iterator[tuple[str, str | None]]:
    yield "  now", f"{one.standing}: {one.meaning}"
    if one.way_out:
        yield "  way out", one.way_out
    yield "  platform", f"changed {when(one.platform_at, now_s)} by {one.platform_by or 'nobody known'}"
    yield "  ServiceNow", _external_edit(one, now_s)
    yield "  base", _base(one)
    if one.rule:
        decided = f", {when(one.ruled_at, now_s)}" if one.ruled_at else ""
        yield "  rule", f"{one.rule}{decided}: {one.why}" if one.why else f"{one.rule}{decided}"
    if one.write is not None:
        yield "  write", _write(one.write, now_s)
    if one.trace:
        yield "  trace", one.trace
    if one.conflict:
        yield "  conflict", f"{one.conflict} keeps both values: im conflict show {one.conflict}"


def _base(one: FieldExplained) -> str:
    """What both sides held when they last agreed; a half that is not known waits for what was decided."""
    if one.base is None and one.base_external is None:
        return "none yet: the two sides have not been compared"
    if one.base is None:
        return f"{_quoted(one.base_external)} in ServiceNow; the platform's value stands and is not delivered yet"
    if one.base_external is None:
        return f"{_quoted(one.base)} here; ServiceNow's value stands and has not come in yet"
    return f"{_quoted(one.base)} here, {_quoted(one.base_external)} in ServiceNow, when they last agreed"


def _external_edit(one: FieldExplained, now_s: float) -> str:
    if one.external_raw is None:
        return "not shown"
    raw = f", as {_quoted(one.external_raw)}" if one.external_raw != one.external else ""
    if one.external_at is None:
        return f"it is not known who changed it{raw}"
    by = f" by {one.external_by}" if one.external_by else ", by whom is not known"
    return f"changed {_span(one, now_s)}{by}{raw}"


def _span(one: FieldExplained, now_s: float) -> str | None:
    at = when(one.external_at, now_s)
    if one.external_from is None:
        return f"no later than {at}"
    return at if one.external_from == one.external_at else f"between {when(one.external_from, now_s)} and {at}"


def _write(write: Write, now_s: float) -> str:
    words = []
    if write.at is not None:
        side = "ServiceNow" if write.to == "external" else "the platform"
        became = f" and shows {_quoted(write.became)}" if write.became is not None else ""
        words.append(f"{side} took it {when(write.at, now_s)}{became}")
    else:
        tries = {0: "", 1: ", tried once"}.get(write.attempts, f", tried {write.attempts} times")
        words.append(f"not there yet{tries}")
    if write.next_attempt_at is not None:
        words.append(f"next try {when(write.next_attempt_at, now_s)}")
    if write.error is not None:
        words.append(_error(write.error))
    return "; ".join(words)


def _error(error: DeliveryError) -> str:
    """What ServiceNow said, or in words of our own what came of it."""
    message, status = error.message or "", f"HTTP {error.status}"
    said = f"{message} ({error.detail})" if error.detail else message
    if not error.status or error.kind == "not-kept":
        return said
    return f"ServiceNow said: {said if message.startswith(status) else f'{status}, {said}'}"


def _quoted(value: str | None, *, missing: str = "not known") -> str:
    return missing if value is None else f'"{clip(safe(value), VALUE_CELLS_MAX)}"'
