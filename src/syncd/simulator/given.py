"""The JSON object of a control request, read by name; a wrong value is a ValueError that says what to send.

Owns the reading only. Never knows which request it belongs to.
"""

from collections.abc import Mapping

__all__ = ["Given"]


class Given:
    """What was sent. Without a default a missing value is an error as well."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self._values = values

    def has(self, name: str) -> bool:
        """True when it was sent and is not null."""
        return self._values.get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """A string."""
        value = self._values[name] if self.has(name) else default
        if isinstance(value, str):
            return value
        raise ValueError(f"{name} is {value!r}; send a string")

    def number(self, name: str, default: float | None = None) -> float:
        """A number."""
        value = self._values[name] if self.has(name) else default
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        raise ValueError(f"{name} is {value!r}; send a number")

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._values[name] if self.has(name) else default
        if isinstance(value, bool):
            return value
        raise ValueError(f"{name} is {value!r}; send true or false")

    def texts(self, name: str) -> list[str]:
        """A list of strings."""
        value = self._values.get(name)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return value
        raise ValueError(f"{name} is {value!r}; send a list of strings")

    def mapping(self, name: str) -> dict[str, object]:
        """An object; an empty one when it was not sent."""
        value = self._values[name] if self.has(name) else {}
        if isinstance(value, dict):
            return value
        raise ValueError(f"{name} is {value!r}; send an object")

    def plain(self, name: str) -> str | float | bool | None:
        """A string, number or boolean, or None when it was not sent."""
        value = self._values.get(name)
        if value is None or isinstance(value, str | int | float | bool):
            return value
        raise ValueError(f"{name} is {value!r}; send a string, a number, true or false")
