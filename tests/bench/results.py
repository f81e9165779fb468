"""What the bench reports: a row is a ratio, measured in rounds, against a goal; and how noisy the machine was."""

import statistics
import time
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

Form = Literal["table", "markdown", "json"]
NOISE_TURNS = 400_000


class Row(Struct, kw_only=True):
    """One line of the table.

    ``ratios``: measured / baseline, one a round, the two measured next to each other. ``goal`` None: told, not judged.
    A goal that is missed stays; docs/performance.md has the reason.
    """

    name: str
    measured: str
    baseline: str
    ratios: list[float]
    goal: float | None = None
    is_at_least: bool = True
    remark: str = ""

    @property
    def ratio(self) -> float:
        """The median."""
        return statistics.median(self.ratios)

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return "-"
        is_met = self.ratio >= self.goal if self.is_at_least else self.ratio <= self.goal
        return "met" if is_met else "missed"

    def cells(self) -> tuple[str, ...]:
        """The row as texts, in the order of ``HEAD``."""
        sign = ">=" if self.is_at_least else "<="
        goal = "-" if self.goal is None else f"{sign} {self.goal:g}"
        spread = f"{min(self.ratios):.2f}..{max(self.ratios):.2f}"
        return self.name, self.measured, self.baseline, f"{self.ratio:.2f}", spread, goal, self.verdict, self.remark


HEAD = ("row", "measured", "baseline", "ratio", "min..max", "goal", "verdict", "beside it")


class Noise(Struct):
    """How long one fixed loop of pure CPU took, over and over, between the rounds: what the machine itself does."""

    loops_ms: list[float] = []

    def look(self) -> None:
        """Run the loop once."""
        begun, total = time.perf_counter(), 0
        for turn in range(NOISE_TURNS):
            total += turn & 7
        self.loops_ms.append((time.perf_counter() - begun) * 1e3)

    def text(self) -> str:
        if not self.loops_ms:
            return "noise: not measured"
        low, middle, high = min(self.loops_ms), statistics.median(self.loops_ms), max(self.loops_ms)
        return (
            f"noise: a fixed CPU loop took {low:.1f} ms at best, {middle:.1f} ms in the median and {high:.1f} ms at "
            f"worst (x{high / low:.1f}) over {len(self.loops_ms)} looks during the run"
        )


def rendered(rows: Sequence[Row], form: Form) -> str:
    """The table, for a terminal or for a page."""
    cells = [HEAD, *(row.cells() for row in rows)]
    if form == "markdown":
        lines = ["| " + " | ".join(line) + " |" for line in cells]
        return "\n".join([lines[0], "|" + "---|" * len(HEAD), *lines[1:]])
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of them lie; the nearest that was measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
