"""The routes of the keys: names are shown, keys never; deleting an integration destroys its key."""

import base64
import errno
from pathlib import Path
from random import Random

import pytest

from syncd.core import registry
from syncd.errors import CannotUnseal
from tests.edges.api.daemon import a_vault, running
from tests.simulation.disk import SimDisk, SimFile

KEYS = "/api/v1/keys"
NEW = b"n" * 32


async def test_the_list_names_the_master_key_and_one_key_for_each_integration() -> None:
    async with running() as daemon:
        made = await daemon.configure(handle="prod")
        shown = (await daemon.socket.get(KEYS)).json()
        assert (shown["source"], shown["path"], shown["next_id"]) == ("file", "/master.key", None)
        (key,) = shown["data_keys"]
        assert (key["integration_id"], key["integration"], key["opens"]) == (made["id"], "prod", True)
        assert key["id"] != shown["master_id"]


async def test_a_rotation_with_a_key_lets_either_do_until_the_next_start() -> None:
    disk = SimDisk(Random(1))
    async with running(disk=disk) as daemon:
        made = await daemon.configure(handle="prod", webhook_secret="first")
        answer = await daemon.socket.post(f"{KEYS}/rotate", json={"new_key": base64.b64encode(NEW).decode()})
        assert answer.status_code == 200
        assert answer.json()["next_id"] not in {None, answer.json()["master_id"]}
        assert base64.b64encode(NEW).decode() not in answer.text
        sealed = daemon.journal.state.integrations[made["id"]].credentials["password"]
        place = registry.slot("journal-1", made["id"], "password")
        after = await a_vault(disk, daemon.work, daemon.desk.ids, NEW)
        assert after.open(sealed, *place).reveal() == "pass-word-1"
        before = await a_vault(disk, daemon.work, daemon.desk.ids)
        with pytest.raises(CannotUnseal):
            before.open(sealed, *place)


async def test_a_rotation_without_a_key_where_the_file_is_not_ours_says_what_to_do() -> None:
    async with running() as daemon:
        refused = await daemon.socket.post(f"{KEYS}/rotate", json={})
        assert refused.status_code == 409
        assert "--new-key-file" in refused.text


@pytest.mark.parametrize("key", ["", "short", "A" * 42, "x" * 5000, 7, None, ["a"]])
async def test_what_is_no_key_is_refused_without_being_repeated(key: object) -> None:
    async with running() as daemon:
        refused = await daemon.socket.post(f"{KEYS}/rotate", json={"new_key": key})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["path"] == "new_key"
        assert not isinstance(key, str) or not key or key not in refused.text


async def test_a_deleted_integration_takes_its_key_along_and_a_refused_one_leaves_none() -> None:
    disk = SimDisk(Random(1))
    async with running(disk=disk) as daemon:
        made = await daemon.configure(handle="prod")
        sealed = daemon.journal.state.integrations[made["id"]].credentials["password"]
        twin = {"name": "Twin", "handle": "prod", "base_url": made["base_url"], "credentials": {"api_key": "x"}}
        assert (await daemon.socket.post("/api/v1/integrations", json=twin)).status_code == 409
        assert len((await daemon.socket.get(KEYS)).json()["data_keys"]) == 1
        assert (await daemon.socket.delete("/api/v1/integrations/prod")).status_code == 204
        assert (await daemon.socket.get(KEYS)).json()["data_keys"] == []
        vault = await a_vault(disk, daemon.work, daemon.desk.ids)
        with pytest.raises(CannotUnseal):
            vault.open(sealed, *registry.slot("journal-1", made["id"], "password"))
        assert sealed.key_id not in disk.files()[Path("/state/keys")].decode()


class NarrowDisk(SimDisk):
    """Without room for another file of keys, once it ``is_narrow``."""

    is_narrow = False

    def open_append(self, path: Path, *, create: bool = False) -> SimFile:
        if self.is_narrow and path.name == "keys.new":
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().open_append(path, create=create)


async def test_a_delete_that_cannot_destroy_the_key_says_so_and_the_next_start_makes_up_for_it() -> None:
    disk = NarrowDisk(Random(1))
    async with running(disk=disk) as daemon:
        made = await daemon.configure(handle="prod")
        await daemon.desk.vault.leave(made["id"])
        disk.is_narrow = True
        answer = await daemon.socket.delete("/api/v1/integrations/prod")
        assert answer.status_code == 503
        assert "its key is not destroyed yet" in answer.text
        assert daemon.journal.state.integrations == {}
        disk.is_narrow = False
        vault = await a_vault(disk, daemon.work, daemon.desk.ids)
        assert len(vault.data_keys) == 1
        await vault.settle(daemon.journal.state.integrations)  # as the house does
        assert vault.data_keys == []
