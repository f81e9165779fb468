"""What is told of a route beside its path and scope: the words that a description is made of.

Each route gives its ``Description`` when it is added (``routes.py``); ``openapi.py`` writes them out. What a body may
hold is not said here: ``takes`` is the reader that reads it, and the reader is asked (``core/sketch.py``).
"""

from typing import Final

from msgspec import Struct

from syncd.core.fields import Form
from syncd.core.sketch import Reader
from syncd.errors import Refused


class Parameter(Struct, frozen=True):
    """A part of a query or a header. ``form``: its JSON Schema."""

    name: str
    about: str
    form: Form
    required: bool = False


class Answer(Struct, frozen=True):
    """A success. ``shows``: the type of its body, or a JSON Schema of it; None for a body without a form, if any."""

    shows: object = None
    status: int = 200
    headers: tuple[Parameter, ...] = ()
    media: str = "application/json"
    example: object = None


class Description(Struct, frozen=True, kw_only=True):
    """Of one route. ``topic`` is its heading, ``summary`` a line, ``notes`` what else a caller should know.

    ``takes``: the reader of its body, or a JSON Schema where it is read without ``Fields``; None when it takes none.
    ``refuses``: the refusals that are particular to it, beside those that follow from the rest.
    """

    topic: str
    summary: str
    notes: str = ""
    takes: Reader | Form | None = None
    example: object = None
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    answers: tuple[Answer, ...] = (Answer(),)
    refuses: tuple[type[Refused], ...] = ()


TEXT: Final[Form] = {"type": "string"}
ETAG: Final = Parameter("ETag", 'The version, for `If-Match`, such as `"3"`.', {"type": "string"}, required=True)
LOCATION: Final = Parameter("Location", "Where the new thing is.", {"type": "string"}, required=True)
