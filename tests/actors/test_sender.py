"""What reaches ServiceNow, how often, in which order and how fast."""

import json
from functools import partial
from itertools import pairwise

import trio

from syncd.simulator.instance import RequestLine
from tests.actors.stage import (
    ask,
    configure,
    create_record,
    declare,
    declared,
    edit,
    edit_record,
    in_seconds,
    in_world,
    incident,
    letters,
    lines,
    link,
    record,
    second_instance,
    sync_status,
)
from tests.simulation.world import World


def columns(line: RequestLine) -> dict[str, str]:
    sent: dict[str, str] = json.loads(line.body)
    return sent


@in_world()
async def test_five_hundred_edits_in_a_burst_cost_two_patches(world: World) -> None:
    incident_id = await declared(world)
    world.instance.reset_counts()
    async with trio.open_nursery() as nursery:
        for number in range(500):
            nursery.start_soon(partial(edit, world, incident_id, title=f"title {number}"))
    await trio.sleep(10)
    assert record(world, incident_id)["short_description"] == incident(world, incident_id).title
    assert incident(world, incident_id).version == 501
    assert 1 <= world.instance.counts["PATCH"] <= 2
    assert world.instance.counts["GET"] <= 4


@in_world(rate_limit=100, max_concurrency=3)
async def test_sixty_incidents_are_written_side_by_side_but_not_too_many_at_once(world: World) -> None:
    world.instance.arm("slow", 0.5)
    names = [await declare(world, f"incident {number}") for number in range(60)]
    began = trio.current_time()
    await trio.sleep(16)
    assert all(link(world, name).state == "active" for name in names)
    posts = [in_seconds(one) for one in lines(world.instance, "POST")]
    assert len(posts) == 60
    assert max(posts) - began < 60 * 0.5 / 3 + 3  # three at once, without long gaps
    for at in posts:
        assert sum(at - 0.5 < other <= at for other in posts) <= 3


@in_world(rate_limit=200, max_concurrency=8)
async def test_writes_of_one_link_arrive_in_the_order_of_its_edits(world: World) -> None:
    names = [await declare(world, "edit 0") for _ in range(5)]
    await trio.sleep(5)
    for number in range(1, 13):
        for name in names:
            await edit(world, name, title=f"edit {number}")
        await trio.sleep(0.25)
    await trio.sleep(5)
    for name in names:
        mine = [one for one in lines(world.instance, "PATCH") if link(world, name).external_id in one.target]
        numbers = [int(columns(one)["short_description"].split()[1]) for one in mine]
        assert numbers == sorted(set(numbers))
        assert numbers[-1] == 12
        assert len(numbers) > 3


@in_world(rate_limit=5, max_concurrency=20)
async def test_the_rate_limit_is_kept_with_bursts_of_one_second_at_most(world: World) -> None:
    await trio.sleep(3)
    began = trio.current_time()
    for number in range(40):
        await declare(world, f"incident {number}")
    await trio.sleep(15)
    asked = [in_seconds(one) for one in lines(world.instance, "GET", "POST", "PATCH", since_s=began)]
    assert len(asked) >= 40
    for first in asked:
        for span_s in (1.0, 4.0):
            assert sum(first <= at < first + span_s for at in asked) <= 5 * span_s + 5
    assert max(asked) - began <= (40 - 5) / 5 + 2  # and it is used up


@in_world(external_defaults={})
async def test_a_refusal_of_one_group_leaves_the_others_delivered_and_one_dead_letter(world: World) -> None:
    incident_id = await declared(world)
    await edit(world, incident_id, title="resolved by now", severity="SEV-1", status="resolved")
    await trio.sleep(10)
    shown = record(world, incident_id)
    assert (shown["short_description"], shown["priority"], shown["state"]) == ("resolved by now", "1", "1")
    (letter,) = letters(world)
    assert (letter.fields, letter.operation, letter.error.status) == (("status",), "update", 403)
    assert "external_defaults" in letter.remedy
    status = await sync_status(world)
    assert (status["state"], status["dlq"]) == ("degraded", 1)
    before = world.writes()
    await trio.sleep(600)
    assert world.writes() == before, "a refused write was repeated without a reason"


@in_world(external_defaults={})
async def test_a_retry_after_the_defaults_are_mended_delivers_the_letter_and_clears_it(world: World) -> None:
    incident_id = await declared(world)
    await edit(world, incident_id, status="resolved")
    await trio.sleep(10)
    (letter,) = letters(world)
    path = f"/api/v1/integrations/{world.integration_id}/dlq/{letter.id}/retry"
    await ask(world, "POST", path)
    await trio.sleep(5)
    assert [one.id for one in letters(world)] == [letter.id]  # refused again, under the same name
    assert letters(world)[0].attempts > letter.attempts
    world.instance.set_switch("close_policy", "off")
    await ask(world, "POST", path)
    await trio.sleep(5)
    assert letters(world) == []
    assert record(world, incident_id)["state"] == "6"
    assert (await sync_status(world))["state"] == "healthy"


@in_world(external_defaults={})
async def test_mended_defaults_alone_deliver_what_was_refused(world: World) -> None:
    incident_id = await declared(world)
    await edit(world, incident_id, status="resolved")
    await trio.sleep(10)
    assert len(letters(world)) == 1
    await configure(world, external_defaults={"close_code": "Solution provided", "close_notes": "done"})
    await trio.sleep(5)
    assert letters(world) == []
    assert (record(world, incident_id)["state"], record(world, incident_id)["close_notes"]) == ("6", "done")


@in_world(external_defaults={})
async def test_a_discarded_letter_stays_quiet(world: World) -> None:
    incident_id = await declared(world)
    await edit(world, incident_id, status="resolved")
    await trio.sleep(10)
    (letter,) = letters(world)
    await ask(world, "POST", f"/api/v1/integrations/{world.integration_id}/dlq/{letter.id}/discard")
    before = world.writes()
    await world.reconcile()
    await edit(world, incident_id, title="something else")
    await trio.sleep(60)
    assert letters(world) == []
    assert record(world, incident_id)["short_description"] == "something else"
    assert record(world, incident_id)["state"] == "1"
    assert world.writes() == before + 1


@in_world()
async def test_a_title_that_servicenow_cuts_is_settled_and_not_drift(world: World) -> None:
    incident_id = await declared(world)
    await edit(world, incident_id, title="y" * 400)
    await trio.sleep(10)
    assert record(world, incident_id)["short_description"] == "y" * 160
    before = world.writes()
    for _ in range(3):
        await world.reconcile()
        await world.replay_webhooks(1)
        await trio.sleep(30)
    assert world.writes() == before
    assert incident(world, incident_id).title == "y" * 400
    assert letters(world) == []


@in_world()
async def test_in_progress_survives_while_the_platform_says_open(world: World) -> None:
    incident_id = await declared(world)
    before = world.writes()
    edit_record(world, incident_id, state="2")
    await trio.sleep(10)
    await world.reconcile()
    await trio.sleep(10)
    assert (incident(world, incident_id).status, incident(world, incident_id).version) == ("open", 1)
    assert world.writes() == before


@in_world()
async def test_canceled_and_state_8_are_the_same_in_both_directions(world: World) -> None:
    ours, theirs = await declared(world, "ours"), await declared(world, "theirs")
    await edit(world, ours, status="canceled")
    edit_record(world, theirs, state="8", close_code="Duplicate", close_notes="see other")
    await trio.sleep(10)
    assert record(world, ours)["state"] == "8"
    assert incident(world, theirs).status == "canceled"
    assert letters(world) == []


@in_world()
async def test_each_severity_reaches_servicenow_as_its_priority(world: World) -> None:
    names = {severity: await declare(world, severity, severity=severity) for severity in ("SEV-1", "SEV-2", "SEV-4")}
    moved = await declare(world)
    await trio.sleep(10)
    for severity, name in names.items():
        assert record(world, name)["priority"] == severity[-1]
    for severity in ("SEV-1", "SEV-2", "SEV-3", "SEV-4"):
        await edit(world, moved, severity=severity)
        await trio.sleep(5)
        assert record(world, moved)["priority"] == severity[-1]


@in_world()
async def test_each_pair_of_impact_and_urgency_is_read_and_never_written_back(world: World) -> None:
    incident_id = await declared(world)
    before = world.writes()
    for impact in "123":
        for urgency in "123":
            edit_record(world, incident_id, impact=impact, urgency=urgency)
            await trio.sleep(5)
            shown = record(world, incident_id)
            severity = {"1": "SEV-1", "2": "SEV-2", "3": "SEV-3"}.get(shown["priority"], "SEV-4")
            assert incident(world, incident_id).severity == severity
            assert (shown["impact"], shown["urgency"]) == (impact, urgency)
    assert world.writes() == before


@in_world()
async def test_the_old_state_4_is_read_as_mitigated_and_never_written(world: World) -> None:
    incident_id = await declared(world)
    world.instance.record(link(world, incident_id).external_id)["state"] = "4"  # as an old upgrade left it
    await world.reconcile()
    await trio.sleep(5)
    assert incident(world, incident_id).status == "mitigated"
    await edit(world, incident_id, title="another")
    await trio.sleep(5)
    assert record(world, incident_id)["state"] == "4"
    await edit(world, incident_id, status="open")
    await trio.sleep(5)
    await edit(world, incident_id, status="mitigated")
    await trio.sleep(5)
    assert record(world, incident_id)["state"] == "3"
    assert not any(columns(one).get("state") in ("4", "5") for one in lines(world.instance, "POST", "PATCH"))


@in_world()
async def test_a_create_with_a_lost_answer_gives_one_record(world: World) -> None:
    await trio.sleep(2)
    world.instance.arm("create_commits_then_reset", times=1)
    incident_id = await declare(world)
    await trio.sleep(30)
    assert link(world, incident_id).state == "active"
    assert len(world.instance.incidents()) == 1
    assert world.instance.counts["POST"] == 1


@in_world()
async def test_a_create_whose_record_shows_up_late_gives_one_record(world: World) -> None:
    await trio.sleep(2)
    world.instance.arm("create_visible_late", 40, times=1)
    incident_id = await declare(world)
    await edit(world, incident_id, title="renamed meanwhile")
    await trio.sleep(200)
    assert len(world.instance.incidents()) == 1
    assert record(world, incident_id)["short_description"] == "renamed meanwhile"


@in_world()
async def test_a_create_that_stored_nothing_is_repeated_and_gives_one_record(world: World) -> None:
    await trio.sleep(2)
    world.instance.arm("create_500_without_commit", times=1)
    incident_id = await declare(world)
    await trio.sleep(200)
    assert link(world, incident_id).state == "active"
    assert len(world.instance.incidents()) == 1


@in_world()
async def test_a_write_with_a_lost_answer_is_found_out_by_reading_and_not_repeated(world: World) -> None:
    incident_id = await declared(world)
    world.instance.reset_counts()
    world.instance.arm("patch_commits_then_reset", times=1)
    await edit(world, incident_id, title="once")
    await trio.sleep(30)
    assert record(world, incident_id)["short_description"] == "once"
    assert world.instance.counts["PATCH"] == 1
    assert link(world, incident_id).outbox is None


@in_world(rate_limit=100)
async def test_nothing_leaves_while_the_instance_asked_to_be_left_alone(world: World) -> None:
    names = [await declared(world, f"incident {number}") for number in range(6)]
    world.instance.arm("rate_limit", 1)
    began = trio.current_time()
    for name in names:
        await edit(world, name, title="throttled")
    await trio.sleep(60)
    asked = lines(world.instance, "GET", "POST", "PATCH", since_s=began)
    refused = [one for one in asked if one.status == 429]
    assert refused
    first = min(in_seconds(one) for one in refused)
    assert sum(in_seconds(one) > first + 0.1 for one in asked) == 0, "asked again before Retry-After"
    assert len(refused) <= 4  # what was under way


@in_world()
async def test_delivery_resumes_within_20_s_of_the_end_of_a_long_outage(world: World) -> None:
    names = [await declared(world, f"incident {number}") for number in range(5)]
    world.instance.arm("hibernating")
    began = trio.current_time()
    for name in names:
        await edit(world, name, title="written while it slept")
    new = await declare(world, "declared while it slept")
    await trio.sleep(600)
    status = await sync_status(world)
    assert status["state"] == "down"
    asked = [in_seconds(one) for one in lines(world.instance, "GET", "POST", since_s=began)]
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert max(gaps) <= 16
    assert len(asked) < 600 / 5
    world.instance.disarm()
    await trio.sleep(16 + 20)
    assert all(record(world, name)["short_description"] == "written while it slept" for name in names)
    assert link(world, new).state == "active"
    assert (await sync_status(world))["state"] == "healthy"


@in_world()
async def test_an_outage_does_not_fill_the_journal(world: World) -> None:
    await trio.sleep(3)
    world.instance.arm("hibernating")
    for number in range(10):
        await declare(world, f"incident {number}")
    await trio.sleep(60)
    before = world.state.position
    await trio.sleep(300)
    probes = len(lines(world.instance, "GET", "POST", since_s=trio.current_time() - 300))
    assert world.state.position - before <= 3 * probes


@in_world()
async def test_a_failing_instance_does_not_slow_another(world: World) -> None:
    other, other_id = await second_instance(world)
    await trio.sleep(3)
    world.instance.arm("slow", 300)
    for number in range(30):
        await declare(world, f"stuck {number}")
    await trio.sleep(5)
    took: list[float] = []
    for number in range(5):
        began = trio.current_time()
        await declare(world, f"fast {number}", organization_id="other")
        while len(other.incidents()) <= number:  # noqa: ASYNC110 the other side does not ring
            await trio.sleep(0.02)
        took.append(trio.current_time() - began)
    assert max(took) < 1
    assert (await sync_status(world, other_id))["state"] == "healthy"


@in_world()
async def test_an_edit_of_a_record_that_comes_with_our_own_is_kept(world: World) -> None:
    """Title here, description there, at the same moment: both stand on both sides."""
    incident_id = await declared(world)
    edit_record(world, incident_id, description="from there")
    await edit(world, incident_id, title="from here")
    await trio.sleep(10)
    shown, ours = record(world, incident_id), incident(world, incident_id)
    assert (shown["short_description"], shown["description"]) == ("from here", "from there")
    assert (ours.title, ours.description) == ("from here", "from there")
    assert not world.state.conflicts


@in_world(sync_direction="inbound")
async def test_inbound_only_reads_and_never_writes(world: World) -> None:
    await declare(world, "stays here")
    sys_id = create_record(world, "comes in")
    await trio.sleep(10)
    (incident_id,) = [one.incident_id for one in world.state.links.values() if one.external_id == sys_id]
    await edit(world, incident_id, title="edited here")
    world.instance.edit_as("beth.anglin", sys_id, {"description": "edited there"})
    await trio.sleep(30)
    assert world.writes() == 0
    assert len(world.state.links) == 1
    assert incident(world, incident_id).description == "edited there"


@in_world(sync_direction="outbound")
async def test_outbound_only_writes_and_takes_nothing_over(world: World) -> None:
    incident_id = await declared(world)
    create_record(world, "stays there")
    edit_record(world, incident_id, description="edited there")
    await trio.sleep(10)
    await edit(world, incident_id, title="edited here")
    await trio.sleep(10)
    assert len(world.state.incidents) == 1
    assert incident(world, incident_id).description == ""
    assert record(world, incident_id)["short_description"] == "edited here"
    assert record(world, incident_id)["description"] == "edited there"
