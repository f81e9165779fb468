"""Field ownership over HTTP: rules are replaced and restored, refusals say the way out, what waits is judged anew."""

import pytest

from tests.edges.api.daemon import Daemon, running
from tests.edges.api.test_conflicts import happen, pictured

RULES = "/api/v1/integrations/prod/field-ownership"
PAGE = {
    "title": "platform",
    "description": "platform",
    "severity": "platform",
    "status": "platform",
    "assigned_to": "external",
    "work_notes": "external",
    "service": "platform",
}


async def owners(daemon: Daemon) -> dict[str, tuple[str, int, bool, bool]]:
    """Owner, priority, exclusive and default of every field."""
    rules = (await daemon.socket.get(RULES)).json()
    return {one["field"]: (one["owner"], one["priority"], one["exclusive"], one["default"]) for one in rules}


async def test_the_defaults_are_those_of_the_product_page() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        assert await owners(daemon) == {field: (owner, 1, False, True) for field, owner in PAGE.items()}


async def test_a_put_replaces_the_rule_and_a_delete_restores_the_default() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        first = await daemon.socket.put(
            f"{RULES}/severity", json={"owner": "external", "priority": 5, "exclusive": True}
        )
        assert (first.status_code, first.json()) == (
            200,
            {
                "field": "severity",
                "owner": "external",
                "priority": 5,
                "exclusive": True,
                "default": False,
                "effect": None,
            },
        )
        await daemon.socket.put(f"{RULES}/severity", json={"owner": "platform", "priority": 10})
        assert (await owners(daemon))["severity"] == ("platform", 10, False, False)
        at = daemon.journal.state.position
        await daemon.socket.put(f"{RULES}/severity", json={"owner": "platform", "priority": 10})
        assert daemon.journal.state.position == at  # the rule it has is no change
        restored = await daemon.socket.delete(f"{RULES}/severity")
        assert (restored.json()["owner"], restored.json()["default"]) == ("platform", True)
        assert (await owners(daemon))["severity"] == ("platform", 1, False, True)
        assert (await daemon.socket.delete(f"{RULES}/severity")).status_code == 200


@pytest.mark.parametrize("field", ["work_notes", "service"])
async def test_a_rule_that_changes_nothing_is_stored_and_says_so(field: str) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        answer = await daemon.socket.put(f"{RULES}/{field}", json={"owner": "platform", "priority": 7})
        assert answer.json()["effect"].startswith("none: ")
        assert (await owners(daemon))[field] == ("platform", 7, False, False)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "owner"),
        ({"owner": "servicenow"}, "owner"),
        ({"owner": "platform", "priority": 1001}, "priority"),
        ({"owner": "platform", "priority": -1}, "priority"),
        ({"owner": "platform", "priority": 1.5}, "priority"),
        ({"owner": "platform", "exclusive": "yes"}, "exclusive"),
        ({"owner": "platform", "colour": "red"}, "colour"),
    ],
)
async def test_a_rule_that_cannot_be_is_refused_by_its_name(body: dict[str, object], path: str) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        answer = await daemon.socket.put(f"{RULES}/title", json=body)
        assert (answer.status_code, [one["path"] for one in answer.json()["errors"]]) == (422, [path])
        assert (await owners(daemon))["title"] == ("platform", 1, False, True)


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_an_unknown_field_is_answered_with_those_there_are(method: str) -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        answer = await daemon.socket.request(method, f"{RULES}/colour", json={"owner": "platform"})
        assert answer.status_code == 404
        assert all(field in answer.text for field in ("colour", *PAGE))


async def test_the_rules_survive_new_settings_and_show_no_secret() -> None:
    async with running() as daemon:
        await daemon.configure(handle="prod")
        await daemon.socket.put(f"{RULES}/title", json={"owner": "external"})
        await daemon.socket.patch("/api/v1/integrations/prod", json={"conflict_strategy": "ownership-priority"})
        assert (await owners(daemon))["title"] == ("external", 1, False, False)
        assert set((await daemon.socket.get(RULES)).json()[0]) == {
            *("field", "owner", "priority", "exclusive", "default", "effect"),
        }


async def test_another_rule_has_what_waits_for_a_person_judged_anew() -> None:
    async with running() as daemon:
        await pictured(daemon)
        await happen(daemon)
        daemon.journal.state.dirty.clear()
        await daemon.socket.put(f"{RULES}/title", json={"owner": "external", "exclusive": True})
        assert list(daemon.journal.state.dirty["int_A"]) == ["int_A/INC-A"]
