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
from syncd.core.fields import ANY, BLANK, Fields, Form, one_line_fault, shown, text_form, word_form
from syncd.core.finding import HANDLE
from syncd.core.model import ClosedPolicy, Direction, Strategy
from syncd.core.requests import organization

NAME_LETTERS_MAX: Final = 200
SECRET_LETTERS_MAX: Final = 4096
QUERY_LETTERS_MAX: Final = 1000
HANDLE_LETTERS_MAX: Final = 63
URL_LETTERS_MAX: Final = 300
COLUMN_LETTERS_MAX: Final = 4000
CREDENTIAL_NAMES: Final = ("username", "password", "client_id", "client_secret", "api_key")
_SIGN_INS: Final = (
    ("username", "password"),
    ("client_id", "client_secret"),
    ("client_id", "client_secret", "username", "password"),
    ("api_key",),
)
TRANSITIONS: Final = ("create", "resolve", "close", "hold", "cancel")
NOT_YET: Final = (  # known by name, but not of this version
    "status_mapping",
    "reconcile_schedule",
)
# Words that follow `im integration`: an integration of that name could never be meant.
RESERVED_HANDLES: Final = (
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
)
_OURS: Final = (
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
)
_FIRST_WORDS: Final = ("^", "OR", "NQ")  # column names are lower-case
_LATER_WORDS: Final[Mapping[str, str]] = {
    "^EQ": "which ends the query, and ours goes on behind it; leave it out",
    "ORDERBY": "and the order of what we read is ours; leave it out",
    "GROUPBY": "which makes groups of what we read one by one; leave it out",
}
QUERY_FORM: Final[Form] = {
    "description": "An encoded query that narrows which records of ServiceNow become incidents.",
    **text_form(QUERY_LETTERS_MAX, blank=True),
    "not": {
        "pattern": rf"^[{BLANK}]*(?:\^|OR|NQ)|\^EQ|ORDERBY|GROUPBY|\^[nN][qQ]|[jJ][aA][vV][aA][sS][cC][rR][iI][pP][tT]:"
    },
}
_URL_FORM: Final[Form] = {
    "description": (
        "https://<instance>.service-now.com; or https to a host in INCIDENTS_ALLOWED_HOSTS; or a loopback address."
    ),
    "type": "string",
    "format": "instance-url",
}
_HANDLE_FORM: Final[Form] = {
    "description": "Names the integration on the command line. Made from the name if it is not given.",
    **word_form(HANDLE, *RESERVED_HANDLES),
}
_SECRET_FORM: Final[Form] = {
    "description": "Signs the webhooks. Made if it is not given, and shown once, in the answer to the create.",
    **text_form(SECRET_LETTERS_MAX, lines=True),
}
_COLUMN: Final = re.compile(r"[a-z][a-z0-9_]{0,79}")
_COLUMN_TEXT: Final = text_form(COLUMN_LETTERS_MAX, lines=True, blank=True)
_COLUMNS_FORM: Final[Form] = {
    "type": "object",
    "propertyNames": {"allOf": [word_form(_COLUMN, *_OURS), {"not": {"pattern": "^sys_"}}]},
    "additionalProperties": _COLUMN_TEXT,
}
_DEFAULTS_FORM: Final[Form] = {
    "description": "Columns with their text; or such objects, by transition. Replaces what there was.",
    **_COLUMNS_FORM,
    "patternProperties": {f"^(?:{'|'.join(TRANSITIONS)})$": {"anyOf": [_COLUMN_TEXT, _COLUMNS_FORM]}},
}
_PASSWORD: Final = re.compile(r"[^\u0000-\u001F\u007F-\u009F]{1,4096}")
_KEY: Final = re.compile(r"[!-~](?:[ -~]{0,4094}[!-~])?")  # ASCII, without a blank at its ends
_CREDENTIAL_FORMS: Final[dict[str, Form]] = {
    name: word_form(_PASSWORD if name in ("password", "client_secret") else _KEY) for name in CREDENTIAL_NAMES
}
_CREDENTIALS_FORM: Final[Form] = {
    "description": "A user's name and password; an OAuth client, with a user for the password grant; or an API key. "
    "Never shown again.",
    "oneOf": [
        {
            "type": "object",
            "properties": {name: _CREDENTIAL_FORMS[name] for name in names},
            "required": list(names),
            "additionalProperties": False,
        }
        for names in _SIGN_INS
    ],
}


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
    poll_interval: str | UnsetType = UNSET
    closed_policy: ClosedPolicy | UnsetType = UNSET

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


def read(body: Fields, allowed_hosts: Collection[str], *, is_new: bool) -> tuple[WantedSettings, WantedSecrets]:
    """The settings and secrets of a request's object; ``Invalid`` with every fault.

    ``is_new``: a name and an address are required.
    """
    for name in NOT_YET:
        body.refuse(name, "is not in this version of syncd; leave it out")
    body.choice("integration_type", ("servicenow",))
    settings = WantedSettings(
        organization_id=organization(body),
        name=body.text("name", letters_max=NAME_LETTERS_MAX, required=is_new),
        handle=body.word("handle", _HANDLE_FORM, handle_fault),
        base_url=_base_url(body, allowed_hosts, required=is_new),
        sync_direction=body.choice("sync_direction", get_args(Direction)),
        enabled=body.flag("enabled"),
        conflict_strategy=body.choice("conflict_strategy", get_args(Strategy)),
        conflict_window=body.duration("conflict_window", words=("always",)),
        create_external=body.flag("create_external"),
        create_platform=body.flag("create_platform"),
        import_query=_import_query(body),
        external_defaults=_external_defaults(body),
        rate_limit=body.number("rate_limit", over=0, most=1000),
        max_concurrency=body.count("max_concurrency", least=1, most=32),
        transaction_quota=body.duration("transaction_quota", least_s=1),
        poll_interval=body.duration("poll_interval", words=("off",), least_s=1),
        closed_policy=body.choice("closed_policy", get_args(ClosedPolicy)),
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
    def fault_of(url: str) -> str | None:
        if len(url) > URL_LETTERS_MAX:
            return f"has {len(url)} letters, the limit is {URL_LETTERS_MAX}"
        return reach.url_fault(url, allowed_hosts)

    url = body.word("base_url", _URL_FORM, fault_of, required=required)
    return url if isinstance(url, UnsetType) else reach.kept_form(url)


def _import_query(body: Fields) -> str | UnsetType:
    value = body.word("import_query", QUERY_FORM, query_fault)
    return value if isinstance(value, UnsetType) else value.strip()


def query_fault(query: str) -> str | None:
    """Why an encoded query cannot narrow ours, which stands before it; None when it can."""
    first = next((word for word in _FIRST_WORDS if query.lstrip().startswith(word)), "")
    if first:
        return (
            f"begins with {first}, which would widen our own query before it; begin with a column, such as active=true"
        )
    for word, why in _LATER_WORDS.items():
        if word in query:
            return f"has {word}, {why}"
    if (fault := one_line_fault(query.strip())) is not None:
        return fault
    if len(query) > QUERY_LETTERS_MAX:
        return f"has {len(query)} letters, the limit is {QUERY_LETTERS_MAX}; shorten it"
    lowered = query.lower()
    if "^nq" in lowered:
        return "has ^NQ, which starts a second query that ours would not narrow; use ^OR instead"
    if "javascript:" in lowered:
        return "has javascript:, which would run a script in ServiceNow with every read; write the value itself"
    return None


def _external_defaults(body: Fields) -> dict[str, str | dict[str, str]] | UnsetType:
    part = body.part("external_defaults", _DEFAULTS_FORM)
    if part is None:
        return UNSET
    chosen: dict[str, str | dict[str, str]] = {}
    for name in part.names():
        if name in TRANSITIONS and not isinstance(part.raw(name, _COLUMNS_FORM), str):
            nested = part.part(name, _COLUMNS_FORM)
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
            part.refuse(name, "is not a column name; write the field's name as ServiceNow has it, such as caller_id")
        elif name in _OURS or name.startswith("sys_"):
            part.refuse(name, "is written by the sync itself; leave it out")
        elif isinstance(value := part.text(name, letters_max=COLUMN_LETTERS_MAX, lines=True, blank=True), str):
            chosen[name] = value
    return chosen


def _credentials(body: Fields) -> dict[str, str] | UnsetType:
    part = body.part("credentials", _CREDENTIALS_FORM)
    if part is None:
        return UNSET
    chosen: dict[str, str] = {}
    for name in CREDENTIAL_NAMES:
        value = part.raw(name, ANY)
        if isinstance(value, UnsetType):
            continue
        # Never ``shown``: a secret must not come back in an error message.
        if not isinstance(value, str) or not value or len(value) > SECRET_LETTERS_MAX:
            part.fault(name, f"must be text of 1 to {SECRET_LETTERS_MAX} letters")
            continue
        if (fault := _secret_fault(name, value)) is not None:
            part.fault(name, fault)
        chosen[name] = value
    if chosen.keys() not in [set(names) for names in _SIGN_INS]:
        body.fault(
            "credentials",
            "do not belong together; give username and password; or client_id and client_secret, with username and "
            "password for the password grant; or api_key",
        )
    return chosen


def _secret_fault(name: str, value: str) -> str | None:
    """What would keep a credential out of a header, or is a slip of copying. Never says the value itself."""
    if any(unicodedata.category(letter) == "Cc" for letter in value):
        return "has a control character, such as the line end of a file or a tab; remove it"
    if name in ("password", "client_secret"):
        return None  # any other letter may be meant
    if value != value.strip():
        return "begins or ends with a blank; remove it"
    if not value.isascii():
        return "has letters that are not ASCII, which ServiceNow does not use there; check how it was copied"
    return None


def _webhook_secret(body: Fields) -> str | UnsetType:
    value = body.raw("webhook_secret", _SECRET_FORM)
    if isinstance(value, UnsetType):
        return value
    if not isinstance(value, str) or not value.strip() or "\0" in value or len(value) > SECRET_LETTERS_MAX:
        body.fault("webhook_secret", f"must be text of 1 to {SECRET_LETTERS_MAX} letters, without NUL")
        return UNSET
    return value
