"""What can go wrong, by name: faults that strike requests or webhooks, and switches that change the instance.

Owns what is armed, the values of the switches, and the draws that decide whether an armed fault strikes.
All chance comes from the ``Random`` it is given. Never acts: whoever can be struck asks ``strikes()``.
"""

from dataclasses import dataclass
from random import Random

from syncd.simulator.fault_catalogue import FAULTS, SWITCHES

__all__ = ["Armed", "Faults", "Switches", "parse_fault"]


@dataclass
class Armed:
    """One armed fault. ``times_left``: None strikes until it is disarmed. ``strikes``: how often it has struck."""

    name: str
    value: str
    probability: float = 1.0
    times_left: int | None = None
    strikes: int = 0

    @property
    def seconds(self) -> float:
        """The value as a number (seconds, or a count)."""
        return float(self.value)


class Faults:
    """The armed faults of one instance."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._armed: dict[str, Armed] = {}

    def arm(
        self, name: str, value: str | float | None = None, *, times: int | None = None, probability: float | None = None
    ) -> Armed:
        """Arm a fault; where its unit is a probability, ``value`` is that. Raises ValueError with the way out."""
        fault = FAULTS.get(name)
        if fault is None:
            raise ValueError(f"unknown fault {name!r}; `--list-faults` or GET /control/faults names all of them")
        text = fault.default if value is None else str(value)
        if fault.unit == "probability" and probability is None:
            probability = _number(name, text)
        elif fault.unit in {"seconds", "number"}:
            _number(name, text)
        chance = 1.0 if probability is None else probability
        if not 0 <= chance <= 1:
            raise ValueError(f"fault {name!r}: probability {chance} is not between 0 and 1")
        self._armed[name] = Armed(name, text, chance, times)
        return self._armed[name]

    def disarm(self, name: str | None = None) -> None:
        """Disarm one fault, or all of them; a fault that is not armed is left alone."""
        if name is None:
            self._armed.clear()
        else:
            self._armed.pop(name, None)

    def standing(self, name: str) -> Armed | None:
        """The fault if it is armed, without a draw: for those that describe a rule and not an accident."""
        return self._armed.get(name)

    def strikes(self, name: str) -> Armed | None:
        """Draw: the armed fault if it strikes now, else None. Counts ``times`` down."""
        armed = self._armed.get(name)
        if armed is None or (armed.probability < 1 and self._random.random() >= armed.probability):
            return None
        armed.strikes += 1
        if armed.times_left is not None:
            armed.times_left -= 1
            if armed.times_left <= 0:
                del self._armed[name]
        return armed

    def first_striking(self, *names: str) -> Armed | None:
        """The first of several faults that strikes."""
        if not self._armed:
            return None
        return next((armed for name in names if (armed := self.strikes(name)) is not None), None)

    def armed(self) -> list[Armed]:
        """All armed faults, in the order in which they were armed."""
        return list(self._armed.values())


class Switches:
    """Standing properties of the instance, all with a default."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def set(self, name: str, value: str | float | bool) -> None:
        """Set a switch; raises ValueError when the name is unknown or the value is not one of its choices."""
        switch = SWITCHES.get(name)
        if switch is None:
            raise ValueError(f"unknown switch {name!r}; `--list-faults` or GET /control/faults names all of them")
        text = {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
        if switch.choices and text not in switch.choices:
            raise ValueError(f"switch {name!r}: {text!r} is not one of {', '.join(switch.choices)}")
        if switch.is_number:
            _number(name, text)
        self._values[name] = text

    def copy_from(self, other: "Switches") -> None:
        """Take over the values of another instance's switches."""
        self._values = dict(other._values)

    def text(self, name: str) -> str:
        """The value of a switch."""
        return self._values.get(name) or SWITCHES[name].default

    def is_on(self, name: str) -> bool:
        """True when an on/off switch is on."""
        return self.text(name) == "on"

    def number(self, name: str) -> float:
        """The value of a numeric switch."""
        return float(self.text(name))


def parse_fault(text: str) -> tuple[str, str | None, float | None, int | None]:
    """Read ``NAME[=VALUE][@PROBABILITY][*TIMES]`` as (name, value, probability, times); raises ValueError."""
    rest, _, times = text.partition("*")
    rest, _, chance = rest.partition("@")
    name, _, value = rest.partition("=")
    probability = _number(name, chance) if chance else None
    if times and not times.isdecimal():
        raise ValueError(f"{name!r}: {times!r} is not a number of times; write for example {name}*3")
    return name.strip(), value or None, probability, int(times) if times else None


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name!r}: {text!r} is not a number; write for example {name}=0.5") from None
