"""The vault: each integration's secrets are sealed under a key of its own, and those keys under the master key.

    journal          secrets, sealed under their integration's data key; for ever, in every segment and backup
    <state>/keys     the data keys, sealed under the master key; replaced atomically, so that a key can be destroyed
    elsewhere        the master key (``master_key.py``)

Order makes it safe at every moment. A data key is durable before a secret under it can reach the journal, and is
destroyed after the deletion of its integration is durable, which was put on record here before: so a start can make up
for what a crash left, and ends no key of an integration that a restored journal merely does not know.
While the master key is being changed, the data keys are sealed under both:

    one master --begin--> both, and the next one sealed under the present one --adopt--> the next one alone

``adopt`` follows once the next key lies where the present one did, in this life or at the start of another. A life
that begins with the old key knows the next one too, and seals new data keys under both.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self
from zlib import crc32

import msgspec
import trio
from msgspec import Struct
from msgspec.structs import replace

from syncd.core.model import SealedSecret
from syncd.credentials import KEY_BYTES, Cipher, Secret
from syncd.errors import Busy, CannotUnseal, JournalRefused, WrongState
from syncd.master_key import KeyFiles, MasterKey, decoded_key, written_key
from syncd.seams import Disk, Ids, Work, replace_file

KEYS_FORMAT: Final = 1
RETRY_AFTER_S: Final = 5
_NEXT: Final = "the next master key"
_DATA_KEY: Final = "data key"

log: Final = logging.getLogger("syncd")


class DataKey(Struct, frozen=True, omit_defaults=True):
    """A key of one integration, sealed under the master key, and under the next one while there is one.

    ``leaving``: the integration was about to be deleted.
    """

    id: str
    integration_id: str
    sealed: tuple[SealedSecret, ...]
    leaving: bool = False


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
        self._also: tuple[Cipher, ...] = ()  # what a new key is sealed under beside the present master key
        if table.next is not None and table.next.key_id == self._master.key_id:
            self._next = Cipher(self._master.open(table.next, _NEXT).reveal_bytes(), ids)
            self._also = (self._next,)
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
            await vault._end_change()
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

    async def leave(self, integration_id: str) -> None:
        """Put on record that an integration is to be deleted: a start that then does not know it ends its keys."""
        async with self._turn:
            await self._mark(lambda key: key.integration_id == integration_id or key.leaving)

    async def settle(self, integration_ids: Collection[str]) -> None:
        """At a start: end what a deletion left behind, and nothing else. ``Busy`` without room.

        A key that no integration needs is kept: the journal may be one from a backup, and the right one come back.
        """
        async with self._turn:
            gone = [key for key in self._table.keys if key.leaving and key.integration_id not in integration_ids]
            await self._drop(gone)
            await self._mark(lambda _: False)

    async def destroy(self, integration_id: str) -> None:
        """Make everything that was sealed for an integration unreadable, wherever it is. ``Busy`` without room."""
        async with self._turn:
            await self._drop([key for key in self._table.keys if key.integration_id == integration_id])

    async def _drop(self, gone: Collection[DataKey]) -> None:
        if gone:
            kept = tuple(key for key in self._table.keys if key not in gone)
            await self._store(replace(self._table, keys=kept))
            for key in gone:
                self._ciphers.pop(key.id, None)

    async def _mark(self, is_leaving: Callable[[DataKey], bool]) -> None:
        keys = tuple(replace(key, leaving=is_leaving(key)) for key in self._table.keys)
        if keys != self._table.keys:
            await self._store(replace(self._table, keys=keys))

    async def change_master(self) -> None:
        """Another master key, made here, in the present one's file. ``WrongState`` if that is not ours to write.

        Whatever fails, what the file may hold opens everything: nothing is taken away before the new key is durable.
        """
        files = self._place.files
        if files is None:
            raise WrongState(
                "the master key comes from the service manager, which this daemon cannot give another one",
                hint="make the new key yourself and give it: im keys rotate --new-key-file F (docs/operations.md)",
            )
        key = self._ids.secret(KEY_BYTES)
        async with self._turn:
            next_before, record_before = self._next, self._table.next
            coming = await self._begin(key)
            failure: OSError | None = None
            with trio.CancelScope(shield=True):
                path = await self._work.run(files.real, self._place.path)  # a link stays a link
                try:
                    await self._work.run(files.replace, path, written_key(key))
                except OSError as error:
                    failure = error
                held = None if failure is None else await self._work.run(_held, files, path)
            if failure is None:
                await self._adopt(coming, Secret(key))
                return
            if held == self._place.content:  # it was not touched, so the new key is nowhere
                with suppress(Busy):
                    await self._withdraw(coming, next_before, record_before)
            raise WrongState(
                f"the master key {path} cannot be replaced: {failure.strerror or failure}",
                hint="make the new key yourself and give it: im keys rotate --new-key-file F (docs/operations.md)",
            )

    async def announce_master(self, key: bytes) -> None:
        """Prepare for a master key that a person will put in the present one's place. Until then either will do."""
        async with self._turn:
            if Cipher(key, self._ids).key_id == self.master_id:
                raise WrongState("that is the present master key", hint="make another one: head -c 32 /dev/urandom")
            await self._begin(key)

    async def _begin(self, key: bytes) -> Cipher:
        """Seal everything under this master key, too."""
        coming = Cipher(key, self._ids)
        keys = tuple(
            replace(one, sealed=(*_without(one, coming), _sealed_under(coming, self._revealed(one, under), one)))
            if (under := _under(one, self._master)) is not None
            else one
            for one in self._table.keys
        )
        await self._store(KeyTable(keys, self._master.seal(Secret(key), _NEXT)))
        self._next, self._also = coming, (*self._also, coming)
        return coming

    async def _withdraw(self, coming: Cipher, next_before: Cipher | None, record_before: SealedSecret | None) -> None:
        keys = tuple(replace(one, sealed=_without(one, coming)) for one in self._table.keys)
        await self._store(KeyTable(keys, record_before))
        self._next, self._also = next_before, tuple(one for one in self._also if one is not coming)

    async def _adopt(self, master: Cipher, content: Secret) -> None:
        """This key is the present one, durably: from here on it alone opens anything that it can open."""
        self._place = replace(self._place, content=content)
        self._master, self._next, self._also = master, None, ()
        keys = tuple(
            replace(one, sealed=(under,)) if (under := _under(one, master)) is not None else one
            for one in self._table.keys
        )
        try:
            await self._store(KeyTable(keys))
        except Busy as error:  # the next start makes up for it
            log.warning("the old master key still opens everything", extra={"reason": str(error)})

    async def _end_change(self) -> None:
        """At a start with the new key: it may have been put there without being on disk, so first make sure."""
        files = self._place.files
        if files is not None:
            try:
                path = await self._work.run(files.real, self._place.path)
                await self._work.run(files.replace, path, written_key(self._place.content.reveal_bytes()))
            except OSError as error:
                log.warning("the old master key still opens everything", extra={"reason": str(error)})
                return
        await self._adopt(self._master, self._place.content)
        log.warning("the master key has changed", extra={"now": self.master_id})

    async def _make(self, integration_id: str) -> DataKey:
        made = new_key(Secret(self._ids.secret(KEY_BYTES)), integration_id, [self._master, *self._also], self._ids)
        await self._store(replace(self._table, keys=(*self._table.keys, made)))
        return made

    async def _store(self, table: KeyTable) -> None:
        """Make a table durable, and only then the present one."""
        try:
            with trio.CancelScope(shield=True):
                await self._work.run(replace_file, self._disk, keys_path(self._folder), table_bytes(table))
        except OSError as error:
            raise Busy(
                f"{keys_path(self._folder)} cannot be replaced: {error.strerror or error}",
                hint="look at that disk, then try again",
                retry_after_s=RETRY_AFTER_S,
            ) from error
        self._table = table

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


def _without(key: DataKey, master: Cipher) -> tuple[SealedSecret, ...]:
    return tuple(one for one in key.sealed if one.key_id != master.key_id)


def _held(files: KeyFiles, path: Path) -> Secret | None:
    """The key that the file holds now, None if that cannot be told."""
    try:
        key = decoded_key(files.read(path).content.reveal_bytes())
    except OSError:
        return None
    return Secret(key) if key is not None else None


def _under(key: DataKey, master: Cipher) -> SealedSecret | None:
    return next((one for one in key.sealed if one.key_id == master.key_id), None)
