"""``/oauth_token.do``: access and refresh tokens.

Owns issued tokens and the OAuth clients. Every failure is 401 with ``error`` as a plain string, unlike the rest of the
API. Never decides what a token's user may do.
"""

from dataclasses import dataclass
from typing import Final

from syncd.simulator.accounts import Account, credentials_of
from syncd.simulator.kernel import Kernel
from syncd.simulator.wire import Request, Response, json_response, parsed_query

__all__ = ["OAuthClient", "Tokens"]

ACCESS_S: Final = 1800
REFRESH_S: Final = 8_640_000


@dataclass(frozen=True)
class OAuthClient:
    """A registered client. ``user_name``: who client-credentials tokens act as; empty refuses that grant."""

    client_id: str
    secret: str
    user_name: str = ""


@dataclass
class _Grant:
    user_name: str
    client_id: str
    access: str
    access_ends_s: float
    refresh: str
    refresh_ends_s: float


class Tokens:
    """Issues and checks tokens."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._clients: dict[str, OAuthClient] = {}
        self._grants: list[_Grant] = []

    def add_client(self, client: OAuthClient) -> None:
        """Register a client, or replace it."""
        self._clients[client.client_id] = client

    def account(self, token: str) -> Account | None:
        """The account behind a live access token, or None."""
        now_s = self._kernel.clock.host_s()
        for grant in self._grants:
            if grant.access == token and grant.access_ends_s > now_s:
                row = self._kernel.accounts.user_row(grant.user_name)
                is_usable = row is not None and row["active"] == "true" and row["locked_out"] != "true"
                return self._kernel.accounts.account(grant.user_name) if is_usable else None
        return None

    def revoke(self, user_name: str | None = None, *, refresh_too: bool = False) -> None:
        """End access tokens now (of one user, or all), and refresh tokens if wanted."""
        for grant in self._grants:
            if user_name in {None, grant.user_name}:
                grant.access_ends_s = 0.0
                grant.refresh_ends_s = 0.0 if refresh_too else grant.refresh_ends_s

    def answer(self, request: Request) -> Response:
        """Serve the token endpoint."""
        if not request.header("content-type").startswith("application/x-www-form-urlencoded"):
            return _failed("invalid_request", "Missing parameters")
        form = dict(parsed_query(request.body.decode("utf-8", "replace")))
        # A client names itself in the form or, as RFC 6749 prefers, in a Basic header.
        client_id, secret = credentials_of(request.header("authorization")) or (
            form.get("client_id", ""),
            form.get("client_secret", ""),
        )
        client = self._clients.get(client_id)
        if request.method != "POST" or client is None or client.secret != secret:
            return _failed("server_error", "access_denied")
        match form.get("grant_type"):
            case "password":
                self._kernel.accounts.lockout_after = int(self._kernel.switches.number("lockout_after"))
                account = self._kernel.accounts.login(form.get("username", ""), form.get("password", ""))
                return self._grant(account.user_name, client) if account is not None else _denied()
            case "client_credentials" if client.user_name:
                return self._grant(client.user_name, client, has_refresh=False)
            case "refresh_token":
                return self._refresh(form.get("refresh_token", ""), client)
        return _denied()

    def _refresh(self, token: str, client: OAuthClient) -> Response:
        now_s = self._kernel.clock.host_s()
        for grant in self._grants:
            is_theirs = bool(token) and grant.refresh == token and grant.client_id == client.client_id
            if is_theirs and grant.refresh_ends_s > now_s:
                return self._grant(grant.user_name, client)
        return _denied()

    def _grant(self, user_name: str, client: OAuthClient, *, has_refresh: bool = True) -> Response:
        now_s = self._kernel.clock.host_s()
        access, refresh = (f"{self._kernel.random.getrandbits(256):064x}" for _ in range(2))
        fresh = _Grant(user_name, client.client_id, access, now_s + ACCESS_S, "", 0.0)
        if has_refresh:
            fresh.refresh, fresh.refresh_ends_s = refresh, now_s + REFRESH_S
        for grant in self._grants:
            if (grant.user_name, grant.client_id, bool(grant.refresh)) != (user_name, client.client_id, has_refresh):
                continue
            if grant.access_ends_s > now_s:
                return self._issued(grant)
            if has_refresh and grant.refresh_ends_s > now_s:
                fresh.refresh, fresh.refresh_ends_s = grant.refresh, grant.refresh_ends_s
            self._grants.remove(grant)
            break
        self._grants.append(fresh)
        return self._issued(fresh)

    def _issued(self, grant: _Grant) -> Response:
        left_s = int(grant.access_ends_s - self._kernel.clock.host_s())
        body: dict[str, object] = {"access_token": grant.access, "scope": "useraccount", "token_type": "Bearer"}
        body["expires_in"] = max(0, left_s)
        if grant.refresh:
            body["refresh_token"] = grant.refresh
        return json_response(200, body)


def _denied() -> Response:
    return _failed("server_error", "access_denied")


def _failed(error: str, description: str) -> Response:
    return json_response(401, {"error": error, "error_description": description})
