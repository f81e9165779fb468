"""Signing in to an instance: Basic or an API key with every request, or OAuth with tokens that are renewed in time.

Owns the credentials in clear and the tokens, which live in memory only, and takes both out of any text that came from
outside. Asks for one token at a time; makes no request itself and never decides when to try again.
"""

from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping
from hashlib import sha256
from hmac import compare_digest
from typing import Final

import msgspec
import trio
from msgspec import Struct

from syncd.errors import ExternalFailed
from syncd.systems.answers import Answer, check_is_data, rows_of

RENEW_BEFORE_S: Final = 30.0
LIFE_S_UNKNOWN: Final = 1800.0
LIFE_S_MAX: Final = 86_400.0
TOKEN_LETTERS_MAX: Final = 8192

Form = dict[str, str]


class Credentials(Struct, frozen=True):
    """How to sign in: OAuth when there is a client, else Basic when there is a user, else an API key.

    Its repr never shows anything.
    """

    username: str = ""
    password: str = ""
    api_key: str = ""
    client_id: str = ""
    client_secret: str = ""

    def headers(self) -> dict[str, str]:
        """What is sent with every request, before any 401: waiting for a challenge fails on some releases."""
        if self.client_id:
            return {}
        if self.username:
            pair = b64encode(f"{self.username}:{self.password}".encode()).decode("ascii")
            return {"Authorization": f"Basic {pair}"}
        return {"x-sn-apikey": self.api_key} if self.api_key else {}

    @property
    def account(self) -> str:
        """Whom they sign in, as far as they tell: another password may be of the same account."""
        if self.username or self.client_id:
            return f"{self.client_id}/{self.username.casefold()}"  # ServiceNow compares user names like that
        return sha256(self.api_key.encode()).hexdigest()

    def hide(self, text: str) -> str:
        """A text that came from outside, without these credentials: some error pages repeat the request."""
        sent = (value.removeprefix("Basic ") for value in self.headers().values())
        for secret in (self.password, self.client_secret, *sent):
            text = text.replace(secret, "***") if secret else text
        return text

    def __repr__(self) -> str:
        return "Credentials(***)"


class _Grant(Struct, frozen=True):
    """An access token. ``usable_until``: on Trio's clock."""

    access: str
    usable_until: float

    def __repr__(self) -> str:
        return "_Grant(***)"


class _Issued(Struct):
    access_token: str = ""
    refresh_token: str | None = None
    expires_in: float | str | None = None

    def __repr__(self) -> str:
        return "_Issued(***)"


class SignIn:
    """One integration's way in. ``post`` sends a form to the token endpoint, and raises ``ExternalFailed``."""

    def __init__(self, credentials: Credentials, post: Callable[[Form], Awaitable[Answer]]) -> None:
        self._credentials = credentials
        self._post = post
        self._grant: _Grant | None = None
        self._access = self._refresh = ""  # the last that were given: to be hidden, even when of no use any more
        self._asking = trio.Lock()
        self._asked = 0  # finished questions for a token; whoever waited for one shares how it ended
        self._failure: ExternalFailed | None = None

    def hide(self, text: str) -> str:
        """A text that came from outside, without credentials and tokens."""
        for secret in (self._access, self._refresh):
            text = text.replace(secret, "***") if secret else text
        return self._credentials.hide(text)

    async def headers(self) -> dict[str, str]:
        """The headers that sign a request; raises what asking for a token met."""
        if not self._credentials.client_id:
            return self._credentials.headers()
        return {"Authorization": f"Bearer {(await self._valid_grant()).access}"}

    def forget(self, headers: Mapping[str, str]) -> bool:
        """A request with these headers was refused (401). True: they held a token, and ``headers`` has another."""
        word = headers.get("Authorization", "")
        if not word.startswith("Bearer "):
            return False
        if self._grant is not None and compare_digest(word, f"Bearer {self._grant.access}"):
            self._grant = None
        return True

    async def _valid_grant(self) -> _Grant:
        if (grant := self._usable()) is not None:
            return grant
        asked = self._asked
        async with self._asking:
            if (grant := self._usable()) is not None:
                return grant
            if self._asked > asked and (failure := self._failure) is not None:
                raise ExternalFailed(
                    failure.outcome,
                    failure.message,
                    status=failure.status,
                    detail=failure.detail,
                    retry_after_s=failure.retry_after_s,
                    hint=failure.hint,
                )
            try:
                self._grant = grant = await self._asked_for()
                self._failure = None
            except ExternalFailed as error:
                self._failure = error
                raise
            finally:
                self._asked += 1
            return grant

    def _usable(self) -> _Grant | None:
        grant = self._grant
        return grant if grant is not None and trio.current_time() < grant.usable_until else None

    async def _asked_for(self) -> _Grant:
        if self._refresh:
            try:
                return await self._granted({"grant_type": "refresh_token", "refresh_token": self._refresh})
            except ExternalFailed as error:
                if error.outcome != "paused":
                    raise
                self._refresh = ""  # too old, or revoked: begin anew
        own = self._credentials
        if own.username:
            return await self._granted({"grant_type": "password", "username": own.username, "password": own.password})
        return await self._granted({"grant_type": "client_credentials"})

    async def _granted(self, form: Form) -> _Grant:
        own = self._credentials
        left_at = trio.current_time()
        answer = await self._post({**form, "client_id": own.client_id, "client_secret": own.client_secret})
        issued = _issued(answer)
        life_s = _life_s(issued.expires_in)
        if not compare_digest(self._access, issued.access_token):
            # The same token again, as ServiceNow gives while one is valid, is used to its end: to ask earlier is idle.
            life_s = max(life_s / 2, life_s - RENEW_BEFORE_S)
        self._access, self._refresh = issued.access_token, issued.refresh_token or self._refresh
        return _Grant(self._access, left_at + max(1.0, life_s))


def _issued(answer: Answer) -> _Issued:
    """The token in an answer of the token endpoint; any refusal of the credentials is ``paused``."""
    if not 200 <= answer.status < 300:
        raise _refusal(answer)
    check_is_data(answer, "unavailable")
    try:
        issued = msgspec.json.decode(answer.body, type=_Issued)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        issued = _Issued()
    # Nothing of the answer is told: it may hold a token.
    if not all(_is_token(text) for text in (issued.access_token, issued.refresh_token or "-")):
        raise ExternalFailed("unavailable", "an answer without a usable token", status=answer.status)
    return issued


def _refusal(answer: Answer) -> ExternalFailed:
    try:
        rows_of(answer, writes=False)
    except ExternalFailed as error:
        if error.outcome not in ("refused", "gone", "paused"):
            return error
        words = f"the token endpoint refuses the OAuth credentials: {error.message}"
        return ExternalFailed("paused", words, status=answer.status, detail=error.detail)
    return ExternalFailed("paused", "there is no token endpoint", status=answer.status)


def _is_token(text: str) -> bool:
    return 0 < len(text) <= TOKEN_LETTERS_MAX and text.isascii() and text.isprintable() and " " not in text


def _life_s(told: float | str | None) -> float:
    try:
        life_s = float(told) if told is not None else LIFE_S_UNKNOWN
    except ValueError:
        life_s = LIFE_S_UNKNOWN
    return min(LIFE_S_MAX, life_s) if life_s >= 0 else LIFE_S_UNKNOWN
