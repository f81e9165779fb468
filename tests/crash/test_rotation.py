"""A thousand deliveries over five changes of the webhook secret, and of the master key, by `im`: none is refused.

ServiceNow gets each new secret a while after it was made, as it does from a person; until then it signs with the old.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

import httpx
import pytest
import trio

from tests.crash.installation import Installation

DELIVERIES: Final = 1000
CHANGES: Final = 5
SENDERS: Final = 4


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    one = Installation(tmp_path)
    one.daemon.environ["INCIDENTS_AUTH"] = "none"
    try:
        one.start()
        yield one
    finally:
        one.stop()


def signed(secret: str, number: int) -> tuple[bytes, dict[str, str]]:
    body = json.dumps({"sys_id": f"{number:032x}", "event_id": f"event-{number}", "operation": "update"}).encode()
    signature = base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()
    return body, {"Content-Type": "application/json", "X-ServiceNow-Signature": signature}


async def test_a_thousand_deliveries_over_five_changes_of_the_secret_and_of_the_master_key_are_all_accepted(
    installation: Installation,
) -> None:
    im, password_file = installation.im, installation.folder / "password"
    password_file.write_text("sync-secret")
    made = im.one(
        *("integration", "configure", "prod-snow", "--name", "Prod", "--base-url", installation.simulator_url),
        *("--username", "svc.sync", "--password-file", str(password_file), "--no-create-platform"),
    )
    url = f"{installation.daemon.url}/api/v1/webhooks/{made['id']}"
    secret, answers, numbers = str(made["webhook_secret"]), list[int](), iter(range(DELIVERIES))

    async def sender() -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=20) as client:
            for number in numbers:
                body, headers = signed(secret, number)
                answers.append((await client.post(url, content=body, headers=headers)).status_code)

    async def reach(count: int) -> None:
        with trio.fail_after(60):
            while len(answers) < count:  # noqa: ASYNC110 the senders do not ring
                await trio.sleep(0.005)

    secrets, masters = {secret}, {str(im.one("keys", "list")["master_id"])}
    async with trio.open_nursery() as nursery:
        for _ in range(SENDERS):
            nursery.start_soon(sender)
        for change in range(1, CHANGES + 1):
            await reach(change * DELIVERIES // (CHANGES + 1))
            rotated = await trio.to_thread.run_sync(
                im.one, "integration", "rotate-secret", "prod-snow", "--grace", "1h"
            )
            secrets.add(str(rotated["webhook_secret"]))
            masters.add(str((await trio.to_thread.run_sync(im.one, "keys", "rotate"))["master_id"]))
            await reach(min(DELIVERIES, len(answers) + 20))  # the person pastes it
            secret = str(rotated["webhook_secret"])
    assert len(secrets) == len(masters) == CHANGES + 1
    assert {one["opens"] for one in cast("list[dict[str, object]]", im.one("keys", "list")["data_keys"])} == {True}
    assert len(answers) == DELIVERIES
    assert set(answers) == {202}
    webhooks = im.one("integration", "sync-status", "prod-snow")["webhooks"]
    assert isinstance(webhooks, dict)
    assert (webhooks["accepted"], webhooks["rejected"]) == (DELIVERIES, 0)
