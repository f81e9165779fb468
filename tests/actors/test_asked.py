"""What is asked of an instance in a busy day with every trouble, and what is never asked for."""

import json
import re
from functools import cache
from urllib.parse import parse_qs, urlsplit

import trio

from syncd.simulator.instance import RequestLine
from tests.actors.stage import create_record, declare, declared, edit, edit_record, in_world, link, record, restart
from tests.simulation.runner import simulate
from tests.simulation.world import World

CLAUSE = re.compile(r"(?:ORDERBY(?:DESC)?(?P<by>[a-z_]+)|(?P<column>[a-z_]+)(?:=|>=|>|IN|STARTSWITH)(?P<value>[^^]+))")


async def _a_busy_day(world: World) -> None:
    """Both sides write, notes too; answers are lost, rows are hidden and deleted, and the daemon dies once."""
    busy = await declared(world, assigned_to="david.loo")
    await _note(world, busy, "seen")
    edit_record(world, busy, work_notes="noted there", urgency="1")
    for status in ("mitigated", "open", "resolved", "open", "closed"):
        await edit(world, busy, status=status, description=f"now {status}")
        await trio.sleep(5)
    world.instance.arm("create_commits_then_reset", times=1)
    await declare(world, "Its answer is lost", assigned_to="ana.ruiz2@example.com")
    world.instance.arm("patch_commits_then_reset", times=1)
    noted = await declared(world, "Noted")
    world.instance.account("svc.sync").hidden["sys_journal_field"] = "sys_idISNOTEMPTY"
    await _note(world, noted, "unseen")
    await edit(world, noted, status="resolved", resolution_code="No such code")
    gone = await declared(world, "To be deleted")
    world.instance.delete_as("admin", link(world, gone).external_id)
    create_record(world, "Theirs")
    await trio.sleep(10)
    await edit(world, gone, title="Edited all the same")
    await restart(world, 60)
    await trio.sleep(300)
    await world.reconcile()


async def _note(world: World, incident_id: str, text: str) -> None:
    answer = await world.ask("POST", f"/api/v1/incidents/{incident_id}/notes", {"text": text})
    assert answer is not None
    assert answer.status_code == 201


@cache
def asked() -> tuple[RequestLine, ...]:
    """Every request of that day."""
    found: list[RequestLine] = []

    async def story(world: World) -> None:
        world.instance.on_request.append(found.append)
        await _a_busy_day(world)

    simulate(lambda rng: lambda: World(rng).run(story), 3)
    return tuple(found)


def parameters(line: RequestLine) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(line.target).query).items()}


def test_only_reads_creates_and_changes_of_the_table_api_are_asked_for() -> None:
    """No PUT and no DELETE, no batch whose parts may be left out, and no count that includes hidden rows."""
    made = {(line.method, urlsplit(line.target).path.rpartition("/")[0]) for line in asked()}
    tables, records = "/api/now/v2/table", "/api/now/v2/table/incident"
    assert made == {("GET", tables), ("POST", tables), ("PATCH", records)}
    written = {urlsplit(line.target).path for line in asked() if line.method == "POST"}
    assert written == {records}


def test_display_values_are_asked_for_the_notes_in_a_record_and_for_nothing_else() -> None:
    shown = [parameters(line) for line in asked() if "sysparm_display_value" in line.target]
    assert {one["sysparm_fields"] for one in shown} == {"sys_id,work_notes"}
    assert not any("sysparm_input_display_value" in line.target for line in asked())
    assert all("sysparm_exclude_reference_link=true" in line.target for line in asked())


def test_each_write_is_one_record_of_texts_and_a_note_goes_alone() -> None:
    bodies = [json.loads(line.body) for line in asked() if line.method != "GET"]
    assert len(bodies) > 10
    for body in bodies:
        assert isinstance(body, dict)
        assert all(isinstance(value, str) for value in body.values())
        assert "comments" not in body
        assert "work_notes" not in body or len(body) == 1
    assert any("work_notes" in body for body in bodies)


def test_every_query_is_made_of_few_conditions_on_columns_that_come_back_to_be_compared() -> None:
    queries = {
        (shown["sysparm_query"], shown["sysparm_fields"])
        for line in asked()
        if line.method == "GET" and "/sys_choice?" not in line.target and (shown := parameters(line))
    }
    assert len(queries) > 10
    for query, fields in queries:
        for clause in query.replace("^NQ", "^").split("^"):
            found = CLAUSE.fullmatch(clause)
            assert found is not None, query
            assert found["by"] or found["column"] in fields.split(","), query
            assert not (found["value"] or "").startswith("javascript:")


@in_world()
async def test_a_change_to_a_record_that_is_gone_makes_no_other_one(world: World) -> None:
    incident_id = await declared(world)
    sys_id = link(world, incident_id).external_id
    kept = record(world, incident_id)
    world.instance.set_webhook("", "")
    world.instance.delete_as("admin", sys_id)
    await edit(world, incident_id, title="Edited all the same")
    await trio.sleep(300)
    titles = [row["short_description"] for row in world.instance.kernel.incidents.rows.values()]
    assert kept["short_description"] not in titles
    assert "Edited all the same" not in titles
    assert world.instance.counts["POST incident"] == 1
