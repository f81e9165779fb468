"""Durations as people write them: ``250ms``, ``5s``, ``1h30m``."""

import re
from typing import Final

_UNIT_S: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART: Final = r"[0-9]{1,15}(?:\.[0-9]{1,15})?(?:ms|s|m|h|d)"
_EACH: Final = re.compile(r"([0-9.]+)([a-z]+)")
DURATION: Final = re.compile(f"(?:{_PART})+")


def duration_s(text: str) -> float:
    """Seconds of a duration such as ``5s``; ``ValueError`` with the allowed form otherwise."""
    if not DURATION.fullmatch(text):
        msg = f"{text!r} is not a duration; write a number and a unit, such as 500ms, 5s, 10m, 1h or 1h30m"
        raise ValueError(msg)
    return sum(float(number) * _UNIT_S[unit] for number, unit in _EACH.findall(text))
