"""Webhooks are hints: what they set off, how many reads they cost, and that they can do no harm."""

from collections.abc import Mapping, Sequence
from functools import partial

import pytest
import trio

from syncd.actors.breaker import Breaker
from syncd.actors.containment import Containment
from syncd.actors.reading import Reader
from syncd.actors.survey import Survey
from syncd.core.importing import Candidates
from syncd.core.lag import Lag
from syncd.core.model import Cursor, Hint, Observation, Page, SeenNote
from syncd.core.people import Person
from syncd.core.sending import Offset
from syncd.errors import ExternalFailed, ExternalUnreadable
from tests.actors.stage import (
    AGENT,
    INTEGRATIONS,
    ask,
    call_webhook,
    create_record,
    declare,
    declared,
    edit,
    edit_record,
    hint_of,
    in_world,
    incident,
    incident_of,
    lines,
    link,
    record,
    restart,
    sync_status,
)
from tests.simulation.runner import simulate
from tests.simulation.world import World


@in_world()
async def test_an_edit_in_servicenow_arrives_within_a_second_of_its_webhook(world: World) -> None:
    incident_id = await declared(world)
    edit_record(world, incident_id, short_description="renamed there", impact="1", urgency="1")
    await trio.sleep(1.5)
    assert (incident(world, incident_id).title, incident(world, incident_id).severity) == ("renamed there", "SEV-1")
    assert incident(world, incident_id).updated_by == "integration:demo"


@in_world()
async def test_the_values_in_a_webhook_are_never_applied(world: World) -> None:
    incident_id = await declared(world, "true")
    sys_id = link(world, incident_id).external_id
    await call_webhook(world, hint_of(world, sys_id, 1, short_description="false", state="7", sys_mod_count="99"))
    await trio.sleep(40)
    assert (incident(world, incident_id).title, incident(world, incident_id).status) == ("true", "open")


@in_world()
async def test_ten_replays_of_every_webhook_cause_no_write(world: World) -> None:
    names = [await declare(world, f"incident {number}") for number in range(4)]
    create_record(world)
    await trio.sleep(10)
    for name in names:
        edit_record(world, name, short_description=f"renamed {name}", state="2")
        await edit(world, name, severity="SEV-1")
        await trio.sleep(2)
        edit_record(world, name, impact="3", urgency="3")
    await trio.sleep(30)
    before, position = world.writes(), world.state.position
    reads = world.instance.counts["GET"]
    await world.replay_webhooks(10)
    await trio.sleep(60)
    assert len(world.instance.webhooks()) >= 8
    assert world.writes() == before
    assert world.instance.counts["GET"] == reads
    assert world.state.position == position  # duplicates leave no trace in the journal


@in_world()
async def test_webhooks_without_an_identity_are_read_again_and_still_write_nothing(world: World) -> None:
    incident_id = await declared(world)
    before = world.writes()
    for number in range(10):
        await call_webhook(world, hint_of(world, link(world, incident_id).external_id, number, event_id=""))
    await trio.sleep(30)
    assert world.writes() == before
    assert not world.state.hints[world.integration_id]


@in_world(rate_limit=100)
async def test_a_burst_of_fifty_hints_is_read_in_one_request(world: World) -> None:
    names = [await declare(world, f"incident {number}") for number in range(50)]
    await trio.sleep(10)
    world.instance.set_webhook("", "")
    for name in names:
        edit_record(world, name, description="looked at")
    world.instance.reset_counts()
    async with trio.open_nursery() as nursery:
        for number, name in enumerate(names):
            hint = hint_of(world, link(world, name).external_id, number)
            nursery.start_soon(partial(call_webhook, world, hint))
    await trio.sleep(5)
    assert all(incident(world, name).description == "looked at" for name in names)
    assert world.instance.counts["GET"] <= 2 * 2  # the first does not wait for the others; records and their notes
    assert world.writes() == 0


@in_world()
async def test_hints_that_came_while_nothing_could_be_read_are_read_in_one_request(world: World) -> None:
    names = [await declare(world, f"incident {number}") for number in range(8)]
    await trio.sleep(10)
    world.instance.arm("hibernating")
    for name in names:
        edit_record(world, name, description="looked at")
    await trio.sleep(60)
    world.instance.disarm()
    began = trio.current_time()
    await trio.sleep(20)
    assert all(incident(world, name).description == "looked at" for name in names)
    asked = lines(world.instance, "GET", since_s=began)
    assert len([one for one in asked if "sys_idIN" in one.target and "display" not in one.target]) == 1
    assert len(asked) <= 4  # the others asked whether the instance is back, who it is, and for notes


@in_world()
async def test_webhooks_do_not_make_a_failing_read_more_frequent(world: World) -> None:
    incident_id = await declared(world)
    account = world.instance.account("svc.sync")
    account.match_denied.add(("incident", "sys_id"))
    world.instance.set_switch("query_acl", "refuse")
    began = trio.current_time()
    for number in range(100):
        await call_webhook(world, hint_of(world, link(world, incident_id).external_id, number))
        await trio.sleep(0.2)
    assert len(lines(world.instance, "GET", since_s=began)) <= 10
    account.match_denied.clear()
    edit_record(world, incident_id, short_description="at last")
    await trio.sleep(20)
    assert incident(world, incident_id).title == "at last"


@in_world()
async def test_a_new_record_becomes_one_incident_however_often_it_is_told(world: World) -> None:
    await trio.sleep(3)
    world.instance.arm("webhook_doubled")
    sys_id = create_record(world, "Printer on fire", description="smoke")
    await trio.sleep(5)
    await world.reconcile()
    await world.replay_webhooks(2)
    await trio.sleep(5)
    assert len(world.state.incidents) == 1
    made = incident(world, incident_of(world, sys_id))
    assert (made.title, made.description, made.severity, made.status) == ("Printer on fire", "smoke", "SEV-3", "open")
    assert world.writes() == 0


@in_world(enabled=False)
async def test_a_record_from_before_the_integration_was_enabled_stays_where_it_is(world: World) -> None:
    sys_id = create_record(world, "old")
    await trio.sleep(30)
    await world.ask("PATCH", f"/api/v1/integrations/{world.integration_id}", {"enabled": True})
    await trio.sleep(10)
    world.instance.edit_as(AGENT, sys_id, {"short_description": "old and edited"})
    await trio.sleep(10)
    await world.reconcile()
    assert incident_of(world, sys_id) == ""
    new = create_record(world, "new")
    await trio.sleep(5)
    assert incident_of(world, new)


@in_world(import_query="impact=1")
async def test_only_records_that_pass_the_import_query_become_incidents(world: World) -> None:
    await trio.sleep(3)
    low, high = create_record(world, "low"), create_record(world, "high", impact="1")
    await trio.sleep(10)
    await world.reconcile()
    assert (incident_of(world, low), bool(incident_of(world, high))) == ("", True)


@in_world()
async def test_a_record_with_our_correlation_id_belongs_to_its_own_incident(world: World) -> None:
    await trio.sleep(2)
    world.instance.arm("create_commits_then_reset")
    world.instance.arm("hibernating")
    incident_id = await declare(world)
    await trio.sleep(1)
    correlation = f"syncd:{world.integration_id}:{incident_id}"
    sys_id = create_record(world, "made for it elsewhere", correlation_id=correlation)
    copy = create_record(world, "nobody's", correlation_id=f"syncd:{world.integration_id}:INC-NONE")
    world.instance.disarm()
    await trio.sleep(60)
    await world.reconcile()
    assert incident_of(world, sys_id) == incident_id
    assert incident_of(world, copy) == ""
    assert len(world.state.incidents) == 1


@in_world()
async def test_a_hint_for_a_record_that_nobody_shows_settles_and_makes_nothing(world: World) -> None:
    await declared(world)
    await call_webhook(world, hint_of(world, "0" * 32, 1))
    await trio.sleep(60)
    assert not world.state.hints[world.integration_id]
    assert len(world.state.incidents) == 1
    reads = world.instance.counts["GET"]
    await trio.sleep(300)
    assert world.instance.counts["GET"] == reads


@in_world()
async def test_hints_survive_a_crash(world: World) -> None:
    incident_id = await declared(world)
    world.instance.arm("hibernating")
    edit_record(world, incident_id, short_description="told before the crash")
    await trio.sleep(2)
    assert world.state.hints[world.integration_id]
    await restart(world)
    assert world.state.hints[world.integration_id]
    world.instance.disarm()
    await trio.sleep(20)
    assert incident(world, incident_id).title == "told before the crash"
    assert not world.state.hints[world.integration_id]


class DeletedMeanwhile:
    """An instance whose integration is deleted while the answer to each request is on its way."""

    offset = Offset()
    remaining_budget = None
    hourly_limit = None
    budget_resets_in_s = 0.0
    latency = Lag()

    def __init__(self, world: World) -> None:
        self.world = world

    async def _delete(self) -> None:
        if self.world.integration_id in self.world.state.integrations:
            await ask(self.world, "DELETE", f"{INTEGRATIONS}/{self.world.integration_id}", status=204)

    async def paced(self) -> None:
        raise AssertionError("nobody asked for a pace")

    async def read(self, external_ids: Sequence[str]) -> list[Observation]:
        await self._delete()
        return [Observation(name, {"short_description": "x"}) for name in external_ids]

    async def passing(self, external_ids: Sequence[str], import_query: str) -> frozenset[str]:
        await self._delete()
        return frozenset(external_ids)

    async def with_correlation(self, correlation_id: str) -> list[Observation]:
        await self._delete()
        return []

    async def created_after(self, cursor: Cursor) -> Page:
        await self._delete()
        new = Observation("f" * 32, {"short_description": "new"})
        return Page(() if cursor.external_id else (new,), is_last=bool(cursor.external_id))

    async def matching(self, query: str, after: str) -> Candidates:
        raise AssertionError("a sweep imports nothing")

    async def written_since(self, prefix: str, account: str, since_s: float) -> list[Observation]:
        return []

    async def changed_after(self, cursor: Cursor) -> Page:
        raise AssertionError("a sweep does not poll")

    async def notes_since(self, since_s: float) -> list[SeenNote]:
        raise AssertionError("a sweep does not poll")

    async def create(self, columns: Mapping[str, str]) -> Observation:
        raise ExternalFailed("refused", "reads only")

    async def update(self, external_id: str, columns: Mapping[str, str]) -> Observation:
        raise ExternalFailed("refused", "reads only")

    async def close_codes(self) -> Sequence[str]:
        raise AssertionError

    async def add_note(self, external_id: str, text: str) -> Observation:
        raise AssertionError("a reader writes nothing")

    async def count_notes(self, external_id: str, text: str, author: str) -> int | None:
        raise AssertionError("a reader counts no notes")

    async def notes(self, external_ids: Sequence[str], since_s: float) -> list[SeenNote]:
        return []

    async def instance_name(self) -> str:
        await self._delete()
        return "dev12345"

    async def query_faults(self) -> list[str]:
        await self._delete()
        return []

    async def find_person(self, text: str) -> Person:
        raise AssertionError("a reader looks nobody up")

    async def groups_of(self, sys_id: str) -> None:
        raise AssertionError("a reader looks nobody up")

    async def probe(self) -> None:
        await self._delete()

    async def ours(self, prefix: str, after: str) -> list[Observation]:
        await self._delete()
        return []

    async def shows_any(self) -> bool:
        await self._delete()
        return False


@pytest.mark.parametrize("has_links", [True, False])
def test_an_answer_for_an_integration_that_was_deleted_meanwhile_is_let_go(has_links: bool) -> None:
    async def story(world: World) -> None:
        if has_links:
            await declared(world)
        assert world.house is not None
        journal, ids = world.house.journal, world.house.seams.ids
        breaker, containment = Breaker(ids.rng, 1), Containment("test", journal)
        reader = Reader(world.integration_id, "test", journal, DeletedMeanwhile(world), breaker, containment, ids)
        integration = world.state.integrations[world.integration_id]
        survey = Survey(integration, "test", journal, reader, world.house.seams.clock, "trace")
        await survey.only_pass()
        await survey.feed()
        await survey.feed_new()
        await survey.done(Offset())
        await reader.read([Hint("f" * 32, 1, "trace")])
        assert not world.state.links

    simulate(lambda rng: lambda: World(rng).run(story), 1)


class ShortUrls(DeletedMeanwhile):
    """Something on the way takes no list of more than fifty ids."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.asked: list[int] = []

    async def read(self, external_ids: Sequence[str]) -> list[Observation]:
        await trio.lowlevel.checkpoint()
        self.asked.append(len(external_ids))
        if len(external_ids) > 50:
            raise ExternalUnreadable("unavailable", "URI Too Long", status=414)
        return [Observation(name, {}) for name in external_ids]


@in_world()
async def test_a_proxy_that_takes_no_long_urls_is_learned_once_and_every_record_is_still_read(world: World) -> None:
    assert world.house is not None
    journal, ids, external = world.house.journal, world.house.seams.ids, ShortUrls(world)
    breaker, containment = Breaker(ids.rng, 1), Containment("test", journal)
    reader = Reader(world.integration_id, "test", journal, external, breaker, containment, ids)
    names = [f"{number:032x}" for number in range(200)]
    for asked in ([200, 50, 50, 50, 50], [50, 50, 50, 50]):
        external.asked.clear()
        assert [seen.external_id for seen in await reader.rows(names)] == names
        assert external.asked == asked


@in_world()
async def test_a_webhook_that_overtakes_its_record_is_read_again(world: World) -> None:
    incident_id = await declared(world)
    sys_id = link(world, incident_id).external_id
    count = int(record(world, incident_id)["sys_mod_count"]) + 1
    await call_webhook(world, hint_of(world, sys_id, 1, sys_mod_count=count))
    world.instance.set_webhook("", "")
    await trio.sleep(4)
    edit_record(world, incident_id, short_description="late")
    await trio.sleep(10)
    assert incident(world, incident_id).title == "late"


@in_world()
async def test_a_read_that_is_refused_shows_in_the_status_and_is_not_hammered(world: World) -> None:
    await declared(world)
    world.instance.account("svc.sync").range_denied.add(("incident", "sys_created_on"))
    world.instance.set_switch("query_acl", "refuse")
    await trio.sleep(1)
    await restart(world)
    began = trio.current_time()
    await trio.sleep(120)
    asked = lines(world.instance, "GET", since_s=began)
    assert {one.status for one in asked[-5:]} == {200, 403}
    assert len(asked) < 40
    status = await sync_status(world)
    assert status["state"] == "degraded"
    assert "ignores the range in a query on sys_created_on" in str(status["reasons"])
