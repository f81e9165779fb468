"""One id a change: looking for it in the log gives its whole way, and timeline and explain show the same one."""

import io
import logging
import re
from collections.abc import Iterator

import pytest
import trio

from syncd.telemetry import configure_logging
from tests.actors.stage import (
    Story,
    ask,
    asked,
    create_record,
    declare,
    declared,
    edit,
    edit_record,
    in_world,
    incident_of,
    link,
    reconciled,
    record,
)
from tests.simulation.seams import EPOCH_S
from tests.simulation.world import World

NAMES = ("syncd", "syncd.trace")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Where the daemon's lines go, the sync trace among them."""
    root, stream = logging.getLogger(), io.StringIO()
    before, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in NAMES}
    configure_logging("info", stream, lambda: EPOCH_S, sync_trace=True)
    yield stream
    root.handlers[:] = before
    root.setLevel(level)
    for name, former in levels.items():
        logging.getLogger(name).setLevel(former)


def found(log: io.StringIO, trace: str) -> list[list[str]]:
    """The lines with an id, as ``grep`` finds them: logger, and what was said."""
    return [line.split()[2:4] for line in log.getvalue().splitlines() if trace in line]


def way(log: io.StringIO, trace: str) -> list[str]:
    """The steps of the sync trace under an id."""
    return [said for name, said in found(log, trace) if name == "syncd.trace"]


def trace_of(log: io.StringIO, event: str, text: str = "") -> str:
    """The id of the last line about an event that has this text."""
    lines = [line for line in log.getvalue().splitlines() if f" syncd.trace {event} " in line and text in line]
    matched = re.search(r" trace=(\S+)", lines[-1])
    assert matched is not None
    return matched[1]


async def shown(world: World, incident_id: str, field: str) -> tuple[set[str], str]:
    """The ids in the timeline, and the one that explain has for a field."""
    path = f"/api/v1/incidents/{incident_id}"
    timeline = await ask(world, "GET", f"{path}/timeline?limit=1000")
    explained = await asked(world, "GET", f"{path}/explain?field={field}")
    assert isinstance(timeline, list)
    fields = explained["fields"]
    assert isinstance(fields, list)
    return {event["trace"] for event in timeline}, fields[0]["trace"]


def run(story: Story) -> None:
    in_world()(story)()


def test_an_edit_here_has_one_id_from_the_call_to_the_answer_that_confirms_it(log: io.StringIO) -> None:
    async def story(world: World) -> None:
        incident_id = await declared(world)
        log.truncate(0)
        await edit(world, incident_id, title="traced")
        await trio.sleep(3)
        trace = trace_of(log, "IncidentEdited")
        assert way(log, trace) == [
            *("request", "IncidentEdited"),  # our API's, told when it is answered, which is when it is on disk
            *("Merged", "request", "answer", "SendStarted", "request", "answer", "SendSettled"),
        ] or way(log, trace) == [
            *("IncidentEdited", "request", "Merged", "request", "answer", "SendStarted", "request", "answer"),
            "SendSettled",
        ]
        assert [said for name, said in found(log, trace) if name == "syncd.sync"] == ["delivered"]
        traces, explained = await shown(world, incident_id, "title")
        assert trace in traces
        assert explained == trace

    run(story)


def test_an_edit_here_after_one_there_is_explained_by_its_own_id(log: io.StringIO) -> None:
    async def story(world: World) -> None:
        incident_id = await declared(world)
        edit_record(world, incident_id, short_description="over there")
        await trio.sleep(10)
        for title in ("here", "and here again"):
            await edit(world, incident_id, title=title)
            await trio.sleep(10)
            trace = trace_of(log, "IncidentEdited")
            traces, explained = await shown(world, incident_id, "title")
            assert trace in traces
            assert explained == trace

    run(story)


def test_an_edit_there_has_one_id_from_the_webhook_to_the_incident_that_has_it(log: io.StringIO) -> None:
    async def story(world: World) -> None:
        incident_id = await declared(world)
        log.truncate(0)
        edit_record(world, incident_id, short_description="traced over there")
        await trio.sleep(5)
        trace = trace_of(log, "Observed")
        steps = way(log, trace)
        assert sorted(steps[:2]) == ["Hinted", "webhook"]
        assert [one for one in steps[2:] if one != "NotesRead"] == [
            *("request", "answer", "request", "answer"),  # the record, and its notes
            *("Observed", "HintsSettled", "Merged"),
        ]
        assert [said for name, said in found(log, trace) if name == "syncd.sync"] == ["taken"]
        traces, explained = await shown(world, incident_id, "title")
        assert trace in traces
        assert explained == trace

    run(story)


def test_changes_that_are_read_together_have_an_id_each(log: io.StringIO) -> None:
    async def story(world: World) -> None:
        incidents = [await declared(world, f"no {number}") for number in range(4)]
        world.instance.arm("hibernating")
        for number, incident_id in enumerate(incidents):
            edit_record(world, incident_id, short_description=f"no {number}, traced")
        await trio.sleep(20)
        log.truncate(0)
        world.instance.disarm()
        await trio.sleep(30)
        traces = set()
        for incident_id in incidents:
            trace = trace_of(log, "Observed", incident_id)
            assert [one for one in way(log, trace) if one in {"Observed", "Merged"}] == ["Observed", "Merged"]
            _, explained = await shown(world, incident_id, "title")
            assert explained == trace
            traces.add(trace)
        assert len(traces) == len(incidents)

    run(story)


def test_edits_that_go_in_one_write_are_both_found_with_it(log: io.StringIO) -> None:
    async def story(world: World) -> None:
        incident_id = await declared(world)
        world.instance.arm("maintenance_503")
        await edit(world, incident_id, title="first")
        await trio.sleep(20)
        first = trace_of(log, "IncidentEdited")
        await edit(world, incident_id, description="second")
        await trio.sleep(5)
        second = trace_of(log, "IncidentEdited")
        assert first != second
        world.instance.disarm()
        await trio.sleep(30)
        assert record(world, incident_id)["description"] == "second"
        assert way(log, first)[-1] == way(log, second)[-1] == "SendSettled"

    run(story)


def test_a_new_record_has_one_id_until_it_is_an_incident(log: io.StringIO) -> None:
    async def story(world: World) -> None:
        await declared(world)
        log.truncate(0)
        sys_id = create_record(world, "Printer on fire")
        await trio.sleep(10)
        trace = trace_of(log, "LinkJoined")
        steps = way(log, trace)
        assert sorted(steps[:2]) == ["Hinted", "webhook"]
        assert {"request", "answer", "IncidentDeclared", "LinkJoined"} <= set(steps)
        assert [said for name, said in found(log, trace) if name == "syncd.sync"] == ["record"]
        traces, explained = await shown(world, incident_of(world, sys_id), "title")
        assert traces == {trace}
        assert explained == trace

    run(story)


def test_many_declares_have_an_id_each_until_they_are_records(log: io.StringIO) -> None:
    async def story(world: World) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(declare, world, f"no {number}")
        await trio.sleep(20)
        for name in world.state.incidents:
            assert link(world, name).state == "active"
            trace = trace_of(log, "IncidentDeclared", name)
            assert "SendSettled" in way(log, trace)
            assert [said for name, said in found(log, trace) if name == "syncd.sync"] == ["delivered"]

    run(story)


def test_what_a_run_finds_has_an_id_of_its_own_that_begins_with_the_runs(log: io.StringIO) -> None:
    async def story(world: World) -> None:
        incidents = [await declared(world, f"no {number}") for number in range(3)]
        world.instance.arm("webhook_lost")
        for number, incident_id in enumerate(incidents):
            edit_record(world, incident_id, short_description=f"no {number}, unheard")
        await trio.sleep(5)
        await reconciled(world, auto_heal=True)
        traces = [trace_of(log, "Observed", incident_id) for incident_id in incidents]
        assert len({trace.partition(".")[0] for trace in traces}) == 1
        assert len(set(traces)) == len(incidents)
        for trace in traces:
            assert [one for one in way(log, trace) if one in {"Observed", "Merged"}] == ["Observed", "Merged"]

    run(story)
