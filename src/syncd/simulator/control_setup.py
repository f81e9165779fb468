"""The part of the control API that sets an instance up: users, ACLs, rules, columns, the clock and tokens.

Owns the meaning of those routes. Never serves HTTP: ``control.py`` does, and answers what is wrong here.
"""

from typing import Final

from syncd.simulator.accounts import Account
from syncd.simulator.given import Given
from syncd.simulator.kernel import Kernel
from syncd.simulator.oauth import Tokens
from syncd.simulator.query import QueryScope, compile_query
from syncd.simulator.rules import AbortRule, DataPolicy, Rulebook
from syncd.simulator.tables import Column, ColumnType

__all__ = ["SETUP_ROUTES", "Setup"]

SETUP_ROUTES: Final = """\
POST   /control/users                    {"user": U, "password": P, "active": true, "locked_out": false, "time_zone": Z}
POST   /control/acl                      {"user": U, "table": "incident", "deny_read"|"deny_write"|"deny_range"|
                                         "deny_match": [FIELD], "hide": QUERY, "roles": [...], "refuse_methods": [...]}
POST   /control/rules                    {"matrix": {"1/1": "1"}, "policy": {"states": [...], "fields": [...]},
                                         "abort": {"name": N, "query": QUERY}}
DELETE /control/rules                    ends all policies and abort rules that were added
POST   /control/columns                  {"name": "u_x", "label": L, "length": 40} adds or changes an incident column;
                                         "reference": "sys_user" makes it refer to users
POST   /control/clock                    {"offset_s": S}
POST   /control/tokens/revoke            {"user": U, "refresh_too": false}
"""


class Setup:
    """Answers the routes of ``SETUP_ROUTES``; None for any other."""

    def __init__(self, kernel: Kernel, rulebook: Rulebook, tokens: Tokens) -> None:
        self._kernel = kernel
        self._rulebook = rulebook
        self._tokens = tokens

    def do(self, method: str, parts: list[str], given: Given) -> object:
        """Do it; raises KeyError for somebody or something unknown and ValueError for a wrong value."""
        match method, parts:
            case "POST", ["users"]:
                return self._user(given)
            case "POST", ["acl"]:
                return self._acl(given)
            case "POST", ["rules"]:
                return self._rules(given)
            case "DELETE", ["rules"]:
                self._rulebook.policies.clear()
                self._rulebook.aborts.clear()
                return {"policies": 0, "aborts": []}
            case "POST", ["columns"]:
                return self._column(given)
            case "POST", ["clock"]:
                self._kernel.clock.offset_s = given.number("offset_s")
                return {"stamp": self._kernel.clock.stamp()}
            case "POST", ["tokens", "revoke"]:
                user_name = given.text("user") if given.has("user") else None
                self._tokens.revoke(user_name, refresh_too=given.flag("refresh_too", default=False))
                return {"revoked": user_name or "all"}
        return None

    def _user(self, given: Given) -> object:
        accounts, name = self._kernel.accounts, given.text("user")
        known = accounts.user_row(name)
        if known is None:
            accounts.add(name, given.text("password"))
        elif given.has("password"):
            accounts.account(name).password = given.text("password")
        row = accounts.user_row(name) or {}
        for flag in ("active", "locked_out"):
            if given.has(flag):
                row[flag] = "true" if given.flag(flag, default=True) else "false"
        if given.has("time_zone"):
            row["time_zone"] = given.text("time_zone")
        return row

    def _acl(self, given: Given) -> object:
        account = self._kernel.accounts.account(given.text("user"))
        name = given.text("table", "incident")
        table = self._kernel.store.table(name)
        if table is None:
            raise KeyError(f"no table {name!r}; there are: {', '.join(self._kernel.store.tables)}")
        denied = {
            "deny_read": account.read_denied,
            "deny_write": account.write_denied,
            "deny_range": account.range_denied,
            "deny_match": account.match_denied,
        }
        for key, pairs in denied.items():
            if given.has(key):
                kept = {pair for pair in pairs if pair[0] != name}
                pairs.clear()
                pairs.update(kept, {(name, column) for column in given.texts(key)})
        if given.has("hide"):
            query = given.text("hide")
            dropped = compile_query(query, table, self._kernel.store, QueryScope()).dropped
            if dropped:
                raise ValueError(f"hide is {query!r}, of which {dropped[0]!r} means nothing; name a column of {name}")
            account.hidden.pop(name, None)
            account.hidden.update({name: query} if query else {})
        if given.has("roles"):
            account.roles = frozenset(given.texts("roles"))
        if given.has("refuse_methods"):
            account.refused_methods = set(given.texts("refuse_methods"))
        return _shown(account)

    def _rules(self, given: Given) -> object:
        rulebook = self._rulebook
        for pair, priority in given.mapping("matrix").items():
            impact, slash, urgency = pair.partition("/")
            if not slash:
                raise ValueError(f'matrix has {pair!r}; send impact and urgency like {{"1/2": "2"}}')
            rulebook.matrix[impact, urgency] = str(priority)
        if given.has("policy"):
            policy = Given(given.mapping("policy"))
            fields = tuple(policy.texts("fields"))
            unknown = [name for name in fields if name not in self._kernel.incidents.columns]
            if unknown:
                raise ValueError(f"policy names the field {unknown[0]!r}; send a column of incident")
            rulebook.policies.append(DataPolicy(tuple(policy.texts("states")), fields))
        if given.has("abort"):
            abort = Given(given.mapping("abort"))
            rulebook.aborts.append(AbortRule(abort.text("name"), abort.text("query")))
        return {"policies": len(rulebook.policies), "aborts": [rule.name for rule in rulebook.aborts]}

    def _column(self, given: Given) -> object:
        name, length = given.text("name"), int(given.number("length", 40))
        old = self._kernel.incidents.columns.get(name)
        owner = old.owner if old is not None else "incident"
        label = given.text("label", old.label if old is not None else name)
        table = given.text("reference", "")
        kind: ColumnType = "reference" if table else "string"
        column = Column(name, label, kind, length_max=32 if table else length, reference=table, owner=owner)
        self._kernel.incidents.add_column(column)
        rows = self._kernel.store.find("sys_dictionary", "element", name)
        row = next(rows, None) or self._kernel.store.put("sys_dictionary", name=owner, element=name, active="true")
        row.update(column_label=label, internal_type=kind, max_length=str(column.length_max))
        return {"name": name, "length": column.length_max}


def _shown(account: Account) -> object:
    return {
        "user": account.user_name,
        "roles": sorted(account.roles),
        "deny_read": sorted(".".join(pair) for pair in account.read_denied),
        "deny_write": sorted(".".join(pair) for pair in account.write_denied),
        "deny_range": sorted(".".join(pair) for pair in account.range_denied),
        "deny_match": sorted(".".join(pair) for pair in account.match_denied),
        "hide": account.hidden,
        "refuse_methods": sorted(account.refused_methods),
    }
