"""Paging through new records while the instance goes on working: none is lost, none comes twice."""

from random import Random

import pytest
from trio.testing import MockClock

from syncd.core.model import Cursor
from tests.systems.test_servicenow import EPOCH_S, instance_of, to


@pytest.mark.parametrize("seed", range(5))
async def test_pages_of_new_records_lose_none_while_records_are_edited_and_deleted(
    autojump_clock: MockClock, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = Random(seed)
    monkeypatch.setattr("syncd.systems.walks.RECORDS_A_PAGE", 10)
    instance = instance_of()
    old = {row["sys_id"] for row in instance.incidents()}
    made = [
        str(instance.create_as("beth.anglin", {"short_description": f"n{number}"})["sys_id"]) for number in range(95)
    ]
    external, cursor, walked = to(instance), Cursor(EPOCH_S - 1), list[str]()
    while page := (await external.created_after(cursor)).rows:
        walked += [seen.external_id for seen in page]
        last = page[-1]
        assert last.created_at_s is not None
        cursor = Cursor(last.created_at_s, last.external_id)
        for sys_id in rng.sample(walked, min(3, len(walked))):  # what was seen goes, so that by offset all would shift
            if sys_id in made and sys_id not in old:
                instance.delete_as("admin", sys_id)
                old.add(sys_id)
        for sys_id in rng.sample(made, 5):
            if sys_id not in old:
                instance.edit_as("beth.anglin", sys_id, {"urgency": rng.choice("123")})
    assert len(set(walked)) == len(walked)
    assert set(made) <= set(walked)
