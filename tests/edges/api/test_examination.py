"""The route of the connection test: one report, or a line for each step."""

import json

import pytest

from syncd.core.examination import Step
from syncd.errors import CannotUnseal
from tests.edges.api.daemon import AT_S, running

LINES = {"Accept": "application/x-ndjson"}


async def test_a_test_is_a_report_of_its_steps_with_the_webhooks_last() -> None:
    async with running() as daemon:
        made = await daemon.configure()
        answer = await daemon.socket.post(f"/api/v1/integrations/{made['handle']}/test")
        report = answer.json()
        assert (answer.status_code, report["verdict"], report["integration_id"]) == (200, "ok", made["id"])
        assert [step["name"] for step in report["steps"]] == ["reach", "clock", "webhook"]
        assert report["steps"][1] == {"name": "clock", "verdict": "warning", "detail": "3 s off", "remedy": "set it"}
        assert daemon.integrations.examination.is_closed


async def test_each_step_is_a_line_for_whoever_asks_for_lines() -> None:
    async with running() as daemon:
        made = await daemon.configure()
        daemon.desk.webhook_counts.of(str(made["id"])).last_at_s = AT_S - 60
        answer = await daemon.socket.post(f"/api/v1/integrations/{made['id']}/test", headers=LINES)
        assert answer.headers["content-type"] == "application/x-ndjson"
        steps = [json.loads(line) for line in answer.text.splitlines()]
        assert [(step["name"], step["verdict"]) for step in steps] == [
            ("reach", "ok"),
            ("clock", "warning"),
            ("webhook", "ok"),
        ]
        assert daemon.integrations.examination.is_closed


async def test_a_failed_step_fails_the_report_and_not_the_request() -> None:
    async with running() as daemon:
        made = await daemon.configure()
        daemon.integrations.steps = [Step("reach", "failed", "nobody is there", "look")]
        answer = await daemon.socket.post(f"/api/v1/integrations/{made['id']}/test")
        assert (answer.status_code, answer.json()["verdict"]) == (200, "failed")


async def test_something_is_written_only_when_that_is_asked_for() -> None:
    async with running() as daemon:
        path = f"/api/v1/integrations/{(await daemon.configure())['id']}/test"
        for body, count in ({}, 0), ({"write_check": False}, 0), ({"write_check": True}, 1):
            steps = (await daemon.socket.post(path, json=body)).json()["steps"]
            assert sum(step["name"] == "write check" for step in steps) == count


@pytest.mark.parametrize(
    ("body", "field"), [({"write_check": "yes"}, "write_check"), ({"write": True}, "write"), ({"steps": []}, "steps")]
)
async def test_what_it_does_not_know_is_refused_by_name(body: dict[str, object], field: str) -> None:
    async with running() as daemon:
        path = f"/api/v1/integrations/{(await daemon.configure())['id']}/test"
        answer = await daemon.socket.post(path, json=body)
        assert answer.status_code == 422
        assert field in answer.text


async def test_credentials_that_do_not_open_are_said_in_one_line() -> None:
    async with running() as daemon:
        path = f"/api/v1/integrations/{(await daemon.configure())['id']}/test"
        daemon.integrations.failure = CannotUnseal("the password does not open", hint="enter it again")
        answer = await daemon.socket.post(path)
        assert answer.status_code >= 400
        assert "does not open" in answer.text
        assert "enter it again" in answer.text


async def test_it_needs_the_scope_operate() -> None:
    async with running() as daemon:
        path = f"/api/v1/integrations/{(await daemon.configure())['id']}/test"
        for scope, status in ("read", 403), ("operate", 200):
            token = await daemon.token(scope)
            answer = await daemon.http.post(path, headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == status


async def test_an_unknown_integration_is_404() -> None:
    async with running() as daemon:
        assert (await daemon.socket.post("/api/v1/integrations/nobody/test")).status_code == 404
