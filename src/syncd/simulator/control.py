"""The control API under ``/control``: act as a human, arm faults, look behind the scenes.

Owns the routes and their JSON. There is no authentication: it is a tool for a loopback port. Every route is one call of
a public method of ``Instance``; nothing is decided here.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from syncd.simulator.fault_catalogue import FAULTS, SWITCHES
from syncd.simulator.outbound import SentWebhook
from syncd.simulator.rules import AbortRule, DataPolicy
from syncd.simulator.tables import Column
from syncd.simulator.wire import Refusal, Request, Response, json_response

if TYPE_CHECKING:
    from syncd.simulator.instance import Instance

__all__ = ["ROUTES", "Control"]

Route = Callable[[list[str], "Fields"], object]

ROUTES: Final = """\
GET    /control                              this list
GET    /control/incidents                    raw values of all incidents
POST   /control/incidents                    create as a human: {"as_user": U, "fields": {...}}
GET    /control/incidents/{ref}              one incident (sys_id or number), with its notes
DELETE /control/incidents/{ref}              delete as a human: {"as_user": U}
POST   /control/incidents/{ref}/edit         {"as_user": U, "fields": {...}, "rules": true, "stamps": true, "late_s": 0}
POST   /control/incidents/{ref}/notes        {"as_user": U, "text": T, "element": "work_notes"}
GET    /control/requests                     counters and the recent requests
DELETE /control/requests                     forget both
GET    /control/faults                       all faults and switches, and what is armed
POST   /control/faults                       {"name": N, "value": V, "times": K, "probability": P}; switches too
DELETE /control/faults[/{name}]              disarm one, or all
POST   /control/webhook                      {"url": U, "secret": S}; an empty url switches the rule off
GET    /control/webhooks                     the calls that were made
POST   /control/webhooks/replay              send them again: {} or {"event_id": E}
GET    /control/users                        accounts with their roles and ACLs
POST   /control/users                        {"user": U, "password": P, "roles": [...], "active": true, "locked_out": false}
POST   /control/acl                          {"user": U, "deny_read"|"deny_write"|"deny_range"|"deny_match": [field],
                                              "hide": QUERY, "roles": [...], "refuse_methods": [...]}; replaces what it names
POST   /control/rules                        {"matrix": {"1/1": "1", ...}} {"policy": {"states": [..], "fields": [..]}}
                                             {"abort": {"name": N, "query": Q}}
POST   /control/columns                      {"name": "u_x", "label": L, "length": 40} adds or changes an incident column
POST   /control/clock                        {"offset_s": S}
POST   /control/tokens/revoke                {"user": U, "refresh_too": false}
"""


class Fields:
    """The JSON object of a control request, read by name; a wrong one is refused with the name and the way out."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        """True when the field was sent."""
        return name in self._values

    def text(self, name: str, default: str | None = None) -> str:
        """A string; refused when it is missing without a default, or of another type."""
        value = self._values.get(name, default)
        if isinstance(value, str):
            return value
        raise Refusal(422, f"{name}: {value!r} is not a string", f'send {{"{name}": "…"}}')

    def number(self, name: str, default: float) -> float:
        """A number."""
        value = self._values.get(name, default)
        if isinstance(value, int | float):
            return float(value)
        raise Refusal(422, f"{name}: {value!r} is not a number", f'send {{"{name}": {default}}}')

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._values.get(name, default)
        if isinstance(value, bool):
            return value
        raise Refusal(422, f"{name}: {value!r} is not true or false", f'send {{"{name}": true}}')

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        value = self._values.get(name, [])
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
        raise Refusal(422, f"{name}: {value!r} is not a list of strings", f'send {{"{name}": ["…"]}}')

    def mapping(self, name: str) -> dict[str, object]:
        """An object."""
        value = self._values.get(name, {})
        if isinstance(value, dict):
            return value
        raise Refusal(422, f"{name}: {value!r} is not an object", f'send {{"{name}": {{…}}}}')

    def value(self, name: str) -> str | float | bool | None:
        """A string, number or boolean, or None when it was not sent."""
        value = self._values.get(name)
        if value is None or isinstance(value, str | int | float | bool):
            return value
        raise Refusal(422, f"{name}: {value!r} is not a plain value", f'send {{"{name}": 1}}')


class Control:
    """Serves ``/control``."""

    def __init__(self, instance: "Instance") -> None:
        self._instance = instance
        self._routes: dict[tuple[str, str, int], Route] = {
            ("GET", "incidents", 1): lambda _parts, _given: self._instance.incidents(),
            ("POST", "incidents", 1): self._create,
            ("GET", "incidents", 2): self._show,
            ("DELETE", "incidents", 2): self._delete,
            ("POST", "incidents/edit", 3): self._edit,
            ("POST", "incidents/notes", 3): self._note,
            ("GET", "requests", 1): lambda _parts, _given: self._requests(),
            ("DELETE", "requests", 1): lambda _parts, _given: self._instance.reset_counts(),
            ("GET", "faults", 1): lambda _parts, _given: self._catalogue(),
            ("POST", "faults", 1): self._arm,
            ("DELETE", "faults", 1): lambda _parts, _given: self._instance.disarm(),
            ("DELETE", "faults", 2): lambda parts, _given: self._instance.disarm(parts[1]),
            ("POST", "webhook", 1): self._webhook,
            ("GET", "webhooks", 1): lambda _parts, _given: [_sent(line) for line in self._instance.webhooks()],
            ("POST", "webhooks/replay", 2): self._replay,
            ("GET", "users", 1): lambda _parts, _given: self._users(),
            ("POST", "users", 1): self._user,
            ("POST", "acl", 1): self._acl,
            ("POST", "rules", 1): self._rules,
            ("POST", "columns", 1): self._column,
            ("POST", "clock", 1): self._clock,
            ("POST", "tokens/revoke", 2): self._revoke,
        }

    def answer(self, request: Request) -> Response:
        """Serve one control request; wrong ones are 404 or 422 in the usual envelope, with the way out."""
        parts = [unquote(part) for part in request.path.strip("/").split("/")[1:]]
        if not parts:
            return json_response(200, {"routes": ROUTES.splitlines()})
        word = parts[0] if len(parts) < 3 and (len(parts) == 1 or parts[0] in {"incidents", "faults"}) else ""
        word = word or f"{parts[0]}/{parts[-1]}"
        route = self._routes.get((request.method, word, len(parts)))
        try:
            if route is None:
                raise Refusal(404, f"no control route {request.method} {request.path}", "GET /control lists all routes")
            return json_response(200, {"result": route(parts, _fields(request))})
        except Refusal as refusal:
            return refusal.response()
        except KeyError as error:
            return Refusal(404, str(error.args[0])).response()
        except ValueError as error:
            return Refusal(422, str(error)).response()

    def _create(self, _parts: list[str], given: Fields) -> object:
        return self._instance.create_as(given.text("as_user", "beth.anglin"), given.mapping("fields"))

    def _show(self, parts: list[str], _given: Fields) -> object:
        row = self._instance.record(parts[1])
        return {**row, "notes": self._instance.notes(parts[1])}

    def _delete(self, parts: list[str], given: Fields) -> object:
        self._instance.delete_as(given.text("as_user", "admin"), parts[1])
        return None

    def _edit(self, parts: list[str], given: Fields) -> object:
        return self._instance.edit_as(
            given.text("as_user", "beth.anglin"),
            parts[1],
            given.mapping("fields"),
            has_rules=given.flag("rules", default=True),
            has_stamps=given.flag("stamps", default=True),
            late_s=given.number("late_s", 0),
        )

    def _note(self, parts: list[str], given: Fields) -> object:
        element = given.text("element", "work_notes")
        if element not in {"work_notes", "comments"}:
            raise Refusal(422, f"element: {element!r} is no journal", "send work_notes or comments")
        fields = {element: given.text("text")}
        return self._instance.edit_as(given.text("as_user", "beth.anglin"), parts[1], fields)

    def _requests(self) -> object:
        recent = [{**asdict(line), "body": line.body.decode("utf-8", "replace")} for line in self._instance.requests]
        return {"counts": dict(self._instance.counts), "writes": self._instance.writes(), "recent": recent}

    def _catalogue(self) -> object:
        switches = self._instance.kernel.switches
        return {
            "armed": [asdict(armed) for armed in self._instance.kernel.faults.armed()],
            "faults": [asdict(fault) for fault in FAULTS.values()],
            "switches": [{**asdict(one), "value": switches.text(one.name)} for one in SWITCHES.values()],
        }

    def _arm(self, _parts: list[str], given: Fields) -> object:
        name, value = given.text("name"), given.value("value")
        if name in SWITCHES:
            self._instance.set_switch(name, "on" if value is None else value)
            return {"name": name, "value": self._instance.kernel.switches.text(name)}
        times = int(given.number("times", 0)) if given.has("times") else None
        chance = given.number("probability", 1) if given.has("probability") else None
        return asdict(self._instance.arm(name, value, times=times, probability=chance))

    def _webhook(self, _parts: list[str], given: Fields) -> object:
        self._instance.set_webhook(given.text("url"), given.text("secret", ""))
        return None

    def _replay(self, _parts: list[str], given: Fields) -> object:
        return {"calls": self._instance.replay_webhooks(given.text("event_id") if given.has("event_id") else None)}

    def _users(self) -> object:
        accounts = self._instance.kernel.accounts
        users = []
        for row in self._instance.kernel.store.tables["sys_user"].rows.values():
            account = accounts.actor(row["user_name"]).account
            denied = {what: sorted(account.denied_fields("incident", what)) for what in ("read", "write")}
            users.append({**row, "roles": sorted(account.roles), "denied": denied, "hidden": account.hidden})
        return users

    def _user(self, _parts: list[str], given: Fields) -> object:
        name = given.text("user")
        accounts = self._instance.kernel.accounts
        if accounts.user_row(name) is None or given.has("password"):
            known = accounts.actor(name).account.roles
            accounts.add(name, given.text("password", "secret"), given.texts("roles") if given.has("roles") else known)
        row = accounts.user_row(name)
        if row is None:
            raise Refusal(404, f"user {name!r} could not be made")
        row["active"] = "true" if given.flag("active", default=row["active"] == "true") else "false"
        row["locked_out"] = "true" if given.flag("locked_out", default=row["locked_out"] == "true") else "false"
        return row

    def _acl(self, _parts: list[str], given: Fields) -> object:
        account = self._instance.account(given.text("user"))
        table = given.text("table", "incident")
        for name, denied in {
            "deny_read": account.read_denied,
            "deny_write": account.write_denied,
            "deny_range": account.range_denied,
            "deny_match": account.match_denied,
        }.items():
            if given.has(name):
                denied.difference_update({pair for pair in denied if pair[0] == table})
                denied.update((table, column) for column in given.texts(name))
        if given.has("hide"):
            account.hidden.pop(table, None)
            account.hidden.update({table: given.text("hide")} if given.text("hide") else {})
        if given.has("roles"):
            account.roles = frozenset(given.texts("roles"))
        if given.has("refuse_methods"):
            account.refused_methods = set(given.texts("refuse_methods"))
        return None

    def _rules(self, _parts: list[str], given: Fields) -> object:
        rulebook = self._instance.rulebook
        for pair, priority in given.mapping("matrix").items():
            impact, _, urgency = pair.partition("/")
            rulebook.matrix[impact, urgency] = str(priority)
        if given.has("policy"):
            policy = Fields(given.mapping("policy"))
            rulebook.policies.append(DataPolicy(tuple(policy.texts("states")), tuple(policy.texts("fields"))))
        if given.has("abort"):
            abort = Fields(given.mapping("abort"))
            rulebook.aborts.append(AbortRule(abort.text("name"), abort.text("query")))
        return None

    def _column(self, _parts: list[str], given: Fields) -> object:
        name = given.text("name")
        length = int(given.number("length", 40))
        column = Column(name, given.text("label", name), length_max=length, owner="incident")
        self._instance.kernel.incidents.add_column(column)
        return None

    def _clock(self, _parts: list[str], given: Fields) -> object:
        self._instance.kernel.clock.offset_s = given.number("offset_s", 0)
        return {"stamp": self._instance.kernel.clock.stamp()}

    def _revoke(self, _parts: list[str], given: Fields) -> object:
        user_name = given.text("user") if given.has("user") else None
        self._instance.gate.tokens.revoke(user_name, refresh_too=given.flag("refresh_too", default=False))
        return None


def _fields(request: Request) -> Fields:
    if not request.body.strip():
        return Fields({})
    value = json.loads(request.body)
    if not isinstance(value, dict):
        raise Refusal(422, "the body is not a JSON object", "send {}")
    return Fields(value)


def _sent(line: SentWebhook) -> object:
    outgoing = line.outgoing
    return {
        "event_id": outgoing.event_id,
        "at_s": outgoing.at_s,
        "url": outgoing.url,
        "headers": dict(outgoing.headers),
        "body": outgoing.body.decode("utf-8", "replace"),
        "status": line.status,
        "error": line.error,
    }
