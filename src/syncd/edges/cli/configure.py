"""`im integration configure [HANDLE]`: make an integration, or change it if it is there.

Owns the flags for the settings and the ways to hand over a secret. It decides between create and change by asking the
daemon, never by remembering. A secret given on the command line is visible to other users of the machine while `im`
runs, and stays in the shell's history, so each can also come from a file or from standard input.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from syncd.edges.cli.client import Json, RequestRefused, path_of, read
from syncd.edges.cli.session import Flag, FreeText, Injected, Session, whole
from syncd.edges.cli.shapes import Integration
from syncd.edges.cli.transport import WrongUsage

SECRET_BYTES_MAX = 65_536
STDIN = "-"
_SEEN = "Other users of this machine can see it; prefer"
_FROM_FILE = "Read it from this file; - is standard input."


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an integration does, by flag; None: not given, so left as it is."""

    name: Annotated[FreeText, Parameter(help="Display name, unique in the organization.")] = None
    handle: Annotated[str | None, Parameter(help="Rename the handle to this.")] = None
    integration_type: Annotated[str | None, Parameter(name="--type", help="servicenow, which is the default.")] = None
    organization_id: Annotated[str | None, Parameter(name="--org", help="Whose incidents it syncs.")] = None
    base_url: Annotated[str | None, Parameter(help="Such as https://example.service-now.com.")] = None
    sync_direction: Annotated[
        Literal["none", "inbound", "outbound", "bidirectional"] | None,
        Parameter(name="--direction", help="inbound: ServiceNow to us; outbound: us to ServiceNow; none: nothing."),
    ] = None
    enabled: bool | None = None
    conflict_strategy: Literal["last-write-wins", "ownership-priority", "manual-review"] | None = None
    conflict_window: Annotated[str | None, Parameter(help="A duration such as 5s, the default, or always.")] = None
    create_external: Annotated[bool | None, Parameter(help="A new incident makes a ServiceNow record.")] = None
    create_platform: Annotated[bool | None, Parameter(help="A new ServiceNow record makes an incident.")] = None
    import_query: Annotated[FreeText, Parameter(help="Encoded query: which new records make incidents.")] = None
    external_defaults: Annotated[
        FreeText, Parameter(help='JSON, such as {"caller_id": "im", "close_code": "Solved"}.')
    ] = None
    rate_limit: Annotated[float | None, Parameter(help="Requests a second; a new one gets 10.")] = None
    max_concurrency: Annotated[int | None, Parameter(converter=whole, help="Requests at once; a new one gets 4.")] = (
        None
    )
    transaction_quota: Annotated[str | None, Parameter(help="A duration such as 60s, the default.")] = None
    closed_policy: Annotated[
        Literal["park", "note", "reopen"] | None,
        Parameter(help="What becomes of an edit of an incident whose record is closed there and takes none."),
    ] = None
    poll_interval: Annotated[
        str | None, Parameter(help="Look for changes so often, such as 2s, as ServiceNow cannot reach us; or off.")
    ] = None

    def body(self) -> dict[str, Json]:
        """The settings that were given, under their API names; raises WrongUsage."""
        given: dict[str, Json] = {key: value for key, value in vars(self).items() if value is not None}
        if self.external_defaults is not None:
            given["external_defaults"] = _json_object(self.external_defaults)
        if self.rate_limit is not None and self.rate_limit.is_integer():
            given["rate_limit"] = int(self.rate_limit)
        return given


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Account:
    """How we log in to ServiceNow, and how it signs; None: not given."""

    username: FreeText = None
    password: Annotated[FreeText, Parameter(help=f"{_SEEN} --password-file.")] = None
    password_file: Annotated[str | None, Parameter(help=_FROM_FILE, allow_leading_hyphen=True)] = None
    password_stdin: Annotated[Flag, Parameter(help="Read it from standard input.")] = False
    api_key: Annotated[FreeText, Parameter(help=f"{_SEEN} --api-key-file.")] = None
    api_key_file: Annotated[str | None, Parameter(help=_FROM_FILE, allow_leading_hyphen=True)] = None
    webhook_secret: Annotated[
        FreeText, Parameter(help=f"Made for you if you give none. {_SEEN} --webhook-secret-file.")
    ] = None
    webhook_secret_file: Annotated[str | None, Parameter(help=_FROM_FILE, allow_leading_hyphen=True)] = None
    client_id: Annotated[
        FreeText, Parameter(help="OAuth: client credentials, or the password grant when --username is given, too.")
    ] = None
    client_secret: Annotated[FreeText, Parameter(help=f"{_SEEN} --client-secret-file.")] = None
    client_secret_file: Annotated[str | None, Parameter(help=_FROM_FILE, allow_leading_hyphen=True)] = None

    def body(self, session: Session) -> dict[str, Json]:
        """``credentials`` and ``webhook_secret`` as far as they were given; asks for a password when only a user is."""
        password_file = self.password_file
        if self.password_stdin:
            self._check_once(
                "the password", self.password, password_file, "--password, --password-file, --password-stdin"
            )
            password_file = STDIN
        files = [password_file, self.api_key_file, self.client_secret_file, self.webhook_secret_file]
        if files.count(STDIN) > 1:
            raise WrongUsage("standard input holds one secret", hint="read the other from a file")
        given = {
            "username": self.username,
            "password": self._secret(session, "--password", self.password, password_file),
            "api_key": self._secret(session, "--api-key", self.api_key, self.api_key_file),
            "client_id": self.client_id,
            "client_secret": self._secret(session, "--client-secret", self.client_secret, self.client_secret_file),
        }
        if self.username is not None and given["password"] is None:
            given["password"] = self._typed(session)
        credentials: dict[str, Json] = {key: value for key, value in given.items() if value is not None}
        body: dict[str, Json] = {"credentials": credentials} if credentials else {}
        secret = self._secret(session, "--webhook-secret", self.webhook_secret, self.webhook_secret_file)
        return body if secret is None else {**body, "webhook_secret": secret}

    def warn(self, session: Session) -> None:
        """Say which secrets stood on the command line."""
        for name in ("password", "api_key", "client_secret", "webhook_secret"):
            flag = f"--{name.replace('_', '-')}"
            if getattr(self, name) is not None:
                session.remark(f"{flag} is seen by others in ps, and stays in the shell's history; prefer {flag}-file")

    @staticmethod
    def _check_once(what: str, bare: str | None, file: str | None, flags: str) -> None:
        if bare is not None or file is not None:
            raise WrongUsage(f"{what} is given twice", hint=f"give one of {flags}")

    def _secret(self, session: Session, flag: str, bare: str | None, file: str | None) -> str | None:
        """A secret by one of its two flags; raises WrongUsage for both."""
        if bare is None and file is None:
            return None
        if bare is not None:
            self._check_once(flag, None, file, f"{flag}, {flag}-file")
            return bare
        if file == STDIN:
            return _secret(session.world.read_stdin(), f"standard input for {flag}")
        return _secret(_read_file(f"{flag}-file", str(file)), f"{flag}-file {file}")

    def _typed(self, session: Session) -> str:
        if session.world.ask_password is None:
            raise WrongUsage(
                f"--username {self.username} has no password", hint="give --password-file F or --password-stdin"
            )
        typed = session.world.ask_password(f"Password of {self.username}: ")
        if not typed:
            raise WrongUsage("no password was typed", hint="type one, or give --password-file F")
        return typed


def configure(
    handle: Annotated[str | None, Parameter(help="Its handle, id or unique name; without it --name decides.")] = None,
    /,
    *,
    settings: Settings | None = None,
    account: Account | None = None,
    session: Injected,
) -> int:
    """Make an integration, or change it if it exists.

    Example: im integration configure prod-snow --name "Production ServiceNow" --org acme-corp
    --base-url https://example.service-now.com --direction bidirectional --username api_user --password-file pw
    """
    wanted = settings or Settings()
    if handle is None and wanted.name is None:
        raise WrongUsage("which integration is meant is not clear", hint="give its HANDLE, or --name")
    body = wanted.body()
    if account is not None:
        body |= account.body(session)
    if not body:
        raise WrongUsage("nothing to change", hint="give a setting, such as --enabled or --conflict-strategy")
    present = _by_reference(session, handle, wanted) if handle is not None else _by_name(session, wanted)
    code = _create(session, handle, body) if present is None else _change(session, present, body)
    if account is not None:
        account.warn(session)  # at the end, since an error is to be one line
    return code


def _by_reference(session: Session, handle: str, wanted: Settings) -> Integration | None:
    """None when there is none and what was given is enough to make one."""
    try:
        return read(session.client.get(path_of("integrations", handle)).body, Integration)
    except RequestRefused as error:
        # Without an address it is a change of something that is not there, most likely a slip of the pen: its 404 lists
        # the handles there are, which helps more than being told which settings a new integration lacks.
        if error.status != 404 or wanted.base_url is None or wanted.handle is not None:
            raise
        return None


def _by_name(session: Session, wanted: Settings) -> Integration | None:
    """Exact names only, and in the given organization: another one may have an integration of the same name."""
    found = session.client.pages(path_of("integrations"), {"org": wanted.organization_id}, limit=None)
    matches = [each for each in read(found.body, list[Integration]) if each.name == wanted.name]
    if len(matches) > 1:
        handles = ", ".join(each.handle for each in matches)
        raise WrongUsage(
            f"{len(matches)} integrations are named {wanted.name}", hint=f"give a handle: {handles}; or --org"
        )
    return matches[0] if matches else None


def _create(session: Session, handle: str | None, body: dict[str, Json]) -> int:
    if handle is not None:
        body["handle"] = handle
    answer = session.client.call("POST", path_of("integrations"), body={"integration_type": "servicenow", **body})

    def confirmation() -> list[str]:
        made = read(answer.body, Integration)
        lines = [f"{made.handle} created ({_summary(made)})"]
        if made.webhook_secret:
            lines.append(f"webhook secret, not shown again: {made.webhook_secret}")
        return [*lines, f"next: im integration webhook-script {made.handle}"]

    session.confirm(answer.body, confirmation)
    return 0


def _change(session: Session, present: Integration, body: dict[str, Json]) -> int:
    # These two say which integration is meant; repeating them is no change, so a command may be run again as it is.
    unmoved = {"integration_type": present.integration_type, "organization_id": present.organization_id}
    changes = {key: value for key, value in body.items() if key not in unmoved or value != unmoved[key]}
    answer = session.client.call("PATCH", path_of("integrations", present.id), body=changes)

    def confirmation() -> list[str]:
        changed = read(answer.body, Integration)
        lines = [f"{changed.handle} updated ({_summary(changed)})"]
        if changed.base_url != present.base_url and "credentials" not in changes:
            return [
                *lines,
                f"the stored credentials were for {present.base_url} and have been cleared; it is paused without any",
                f"next: im integration configure {changed.handle} --username … --password-file …",
            ]
        return [*lines, f"next: im integration sync-status {changed.handle}"]

    session.confirm(answer.body, confirmation)
    return 0


def _summary(integration: Integration) -> str:
    return f"{integration.id}, {integration.sync_direction}, {'enabled' if integration.enabled else 'disabled'}"


def _json_object(text: str) -> dict[str, Json]:
    hint = """give a JSON object, such as '{"caller_id": "im"}'"""
    try:
        return msgspec.json.decode(text, type=dict[str, Json])
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise WrongUsage(f"--external-defaults {text}: {error}", hint=hint) from error


def _read_file(flag: str, path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(SECRET_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        raise WrongUsage(f"{flag} {path} cannot be read: {error}", hint="check its path and mode") from error


def _secret(raw: bytes, source: str) -> str:
    """Without the line end that editors and echo put behind it."""
    if len(raw) > SECRET_BYTES_MAX:
        raise WrongUsage(f"{source} holds more than {SECRET_BYTES_MAX} bytes", hint="give the secret alone")
    try:
        secret = raw.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise WrongUsage(f"{source} is not UTF-8 text", hint="give the secret alone") from error
    if not secret:
        raise WrongUsage(f"{source} is empty", hint="put the secret there")
    return secret
