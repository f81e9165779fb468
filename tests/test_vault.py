"""The vault: a key for each integration, destroyed with it, and a master key that can be changed at any moment."""

import errno
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

import msgspec
import pytest
import trio

from syncd.core.model import SealedSecret
from syncd.credentials import Secret
from syncd.errors import Busy, CannotUnseal, JournalRefused, WrongState
from syncd.master_key import KeyFile, LocalKeyFiles, MasterKey, decoded_key, written_key
from syncd.seams import SystemIds
from syncd.vault import Vault, keys_path, read_table
from tests.simulation.disk import SimDisk, SimWork

STATE = Path("/state")
OLD, NEW = b"o" * 32, b"n" * 32
PLACE = Path("/etc/syncd/master.key")
SLOTS = [("journal-1", name, "password") for name in ("int_A", "int_B", "int_C")]


class KeyOnDisk:
    """The master key's file on a disk that can fail."""

    uid = 0

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.fails = False

    def real(self, path: Path) -> Path:
        return path

    def read(self, path: Path) -> KeyFile:
        return KeyFile(Secret(written_key(self.key)), 0o400, 0)

    def create(self, path: Path, content: bytes) -> None:
        raise FileExistsError(path)

    def replace(self, path: Path, content: bytes) -> None:
        if self.fails:
            raise OSError(errno.EROFS, "Read-only file system")
        decoded = decoded_key(content)
        assert decoded is not None
        self.key = decoded


class Place:
    """A state folder, and the vaults that one life after the other makes of it."""

    def __init__(self, disk: SimDisk | None = None, *, by_file: bool = True) -> None:
        self.disk = disk or SimDisk(Random(1))
        self.disk.make_folder(STATE)
        self.file = KeyOnDisk(OLD)
        self.by_file = by_file

    async def vault(self, key: bytes | None = None) -> Vault:
        ids, work = SystemIds(), SimWork(Random(1))
        master = MasterKey(Secret(key or self.file.key), PLACE, files=self.file if self.by_file else None)
        return await Vault.load(self.disk, STATE, work, ids, read_table(self.disk, STATE), master)


async def sealed_in(vault: Vault) -> list[SealedSecret]:
    return [await vault.seal(Secret(f"password of {slot[1]}"), *slot) for slot in SLOTS]


def opens(vault: Vault, sealed: list[SealedSecret]) -> bool:
    """Whether everything opens; all of it or nothing does."""
    told = []
    for one, slot in zip(sealed, SLOTS, strict=True):
        try:
            told.append(vault.open(one, *slot).reveal() == f"password of {slot[1]}")
        except CannotUnseal:
            told.append(False)
    assert len(set(told)) == 1, told
    return told[0]


# Data keys


async def test_each_integration_has_a_key_of_its_own_that_survives(autojump_clock: object) -> None:
    place = Place()
    sealed = await sealed_in(await place.vault())
    assert len({one.key_id for one in sealed}) == 3
    vault = await place.vault()
    assert opens(vault, sealed)
    again = await vault.seal(Secret("x"), *SLOTS[0])
    assert again.key_id == sealed[0].key_id


async def test_a_value_does_not_open_in_another_slot(autojump_clock: object) -> None:
    vault = await Place().vault()
    first = (await sealed_in(vault))[0]
    for slot in [("journal-1", "int_B", "password"), ("journal-1", "int_A", "api_key"), ("other", "int_A", "password")]:
        with pytest.raises(CannotUnseal):
            vault.open(first, *slot)


async def test_with_its_key_everything_of_an_integration_is_gone_for_ever(autojump_clock: object) -> None:
    place = Place()
    vault = await place.vault()
    sealed = await sealed_in(vault)
    await vault.destroy("int_B")
    for one in (vault, await place.vault()):
        with pytest.raises(CannotUnseal, match="not in /state/keys"):
            one.open(sealed[1], *SLOTS[1])
        assert one.open(sealed[0], *SLOTS[0]).reveal() == "password of int_A"
    assert sealed[1].key_id not in place.disk.files()[keys_path(STATE)].decode()


async def test_a_start_ends_what_a_deletion_left_and_no_key_that_a_restored_journal_does_not_know(
    autojump_clock: object,
) -> None:
    place = Place()
    vault = await place.vault()
    sealed = await sealed_in(vault)
    await vault.leave("int_A")  # and the power goes, before or after the journal has it
    before = await place.vault()
    await before.settle({"int_A", "int_B", "int_C"})
    assert opens(before, sealed)
    await (await place.vault()).settle(())  # an empty journal: nothing was on record any more
    assert opens(await place.vault(), sealed)
    await before.leave("int_A")
    await (await place.vault()).settle({"int_B"})
    assert [key.integration_id for key, _ in (await place.vault()).data_keys] == ["int_B", "int_C"]


async def test_the_end_of_one_key_leaves_another_that_is_being_made(autojump_clock: object) -> None:
    place = Place()
    vault = await place.vault()
    await sealed_in(vault)
    made: list[SealedSecret] = []

    async def make() -> None:
        made.append(await vault.seal(Secret("new"), "journal-1", "int_D", "password"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(make)
        nursery.start_soon(vault.destroy, "int_A")
    assert vault.open(made[0], "journal-1", "int_D", "password").reveal() == "new"
    assert {key.integration_id for key, _ in (await place.vault()).data_keys} == {"int_B", "int_C", "int_D"}


async def test_nothing_is_sealed_before_its_key_is_on_disk(autojump_clock: object) -> None:
    for at in range(1, 20):
        place = Place()
        vault = await place.vault()
        place.disk.dies_at = len(place.disk.calls) + at
        sealed = None
        try:
            sealed = await vault.seal(Secret("password of int_A"), *SLOTS[0])
        except Busy:
            assert place.disk.is_gone
        place.disk = place.disk.crash()
        if sealed is not None:
            assert (await place.vault()).open(sealed, *SLOTS[0]).reveal() == "password of int_A"
            return
    raise AssertionError("never sealed")


async def test_without_room_it_says_so_and_goes_on_when_there_is_some(autojump_clock: object) -> None:
    place = Place()
    vault = await place.vault()
    sealed = await sealed_in(vault)
    for space_bytes in (0, 10):
        place.disk.space_bytes = space_bytes
        with pytest.raises(Busy, match="/state/keys cannot be replaced: No space left"):
            await vault.seal(Secret("x"), "journal-1", "int_D", "password")
        with pytest.raises(Busy):
            await vault.destroy("int_A")
    place.disk.space_bytes = None
    assert opens(vault, sealed)
    await vault.destroy("int_A")
    assert len((await place.vault()).data_keys) == 2


async def test_another_master_key_opens_nothing_and_loses_nothing(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    place = Place()
    sealed = await sealed_in(await place.vault())
    stranger = await place.vault(NEW)
    assert "another master key" in caplog.text
    assert not opens(stranger, sealed)
    mended = await stranger.seal(Secret("entered again"), *SLOTS[0])
    assert stranger.open(mended, *SLOTS[0]).reveal() == "entered again"
    assert opens(await place.vault(OLD), sealed)


@pytest.mark.parametrize("block", [b"", b"{}", b"nonsense", b'{"format":2,"table":{},"crc":0}'])
async def test_a_file_that_is_not_ours_is_refused_and_left_alone(block: bytes, autojump_clock: object) -> None:
    place = Place()
    place.disk.put(keys_path(STATE), block)
    with pytest.raises(JournalRefused, match="/state/keys"):
        await place.vault()
    assert place.disk.files()[keys_path(STATE)] == block


async def test_every_flipped_bit_is_refused(autojump_clock: object) -> None:
    place = Place()
    await sealed_in(await place.vault())
    whole = place.disk.files()[keys_path(STATE)]
    for at in range(0, len(whole) * 8, 7):
        flipped = bytearray(whole)
        flipped[at // 8] ^= 1 << at % 8
        place.disk.put(keys_path(STATE), bytes(flipped))
        with pytest.raises(JournalRefused):
            read_table(place.disk, STATE)


async def test_no_key_is_in_the_file_in_clear(autojump_clock: object) -> None:
    place = Place()
    vault = await place.vault()
    await sealed_in(vault)
    await vault.announce_master(NEW)
    block = place.disk.files()[keys_path(STATE)]
    for key in (OLD, NEW):
        assert key not in block
    assert b"password" not in block


# The master key


async def test_a_change_leaves_everything_open_under_the_new_key_alone(autojump_clock: object) -> None:
    place = Place()
    vault = await place.vault()
    sealed, before = await sealed_in(vault), vault.master_id
    await vault.change_master()
    assert place.file.key != OLD
    assert (vault.master_id != before, vault.next_id) == (True, None)
    for one in (vault, await place.vault()):
        assert opens(one, sealed)
    assert not opens(await place.vault(OLD), sealed)
    await vault.change_master()
    assert opens(await place.vault(), sealed)


async def test_a_change_that_ends_at_any_call_leaves_everything_open(autojump_clock: object) -> None:
    """A kill and a power cut at each call of the disk; then the change is made once more."""
    done = False
    at = 0
    while not done:
        at += 1
        for end in ("crash", "kill"):
            place = Place(SimDisk(Random(at)))
            vault = await place.vault()
            sealed = await sealed_in(vault)
            place.disk.dies_at = len(place.disk.calls) + at
            try:
                await vault.change_master()
                done = not place.disk.is_gone
            except Busy:
                assert place.disk.is_gone
            place.disk = place.disk.crash() if end == "crash" else place.disk.kill()
            after = await place.vault()
            assert opens(after, sealed), (at, end)
            late = await after.seal(Secret("late"), "journal-1", "int_D", "password")
            await after.change_master()
            assert after.next_id is None
            last = await place.vault()
            assert opens(last, sealed), (at, end)
            assert last.open(late, "journal-1", "int_D", "password").reveal() == "late"
    assert at > 10


async def test_a_file_that_cannot_be_replaced_leaves_the_old_key_and_says_what_else_to_do(
    autojump_clock: object,
) -> None:
    place = Place()
    vault = await place.vault()
    sealed = await sealed_in(vault)
    place.file.fails = True
    with pytest.raises(WrongState, match="Read-only file system") as caught:
        await vault.change_master()
    assert "--new-key-file" in caught.value.hint
    assert vault.next_id is None
    assert opens(await place.vault(OLD), sealed)
    assert read_table(place.disk, STATE).next is None


async def test_a_credential_is_changed_by_a_person_and_either_key_will_do_until_then(autojump_clock: object) -> None:
    place = Place(by_file=False)
    vault = await place.vault()
    sealed = await sealed_in(vault)
    with pytest.raises(WrongState, match="service manager") as caught:
        await vault.change_master()
    assert "--new-key-file" in caught.value.hint
    with pytest.raises(WrongState, match="present"):
        await vault.announce_master(OLD)
    await vault.announce_master(NEW)
    restarted = await place.vault(OLD)  # before the person came to it
    assert (opens(restarted, sealed), restarted.next_id) == (True, vault.next_id)
    late = await restarted.seal(Secret("late"), "journal-1", "int_D", "password")
    changed = await place.vault(NEW)
    assert (opens(changed, sealed), changed.next_id) == (True, None)
    assert changed.open(late, "journal-1", "int_D", "password").reveal() == "late"
    assert not opens(await place.vault(OLD), sealed)
    assert NEW not in place.disk.files()[keys_path(STATE)]


async def test_announcing_and_finishing_may_end_at_any_call(autojump_clock: object) -> None:
    async def announce(place: Place) -> None:
        await (await place.vault(OLD)).announce_master(NEW)

    async def finish(place: Place) -> None:
        await (await place.vault(OLD)).announce_master(NEW)
        await place.vault(NEW)

    steps: list[tuple[Callable[[Place], Awaitable[None]], bytes]] = [(announce, OLD), (finish, OLD), (finish, NEW)]
    for step, key in steps:
        ends = 0
        for at in range(1, 60):
            place = Place(SimDisk(Random(at)), by_file=False)
            sealed = await sealed_in(await place.vault())
            place.disk.dies_at = len(place.disk.calls) + at
            try:
                await step(place)
            except (Busy, OSError):
                assert place.disk.is_gone
                ends += 1
            was_announced = not place.disk.is_gone
            place.disk = place.disk.crash()
            table = read_table(place.disk, STATE)
            if key == OLD and (table.next is not None or step is announce):
                assert opens(await place.vault(OLD), sealed), at
            if key == NEW and was_announced:
                assert opens(await place.vault(NEW), sealed), at
            if was_announced:
                break
        assert ends > 5


async def test_a_new_start_of_a_change_replaces_the_one_that_waits(autojump_clock: object) -> None:
    place = Place()
    vault = await place.vault()
    sealed = await sealed_in(vault)
    await vault.announce_master(NEW)
    await vault.change_master()
    assert opens(await place.vault(), sealed)
    assert not opens(await place.vault(NEW), sealed)


def test_the_file_is_json_that_an_older_or_newer_reader_would_notice() -> None:
    place = Place()
    place.disk.put(keys_path(STATE), msgspec.json.encode({"format": 9}))
    with pytest.raises(JournalRefused, match="newer version"):
        read_table(place.disk, STATE)


class TornFile(KeyOnDisk):
    """A key file whose new content is there, but whose folder cannot be synced."""

    def replace(self, path: Path, content: bytes) -> None:
        super().replace(path, content)
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("survives", ["the old key", "the new key"])
async def test_a_key_that_is_in_its_file_but_perhaps_not_on_disk_opens_as_the_old_one_does(
    times: int, survives: str, autojump_clock: object
) -> None:
    place = Place()
    place.file = TornFile(OLD)
    vault = await place.vault()
    sealed = await sealed_in(vault)
    for _ in range(times):
        with pytest.raises(WrongState, match="Input/output error"):
            await vault.change_master()
    late = await vault.seal(Secret("late"), "journal-1", "int_D", "password")
    found = await place.vault(OLD if survives == "the old key" else place.file.key)
    assert opens(found, sealed)
    assert found.open(late, "journal-1", "int_D", "password").reveal() == "late"
    assert opens(await place.vault(OLD), sealed)  # as long as the disk does not say that the new one is there


async def test_a_change_that_finds_no_room_for_its_end_has_happened_and_may_be_made_again(
    autojump_clock: object,
) -> None:
    place = Place()
    vault = await place.vault()
    sealed = await sealed_in(vault)
    replace_file = place.file.replace

    def last_room(path: Path, content: bytes) -> None:
        replace_file(path, content)
        place.disk.space_bytes = 0

    place.file.replace = last_room  # type: ignore[method-assign]
    await vault.change_master()
    first = place.file.key
    with pytest.raises(Busy):
        await vault.change_master()
    assert place.file.key == first
    assert opens(await place.vault(first), sealed)
    place.disk.space_bytes = None
    place.file.replace = replace_file  # type: ignore[method-assign]
    await vault.change_master()
    assert opens(await place.vault(), sealed)
    assert not opens(await place.vault(OLD), sealed)


async def test_a_key_file_that_is_a_link_stays_one(autojump_clock: object, tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(written_key(OLD))
    real.chmod(0o400)
    link.symlink_to(real)
    disk = SimDisk(Random(1))
    disk.make_folder(STATE)
    master = MasterKey(Secret(OLD), link, files=LocalKeyFiles())
    vault = await Vault.load(disk, STATE, SimWork(Random(1)), SystemIds(), read_table(disk, STATE), master)
    await vault.change_master()
    assert link.is_symlink()
    assert decoded_key(real.read_bytes()) not in {None, OLD}
