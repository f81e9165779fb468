"""The baseline of the webhook door, as a process: stock Hypercorn on Trio, and an ASGI function that says 202.

Nothing of ours is in it: no limits, no signature, no decoding, no journal.
"""

import sys
from typing import cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Framework, Scope

ANSWER = b'{"event_id":"bench-1","duplicate":false}'


async def application(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Read the body, answer 202."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await send({"type": "lifespan.shutdown.complete"})
                return
    body = b""
    while True:
        part = await receive()
        if part["type"] != "http.request":
            return
        body += part["body"]
        if not part["more_body"]:
            break
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))]
    await send({"type": "http.response.start", "status": 202, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER, "more_body": False})


if __name__ == "__main__":
    config = Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    config.accesslog = config.errorlog = None
    config.keep_alive_max_requests = 2**31
    trio.run(serve, cast("Framework", application), config)
