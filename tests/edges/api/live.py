"""The daemon of ``daemon.py`` behind its real doors: a TCP port of its own and, where wanted, a Unix socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from syncd.edges.api.gate import Gate
from syncd.edges.api.listeners import open_tcp, open_unix
from syncd.edges.api.serve import serve
from tests.edges.api.daemon import Daemon


@asynccontextmanager
async def listening(daemon: Daemon, socket: Path | None = None) -> AsyncIterator[str]:
    """Serve it for the time of the block; gives the URL of its port."""
    tcp = await open_tcp("127.0.0.1", 0)
    unix = [] if socket is None else [open_unix(socket)]
    port = tcp[0].socket.getsockname()[1]
    stop = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: serve(Gate(daemon.api), [*tcp, *unix], stop=stop))
        yield f"http://127.0.0.1:{port}"
        stop.set()
