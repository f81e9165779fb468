"""What a reader of bodies takes, as JSON Schema: the reader itself is asked.

A ``Sketch`` is given to a reader in place of a body. It answers every question with "absent", keeps the form that came
with it, and refuses nothing; so the schema has each field that is read, and no other. Only ``openapi.py`` needs it.
"""

from collections.abc import Callable
from typing import TypeAlias

from msgspec import UNSET

from syncd.core.fields import Fields, Form

Reader: TypeAlias = Callable[[Fields], object]


class Sketch(Fields):
    """A body of which everything is asked and nothing is there."""

    def __init__(self) -> None:
        super().__init__({})
        self._properties: dict[str, Form] = {}
        self._required: list[str] = []
        self._bounds: dict[str, object] = {}

    def raw(self, name: str, form: Form, *, missing: str = "") -> object:
        self._properties[name] = form
        if missing:
            self._required.append(name)
        return UNSET

    def done(self, what: str, *, least: int = 0, most: int | None = None, hint: str = "") -> None:
        if least:
            self._bounds["minProperties"] = least
        if most is not None:
            self._bounds["maxProperties"] = most

    @property
    def is_required(self) -> bool:
        """An empty body would be refused."""
        return bool(self._required) or "minProperties" in self._bounds

    @property
    def schema(self) -> Form:
        """JSON Schema of the whole body."""
        form: dict[str, object] = {"type": "object", "properties": self._properties, "additionalProperties": False}
        return {**form, **({"required": self._required} if self._required else {}), **self._bounds}


def sketch_of(reader: Reader) -> Sketch:
    """The sketch of what ``reader`` takes."""
    sketch = Sketch()
    reader(sketch)
    return sketch
