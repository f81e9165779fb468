"""Reconcile runs, what they find, and their schedule: the nouns. What happens to them is in ``reconciling.py``.

A run compares all links of an integration. A drift is one (link, field) on which the two sides differ although nothing
is in flight (docs/sync.md, "Drift and runs").
"""

from typing import Final, Literal, TypeAlias

from msgspec import Struct

Mode: TypeAlias = Literal["dry-run", "report", "heal"]
Trigger: TypeAlias = Literal["manual", "schedule"]
RunStatus: TypeAlias = Literal["running", "finished", "interrupted", "stopped"]
StoppedBy: TypeAlias = Literal["", "brake", "answers", "instance", "person"]
Cause: TypeAlias = Literal[
    "missed-webhook",  # the record changed, and nothing told us
    "edit-while-down",  # the record changed while the daemon was not there to be told
    "missing-note",  # the record has a work note that the incident has not
    "refused-write",  # ServiceNow refused the value, or kept another one
    "deleted-or-hidden",  # the record, or a field of it, is not shown any more
    "unlinked-on-one-side",  # one side has it and the other has not
    "duplicate",  # another record carries our correlation id
    "undelivered",  # the platform's value is nowhere on its way
]

DRIFTS_KEPT_MAX: Final = 1000
RUNS_KEPT_MAX: Final = 100
RUNS_KEPT_WHOLE: Final = 10
DRIFTS_KEPT_LATER: Final = 20  # of the runs before these
TEXT_LETTERS_KEPT: Final = 500
RECORD_FIELD: Final = "record"  # the drift is about the record as a whole
NOTES_FIELD: Final = "work_notes"


class Drift(Struct, frozen=True, gc=False):
    """One difference. ``field``: a synced one, ``work_notes``, or ``record`` for the record as a whole.

    ``platform`` and ``external`` in platform terms, None where there is none; ``base``: what the two last agreed
    on, ``base_external``: its other half, raw, as ServiceNow showed it.
    ``incident_id`` is empty for a record that has no incident. ``action``: what healing does, in words.
    """

    incident_id: str
    external_id: str
    field: str
    platform: str | None
    external: str | None
    base: str | None
    cause: Cause
    action: str
    healed: bool = False
    base_external: str | None = None


class Run(Struct, frozen=True):
    """A comparison of all links. ``forced``: without the brake. ``found``: how many drifts of each cause.

    ``drifts``: the first of them, at most ``DRIFTS_KEPT_MAX``; ``healed``: how many of all are. ``stopped_by``: who or
    what stopped it, for ``stopped``.
    """

    id: str
    integration_id: str
    mode: Mode
    trigger: Trigger
    started_at_s: float
    forced: bool = False
    status: RunStatus = "running"
    reason: str = ""
    stopped_by: StoppedBy = ""
    finished_at_s: float | None = None
    checked: int = 0
    drifts: tuple[Drift, ...] = ()
    found: dict[str, int] = {}
    healed: int = 0


class Schedule(Struct, frozen=True):
    """When runs begin by themselves. ``interval``: a duration, as it was given. ``ran_at_s``: the last one, so far."""

    interval: str
    auto_heal: bool = False
    enabled: bool = True
    set_at_s: float = 0.0
    ran_at_s: float = 0.0
