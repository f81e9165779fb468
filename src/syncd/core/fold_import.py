"""How an import's events change State: how far it is, and what came of the records.

Part of the fold (``fold.py``), with the same promise: no clock, no chance, no input or output.
"""

from collections import Counter

from msgspec.structs import replace

from syncd.core import events as e
from syncd.core.model import ImportRun
from syncd.core.state import State

LEFT_KEPT_MAX = 50


def started(state: State, record: e.Record, event: e.ImportStarted) -> None:
    run = event.run
    run = replace(run, status="running", reason="", finished_at_s=None, at_s=record.at_s, since_s=record.at_s)
    _put(state, event.integration_id, replace(run, since_checked=run.checked))


def advanced(state: State, record: e.Record, event: e.ImportAdvanced) -> None:
    run = state.integrations[event.integration_id].importing
    if run is not None:
        run = replace(
            run,
            cursor=event.cursor,
            counts=dict(Counter(run.counts) + Counter(event.counts)),
            total=run.total if event.total is None else event.total,
            left=(*run.left, *event.left)[:LEFT_KEPT_MAX],
            at_s=record.at_s,
        )
        _put(state, event.integration_id, run)


def ended(state: State, record: e.Record, event: e.ImportEnded) -> None:
    run = state.integrations[event.integration_id].importing
    if run is not None:
        run = replace(run, status=event.status, reason=event.reason, finished_at_s=record.at_s, at_s=record.at_s)
        _put(state, event.integration_id, run)


def _put(state: State, integration_id: str, run: ImportRun) -> None:
    state.integrations[integration_id] = replace(state.integrations[integration_id], importing=run)
