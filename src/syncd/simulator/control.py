"""The control API: everything a person or a test may do to an instance besides its own API, over plain HTTP.

A tool for loopback: it asks for no credentials. Each path does what the ``Instance`` method of the same name does; what
sets up users, ACLs, rules and clocks is in ``control_setup.py``.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from syncd.simulator.control_setup import SETUP_ROUTES, Setup
from syncd.simulator.fault_catalogue import FAULTS, SWITCHES
from syncd.simulator.given import Given
from syncd.simulator.wire import Refusal, Request, Response, json_response

if TYPE_CHECKING:
    from syncd.simulator.instance import Instance

__all__ = ["ROUTES", "Control"]

HUMAN: Final = "beth.anglin"

ROUTES: Final = (
    """\
GET    /control                          this list
GET    /control/incidents                raw values of all incidents
POST   /control/incidents                {"as_user": U, "fields": {...}} creates one as a person
GET    /control/incidents/REF            one incident, by sys_id or number
DELETE /control/incidents/REF            {"as_user": U} deletes it as a person
POST   /control/incidents/REF/edit       {"as_user": U, "fields": {...}, "rules": true, "stamps": true, "late_s": 0}
POST   /control/incidents/REF/copy       {"as_user": U, "correlation": false}
GET    /control/incidents/REF/notes      its work notes and comments
POST   /control/incidents/REF/notes      {"as_user": U, "text": T, "element": "work_notes"}
GET    /control/requests                 counts and the latest requests
DELETE /control/requests                 forgets both
GET    /control/faults                   all faults and switches, and which are armed
POST   /control/faults                   {"name": N, "value": V, "times": K, "probability": P}; switches too
DELETE /control/faults[/NAME]            disarms one, or all
POST   /control/webhook                  {"url": U, "secret": S}; an empty url switches the rule off
GET    /control/webhooks                 the calls that were made
POST   /control/webhooks/replay          {} or {"event_id": E} sends them again
POST   /control/clone                    {} copies all data over the clone (--clone-name), as it is now
"""
    + SETUP_ROUTES
)


class Control:
    """Answers what begins with ``/control``; wrong input is 400 or 404 with the way out."""

    def __init__(self, instance: "Instance") -> None:
        self._instance = instance
        self._setup = Setup(instance.kernel, instance.rulebook, instance.gate.tokens)

    def answer(self, request: Request) -> Response:
        """Do it and say what came of it."""
        parts = request.path.strip("/").split("/")[1:]
        try:
            values = json.loads(request.body) if request.body.strip() else {}
            if not isinstance(values, dict):
                raise ValueError("the body must be a JSON object")  # noqa: TRY004 a wrong request, not a wrong call
            return json_response(200, self._do(request.method, parts, Given(values)))
        except Refusal as refusal:
            return refusal.response()
        except KeyError as error:
            return json_response(404, {"error": str(error.args[0])})
        except (ValueError, RecursionError) as error:
            return json_response(400, {"error": str(error)})

    def _do(self, method: str, parts: list[str], given: Given) -> object:
        match parts:
            case []:
                return {"routes": ROUTES.splitlines()}
            case ["incidents", *rest]:
                done = self._incidents(method, rest, given)
            case ["requests"]:
                done = self._requests(method)
            case ["faults", *rest]:
                done = self._faults(method, rest, given)
            case ["clone"] if method == "POST":
                done = self._clone()
            case ["webhook" | "webhooks", *_]:
                done = self._webhooks(method, parts, given)
            case _:
                done = self._setup.do(method, parts, given)
        if done is None:
            raise KeyError(f"no {method} /control/{'/'.join(parts)}; GET /control lists all routes")
        return done

    def _incidents(self, method: str, parts: list[str], given: Given) -> object:
        instance = self._instance
        user_name = given.text("as_user", HUMAN)
        match method, parts:
            case "GET", []:
                return instance.incidents()
            case "POST", []:
                return instance.create_as(user_name, _fields(given))
            case "GET", [ref]:
                return instance.record(ref)
            case "DELETE", [ref]:
                instance.delete_as(user_name, ref)
                return {"deleted": ref}
            case "POST", [ref, "edit"]:
                return instance.edit_as(
                    user_name,
                    ref,
                    _fields(given),
                    has_rules=given.flag("rules", default=True),
                    has_stamps=given.flag("stamps", default=True),
                    late_s=given.number("late_s", 0),
                )
            case "POST", [ref, "copy"]:
                return instance.copy_as(user_name, ref, has_correlation=given.flag("correlation", default=False))
            case "GET", [ref, "notes"]:
                return instance.notes(ref)
            case "POST", [ref, "notes"]:
                match given.text("element", "work_notes"):
                    case "work_notes" | "comments" as element:
                        return instance.note_as(user_name, ref, given.text("text"), element)
                    case other:
                        raise ValueError(f"element is {other!r}; send work_notes or comments")
        return None

    def _requests(self, method: str) -> object:
        instance = self._instance
        if method == "DELETE":
            instance.reset_counts()
            return {"writes": 0}
        lines = [
            {"at_s": one.at_s, "method": one.method, "target": one.target, "status": one.status, "user": one.user_name}
            for one in instance.requests
        ]
        counted = {"counts": dict(instance.counts), "writes": instance.writes(), "requests": lines}
        return counted if method == "GET" else None

    def _faults(self, method: str, parts: list[str], given: Given) -> object:
        match method, parts:
            case "GET", []:
                return self._catalogue()
            case "POST", []:
                return self._arm(given)
            case "DELETE", []:
                self._instance.disarm()
                return {"disarmed": "all"}
            case "DELETE", [name]:
                if name not in FAULTS:
                    way_out = "a switch is set, also to its default" if name in SWITCHES else "GET lists them"
                    raise ValueError(f"{name!r} is no fault; {way_out}")
                self._instance.disarm(name)
                return {"disarmed": name}
        return None

    def _clone(self) -> object:
        if not self._instance.clones:
            raise ValueError("this instance has no clone; start it with --clone-name NAME --clone-port PORT")
        return {"incidents": self._instance.refresh_clones()}

    def _catalogue(self) -> object:
        kernel = self._instance.kernel
        return {
            "faults": {
                name: {"summary": fault.summary, "armed": kernel.faults.standing(name) is not None}
                for name, fault in FAULTS.items()
            },
            "switches": {
                name: {"summary": switch.summary, "value": kernel.switches.text(name)}
                for name, switch in SWITCHES.items()
            },
        }

    def _arm(self, given: Given) -> object:
        name, value = given.text("name"), given.plain("value")
        if name in SWITCHES:
            self._instance.set_switch(name, "on" if value is None else value)
            return {"name": name, "value": self._instance.kernel.switches.text(name)}
        times = int(given.number("times")) if given.has("times") else None
        probability = given.number("probability") if given.has("probability") else None
        armed = self._instance.arm(name, value, times=times, probability=probability)
        return {"name": armed.name, "value": armed.value, "probability": armed.probability, "times": armed.times_left}

    def _webhooks(self, method: str, parts: list[str], given: Given) -> object:
        match method, parts:
            case "POST", ["webhook"]:
                self._instance.set_webhook(given.text("url"), given.text("secret", ""))
                return {"url": given.text("url")}
            case "POST", ["webhooks", "replay"]:
                event_id = given.text("event_id") if given.has("event_id") else None
                return {"replayed": self._instance.replay_webhooks(event_id)}
            case "GET", ["webhooks"]:
                return [
                    {
                        "at_s": one.outgoing.at_s,
                        "url": one.outgoing.url,
                        "headers": dict(one.outgoing.headers),
                        "body": one.outgoing.body.decode("utf-8", "replace"),
                        "event_id": one.outgoing.event_id,
                        "status": one.status,
                        "error": one.error,
                    }
                    for one in self._instance.webhooks()
                ]
        return None


def _fields(given: Given) -> Mapping[str, object]:
    fields = given.mapping("fields")
    if not fields:
        raise ValueError('fields is missing; send {"as_user": "beth.anglin", "fields": {"state": "2"}}')
    return fields
