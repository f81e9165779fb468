"""The exceptions of syncd, split by what the catcher does next, each with the reader's next step.

    SyncdError
    |-- Refused             the caller asked for something that cannot be: an HTTP status, exit code 1
    |   |-- Malformed 400, Unauthenticated 401, Forbidden 403, Unknown 404, Exists/WrongState 409,
    |   |-- Stale 412, TooLarge 413, NotJson 415, Invalid 422, TooMany 429
    |   `-- Busy 503         cannot be made durable or done now
    |-- StartRefused        the daemon must not start: exit code 78 (75 for AlreadyRunning)
    |   |-- AlreadyRunning, BadConfig, JournalRefused, KeyMissing
    |-- CannotUnseal        a stored credential does not open: its integration waits until it is entered again
    |-- JournalFailed       a sync failed: the process must end and re-read what is on disk
    |-- ActorGaveUp         a supervisor stops restarting
    `-- ExternalFailed      ServiceNow gave no value; its outcome says what the caller does

Edges print ``str(error)`` and ``error.hint``; tracebacks go to the log.
"""

from pathlib import Path
from typing import ClassVar, Final, Literal, TypeAlias

FAULT: Final = 70  # the exit code of the daemon after an error of our own; systemd starts it again

Outcome: TypeAlias = Literal["refused", "gone", "throttled", "unavailable", "ambiguous", "paused"]


class SyncdError(Exception):
    """``hint`` is the reader's next step, one sentence, possibly empty. ``page``: a heading of docs/operations.md."""

    hint: str = ""
    page: ClassVar[str] = ""
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        if hint:
            self.hint = hint


class Problem(tuple[str, str]):
    """One fault in the input: (path, message), the path such as ``severity`` or ``credentials.password``."""

    __slots__ = ()

    def __new__(cls, path: str, message: str) -> "Problem":
        """A path and what is wrong there."""
        return super().__new__(cls, (path, message))


class Refused(SyncdError):
    """A request that was understood far enough to say no."""

    status: ClassVar[int] = 400
    title: ClassVar[str] = "Bad request"

    def __init__(
        self, message: str, *, hint: str = "", problems: tuple[Problem, ...] = (), retry_after_s: int | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems
        self.retry_after_s = retry_after_s


class Malformed(Refused):
    """The bytes are not what the media type says."""

    status, title = 400, "Malformed request"


class Unauthenticated(Refused):
    """No credentials, or wrong ones."""

    status, title = 401, "Not authenticated"


class Forbidden(Refused):
    """Known, but not allowed."""

    status, title = 403, "Not allowed"


class Unknown(Refused):
    """No such thing."""

    status, title = 404, "Not found"


class Exists(Refused):
    """The name or handle is taken."""

    status, title = 409, "Already exists"


class WrongState(Refused):
    """The thing is not in a state that allows this."""

    status, title = 409, "Wrong state"


class Gone(Refused):
    """It was there once, and is no longer kept."""

    status, title = 410, "No longer kept"


class Stale(Refused):
    """``If-Match`` names an older version."""

    status, title = 412, "Stale version"


class TooLarge(Refused):
    """More bytes than the limit."""

    status, title = 413, "Too large"


class NotJson(Refused):
    """The media type is not JSON."""

    status, title = 415, "Not JSON"


class Invalid(Refused):
    """Well-formed, but a field's value cannot be."""

    status, title = 422, "Invalid input"


class TooMany(Refused):
    """A rate limit."""

    status, title = 429, "Too many requests"


class Busy(Refused):
    """Cannot be made durable, or done, at this moment."""

    status, title = 503, "Cannot do this now"


class StartRefused(SyncdError):
    """The daemon must not start until a person has looked."""

    exit_code = 78


class AlreadyRunning(StartRefused):
    """Another process holds the state folder or the socket."""

    page = "Exit codes of the daemon"

    exit_code = 75

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(
            f"{path} is held by another syncd (pid {holder})",
            hint="stop that one first, or give this one its own --state-dir and --socket",
        )


class BadConfig(StartRefused):
    """A setting cannot be used; the message names the key, the value and the way out."""

    page = "A setting is refused"


class JournalRefused(StartRefused):
    """The journal is damaged, older than its watermark, or newer than this program."""

    page = "The journal was refused"


class KeyMissing(StartRefused):
    """Sealed credentials exist, but the master key does not."""

    page = "When a key is missing"


class CannotUnseal(SyncdError):
    """A sealed credential belongs to another key or another place, or was changed. Retrying does not help."""

    page = "When a key is missing"


class JournalFailed(SyncdError):
    """A write-back failed; what is on disk is unknown until it is read again."""

    page = "The disk fails"


class ActorGaveUp(SyncdError):
    """An actor failed too often; its integration is halted."""

    page = "Paused: halted"

    def __init__(self, name: str, failures: int, last: BaseException) -> None:
        words = f"{name} failed {failures} times, at last with {type(last).__name__}: {last}"[:500]
        super().__init__(words, hint="the log has each failure")


class ExternalFailed(SyncdError):
    """A request to ServiceNow that did not end in a value. ``outcome`` says what the caller does next:

    ``refused`` dead letter; ``gone`` look again later; ``throttled`` slow the whole instance; ``unavailable`` the
    request had no effect, try later; ``ambiguous`` it may have had one, look before repeating; ``paused`` credentials
    or set-up are wrong, stop and probe slowly. ``message`` and ``detail`` are ServiceNow's own words, up to 2 KB each.
    ``hint`` is empty where what to do follows from the outcome.
    """

    def __init__(
        self,
        outcome: Outcome,
        message: str,
        *,
        status: int | None = None,
        detail: str = "",
        retry_after_s: float | None = None,
        hint: str = "",
    ) -> None:
        self.outcome = outcome
        self.message = message[:2048]
        self.detail = detail[:2048]
        super().__init__(f"ServiceNow: {self.message}" + (f" ({self.detail})" if detail else ""), hint=hint)
        self.status = status
        self.retry_after_s = retry_after_s


class ExternalUnreadable(ExternalFailed):
    """An answer came and was broken or too large: a smaller question may get one that can be read."""


def first_of(error: BaseException, kinds: tuple[type[SyncdError], ...]) -> SyncdError | None:
    """The first error of these kinds in an error, which may be a group of groups; None if there is none."""
    if isinstance(error, BaseExceptionGroup):
        return next((found for one in error.exceptions if (found := first_of(one, kinds)) is not None), None)
    return error if isinstance(error, kinds) else None
