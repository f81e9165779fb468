"""The vault: each integration's secrets are sealed under a key of its own, and those keys under the master key.

    journal          secrets, sealed under their integration's data key; for ever, in every segment and backup
    <state>/keys     the data keys, sealed under the master key; replaced atomically, so that a key can be destroyed
    elsewhere        the master key (``credentials.py``)

Order makes it safe at every moment. A data key is durable before a secret under it can reach the journal, and is
destroyed after the deletion of its integration is durable; a key that no integration needs goes at the next start.
While the master key is being changed, the data keys are sealed under both:

    one master --begin--> both, and the next one sealed under the present one --finish--> the next one alone

``finish`` follows once the next key lies where the present one did, in this life or at the start of another. A life
that begins with the old key knows the next one too, and seals new data keys under both.
"""

import errno
import logging
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self
from zlib import crc32

import msgspec
import trio
from msgspec import Struct
from msgspec.structs import replace

from syncd.core.model import SealedSecret
from syncd.credentials import KEY_BYTES, Cipher, MasterKey, Secret, written_key
from syncd.errors import Busy, CannotUnseal, JournalRefused, WrongState
from syncd.seams import Disk, Ids, Work

KEYS_FORMAT: Final = 1
RETRY_AFTER_S: Final = 5
_NEXT: Final = "the next master key"
_DATA_KEY: Final = "data key"

log: Final = logging.getLogger("syncd")


class DataKey(Struct, frozen=True):
    """A key of one integration, sealed under the master key, and under the next one while there is one."""

    id: str
    integration_id: str
    sealed: tuple[SealedSecret, ...]


class KeyTable(Struct, frozen=True):
    """What the file holds. ``next``: the master key that is to come, sealed under the present one."""

    keys: tuple[DataKey, ...] = ()
    next: SealedSecret | None = None


class _StoredTable(Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    table: KeyTable
    crc: int


def keys_path(folder: Path) -> Path:
    """``<state>/keys``."""
    return folder / "keys"


def table_bytes(table: KeyTable) -> bytes:
    """The whole file."""
    return msgspec.json.encode(_StoredTable(KEYS_FORMAT, table, crc32(msgspec.json.encode(table)))) + b"\n"


def read_table(disk: Disk, folder: Path) -> KeyTable:
    """The keys, none if there is no file. ``JournalRefused`` for anything that we did not write."""
    path = keys_path(folder)
    try:
        block = disk.read(path)
    except FileNotFoundError:
        return KeyTable()
    try:
        table = msgspec.json.decode(block, type=_StoredTable).table
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        table = None
    if table is None or table_bytes(table) != block:
        raise JournalRefused(
            f"{path} cannot be read: damaged, or from a newer version",
            hint="nothing was changed; put it back from a backup, or remove it and enter all credentials again "
            "(docs/operations.md, The keys)",
        )
    return table


class Vault:
    """Seals secrets for their slots and opens them. ``open`` never waits; what changes the file does."""

    def __init__(self, disk: Disk, folder: Path, work: Work, ids: Ids, table: KeyTable, master: MasterKey) -> None:
        self._disk, self._folder, self._work, self._ids = disk, folder, work, ids
        self._table = table
        self._place = master
        self._master = Cipher(master.content.reveal_bytes(), ids)
        self._next: Cipher | None = None
        if table.next is not None and table.next.key_id == self._master.key_id:
            self._next = Cipher(self._master.open(table.next, _NEXT).reveal_bytes(), ids)
        self._ciphers: dict[str, Cipher] = {}
        self._turn = trio.Lock()

    @classmethod
    async def load(cls, disk: Disk, folder: Path, work: Work, ids: Ids, table: KeyTable, master: MasterKey) -> Self:
        """The vault as the last life left it; ends a change of the master key if this is the new one."""
        vault = cls(disk, folder, work, ids, table, master)
        opens = [_under(key, vault._master) is not None for key in table.keys]
        if not all(opens):
            log.error("stored secrets are sealed under another master key", extra={"loaded": vault.master_id})
        if vault._next is not None:
            log.warning("a change of the master key waits for the new one", extra={"next": vault._next.key_id})
        elif table.next is not None and any(opens):
            with suppress(Busy):  # both will do until the next start
                await vault._finish(vault._master)
                log.warning("the master key has changed", extra={"now": vault.master_id})
        return vault

    @property
    def master_id(self) -> str:
        """What the present master key is called."""
        return self._master.key_id

    @property
    def next_id(self) -> str | None:
        """What the master key that is to come is called; None when none is to come."""
        return self._next.key_id if self._next is not None else None

    @property
    def place(self) -> MasterKey:
        """Where the present master key was found."""
        return self._place

    @property
    def data_keys(self) -> list[tuple[DataKey, bool]]:
        """All data keys, and whether the present master key opens each."""
        return [(key, _under(key, self._master) is not None) for key in self._table.keys]

    def open(self, sealed: SealedSecret, journal_id: str, integration_id: str, field: str) -> Secret:
        """The secret that was sealed for this slot; ``CannotUnseal`` for another slot or content, or without a key."""
        return self._cipher(sealed.key_id, integration_id, field).open(sealed, journal_id, integration_id, field)

    async def seal(self, secret: Secret, journal_id: str, integration_id: str, field: str) -> SealedSecret:
        """Seal for one slot, under the integration's key, which is made if there is none. ``Busy`` without room."""
        async with self._turn:
            usable = [key for key in self._table.keys if key.integration_id == integration_id]
            key = next((key for key in usable if _under(key, self._master) is not None), None)
            if key is None:
                key = await self._make(integration_id)
        return self._cipher(key.id, integration_id, field).seal(secret, journal_id, integration_id, field)

    async def destroy(self, integration_id: str) -> None:
        """Make everything that was sealed for an integration unreadable, wherever it is. ``Busy`` without room."""
        await self.keep(frozenset({key.integration_id for key in self._table.keys} - {integration_id}))

    async def keep(self, integration_ids: Collection[str]) -> None:
        """Destroy the keys of all other integrations. ``Busy`` without room."""
        async with self._turn:
            kept = tuple(key for key in self._table.keys if key.integration_id in integration_ids)
            if kept != self._table.keys:
                await self._store(replace(self._table, keys=kept))
                ids = {key.id for key in kept}
                self._ciphers = {name: cipher for name, cipher in self._ciphers.items() if name in ids}

    async def change_master(self) -> None:
        """Another master key, made here, in the present one's file. ``WrongState`` if that is not ours to write."""
        files = self._place.files
        if files is None:
            raise WrongState(
                "the master key comes from the service manager, which this daemon cannot give another one",
                hint="make the new key yourself and give it: im keys rotate --new-key-file F (docs/operations.md)",
            )
        key = self._ids.secret(KEY_BYTES)
        async with self._turn:
            before, next_before = self._table, self._next
            await self._begin(key)
            failure: OSError | None = None
            with trio.CancelScope(shield=True):
                try:
                    await self._work.run(files.replace, self._place.path, written_key(key))
                except OSError as error:
                    failure = error
            if failure is None:
                await self._finish(Cipher(key, self._ids))
                return
            await self._store(before)
            self._next = next_before
            raise WrongState(
                f"the master key {self._place.path} cannot be replaced: {failure.strerror or failure}",
                hint="make the new key yourself and give it: im keys rotate --new-key-file F (docs/operations.md)",
            )

    async def announce_master(self, key: bytes) -> None:
        """Prepare for a master key that a person will put in the present one's place. Until then either will do."""
        async with self._turn:
            if Cipher(key, self._ids).key_id == self.master_id:
                raise WrongState("that is the present master key", hint="make another one: head -c 32 /dev/urandom")
            await self._begin(key)

    async def _begin(self, key: bytes) -> None:
        coming = Cipher(key, self._ids)
        keys = tuple(
            replace(one, sealed=(under, _sealed_under(coming, self._revealed(one, under), one)))
            if (under := _under(one, self._master)) is not None
            else one
            for one in self._table.keys
        )
        await self._store(KeyTable(keys, self._master.seal(Secret(key), _NEXT)))
        self._next = coming

    async def _finish(self, master: Cipher) -> None:
        """From here on only this master key opens anything that it can open."""
        keys = tuple(
            replace(one, sealed=(under,)) if (under := _under(one, master)) is not None else one
            for one in self._table.keys
        )
        await self._store(KeyTable(keys))
        self._master, self._next = master, None

    async def _make(self, integration_id: str) -> DataKey:
        masters = [self._master, *([] if self._next is None else [self._next])]
        made = new_key(Secret(self._ids.secret(KEY_BYTES)), integration_id, masters, self._ids)
        await self._store(replace(self._table, keys=(*self._table.keys, made)))
        return made

    async def _store(self, table: KeyTable) -> None:
        """Make a table durable, and only then the present one."""
        try:
            with trio.CancelScope(shield=True):
                await self._work.run(self._write, table_bytes(table))
        except OSError as error:
            raise Busy(
                f"{keys_path(self._folder)} cannot be replaced: {error.strerror or error}",
                hint="look at that disk, then try again",
                retry_after_s=RETRY_AFTER_S,
            ) from error
        self._table = table

    def _write(self, block: bytes) -> None:
        path = keys_path(self._folder)
        draft = path.with_name(f"{path.name}.new")
        if draft.name in self._disk.names(self._folder):
            self._disk.unlink(draft)  # an earlier try found no room, or was ended by a crash
        file = self._disk.open_append(draft, create=True)
        try:
            if file.write(block) < len(block):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            file.sync()
        finally:
            file.close()
        self._disk.rename(draft, path)
        self._disk.sync_folder(self._folder)

    def _cipher(self, key_id: str, integration_id: str, field: str) -> Cipher:
        key = next((one for one in self._table.keys if (one.id, one.integration_id) == (key_id, integration_id)), None)
        if key is None:
            raise CannotUnseal(
                f"{field} of {integration_id} is sealed under key {key_id}, which is not in {keys_path(self._folder)}",
                hint="put that file back from the same backup as the journal, or enter the credentials again",
            )
        if key_id not in self._ciphers:
            under = _under(key, self._master)
            if under is None:
                masters = ", ".join(one.key_id for one in key.sealed)
                raise CannotUnseal(
                    f"{field} of {integration_id} is sealed under master key {masters}, and the loaded one is "
                    f"{self.master_id}",
                    hint="restore the master key of that time, or enter the credentials again",
                )
            self._ciphers[key_id] = Cipher(self._revealed(key, under).reveal_bytes(), self._ids)
        return self._ciphers[key_id]

    def _revealed(self, key: DataKey, under: SealedSecret) -> Secret:
        return self._master.open(under, _DATA_KEY, key.integration_id, key.id)


def new_key(content: Secret, integration_id: str, masters: Sequence[Cipher], ids: Ids) -> DataKey:
    """A data key as the file holds it, sealed under each of ``masters``."""
    bare = DataKey(Cipher(content.reveal_bytes(), ids).key_id, integration_id, ())
    return replace(bare, sealed=tuple(_sealed_under(master, content, bare) for master in masters))


def _sealed_under(master: Cipher, content: Secret, key: DataKey) -> SealedSecret:
    return master.seal(content, _DATA_KEY, key.integration_id, key.id)


def _under(key: DataKey, master: Cipher) -> SealedSecret | None:
    return next((one for one in key.sealed if one.key_id == master.key_id), None)
