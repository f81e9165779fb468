"""Looking people up in a simulated instance: whom it finds, and whom it must not."""

import json

import httpx
import pytest

from syncd.core.people import Person
from syncd.errors import ExternalFailed
from syncd.simulator.instance import Instance
from syncd.systems.servicenow import ServiceNow
from tests.systems.test_servicenow import JSON, Scripted, client, instance_of, to

BETH = "46d44a23a9fe19810012d100cca80666"
NETWORK = "287ebd7da9fe198100f92cc8d1d2154e"


def asked(instance: Instance) -> list[str]:
    return [line.target for line in instance.requests if "sys_user" in line.target]


@pytest.mark.parametrize("text", ["beth.anglin", "beth.anglin@example.com", "Beth.Anglin@EXAMPLE.com"])
async def test_a_person_is_found_by_user_name_and_by_email_address_in_any_case(text: str) -> None:
    assert await to(instance_of()).find_person(text) == Person(BETH)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Beth Anglin", "nobody who is active"),
        ("Ana Ruiz", "nobody who is active"),
        ("nobody@example.com", "nobody who is active"),
        ("ingrid.gone", "nobody who is active"),
        ("ingrid.gone@example.com", "nobody who is active"),
        ("operations@example.com", "more than one person has the e-mail address"),
    ],
)
async def test_who_left_and_who_cannot_be_told_apart_are_not_chosen_and_a_full_name_names_nobody(
    text: str, words: str
) -> None:
    person = await to(instance_of()).find_person(text)
    assert person.sys_id == ""
    assert words in person.problem


async def test_who_is_locked_out_can_be_assigned() -> None:
    assert (await to(instance_of()).find_person("lars.locked")).sys_id


async def test_a_text_that_would_change_the_query_is_not_asked_for() -> None:
    instance = instance_of()
    person = await to(instance).find_person("x^ORuser_name=beth.anglin")
    assert person.sys_id == ""
    assert asked(instance) == []


@pytest.mark.parametrize("what", ["match", "read"])
async def test_a_clause_that_servicenow_drops_and_a_column_that_it_hides_choose_nobody(what: str) -> None:
    instance = instance_of()
    account = instance.account("svc.sync")
    denied = account.match_denied if what == "match" else account.read_denied
    denied |= {("sys_user", "user_name"), ("sys_user", "email"), ("sys_user", "active")}
    assert (await to(instance).find_person("david.loo")).sys_id == ""
    assert asked(instance)


def refusing(status: int, message: str) -> ServiceNow:
    content = json.dumps({"error": {"message": message, "detail": None}, "status": "failure"}).encode()
    return client(Scripted(lambda _: httpx.Response(status, headers=JSON, content=content)))


async def test_a_directory_that_may_not_be_read_is_no_fault_of_the_instance() -> None:
    words = "User is unauthorized to access table: sys_user"
    person = await refusing(403, words).find_person("david.loo")
    assert person == Person(problem=f"our account may not look people up: {words}")


@pytest.mark.parametrize(("status", "outcome"), [(401, "paused"), (429, "throttled"), (503, "unavailable")])
async def test_what_concerns_the_whole_instance_is_no_answer_about_a_person(status: int, outcome: str) -> None:
    with pytest.raises(ExternalFailed) as caught:
        await refusing(status, "no").find_person("david.loo")
    assert caught.value.outcome == outcome


async def test_the_groups_of_a_person_are_the_active_ones_by_name() -> None:
    instance = instance_of()
    desk = next(row for row in instance.kernel.store.tables["sys_user_group"].rows.values() if row["name"] == "Network")
    found = await to(instance).groups_of(BETH)
    assert found is not None
    assert [one.name for one in found] == ["Hardware", "Network", "Service Desk"]
    desk["active"] = "false"
    assert [one.name for one in await to(instance).groups_of(BETH) or ()] == ["Hardware", "Service Desk"]


@pytest.mark.parametrize("how", ["hidden", "widened"])
async def test_groups_that_are_not_shown_for_certain_are_not_known(how: str) -> None:
    instance = instance_of()
    account = instance.account("svc.sync")
    if how == "hidden":
        account.hidden["sys_user_grmember"] = "sys_idISNOTEMPTY"
    else:
        account.match_denied.add(("sys_user_grmember", "user"))
    assert await to(instance).groups_of(BETH) is None


async def test_groups_that_may_not_be_read_are_no_fault_of_the_instance() -> None:
    assert await refusing(403, "User is unauthorized to access table: sys_user_grmember").groups_of(BETH) is None


async def test_groups_of_which_some_are_hidden_from_us_are_not_known() -> None:
    instance = instance_of()
    instance.account("svc.sync").hidden["sys_user_grmember"] = f"group!={NETWORK}"
    assert await to(instance).groups_of(BETH) is None, "one of three is shown, and it is not the only one"


async def test_groups_that_nobody_counted_are_not_known() -> None:
    content = json.dumps({"result": [{"user": BETH, "group": NETWORK, "group.name": "Network"}]}).encode()
    silent = client(Scripted(lambda _: httpx.Response(200, headers=JSON, content=content)))
    assert await silent.groups_of(BETH) is None
