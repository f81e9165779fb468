"""A past to replay: the records that a daemon would have written for linked incidents, their edits and their webhooks.

Made by the real decisions and the real fold, without a daemon: a hundred thousand of them in seconds.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from msgspec import UNSET

from syncd.core import registry, sending
from syncd.core.deciding import merge_link, open_links
from syncd.core.events import DAEMON_STREAM, Change, DaemonBorn, Record
from syncd.core.fold import evolve
from syncd.core.hints import Read, settle_read
from syncd.core.mapping import READ_COLUMNS
from syncd.core.model import Observation
from syncd.core.registry import SealedSecrets
from syncd.core.requests import NewIncident
from syncd.core.sending import Offset
from syncd.core.settings import WantedSettings
from syncd.core.state import State, link_id
from syncd.core.webhook import Webhook, accept_webhook
from syncd.credentials import Cipher, Secret
from syncd.journal.codec import encode_record, frame_bytes
from syncd.journal.log import open_log
from syncd.seams import SystemDisk, SystemIds
from syncd.systems import platform
from syncd.systems.answers import observation
from syncd.vault import KeyTable, keys_path, new_key, table_bytes
from tests.bench.peer import ACCOUNT, columns_of

T = TypeVar("T")

JOURNAL_ID = "BENCHBENCHBENCHBENCH"
INTEGRATION = "itg-BENCH"
MASTER_KEY = bytes(32)
DATA_KEY = bytes([1]) * 32
BEGIN_S = 1_790_000_000.0
OFFSET = Offset(0.0, 0.1)
BODY = (
    '{"sys_id":"%s","operation":"update","short_description":"Checkout latency above SLO","state":"2","priority":"3"}'
)


class Past:
    """``state`` and ``payloads``: what was written so far."""

    def __init__(self, peer_url: str = "http://127.0.0.1:9") -> None:
        self.state = State()
        self.payloads: list[bytes] = []
        self.at_s = BEGIN_S
        self._mod_counts: dict[str, int] = {}
        self._happen(lambda _, __: Change(DAEMON_STREAM, (DaemonBorn(JOURNAL_ID),), result=None))
        wanted = WantedSettings(
            organization_id="default", name="Bench", handle="bench", base_url=peer_url, rate_limit=1000.0
        )
        key = Cipher(DATA_KEY, SystemIds())
        sealed = {
            field: key.seal(Secret(text), *registry.slot(JOURNAL_ID, INTEGRATION, field))
            for field, text in (("username", ACCOUNT), ("password", "bench"))
        }
        self._happen(registry.create(wanted, SealedSecrets(sealed, UNSET, ACCOUNT), integration_id=INTEGRATION))

    def link(self, number: int) -> None:
        """An incident is declared, and its record is made: 4 records, or 5."""
        sys_id, incident_id = f"{number:032x}", f"INC-{number:010d}"
        title = columns_of(sys_id)["short_description"]
        wanted = NewIncident(organization_id="default", title=title, severity="SEV-3")
        self._happen(platform.declare(wanted, incident_id=incident_id, by="person"))
        self._happen(lambda state, _: open_links(state, INTEGRATION))
        name = link_id(INTEGRATION, incident_id)
        self._merge(name)
        attempt = self._happen(lambda state, at_s: sending.prepare_create(state, at_s, name))
        assert attempt is not None
        self._settle(name, attempt.number, self._seen(sys_id, attempt.columns))

    def edit(self, number: int, title: str) -> None:
        """A person changes the title, and it is written: 4 records, or 5."""
        sys_id, incident_id = f"{number:032x}", f"INC-{number:010d}"
        name = link_id(INTEGRATION, incident_id)
        self._happen(platform.edit(incident_id, {"title": title}, by="person"))
        self._merge(name)
        seen = self.state.links[name].observed
        assert seen is not None
        asked = self.state.position
        attempt = self._happen(lambda state, at_s: sending.prepare_update(state, at_s, name, seen, asked, OFFSET))
        assert attempt is not None
        self._settle(name, attempt.number, self._seen(sys_id, attempt.columns))

    def webhook(self, number: int, title: str) -> None:
        """Somebody in ServiceNow changes it, a webhook tells, and it is read and merged: 3 records."""
        sys_id, name = f"{number:032x}", link_id(INTEGRATION, f"INC-{number:010d}")
        seen = self._seen(sys_id, {"short_description": title}, by="beth.anglin")
        told = Webhook(sys_id=sys_id, event_id=f"event-{self.state.position}", sys_mod_count=seen.mod_count)
        self._happen(
            lambda state, at_s: accept_webhook(
                state, at_s, told, integration_id=INTEGRATION, body=BODY % sys_id, trace="BENCHBENCH"
            )
        )
        hints = tuple(self.state.hints[INTEGRATION].values())
        read = Read(self.state.position, hints, (seen,), frozenset(), (), OFFSET)
        self._happen(lambda state, at_s: settle_read(state, at_s, INTEGRATION, read))
        self._merge(name)

    def write(self, folder: Path) -> None:
        """The journal of all this, as the writer would have left it."""
        disk = SystemDisk()
        folder.mkdir()
        ids = SystemIds()
        key = new_key(Secret(DATA_KEY), INTEGRATION, [Cipher(MASTER_KEY, ids)], ids)
        keys_path(folder).write_bytes(table_bytes(KeyTable((key,))))
        log, chain, frames = open_log(disk, folder, None), 0, []
        for position, payload in enumerate(self.payloads, start=1):
            frame, chain = frame_bytes(payload, position, chain)
            frames.append(frame)
            if len(frames) == 1000 or position == len(self.payloads):
                log.append(b"".join(frames), position, chain)
                frames.clear()
        log.mark()
        log.close()

    def _seen(self, sys_id: str, columns: dict[str, str], by: str = ACCOUNT) -> Observation:
        self._mod_counts[sys_id] = count = self._mod_counts.get(sys_id, 0) + 1
        row = {**columns_of(sys_id), **columns, "sys_mod_count": str(count), "sys_updated_by": by}
        seen = observation(dict(row), READ_COLUMNS)
        assert seen is not None
        return seen

    def _merge(self, name: str) -> None:
        if name in self.state.dirty.get(INTEGRATION, {}):
            self._happen(lambda state, at_s: merge_link(state, at_s, name))

    def _settle(self, name: str, number: int, echo: Observation) -> None:
        self._happen(lambda state, at_s: sending.settle(state, at_s, name, number, echo, OFFSET))
        self._merge(name)

    def _happen(self, decide: Callable[[State, float], Change[T]]) -> T:
        self.at_s += 0.01
        change = decide(self.state, self.at_s)
        if change.events:
            position = self.state.position + 1
            record = Record(position, change.stream, self.at_s, "person", "BENCHBENCH", change.events)
            self.payloads.append(encode_record(record))
            self.state = evolve(self.state, record)
        return change.result


def busy_past(links: int) -> Past:
    """Each incident is linked, edited twice and told of twice: about 18 records a link."""
    past = Past()
    for number in range(links):
        past.link(number)
    for turn in range(2):
        for number in range(links):
            past.edit(number, f"Checkout latency, edit {turn} of {number}")
            past.webhook(number, f"Checkout latency, told {turn} of {number}")
    return past
