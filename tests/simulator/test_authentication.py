"""Checklist items 68 to 72: tokens, lockout, restrictions and keys."""

from urllib.parse import urlencode

import pytest

from syncd.simulator.wire import Response
from tests.simulator.snow import USER, Snow, basic, body_of, refusal_of

FORM = ("Content-Type", "application/x-www-form-urlencoded")
CLIENT = {"client_id": "sync-client", "client_secret": "sync-client-secret"}
PASSWORD = {"grant_type": "password", "username": USER, "password": "sync-secret", **CLIENT}
DENIED = {"error": "server_error", "error_description": "access_denied"}
UNAUTHENTICATED = (401, "User is not authenticated", "Required to provide Auth information")


def token(snow: Snow, **form: str) -> Response:
    """Ask the token endpoint with a form."""
    return snow.ask("POST", "/oauth_token.do", urlencode(form).encode(), headers=(FORM,), login=None)


def asked_with(snow: Snow, access_token: str) -> Response:
    """One list with a bearer token."""
    return snow.ask("GET", login=None, headers=(("Authorization", f"Bearer {access_token}"),))


def test_item_68_each_grant_gives_a_token_that_opens_the_api() -> None:
    snow = Snow()
    first = body_of(token(snow, **PASSWORD))
    assert first.keys() == {"access_token", "refresh_token", "scope", "token_type", "expires_in"}
    assert (first["token_type"], first["expires_in"]) == ("Bearer", 1800)
    snow.wait(100)
    again = body_of(token(snow, **PASSWORD))
    assert (again["access_token"], again["expires_in"]) == (first["access_token"], 1700)
    own = body_of(token(snow, grant_type="client_credentials", **CLIENT))
    assert "refresh_token" not in own
    refreshed = body_of(token(snow, grant_type="refresh_token", refresh_token=first["refresh_token"], **CLIENT))
    assert refreshed["access_token"] == first["access_token"]
    for given in (first, own):
        assert asked_with(snow, given["access_token"]).status == 200
    assert body_of(token(snow, grant_type="client_credentials", **CLIENT))["access_token"] == own["access_token"]


@pytest.mark.parametrize(("secret", "status"), [("sync-client-secret", 200), ("wrong", 401)])
def test_item_68_a_client_may_name_itself_in_a_basic_header_instead(secret: str, status: int) -> None:
    body = urlencode({"grant_type": "client_credentials"}).encode()
    headers = (FORM, basic("sync-client", secret))
    assert Snow().ask("POST", "/oauth_token.do", body, headers=headers, login=None).status == status


@pytest.mark.parametrize(
    "form",
    [
        {**PASSWORD, "password": "wrong"},
        {**PASSWORD, "username": "lars.locked", "password": "lars-secret"},
        {**PASSWORD, "client_secret": "wrong"},
        {**PASSWORD, "client_id": "nobody"},
        {"grant_type": "refresh_token", "refresh_token": "", **CLIENT},
        {"grant_type": "refresh_token", "refresh_token": "made up", **CLIENT},
        {"grant_type": "magic", **CLIENT},
        CLIENT,
    ],
)
def test_item_68_every_refused_grant_is_401_with_the_error_as_text(form: dict[str, str]) -> None:
    answer = token(Snow(), **form)
    assert (answer.status, body_of(answer)) == (401, DENIED)


def test_item_68_a_json_body_is_refused() -> None:
    json_type = ("Content-Type", "application/json")
    answer = Snow().ask("POST", "/oauth_token.do", PASSWORD, headers=(json_type,), login=None)
    assert answer.status == 401
    assert isinstance(body_of(answer)["error"], str)


def test_item_69_an_expired_or_revoked_token_is_401_and_an_old_refresh_token_is_denied() -> None:
    snow = Snow()
    first = body_of(token(snow, **PASSWORD))
    snow.wait(1800)
    assert refusal_of(asked_with(snow, first["access_token"])) == UNAUTHENTICATED
    refresh = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], **CLIENT}
    second = body_of(token(snow, **refresh))
    assert second["access_token"] != first["access_token"]
    assert second["refresh_token"] == first["refresh_token"]
    snow.instance.gate.tokens.revoke(USER)
    assert refusal_of(asked_with(snow, second["access_token"])) == UNAUTHENTICATED
    snow.wait(8_640_000 - 1800)
    assert body_of(token(snow, **refresh)) == DENIED
    assert body_of(token(snow, **PASSWORD))["refresh_token"] != first["refresh_token"]


def test_item_69_a_revoked_refresh_token_stays_dead() -> None:
    snow = Snow()
    first = body_of(token(snow, **PASSWORD))
    snow.instance.gate.tokens.revoke(refresh_too=True)
    refresh = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], **CLIENT}
    assert body_of(token(snow, **refresh)) == DENIED
    body_of(token(snow, **PASSWORD))
    assert body_of(token(snow, **refresh)) == DENIED


def test_item_69_a_token_of_a_user_who_left_is_401() -> None:
    snow = Snow()
    access = body_of(token(snow, **PASSWORD))["access_token"]
    user = snow.instance.kernel.accounts.user_row(USER)
    assert user is not None
    user["active"] = "false"
    assert asked_with(snow, access).status == 401


@pytest.mark.parametrize("is_oauth", [False, True])
def test_item_70_failed_logins_lock_the_user_until_he_is_unlocked(is_oauth: bool) -> None:
    snow = Snow(faults=("lockout_after=3",))

    def status(password: str) -> int:
        if is_oauth:
            return token(snow, **{**PASSWORD, "password": password}).status
        return snow.ask("GET", login=(USER, password)).status

    assert [status("wrong"), status("wrong"), status("sync-secret")] == [401, 401, 200]
    assert [status("wrong") for _ in range(3)] == [401] * 3
    assert refusal_of(snow.ask("GET")) == UNAUTHENTICATED
    user = snow.instance.kernel.accounts.user_row(USER)
    assert user is not None
    assert user["locked_out"] == "true"
    user["locked_out"] = "false"
    assert snow.ask("GET").status == 200


def test_item_71_basic_is_refused_from_its_date_on_except_to_the_allowed() -> None:
    snow = Snow(faults=("basic_enforced_at=2026-09-21 15:00:00",))
    snow.instance.account("admin").roles |= {"snc_basic_auth_api_access"}
    assert snow.ask("GET").status == 200
    snow.wait(3600)
    assert refusal_of(snow.ask("GET")) == UNAUTHENTICATED
    assert snow.ask("GET", login=("admin", "admin")).status == 200
    assert asked_with(snow, body_of(token(snow, **PASSWORD))["access_token"]).status == 200


def test_item_72_an_api_key_opens_only_where_a_policy_exists() -> None:
    snow = Snow()
    snow.instance.account(USER).api_key = "k-123"
    key = ("x-sn-apikey", "k-123")
    assert refusal_of(snow.ask("GET", login=None, headers=(key,))) == UNAUTHENTICATED
    snow.instance.set_switch("api_key_policy", value=True)
    assert snow.ask("GET", login=None, headers=(key,)).status == 200
    assert snow.ask("GET", login=None, headers=(("x-sn-apikey", "other"),)).status == 401
    user = snow.instance.kernel.accounts.user_row(USER)
    assert user is not None
    user["locked_out"] = "true"
    assert snow.ask("GET", login=None, headers=(key,)).status == 401
