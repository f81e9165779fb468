"""Users who may log in, and what each may see and change.

Owns passwords, roles, ACLs and lockouts. The people themselves are rows of ``sys_user``, so an account that is made
inactive or locked there can no longer log in. Every failed login looks the same from outside. Never speaks HTTP beyond
the ``Authorization`` header it is given.
"""

import base64
import binascii
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Final, Literal

from syncd.simulator.clock import InstanceClock
from syncd.simulator.tables import Row, Store, fixed_sys_id

__all__ = ["ITIL_ROLES", "SYSTEM", "Account", "Accounts", "Actor", "credentials_of"]

ITIL_ROLES: Final = frozenset(
    {"itil", "sn_incident_write", "snc_platform_rest_api_access", "audit_viewer", "personalize_dictionary"}
)
"""What an integration account usually has; ``audit_viewer`` is what lets it read ``sys_journal_field``."""


@dataclass
class Account:
    """Password, roles and ACLs of one user.

    ``hidden`` maps a table to an encoded query; rows that match it do not exist for this user. ``range_denied`` and
    ``match_denied`` are query ACLs. ``refused_methods``: verbs that answer 403 as a class (a read-only account).
    ``api_key``: accepted in ``x-sn-apikey`` where the switch ``api_key_policy`` is on.
    """

    user_name: str
    password: str | None
    roles: frozenset[str] = ITIL_ROLES
    read_denied: set[tuple[str, str]] = field(default_factory=set)
    write_denied: set[tuple[str, str]] = field(default_factory=set)
    range_denied: set[tuple[str, str]] = field(default_factory=set)
    match_denied: set[tuple[str, str]] = field(default_factory=set)
    hidden: dict[str, str] = field(default_factory=dict)
    refused_methods: set[str] = field(default_factory=set)
    is_basic_restricted: bool = False
    failed_logins: int = 0
    api_key: str = ""

    @property
    def is_admin(self) -> bool:
        """True when ACLs and state guards do not apply."""
        return "admin" in self.roles

    def denied_fields(self, table: str, what: Literal["read", "write", "range", "match"]) -> frozenset[str]:
        """The fields of one table that this account may not read, write or query."""
        pairs: Iterable[tuple[str, str]] = {
            "read": self.read_denied,
            "write": self.write_denied,
            "range": self.range_denied,
            "match": self.match_denied,
        }[what]
        return frozenset(name for owner, name in pairs if owner == table)


@dataclass(frozen=True)
class Actor:
    """Who does something: an account together with the user's row as it was at that moment."""

    account: Account
    user_name: str
    sys_id: str
    name: str
    zone: str

    @property
    def is_admin(self) -> bool:
        """True for administrators and for the system itself."""
        return self.account.is_admin


SYSTEM: Final = "system"
"""The user name under which jobs write; it has no row in ``sys_user``."""


class Accounts:
    """The accounts by user name, and the one place that decides whether a login succeeds."""

    def __init__(self, store: Store, clock: InstanceClock, default_zone: str) -> None:
        self._store = store
        self._clock = clock
        self._default_zone = default_zone
        self._by_name: dict[str, Account] = {}
        self.lockout_after = 0

    def add(self, user_name: str, password: str | None, roles: Iterable[str] = ITIL_ROLES, **row: str) -> Account:
        """Add or replace an account, and its ``sys_user`` row if there is none yet."""
        account = Account(user_name, password, frozenset(roles))
        self._by_name[user_name.casefold()] = account
        existing = self.user_row(user_name)
        if existing is None:
            names = {"name": user_name, "email": f"{user_name}@example.com", "active": "true", **row}
            fixed = {"sys_id": fixed_sys_id("sys_user", user_name), "user_name": user_name}
            self._store.put("sys_user", **{**fixed, **names})
        else:
            existing.update(row)
        return account

    def copy_from(self, other: "Accounts") -> None:
        """Replace all accounts by copies of another instance's, passwords and ACLs included."""
        self._by_name = deepcopy(other._by_name)

    def account(self, user_name: str) -> Account:
        """The account of a user; raises KeyError with the known names when there is none."""
        found = self._by_name.get(user_name.casefold())
        if found is None:
            known = ", ".join(account.user_name for account in self._by_name.values())
            raise KeyError(f"no account {user_name!r}; there are: {known}")
        return found

    def user_row(self, user_name: str) -> Row | None:
        """The ``sys_user`` row of a user name, or None."""
        return next(self._store.find("sys_user", "user_name", user_name), None)

    def actor(self, user_name: str) -> Actor:
        """The user as somebody who acts, without a login; unknown people act with the rights of ``itil``."""
        account = self._by_name.get(user_name.casefold())
        if account is None:
            roles = frozenset({"admin"}) if user_name == SYSTEM else ITIL_ROLES
            account = Account(user_name, None, roles)
        row = self.user_row(user_name)
        if row is None:
            return Actor(account, user_name, "", user_name, self._default_zone)
        return Actor(account, row["user_name"], row["sys_id"], row["name"], row["time_zone"] or self._default_zone)

    def login(self, user_name: str, password: str) -> Account | None:
        """The account when name and password are right and the user may log in; counts failures otherwise."""
        account = self._by_name.get(user_name.casefold())
        row = self.user_row(user_name)
        if account is None or row is None or account.password is None:
            return None
        if account.password != password:
            account.failed_logins += 1
            if self.lockout_after and account.failed_logins >= self.lockout_after:
                row["locked_out"] = "true"
            return None
        if row["active"] != "true" or row["locked_out"] == "true":
            return None
        account.failed_logins = 0
        return account

    def by_basic(self, authorization: str) -> Account | None:
        """The account of an ``Authorization: Basic`` header, or None for every kind of failure."""
        credentials = credentials_of(authorization)
        return self.login(*credentials) if credentials is not None else None

    def by_api_key(self, key: str) -> Account | None:
        """The active account that owns an API key, or None."""
        for account in self._by_name.values():
            if account.api_key and account.api_key == key:
                row = self.user_row(account.user_name)
                is_usable = row is not None and row["active"] == "true" and row["locked_out"] != "true"
                return account if is_usable else None
        return None


def credentials_of(authorization: str) -> tuple[str, str] | None:
    """Name and password of an ``Authorization: Basic`` header, or None when it is none or broken."""
    if authorization[:6].casefold() != "basic ":
        return None
    try:
        text = base64.b64decode(authorization[6:].strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    name, _, password = text.partition(":")
    return name, password
