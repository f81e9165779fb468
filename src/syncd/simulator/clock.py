"""The instance's own clock and the time zones of its users.

Owns the mapping from the host's time to the instance's (offset, drift) and from UTC to a user's zone. Zones are a small
table with their daylight-saving rules, so that no zone files are needed and every machine agrees. Never asks for the
time by itself: ``now`` is given.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from typing import Final, Literal

__all__ = ["ZONES", "InstanceClock", "local_text", "seconds_of", "stamp_of", "utc_text"]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FORM: Final = "%Y-%m-%d %H:%M:%S"

ZONES: Final[dict[str, tuple[float, Literal["", "us", "eu"]]]] = {
    "GMT": (0, ""),
    "UTC": (0, ""),
    "Etc/UTC": (0, ""),
    "America/Los_Angeles": (-8, "us"),
    "America/Denver": (-7, "us"),
    "America/Chicago": (-6, "us"),
    "America/New_York": (-5, "us"),
    "Europe/London": (0, "eu"),
    "Europe/Berlin": (1, "eu"),
    "Europe/Paris": (1, "eu"),
    "Asia/Kolkata": (5.5, ""),
    "Asia/Singapore": (8, ""),
    "Asia/Tokyo": (9, ""),
}
"""Hours east of UTC in winter, and the daylight-saving rule."""


class InstanceClock:
    """What time the instance believes it is: the host's time with an offset and a drift.

    ``drift`` is in seconds gained per second of host time since the instance was made.
    """

    def __init__(self, now: Callable[[], float], offset_s: float = 0.0, drift: float = 0.0) -> None:
        self._now = now
        self._started_s = now()
        self.offset_s = offset_s
        self.drift = drift

    def host_s(self) -> float:
        """The host's time in Unix seconds; delays and deliveries are measured on it."""
        return self._now()

    def at_s(self) -> float:
        """The instance's time in Unix seconds; stamps and the Date header show it."""
        now_s = self._now()
        return now_s + self.offset_s + self.drift * (now_s - self._started_s)

    def stamp(self) -> str:
        """The instance's time as ServiceNow stores it: UTC, whole seconds, cut and not rounded."""
        return stamp_of(self.at_s())

    def http_date(self) -> str:
        """The instance's time as a Date header."""
        return formatdate(self.at_s() // 1, usegmt=True)


def stamp_of(at_s: float) -> str:
    """Unix seconds as ``YYYY-MM-DD HH:MM:SS`` in UTC."""
    return (_EPOCH + timedelta(seconds=at_s // 1)).strftime(_FORM)


def seconds_of(stamp: str) -> float:
    """``YYYY-MM-DD HH:MM:SS`` in UTC as Unix seconds; raises ValueError for anything else."""
    return (datetime.strptime(stamp, _FORM).replace(tzinfo=UTC) - _EPOCH).total_seconds()


def local_text(stamp: str, zone: str) -> str:
    """A stored stamp as a user in ``zone`` sees it; anything that is not a stamp stays as it is."""
    if zone in {"GMT", "UTC", "Etc/UTC"}:
        return stamp
    try:
        at_s = seconds_of(stamp)
    except ValueError:
        return stamp
    try:
        return stamp_of(at_s + _offset_s(zone, at_s))
    except OverflowError:
        return stamp


def utc_text(text: str, zone: str) -> str:
    """A stamp written by a user in ``zone`` as it is stored; raises ValueError when it is not a stamp."""
    at_s = seconds_of(text)
    try:
        return stamp_of(at_s - _offset_s(zone, at_s - _offset_s(zone, at_s)))
    except OverflowError as error:
        raise ValueError(f"{text!r} is outside of the years 1 to 9999 in UTC") from error


def _offset_s(zone: str, at_s: float) -> float:
    hours, rule = ZONES.get(zone, (0, ""))
    return (hours + (1 if rule and _is_summer(rule, hours, at_s) else 0)) * 3600


def _is_summer(rule: str, hours: float, at_s: float) -> bool:
    at = _EPOCH + timedelta(seconds=at_s)
    if rule == "us":  # second Sunday of March to first Sunday of November, at 02:00 local time
        begins = _sunday(at.year, 3, 8) + timedelta(hours=2 - hours)
        ends = _sunday(at.year, 11, 1) + timedelta(hours=1 - hours)
    else:  # last Sunday of March to last Sunday of October, at 01:00 UTC everywhere
        begins = _sunday(at.year, 3, 25) + timedelta(hours=1)
        ends = _sunday(at.year, 10, 25) + timedelta(hours=1)
    return begins <= at < ends


def _sunday(year: int, month: int, first_day: int) -> datetime:
    """The first Sunday on or after the given day."""
    day = datetime(year, month, first_day, tzinfo=UTC)
    return day + timedelta(days=(6 - day.weekday()) % 7)
