"""What befalls a request on its way: before it has any effect, or between its effect and its answer.

Owns the order in which armed faults are asked and what each of them answers. Never changes a record.
"""

from typing import Final, Literal

from syncd.simulator.faults import Armed
from syncd.simulator.gate import session_of
from syncd.simulator.kernel import Kernel
from syncd.simulator.wire import Refusal, Request, Response, html_response

__all__ = ["Accidents"]

Verb = Literal["create", "patch", "delete", "read"]

_CANCELLED: Final = "Transaction cancelled: maximum execution time exceeded"
_TRACE: Final = "Check logs for error trace or enable glide.rest.debug property to verify REST request processing"
_HIBERNATING: Final = (
    "<html><head><title>Instance Hibernating page</title></head><body><h1>Your instance is hibernating</h1>"
    "<p>Sign in to the developer site to wake it up.</p></body></html>"
)
_GATEWAY: Final = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>snow_adc</body></html>"
_MAINTENANCE: Final = "<html><head><title>Maintenance</title></head><body>The instance is being upgraded.</body></html>"

_EVERYWHERE: Final = (
    "request_lost",
    "hibernating",
    "maintenance_503",
    "bad_gateway_502",
    "gateway_timeout_504",
    "redirect_302",
)
_COMMITS_THEN: Final = ("500", "reset", "504_html")
_ON_API: Final = ("empty_202", "semaphore_429", "unauthorized_401", "error_500")


class Accidents:
    """Asks the armed faults and answers in their name."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._roleless_sessions: set[str] = set()

    def before(self, request: Request, verb: Verb) -> Response | None:
        """The answer of a fault that keeps the request from having any effect, or None."""
        faults = self._kernel.faults
        struck = faults.first_striking(*_EVERYWHERE)
        is_api = request.path != "/oauth_token.do"
        if struck is None and is_api:
            struck = faults.first_striking(*_ON_API)
        if struck is None and verb != "read":
            struck = faults.first_striking(f"{verb}_500_without_commit")
        if struck is not None:
            return _without_effect(struck)
        if not is_api:
            return None
        session_id = session_of(request)
        if session_id in self._roleless_sessions or faults.strikes("api_acl_403"):
            if session_id:
                self._roleless_sessions.add(session_id)
            return Refusal(403, "User Not Authorized", "Failed API level ACL Validation").response()
        return None

    def late_s(self, verb: Verb) -> tuple[float, bool]:
        """How much later a write becomes visible, and whether its caller still waits for the answer."""
        faults = self._kernel.faults
        if verb == "create" and (late := faults.strikes("create_visible_late")):
            return late.seconds, False
        if verb != "read" and (late := faults.strikes("late_commit")):
            return late.seconds, True
        return 0.0, True

    def undoing(self, verb: Verb) -> str:
        """How a change or deletion fails whose transaction is rolled back (``failed_writes=undone``); ``""``: it does
        not. Asked before the write, since what is rolled back was never there for anybody else."""
        return self._failing(verb) if self._is_undone(verb) else ""

    def undone(self, response: Response, suffix: str) -> Response:
        """The answer to a write that was rolled back: as if it were kept, since nobody can tell."""
        return _replaced(response, suffix)

    def _is_undone(self, verb: Verb) -> bool:
        return verb in {"patch", "delete"} and self._kernel.switches.text("failed_writes") == "undone"

    def _failing(self, verb: Verb) -> str:
        return next((one for one in _COMMITS_THEN if self._kernel.faults.strikes(f"{verb}_commits_then_{one}")), "")

    def after(self, verb: Verb, response: Response) -> Response:
        """The answer as it arrives after the request has had its effect."""
        faults = self._kernel.faults
        is_written = verb != "read" and response.status < 300 and not self._is_undone(verb)
        if is_written and (suffix := self._failing(verb)):
            return _replaced(response, suffix)
        if faults.strikes("answer_lost"):
            return Response(0, is_reset=True, delay_s=response.delay_s, calls_first=response.calls_first)
        is_list = verb == "read" and response.status == 200 and response.body.startswith(b'{"result":[')
        if is_list and (torn := faults.strikes("truncated_200")):
            response.body = _torn(response.body, is_cut=torn.value != "intact")
        if slow := faults.strikes("slow"):
            response.delay_s += slow.seconds
        if trickle := faults.strikes("trickle"):
            response.trickle_s += trickle.seconds
        quota_s = self._kernel.switches.number("transaction_quota_s")
        if response.delay_s > quota_s:
            return self._over_quota(response, quota_s)
        return response

    def _over_quota(self, response: Response, quota_s: float) -> Response:
        if response.body.startswith(b'{"result":['):
            return Response(200, response.headers, _torn(response.body, is_cut=True), delay_s=quota_s)
        cancelled = _cancelled()
        cancelled.delay_s, cancelled.calls_first = quota_s, response.calls_first
        return cancelled


def _without_effect(struck: Armed) -> Response:
    match struck.name:
        case "request_lost":
            return Response(0, is_reset=True)
        case "hibernating":
            return html_response(200, _HIBERNATING)
        case "maintenance_503":
            return html_response(503, _MAINTENANCE)
        case "bad_gateway_502":
            return html_response(502, _GATEWAY.format("502 Bad Gateway"))
        case "gateway_timeout_504":
            return html_response(504, _GATEWAY.format("504 Gateway Time-out"))
        case "redirect_302":
            return Response(302, [("Location", "https://developer.example.com/dev.do#!/home?wu=true")])
        case "empty_202":
            return Response(202)
        case "semaphore_429":
            return Response(429)
        case "unauthorized_401":
            return Refusal(401, "User is not authenticated", "Required to provide Auth information").response()
    return _cancelled()


def _cancelled() -> Response:
    return Refusal(500, _CANCELLED, _TRACE).response()


def _replaced(response: Response, suffix: str) -> Response:
    if suffix == "500":
        answer = _cancelled()
    elif suffix == "504_html":
        answer = html_response(504, _GATEWAY.format("504 Gateway Time-out"))
    else:
        answer = Response(0, is_reset=True)
    answer.delay_s, answer.calls_first = response.delay_s, response.calls_first
    return answer


def _torn(body: bytes, *, is_cut: bool) -> bytes:
    """A list whose transaction was cancelled half-way: some rows, then an error glued to the array."""
    text = body.decode()
    rows = text[len('{"result":[') : -2]
    kept = rows[: len(rows) * 2 // 3].rstrip("}") if is_cut else rows  # without a brace at its end no row is whole
    glue = " ]," if is_cut else "],"
    error = f'"error":{{"message":"{_CANCELLED}","detail":"{_TRACE}"}},"status":"failure"}}'
    return f'{{"result":[{kept}{glue}{error}'.encode()
