"""``syncd`` that gets stuck writing an incident whose title says so: in an endless loop, or waiting for ever."""

from typing import Final

import trio

from syncd.__main__ import main
from syncd.actors.sender import Sender
from syncd.core.model import Link

LOOPS, WAITS = "an endless loop", "a wait without an end"
_write: Final = Sender._write


async def _stuck_write(sender: Sender, links: list[Link], now_s: float) -> None:
    title = sender._journal.state.incidents[links[0].incident_id].title
    while title == LOOPS:
        pass
    if title == WAITS:
        await trio.sleep_forever()
    await _write(sender, links, now_s)


if __name__ == "__main__":
    setattr(Sender, "_write", _stuck_write)  # noqa: B010 mypy minds an assignment
    main()
