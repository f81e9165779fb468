"""docs/operations.md is true about a restore: an old state folder in place of the newer one, and the page's commands.

What was written after the backup is in ServiceNow alone; nothing is made twice, and nothing that ServiceNow shows is
written over.
"""

import re
import shlex
import shutil
from pathlib import Path

from tests.crash.installation import Installation, started, stopped, until
from tests.crash.rehearsal import Place

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
COMMAND = re.compile(r"^ {7}im (.+)$", re.MULTILINE)


def test_after_a_restore_the_commands_of_the_page_bring_all_back_to_work(tmp_path: Path) -> None:
    section = PAGE.read_text().partition("\n### After a restore\n")[2].partition("\n### ")[0]
    inbound, confirm, compare, back = (shlex.split(words) for words in COMMAND.findall(section))
    told = re.search(r"says `(the journal is older[^`]+)`", section)
    assert told is not None
    one = Installation(tmp_path)
    one.daemon.environ["INCIDENTS_AUTH"] = "none"
    state, backup = tmp_path / "state", tmp_path / "backup"
    try:
        one.start()
        place = Place(one, "prod-snow")
        place.names["https://your-instance.service-now.com"] = one.simulator_url
        place.linked("From before the backup")
        before = dict(place.names)
        stopped(one.daemon)
        shutil.copytree(state, backup)
        started(one.daemon)
        place.edit(title="Edited after the backup")
        place.shows(short_description="Edited after the backup")
        place.linked("Declared after the backup")
        stopped(one.daemon)
        state.rename(tmp_path / "before")
        backup.rename(state)
        started(one.daemon)

        place.names |= before
        place.becomes("paused", told[1])
        assert place.incident()["title"] == "From before the backup"
        place.edit(severity="SEV-1")
        for words in (inbound, confirm, compare):
            place.im(*map(place.named, words))
        until(place.is_well, lambda: f"all is well; {place.told()}", 40)
        assert place.incident()["title"] == "Edited after the backup"
        assert place.record()["short_description"] == "Edited after the backup"
        place.im(*map(place.named, back))
        place.edit(description="And on it goes")
        place.shows(description="And on it goes", short_description="Edited after the backup")
        until(place.is_well, lambda: f"all is well; {place.told()}", 40)
        assert len(one.rows()) == 2
    finally:
        one.stop()
