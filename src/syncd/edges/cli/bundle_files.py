"""What a support bundle learns from the files of this machine: the journal, how the daemon last ended, its settings.

Where no daemon answers, State is read from the journal and answers the same paths as the API would, as far as State
alone can. Reads only, beside a live daemon or without one.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from syncd.config import read_config
from syncd.core import conflicts, field_mapping, finding, importing, ownership, views
from syncd.core.daemon_status import EndView
from syncd.core.explain import explain
from syncd.core.run_views import DRIFTS_IN_LIST_MAX, run_view, schedule_view
from syncd.core.state import State
from syncd.edges.cli.past import Then, everything
from syncd.errors import JournalRefused, SyncdError
from syncd.journal.past import state_at
from syncd.journal.reader import iterate
from syncd.journal.scan import JournalReport, scan
from syncd.lives import last_end, read_life
from syncd.seams import Disk

COUNTED_MAX: Final = 200_000  # the newest records; so many take a second or two


class Found(Struct, frozen=True, kw_only=True):
    """What the state folder tells. ``kinds``: how many events of each kind the last ``counted`` records have.

    ``replayed``: everything in numbers, where the journal can be read.
    """

    journal: JournalReport
    kinds: Mapping[str, int]
    counted: int
    last_end: EndView | None
    replayed: Then | None = None


class DaemonSettings(Struct, frozen=True, kw_only=True):
    """The daemon's own settings, as this user's environment and the file have them."""

    config_file: str | None
    listen: str
    auth: str
    public_url: str
    allowed_hosts: tuple[str, ...]
    log_level: str
    sync_trace: bool


def settings(environ: Mapping[str, str], user_id: int) -> DaemonSettings:
    """Raises ``BadConfig`` for what the daemon would refuse."""
    unused = {"master_key_file": "/etc/syncd/master.key", "state_dir": "/var/lib/syncd"}  # these may have no default
    found = read_config(unused, environ, Path.read_bytes, uid=user_id)
    return DaemonSettings(
        config_file=None if found.config_file is None else str(found.config_file),
        listen=f"{found.listen.host}:{found.listen.port}",
        auth=found.auth,
        public_url=found.public_url,
        allowed_hosts=found.allowed_hosts,
        log_level=found.log_level,
        sync_trace=found.sync_trace,
    )


def look(disk: Disk, folder: Path) -> Found:
    """What the files tell of themselves. Raises ``OSError`` where they cannot be read."""
    report, kinds, counted = scan(disk, folder), Counter[str](), 0
    try:
        for record in iterate(disk, folder, after=max(0, report.last_position - COUNTED_MAX)):
            kinds.update(type(event).__name__ for event in record.events)
            counted += 1
    except JournalRefused:
        pass  # the report has it
    return Found(journal=report, kinds=dict(kinds), counted=counted, last_end=last_end(read_life(disk, folder), 0, 0.0))


class Stored:
    """State from the files, asked by the paths of the API."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        past = state_at(disk, folder)
        self._state: State = past.state
        self.replayed: Then = everything(past)

    def get(self, path: str) -> bytes | None:
        """The answer, None where State alone has none."""
        try:
            found = self._find(path.removeprefix("/api/v1/").split("/"))
        except SyncdError:
            return None
        return None if found is None else msgspec.json.encode(found)

    def _find(self, words: list[str]) -> object:
        state = self._state
        match words:
            case ["integrations"]:
                return [views.integration(one) for one in state.integrations.values()]
            case ["integrations", reference, *rest]:
                return self._of_integration(finding.integration(state, reference).id, "/".join(rest))
            case ["conflicts"]:
                return [conflicts.view(state, one) for one in reversed(state.conflicts.values())]
            case ["incidents", reference]:
                return views.incident(state, finding.incident(state, reference))
            case ["incidents", reference, "notes"]:
                return [views.note(one) for one in state.notes.get(finding.incident(state, reference).id, ())]
            case ["incidents", reference, "explain"]:
                return explain(state, finding.incident(state, reference))
        return None

    def _of_integration(self, name: str, what: str) -> object:
        state, one = self._state, self._state.integrations[name]
        match what:
            case "dlq":
                return [
                    views.dead_letter(state, letter)
                    for letter in state.dead_letters.values()
                    if letter.integration_id == name
                ]
            case "field-ownership":
                return ownership.views(one)
            case "field-mapping":
                return field_mapping.views(one.settings)
            case "reconcile/history":
                runs = sorted(state.runs.get(name, {}).values(), key=lambda run: run.started_at_s, reverse=True)
                return [run_view(run, drifts_max=DRIFTS_IN_LIST_MAX) for run in runs]
            case "reconcile/schedule":
                return schedule_view(state, name) if name in state.schedules else None
            case "import":
                return None if one.importing is None else importing.view(one, one.importing)
        return None
