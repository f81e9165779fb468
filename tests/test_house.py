"""The real house over real sockets: what leaves it, and to whom."""

import base64
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from syncd.credentials import Secret
from syncd.edges.api.access import Access
from syncd.edges.api.app import build_api
from syncd.edges.api.counts import WebhookCounts
from syncd.edges.api.desk import Desk
from syncd.edges.api.peers import LocalUsers
from syncd.house import House
from syncd.master_key import MasterKey
from syncd.net import SystemNet, tls_context
from syncd.seams import Seams, SystemClock, SystemDisk, SystemIds, ThreadWork
from syncd.systems import platform
from tests.network import answer, request_in

URL = "http://127.0.0.1:8080"
BASIC = base64.b64encode(b"svc.sync:pass-word-4711")
SECRETS = (BASIC, b"cookie", b"pass-word-4711", b"key-4711", b"JSESSIONID")


class Recorder:
    """An instance that shows no records, gives everybody a session, and keeps what it was sent."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.url = ""

    async def listen(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, self._serve, 0, host="127.0.0.1"))
            self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            task_status.started()

    async def _serve(self, stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):  # whoever asks may be stopped before it has its answer
            while request := await request_in(stream):
                self.requests.append(request)
                await stream.send_all(answer(b'{"result":[]}', "Set-Cookie: JSESSIONID=4711; Path=/"))


async def until(is_so: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not is_so():  # noqa: ASYNC110 seen from outside of the process, nothing could ring
            await trio.sleep(0.01)


async def live(state_dir: Path, story: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    """A house with real seams and its API, for the time of the story."""

    async def master_key(_: bool) -> MasterKey:
        await trio.lowlevel.checkpoint()
        return MasterKey(Secret(b"k" * 32), Path("/master.key"))

    clock = SystemClock()
    net = SystemNet(tls_context(), ())
    house = await House.open(
        state_dir, Seams(clock=clock, ids=SystemIds(), disk=SystemDisk(), net=net, work=ThreadWork()), master_key
    )
    desk = Desk(
        journal=house.journal,
        platform=platform,
        integrations=house.roster,
        vault=house.vault,
        access=Access(auth="none", public_host="", users=LocalUsers(0, 0), now_s=clock.now_s),
        clock=clock,
        ids=house.seams.ids,
        public_url=URL,
        allowed_hosts=(),
        webhook_counts=WebhookCounts(),
        keeping=lambda: house.keeper.condition,
    )

    async def doors() -> None:
        transport = httpx.ASGITransport(build_api(desk))  # type: ignore[arg-type] # httpx spells ASGI's types in its own way
        async with httpx.AsyncClient(transport=transport, base_url=URL) as caller:
            await story(caller)

    await house.run(doors)


@pytest.mark.parametrize(
    "credentials",
    [{"username": "svc.sync", "password": "pass-word-4711"}, {"api_key": "key-4711"}],
    ids=["basic", "key"],
)
async def test_whoever_changes_the_address_does_not_get_the_credentials(
    tmp_path: Path, credentials: dict[str, str]
) -> None:
    theirs, ours = Recorder(), Recorder()

    async def moved_to(caller: httpx.AsyncClient, url: str, **more: object) -> None:
        moved = await caller.patch("/api/v1/integrations/prod", json={"base_url": url, **more})
        assert moved.status_code == 200, moved.text

    async def story(caller: httpx.AsyncClient) -> None:
        body = {"name": "Prod", "handle": "prod", "base_url": theirs.url, "credentials": credentials}
        assert (await caller.post("/api/v1/integrations", json=body)).status_code == 201
        await until(lambda: bool(theirs.requests))
        await moved_to(caller, ours.url)
        before = len(theirs.requests)
        await moved_to(caller, theirs.url)  # not even there: whoever has it now may be another
        refused = await caller.post("/api/v1/integrations/prod/reconcile?wait=true", json={"auto_heal": True})
        assert refused.status_code == 409, refused.text
        assert (ours.requests, theirs.requests[before:]) == ([], [])
        await moved_to(caller, ours.url, credentials={"username": "another", "password": "elsewhere"})
        await until(lambda: bool(ours.requests))

    async with trio.open_nursery() as nursery:
        await nursery.start(theirs.listen)
        await nursery.start(ours.listen)
        await live(tmp_path, story)
        nursery.cancel_scope.cancel()
    first = theirs.requests[0].lower()
    assert (
        b"authorization: basic " + BASIC.lower() in first or b"x-sn-apikey: key-4711" in first
    )  # the recorder would have seen it
    for request in ours.requests:
        assert not any(secret.lower() in request.lower() for secret in SECRETS)
    assert not any(b"cookie" in request.lower() for request in theirs.requests)
