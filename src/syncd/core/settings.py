"""The settings of an integration as callers send them, checked (contract section 4).

It owns the rules for each setting: what a default may carry, which credentials belong together. Where we may talk to is
``reach.py``'s part. Names and handles are only checked for their form here; whether they are free is ``registry.py``'s.
"""

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Final, get_args

from msgspec import UNSET, Struct, UnsetType

from syncd.core import reach
from syncd.core.fields import Fields, shown
from syncd.core.finding import HANDLE
from syncd.core.model import Direction, Strategy
from syncd.core.requests import organization

NAME_LETTERS_MAX: Final = 200
SECRET_LETTERS_MAX: Final = 4096
QUERY_LETTERS_MAX: Final = 1000
HANDLE_LETTERS_MAX: Final = 63
CREDENTIAL_NAMES: Final = ("username", "password", "client_id", "client_secret", "api_key")
OAUTH_NAMES: Final = frozenset({"client_id", "client_secret"})
TRANSITIONS: Final = ("create", "resolve", "close", "hold", "cancel")
NOT_YET: Final = (  # known by name, but not of this version
    "poll_interval",
    "closed_policy",
    "field_ownership",
    "field_mapping",
    "status_mapping",
    "reconcile_schedule",
)
# Words that follow `im integration`: an integration of that name could never be meant.
RESERVED_HANDLES: Final = frozenset(
    [
        "configure",
        "list",
        "get",
        "show",
        "delete",
        "test",
        "sync-status",
        "links",
        "link",
        "unlink",
        "import",
        "webhook-script",
        "rotate-secret",
        "field-ownership",
        "field-mapping",
        "reconcile",
        "history",
        "schedule",
        "dlq",
        "dlq-retry",
        "dlq-discard",
        "set",
        "help",
        "version",
    ]
)
_OURS: Final = frozenset(
    [
        "short_description",
        "description",
        "state",
        "impact",
        "urgency",
        "priority",
        "number",
        "correlation_id",
        "correlation_display",
        "work_notes",
        "comments",
    ]
)
_FIRST_WORDS = ("^", "OR", "NQ")  # column names are lower-case
_LATER_WORDS: Final[Mapping[str, str]] = {
    "^EQ": "which ends the query, and ours goes on behind it; leave it out",
    "ORDERBY": "and the order of what we read is ours; leave it out",
    "GROUPBY": "which makes groups of what we read one by one; leave it out",
}
_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,79}")
_SETTING_NAMES = (
    "organization_id",
    "integration_type",
    "name",
    "handle",
    "base_url",
    "sync_direction",
    "enabled",
    "conflict_strategy",
    "conflict_window",
    "create_external",
    "create_platform",
    "import_query",
    "external_defaults",
    "rate_limit",
    "max_concurrency",
    "transaction_quota",
)
KNOWN: Final = (*_SETTING_NAMES, "credentials", "webhook_secret")


class WantedSettings(Struct, frozen=True, kw_only=True):
    """What a create or an update asks for; UNSET is what it does not name.

    ``credentials`` are in clear, to be sealed by the edge before they come near the journal; never print this.
    """

    organization_id: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    handle: str | UnsetType = UNSET
    base_url: str | UnsetType = UNSET
    sync_direction: Direction | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    conflict_strategy: Strategy | UnsetType = UNSET
    conflict_window: str | UnsetType = UNSET
    create_external: bool | UnsetType = UNSET
    create_platform: bool | UnsetType = UNSET
    import_query: str | UnsetType = UNSET
    external_defaults: dict[str, str | dict[str, str]] | UnsetType = UNSET
    rate_limit: float | UnsetType = UNSET
    max_concurrency: int | UnsetType = UNSET
    transaction_quota: str | UnsetType = UNSET

    def settings(self) -> dict[str, object]:
        """The named settings, for ``Settings``."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return {name: value for name, value in values.items() if not isinstance(value, UnsetType)}


class WantedSecrets(Struct, frozen=True):
    """The secrets of a request, in clear. ``credentials`` UNSET: not named. Its repr shows none of them."""

    credentials: dict[str, str] | UnsetType = UNSET
    webhook_secret: str | UnsetType = UNSET

    def __repr__(self) -> str:
        return "WantedSecrets(***)"


def read(
    raw: Mapping[str, object], allowed_hosts: Collection[str], *, is_new: bool
) -> tuple[WantedSettings, WantedSecrets]:
    """The settings and secrets of a request's object; ``Invalid`` with every fault.

    ``is_new``: a name and an address are required.
    """
    body = Fields({key: value for key, value in raw.items() if key not in NOT_YET}, KNOWN)
    for name in NOT_YET:
        if name in raw:
            body.fault(name, "is not in this version of syncd; leave it out")
    body.choice("integration_type", ("servicenow",))
    rate_limit = body.number("rate_limit", over=0, most=1000)
    settings = WantedSettings(
        organization_id=organization(body),
        name=body.text("name", letters_max=NAME_LETTERS_MAX, required=is_new),
        handle=_handle(body),
        base_url=_base_url(body, allowed_hosts, required=is_new),
        sync_direction=body.choice("sync_direction", get_args(Direction)),
        enabled=body.flag("enabled"),
        conflict_strategy=body.choice("conflict_strategy", get_args(Strategy)),
        conflict_window=body.duration("conflict_window", words=("always",)),
        create_external=body.flag("create_external"),
        create_platform=body.flag("create_platform"),
        import_query=_import_query(body),
        external_defaults=_external_defaults(body),
        rate_limit=rate_limit,
        max_concurrency=body.count("max_concurrency", least=1, most=32),
        transaction_quota=body.duration("transaction_quota", least_s=1),
    )
    secrets = WantedSecrets(_credentials(body), _webhook_secret(body))
    body.done("the integration")
    return settings, secrets


def slug(name: str) -> str:
    """The handle that a name gives: ``Production ServiceNow`` becomes ``production-servicenow``; may be empty."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:HANDLE_LETTERS_MAX].strip("-")


def handle_fault(handle: str) -> str | None:
    """Why a word cannot be a handle; None when it can."""
    if not HANDLE.fullmatch(handle):
        return (
            f"{shown(handle)} is not a handle; write 1 to {HANDLE_LETTERS_MAX} of a-z, 0-9 and '-', such as prod-snow"
        )
    if handle in RESERVED_HANDLES:
        return f"{handle!r} is a word of the command line; take another, such as prod-snow"
    return None


def _base_url(body: Fields, allowed_hosts: Collection[str], *, required: bool) -> str | UnsetType:
    value = body.text("base_url", letters_max=300, required=required)
    if isinstance(value, UnsetType):
        return value
    fault = reach.url_fault(value, allowed_hosts)
    if fault is not None:
        body.fault("base_url", fault)
        return UNSET
    return reach.kept_form(value)


def _handle(body: Fields) -> str | UnsetType:
    value = body.text("handle", letters_max=300)
    fault = handle_fault(value) if isinstance(value, str) else None
    if fault is not None:
        body.fault("handle", fault)
    return value


def _import_query(body: Fields) -> str | UnsetType:
    value = body.text("import_query", letters_max=QUERY_LETTERS_MAX, blank=True)
    fault = query_fault(value) if isinstance(value, str) else None
    if fault is not None:
        body.fault("import_query", fault)
    return value


def query_fault(query: str) -> str | None:
    """Why an encoded query cannot narrow ours, which stands before it; None when it can."""
    if query.startswith(_FIRST_WORDS):
        word = next(word for word in _FIRST_WORDS if query.startswith(word))
        return (
            f"begins with {word}, which would widen our own query before it; begin with a column, such as active=true"
        )
    for word, why in _LATER_WORDS.items():
        if word in query:
            return f"has {word}, {why}"
    lowered = query.lower()
    if "^nq" in lowered:
        return "has ^NQ, which starts a second query that ours would not narrow; use ^OR instead"
    if "javascript:" in lowered:
        return "has javascript:, which would run a script in ServiceNow with every read; write the value itself"
    return None


def _external_defaults(body: Fields) -> dict[str, str | dict[str, str]] | UnsetType:
    part = body.part("external_defaults")
    if part is None:
        return UNSET
    chosen: dict[str, str | dict[str, str]] = {}
    for name in part.names():
        if name in TRANSITIONS and not isinstance(part.raw(name), str):
            nested = part.part(name)
            if nested is not None:
                chosen[name] = _columns(nested)
        else:
            chosen.update(_columns(part, name))
    return chosen


def _columns(part: Fields, *names: str) -> dict[str, str]:
    """Columns with the text they get; all of the object's when no names are given."""
    chosen: dict[str, str] = {}
    for name in names or part.names():
        if not _COLUMN.fullmatch(name):
            part.fault(name, "is not a column name; write the field's name as ServiceNow has it, such as caller_id")
        elif name in _OURS or name.startswith("sys_"):
            part.fault(name, "is written by the sync itself; leave it out")
        elif isinstance(value := part.text(name, letters_max=4000, lines=True, blank=True), str):
            chosen[name] = value
    return chosen


def _credentials(body: Fields) -> dict[str, str] | UnsetType:
    part = body.part("credentials", CREDENTIAL_NAMES)
    if part is None:
        return UNSET
    chosen: dict[str, str] = {}
    for name in part.names():
        value = part.raw(name)
        if name not in CREDENTIAL_NAMES:
            continue
        # Never ``shown``: a secret must not come back in an error message.
        if not isinstance(value, str) or not value or len(value) > SECRET_LETTERS_MAX:
            part.fault(name, f"must be text of 1 to {SECRET_LETTERS_MAX} letters")
            continue
        if (fault := _secret_fault(name, value)) is not None:
            part.fault(name, fault)
        chosen[name] = value
    for name in OAUTH_NAMES:
        if name in chosen:
            part.fault(name, "OAuth is not in this version of syncd; give username and password, or api_key")
    if set(chosen) - OAUTH_NAMES not in ({"username", "password"}, {"api_key"}):
        body.fault("credentials", "do not belong together; give username and password, or api_key")
    return chosen


def _secret_fault(name: str, value: str) -> str | None:
    """What would keep a credential out of a header, or is a slip of copying. Never says the value itself."""
    if any(unicodedata.category(letter) == "Cc" for letter in value):
        return "has a control character, such as the line end of a file or a tab; remove it"
    if name == "password":
        return None  # any other letter may be meant
    if value != value.strip():
        return "begins or ends with a blank; remove it"
    if not value.isascii():
        return "has letters that are not ASCII, which ServiceNow does not use there; check how it was copied"
    return None


def _webhook_secret(body: Fields) -> str | UnsetType:
    value = body.raw("webhook_secret")
    if isinstance(value, UnsetType):
        return value
    if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > SECRET_LETTERS_MAX:
        body.fault("webhook_secret", f"must be text of 1 to {SECRET_LETTERS_MAX} letters, without NUL")
        return UNSET
    return value
