"""`im status`: is the daemon alive, and ready to take changes."""

import msgspec

from syncd.edges.cli.client import Json
from syncd.edges.cli.render import facts, tree
from syncd.edges.cli.session import Injected
from syncd.edges.cli.transport import Answer


def status(*, session: Injected) -> int:
    """Show whether the daemon is alive and ready to take changes; exit code 1 when it is not.

    Example: im status
    """
    health = session.client.ask("GET", "/health")
    ready = session.client.ask("GET", "/ready")
    is_ready = health.status == ready.status == 200
    verdict: dict[str, Json] = {"ready": is_ready, "health": _said(health), "readiness": _said(ready)}
    session.show(msgspec.json.encode(verdict), lambda: facts(tree(verdict, session.now_s)))
    return 0 if is_ready else 1


def _said(answer: Answer) -> Json:
    """The body, or the bare status where something else than the daemon answered."""
    try:
        said: Json = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"HTTP {answer.status} {answer.reason}".rstrip()
    return said
