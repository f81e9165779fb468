"""Work notes once the troubles are over: each on both sides, once, in its order, with its author; none in comments."""

from collections import Counter
from itertools import pairwise
from typing import Final

from syncd.core.model import Note
from syncd.core.state import State
from syncd.simulator.tables import Row
from tests.simulation.ledger import Ledger
from tests.simulation.world import ACCOUNT, World

DOUBLED: Final = "notes_doubled"  # a rule there stores what it gets twice; that is not our doing


def check(world: World, acknowledged: list[tuple[str, str]]) -> None:
    """The promises about notes. ``acknowledged``: incident and id of each note that the platform answered with 201."""
    state, ledger = world.state, world.ledger
    for incident_id, note_id in acknowledged:
        ids = [note.id for note in state.notes.get(incident_id, ())]
        assert ids.count(note_id) == 1, f"{note_id} was acknowledged, and {incident_id} has {ids}"
    is_doubled = world.met[DOUBLED] > 0
    for incident_id in state.incidents:
        if not ledger.record_of(incident_id):
            continue  # the direction keeps it here
        _check_one(state, ledger, world.integration_id, incident_id, _entries(world, incident_id), is_doubled)
    met = world.met
    met["note of ours there"] += sum(note.origin == "platform" for notes in state.notes.values() for note in notes)
    met["note of theirs here"] += sum(note.origin != "platform" for notes in state.notes.values() for note in notes)


def _entries(world: World, incident_id: str) -> list[Row]:
    return world.instance.notes(world.ledger.record_of(incident_id))


def _check_one(
    state: State, ledger: Ledger, integration_id: str, incident_id: str, entries: list[Row], is_doubled: bool
) -> None:
    notes = state.notes.get(incident_id, ())
    ours = [row["value"] for row in entries if row["sys_created_by"] == ACCOUNT]
    elements = {row["element"] for row in entries if row["sys_created_by"] == ACCOUNT}
    assert elements <= {"work_notes"}, f"{incident_id}: something of ours stands in {elements}"
    wanted = [_wording(note) for note in notes if note.origin == "platform"]
    if is_doubled:
        assert Counter(wanted).keys() == Counter(ours).keys()
        assert all(Counter(ours)[text] <= 2 * count for text, count in Counter(wanted).items()), (wanted, ours)
    elif any(letter.operation == "note" and letter.incident_id == incident_id for letter in ledger.letters):
        assert Counter(ours) == Counter(wanted)  # a note that is refused lets the next one pass
    else:
        assert ours == wanted, f"{incident_id}: its record has {ours}, and should have {wanted}"
    theirs = {row["sys_id"]: row for row in entries if row["sys_created_by"] != ACCOUNT}
    theirs = {sys_id: row for sys_id, row in theirs.items() if row["element"] == "work_notes"}
    taken = [note for note in notes if note.origin == integration_id]
    assert sorted(note.external_id for note in taken) == sorted(theirs), f"{incident_id}: {taken} of {theirs}"
    for note in taken:
        row = theirs[note.external_id]
        assert (note.text, note.author) == (row["value"].rstrip(), row["sys_created_by"])
    stamps = [theirs[note.external_id]["sys_created_on"] for note in taken]
    assert all(first <= later for first, later in pairwise(stamps)), f"{incident_id}: out of order, {stamps}"
    assert len(taken) + len(wanted) == len(notes), f"{incident_id} has notes of an unknown origin: {notes}"


def _wording(note: Note) -> str:
    return f"{note.author}:\n{note.text.rstrip()}".replace("[code]", "[ code]").replace("[/code]", "[/ code]")
