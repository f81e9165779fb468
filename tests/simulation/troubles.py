"""The catalogue of what goes wrong in drawn worlds: each trouble, how it may be armed, and how long it lasts.

Every entry must strike in the default run (``test_worlds.py``), so none of them is there for show.
"""

from typing import Final

from msgspec import Struct

A_WHILE: Final = (15.0, 60.0)
SHORT: Final = (5.0, 30.0)


class Trouble(Struct, frozen=True):
    """One thing that goes wrong. ``deeds``: what people do more of meanwhile, so that it meets something."""

    name: str
    faults: tuple[str, ...]
    lasts_s: tuple[float, float] = A_WHILE
    deeds: tuple[str, ...] = ()


def _now_and_then(*names: str) -> list[Trouble]:
    return [Trouble(name, (f"{name}=0.15", f"{name}=0.4")) for name in names]


def _on_updates(*names: str) -> list[Trouble]:
    return [Trouble(name, (f"{name}=0.4", f"{name}=0.8"), A_WHILE, ("platform",) * 6) for name in names]


def _down(*names: str) -> list[Trouble]:
    return [Trouble(name, (name, name, f"{name}@0.3"), SHORT) for name in names]


def _on_creates(*texts: str) -> list[Trouble]:
    return [Trouble(text.partition("=")[0], (text,), A_WHILE, ("declare",) * 9) for text in texts]


def _on_webhooks(*texts: str) -> list[Trouble]:
    return [Trouble(text.partition("=")[0], (text,), (30.0, 90.0), ("external",) * 3) for text in texts]


TROUBLES: Final = (
    *_now_and_then("request_lost", "answer_lost", "empty_202", "error_500", "semaphore_429", "api_acl_403"),
    *_on_updates("patch_commits_then_500", "patch_commits_then_reset", "patch_commits_then_504_html"),
    *_on_updates("patch_500_without_commit"),
    *_down("hibernating", "maintenance_503", "bad_gateway_502", "gateway_timeout_504", "redirect_302"),
    *_down("name_unknown", "refused", "tls_failure", "connect_timeout"),
    *_on_creates("create_commits_then_500=0.8", "create_commits_then_reset=0.8", "create_commits_then_504_html=0.8"),
    *_on_creates("create_500_without_commit=0.8", "create_visible_late=20@0.8"),
    *_on_webhooks("webhook_lost=0.4", "webhook_doubled=0.5", "webhook_delay=10@0.5", "webhook_reordered=6"),
    *_on_webhooks("webhook_wrong_key=0.4", "webhook_signature_null=0.4", "webhook_unsigned=0.4"),
    *_on_webhooks("webhook_old_timestamp=0.4", "webhook_altered=0.4"),
    Trouble("unauthorized_401", ("unauthorized_401",), (2.0, 40.0)),
    Trouble("rate_limit", ("rate_limit=3", "rate_limit=5", "rate_limit=20"), (600.0, 900.0)),
    Trouble("truncated_200", ("truncated_200=cut@0.4", "truncated_200=intact@0.4", "truncated_200=cut"), SHORT),
    Trouble("late_commit", ("late_commit=8@0.3", "late_commit=30@0.5", "late_commit=3")),
    Trouble("slow", ("slow=2", "slow=5@0.5", "slow=45@0.2")),
    Trouble("trickle", ("trickle=3@0.5", "trickle=20@0.2")),
    Trouble("never_arrives", ("never_arrives@0.2",)),
    Trouble("never_answered", ("never_answered@0.2",)),
    Trouble("arrives_late", ("arrives_late=3@0.5", "arrives_late=25@0.3")),
    Trouble("stale_read", ("stale_read=3@0.5", "stale_read=10@0.3")),
    Trouble("disk_full", ("disk_full=0", "disk_full=300", "disk_full=2000"), (2.0, 20.0), ("platform",) * 3),
    Trouble("hidden_field", ("hidden_field=description", "hidden_field=priority"), A_WHILE, ("both", "platform")),
    Trouble("abort_rule", ("abort_rule",), (40.0, 60.0), ("forbidden",) * 15 + ("retry",) * 8),
)
# In which an instance can be down; each of these says "not now", and none says that anything was refused.
OUTAGES: Final = (
    *("refused", "name_unknown", "tls_failure", "connect_timeout", "hibernating", "maintenance_503"),
    *("bad_gateway_502", "gateway_timeout_504", "redirect_302", "empty_202", "error_500", "request_lost"),
)
