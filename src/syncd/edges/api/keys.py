"""The routes of the keys that seal stored secrets: which there are, and another master key. No key ever leaves."""

import logging
from typing import Final

from msgspec import UNSET, Struct, UnsetType
from quart import Response

from syncd.core.fields import Fields
from syncd.credentials import KEY_BYTES
from syncd.edges.api.answers import answer, body
from syncd.edges.api.description import Answer, Description
from syncd.edges.api.desk import Desk, caller
from syncd.edges.api.routes import Routes
from syncd.errors import WrongState
from syncd.master_key import decoded_key
from syncd.vault import Vault

KEY_LETTERS_MAX: Final = 100

TOPIC: Final = "Keys"
BASE: Final = "/api/v1/keys"

log = logging.getLogger("syncd")


class DataKeyView(Struct, frozen=True):
    """An integration's key. ``opens``: the present master key opens it."""

    id: str
    integration_id: str
    integration: str
    opens: bool


class KeysView(Struct, frozen=True):
    """All keys by name. ``next_id``: the master key that is to be put in the present one's place."""

    master_id: str
    source: str
    path: str
    next_id: str | None
    data_keys: list[DataKeyView]


LIST: Final = Description(
    topic=TOPIC,
    summary="List the keys that seal stored secrets",
    notes="By name; the keys themselves are never shown.",
    answers=(Answer(KeysView),),
)


def read_rotation(fields: Fields) -> bytes | UnsetType:
    """The new master key of a request's object, if it has one; ``Invalid`` with every fault, never with the key."""
    form = {"type": "string", "pattern": "^([0-9A-Za-z+/_-]{43}=?|[0-9A-Fa-f]{64})$"}
    given = fields.raw("new_key", form)
    key: bytes | UnsetType | None = UNSET
    if not isinstance(given, UnsetType):
        key = decoded_key(given.encode()) if isinstance(given, str) and len(given) <= KEY_LETTERS_MAX else None
        if key is None:
            fields.fault(
                "new_key", f"must be {KEY_BYTES} bytes in base64 or hex, such as head -c 32 /dev/urandom | base64"
            )
    fields.done("the rotation")
    return UNSET if key is None else key


ROTATE: Final = Description(
    topic=TOPIC,
    summary="Change the master key",
    notes=(
        "Without `new_key` the daemon makes one and puts it into the present one's file: done at once. With `new_key` "
        "either key will do until the daemon starts with the new one."
    ),
    takes=read_rotation,
    example={},
    answers=(Answer(KeysView),),
    refuses=(WrongState,),
)


def add_routes(routes: Routes, desk: Desk) -> None:
    """Put them into the application."""

    async def find() -> Response:
        await desk.settled()
        return answer(_view(desk))

    async def rotate() -> Response:
        key = read_rotation(await body())
        before = desk.vault.master_id
        if isinstance(key, UnsetType):
            await desk.vault.change_master()
        else:
            await desk.vault.announce_master(key)
        told = {"by": caller().by, "before": before, "now": desk.vault.master_id, "next": desk.vault.next_id or ""}
        log.warning("change of the master key", extra=told)
        return answer(_view(desk))

    routes.add("GET", BASE, "read", find, LIST)
    routes.add("POST", f"{BASE}/rotate", "admin", rotate, ROTATE)


def _view(desk: Desk) -> KeysView:
    vault: Vault = desk.vault
    integrations = desk.state.integrations
    return KeysView(
        master_id=vault.master_id,
        source="credential" if vault.place.is_credential else "file",
        path=str(vault.place.path),
        next_id=vault.next_id,
        data_keys=[
            DataKeyView(
                key.id,
                key.integration_id,
                integrations[key.integration_id].settings.handle if key.integration_id in integrations else "",
                opens,
            )
            for key, opens in vault.data_keys
        ],
    )
