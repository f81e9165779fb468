"""The sync trace ties a change together: the edit, the read, the write and what came of it, under one trace id."""

import logging

import pytest
import trio

from tests.actors.stage import declared, edit, in_world
from tests.simulation.world import World


def test_a_change_has_one_trace_id_from_the_edit_to_the_delivery(caplog: pytest.LogCaptureFixture) -> None:
    @in_world()
    async def story(world: World) -> None:
        incident = await declared(world)
        caplog.clear()
        await edit(world, incident, title="traced")
        await trio.sleep(3)

    with caplog.at_level(logging.INFO, logger="syncd.trace"):
        story()
    told = [(one.getMessage(), vars(one)["fields"]) for one in caplog.records if one.name == "syncd.trace"]
    edited = next(fields["trace"] for message, fields in told if message == "IncidentEdited")
    mine = [message for message, fields in told if fields["trace"] == edited]
    assert [one for one in mine if one in ("IncidentEdited", "SendStarted", "SendSettled")] == [
        "IncidentEdited",
        "SendStarted",
        "SendSettled",
    ]
    sent = [fields for message, fields in told if message == "request" and ("record" in fields or "link" in fields)]
    assert [fields["method"] for fields in sent if fields["trace"] == edited] == ["GET", "PATCH"]
