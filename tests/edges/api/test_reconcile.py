"""The routes of reconcile runs and their schedule."""

import pytest

from tests.edges.api.daemon import Daemon, running

PATH = "/api/v1/integrations/prod/reconcile"


async def begun(daemon: Daemon, **body: object) -> str:
    """Begin a run; its id."""
    answer = await daemon.socket.post(PATH, json=body)
    assert answer.status_code == 202, answer.text
    run: str = answer.json()["id"]
    return run


async def test_a_run_is_answered_at_once_or_when_it_is_over() -> None:
    async with running() as daemon:
        made = await daemon.configure(handle="prod")
        answer = await daemon.socket.post(PATH, json={"dry_run": True})
        assert (answer.status_code, answer.json()["status"], answer.json()["finished_at"]) == (202, "running", None)
        answer = await daemon.socket.post(PATH, json={"auto_heal": True}, params={"wait": "true"})
        assert answer.status_code == 200
        run = answer.json()
    assert run == run | {
        "integration_id": made["id"],
        "mode": "heal",
        "trigger": "manual",
        "status": "finished",
        "checked": 3,
        "links": None,
        "found": 1,
        "causes": {"missed-webhook": 1},
        "healed": 1,
        "left_out": 0,
        "started_at": "2026-09-21T14:13:20.000000Z",
        "finished_at": "2026-09-21T14:13:20.000000Z",
    }
    assert run["drifts"] == [
        {
            "incident_id": "INC-0",
            "external_id": "r1",
            "field": "title",
            "platform": "ours",
            "external": "theirs",
            "base": "ours",
            "base_external": "ours",
            "cause": "missed-webhook",
            "action": "take it over",
            "healed": True,
        }
    ]


@pytest.mark.parametrize(
    ("body", "mode"),
    [
        ({}, "report"),
        ({"dry_run": True}, "dry-run"),
        ({"auto_heal": True}, "heal"),
        ({"dry_run": True, "auto_heal": True}, "dry-run"),
        ({"auto_heal": True, "force": True}, "heal"),
        ({"force": True}, "report"),
    ],
)
async def test_what_is_asked_decides_the_mode_and_a_dry_run_goes_first(body: dict[str, bool], mode: str) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        assert (await daemon.socket.post(PATH, json=body)).json()["mode"] == mode


@pytest.mark.parametrize(
    ("body", "field"),
    [({"force": 1}, "force"), ({"dry_run": 1}, "dry_run"), ({"x": True}, "x"), ({"auto_heal": "yes"}, "auto_heal")],
)
async def test_what_cannot_be_is_named(body: dict[str, object], field: str) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        refused = await daemon.socket.post(PATH, json=body)
        assert refused.status_code == 422
        assert [one["path"] for one in refused.json()["errors"]] == [field]


async def test_while_a_run_goes_on_another_is_409_with_its_id_and_it_can_be_stopped() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        daemon.integrations.endless = True
        run = await begun(daemon)
        shown = (await daemon.socket.get(f"{PATH}/history/{run}")).json()
        assert (shown["status"], shown["checked"], shown["links"]) == ("running", 2, 3)
        refused = await daemon.socket.post(PATH, json={"auto_heal": True})
        assert (refused.status_code, run in refused.json()["detail"]) == (409, True)
        stopped = await daemon.socket.post(f"{PATH}/history/{run}/stop")
        assert (stopped.status_code, stopped.json()["status"], stopped.json()["reason"]) == (
            200,
            "stopped",
            "stopped by root",
        )
        assert (await daemon.socket.post(f"{PATH}/history/{run}/stop")).status_code == 409


async def test_the_history_shows_the_newest_first_in_pages_and_each_run_by_its_id() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        assert (await daemon.socket.get(f"{PATH}/history")).json() == []
        runs = [await begun(daemon) for _ in range(3)]
        page = await daemon.socket.get(f"{PATH}/history", params={"limit": 2})
        assert [one["id"] for one in page.json()] == [runs[2], runs[1]]
        rest = await daemon.socket.get(page.headers["link"].partition(">")[0].removeprefix("<"))
        assert [one["id"] for one in rest.json()] == [runs[0]]
        assert (await daemon.socket.get(f"{PATH}/history/{runs[1]}")).json()["id"] == runs[1]
        unknown = await daemon.socket.get(f"{PATH}/history/run-99")
        assert (unknown.status_code, "im integration reconcile history prod" in unknown.json()["hint"]) == (404, True)


async def test_there_is_no_schedule_until_one_is_set_and_what_is_not_given_stays() -> None:
    async with running() as daemon:
        made = await daemon.configure(handle="prod")
        path = f"{PATH}/schedule"
        assert (await daemon.socket.get(path)).status_code == 404
        refused = await daemon.socket.post(path, json={"auto_heal": True})
        assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "interval")
        answer = await daemon.socket.post(path, json={"interval": "1h"})
        shown = answer.json()
        assert (answer.status_code, shown["interval"], shown["auto_heal"], shown["enabled"]) == (200, "1h", False, True)
        assert shown["integration_id"] == made["id"]
        status = (await daemon.socket.get("/api/v1/integrations/prod/sync-status")).json()
        assert status["next_reconcile"] == shown["next_run_at"]
        assert "2026-09-21T14:13:20" < shown["next_run_at"] <= "2026-09-21T15:13:21"
        shown = (await daemon.socket.post(path, json={"enabled": False, "auto_heal": True})).json()
        assert (shown["interval"], shown["auto_heal"], shown["enabled"], shown["next_run_at"]) == (
            "1h",
            True,
            False,
            None,
        )
        assert (await daemon.socket.get(path)).json() == shown


@pytest.mark.parametrize("interval", ["999ms", "1 hour", "0s", 5, "400d"])
async def test_an_interval_is_a_duration_of_at_least_a_second(interval: object) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        refused = await daemon.socket.post(f"{PATH}/schedule", json={"interval": interval})
        assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "interval")
