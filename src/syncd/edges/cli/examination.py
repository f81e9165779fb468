"""`im integration test`: ask the instance a few questions, and tell of each what it found and what to do about it.

Each step is printed as it is done; the exit code is 1 when one failed.
"""

import sys
from typing import Annotated, Final

from cyclopts import Parameter

from syncd.edges.cli.client import Json, path_of, read
from syncd.edges.cli.render import row
from syncd.edges.cli.session import Flag, Injected
from syncd.edges.cli.shapes import ExaminationReport, ExaminationStep
from syncd.errors import SyncdError

ANSWER_S_MAX: Final = 70.0  # the daemon ends the test after less
WIDTHS: Final = (16, 7, 72)


def examine(
    integration: str,
    /,
    *,
    write_check: Annotated[Flag, Parameter(help="Also make an incident in ServiceNow, write it, cancel it.")] = False,
    session: Injected,
) -> int:
    """Check an integration's way to its ServiceNow, step by step: connection, credentials, rights, choices, clock.

    It works for one that is paused, down or disabled. Without --write-check nothing is changed there.

    Example: im integration test prod-snow
    """
    path, body = path_of("integrations", integration, "test"), dict[str, Json](write_check=write_check)
    if session.is_json:
        answer = session.client.call("POST", path, body=body, answer_s_max=ANSWER_S_MAX)
        session.show(answer.body, str)
        return 1 if read(answer.body, ExaminationReport).verdict == "failed" else 0
    heard = _Heard()
    answer = session.client.call(
        "POST",
        path,
        body=body,
        headers={"Accept": "application/x-ndjson"},
        answer_s_max=ANSWER_S_MAX,
        on_part=heard.part,
    )
    if not heard.verdicts:  # a proxy may have gathered the parts
        heard.part(answer.status, answer.body.rstrip() + b"\n")
    if not heard.verdicts:
        raise SyncdError("the daemon told of no step", hint="use the same version of im and syncd, or --format json")
    return 1 if "failed" in heard.verdicts else 0


class _Heard:
    """Prints each step when its line is complete."""

    def __init__(self) -> None:
        self.verdicts: list[str] = []
        self._rest = b""

    def part(self, status: int, part: bytes) -> None:
        """A part of the answer; a refusal is not ours to print."""
        if status != 200:
            return
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in filter(None, lines):
            step = read(line, ExaminationStep)
            self.verdicts.append(step.verdict)
            told = f"{step.detail} -> {step.remedy}" if step.remedy else step.detail
            print(row([step.name, step.verdict, told], WIDTHS))
            sys.stdout.flush()
