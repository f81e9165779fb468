"""The control API: everything a person or a test may do to an instance besides its own API, over plain HTTP.

A tool for loopback: it asks for no credentials. Each path does what the ``Instance`` method of the same name does.
"""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from syncd.simulator.fault_catalogue import FAULTS, SWITCHES
from syncd.simulator.wire import Refusal, Request, Response, json_response

if TYPE_CHECKING:
    from syncd.simulator.instance import Instance

__all__ = ["Control"]

HUMAN: Final = "beth.anglin"
Body = Mapping[str, object]


class Control:
    """Answers what begins with ``/control``; wrong input is 400 or 404 with the way out."""

    def __init__(self, instance: "Instance") -> None:
        self._instance = instance

    def answer(self, request: Request) -> Response:
        """Do it and say what came of it."""
        parts = request.path.strip("/").split("/")[1:]
        try:
            body = json.loads(request.body) if request.body else {}
            if not isinstance(body, dict):
                raise ValueError("the body must be a JSON object")  # noqa: TRY004 a wrong request, not a wrong call
            return json_response(200, self._do(request.method, parts, body))
        except Refusal as refusal:
            return refusal.response()
        except KeyError as error:
            return json_response(404, {"error": str(error.args[0])})
        except (ValueError, RecursionError) as error:
            return json_response(400, {"error": str(error)})

    def _do(self, method: str, parts: list[str], body: Body) -> object:
        instance = self._instance
        plain: dict[tuple[str, str], Callable[[], object]] = {
            ("GET", "incidents"): instance.incidents,
            ("POST", "incidents"): lambda: instance.create_as(_user(body), _fields(body)),
            ("GET", "requests"): self._requests,
            ("DELETE", "requests"): self._reset,
            ("GET", "faults"): self._faults,
            ("POST", "faults"): lambda: self._arm(body),
            ("DELETE", "faults"): lambda: self._disarm(None),
            ("POST", "webhook"): lambda: self._webhook(body),
            ("GET", "webhooks"): self._webhooks,
        }
        match method, parts:
            case _, [name] if (method, name) in plain:
                return plain[method, name]()
            case "DELETE", ["faults", name]:
                return self._disarm(name)
            case "POST", ["webhooks", "replay"]:
                return {"replayed": instance.replay_webhooks()}
            case "GET", ["incidents", ref]:
                return instance.record(ref)
            case "DELETE", ["incidents", ref]:
                instance.delete_as(_user(body), ref)
                return {"deleted": ref}
            case "POST", ["incidents", ref, "edit"]:
                return instance.edit_as(_user(body), ref, _fields(body))
            case "GET", ["incidents", ref, "notes"]:
                return instance.notes(ref)
            case "POST", ["incidents", ref, "notes"]:
                return instance.note_as(_user(body), ref, str(body.get("text", "")))
        raise KeyError(
            f"no {method} /control/{'/'.join(parts)}; there are: incidents, incidents/REF, incidents/REF/edit, "
            "incidents/REF/notes, requests, faults, faults/NAME, webhook, webhooks, webhooks/replay"
        )

    def _requests(self) -> object:
        lines = [
            {"at_s": one.at_s, "method": one.method, "target": one.target, "status": one.status, "user": one.user_name}
            for one in self._instance.requests
        ]
        return {"counts": dict(self._instance.counts), "writes": self._instance.writes(), "requests": lines}

    def _reset(self) -> object:
        self._instance.reset_counts()
        return {"writes": 0}

    def _faults(self) -> object:
        armed = self._instance.kernel.faults
        return {
            "faults": {
                name: {"summary": fault.summary, "armed": armed.standing(name) is not None}
                for name, fault in FAULTS.items()
            },
            "switches": {
                name: {"summary": switch.summary, "value": self._instance.kernel.switches.text(name)}
                for name, switch in SWITCHES.items()
            },
        }

    def _arm(self, body: Body) -> object:
        name, value, times = str(body.get("name", "")), body.get("value"), body.get("times")
        probability = body.get("probability")
        if name in SWITCHES:
            self._instance.set_switch(name, value if isinstance(value, bool) else "" if value is None else str(value))
            return {"name": name, "value": self._instance.kernel.switches.text(name)}
        armed = self._instance.arm(
            name,
            None if value is None else str(value),
            times=int(_number("times", times)) if times is not None else None,
            probability=_number("probability", probability) if probability is not None else None,
        )
        return {"name": armed.name, "value": armed.value, "probability": armed.probability, "times": armed.times_left}

    def _disarm(self, name: str | None) -> object:
        self._instance.disarm(name)
        return {"disarmed": name or "all"}

    def _webhook(self, body: Body) -> object:
        url = str(body.get("url", ""))
        self._instance.set_webhook(url, str(body.get("secret", "")))
        return {"url": url}

    def _webhooks(self) -> object:
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


def _user(body: Body) -> str:
    return str(body.get("as_user", HUMAN))


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is {value!r}; send a number")  # noqa: TRY004 a wrong request, not a wrong call
    return value


def _fields(body: Body) -> Mapping[str, object]:
    fields = body.get("fields")
    if not isinstance(fields, dict) or not fields:
        raise ValueError('fields is missing; send {"as_user": "beth.anglin", "fields": {"state": "2"}}')
    return fields
