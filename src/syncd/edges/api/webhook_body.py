"""A webhook's body, read leniently: it is a hint, so what cannot be understood of it matters little.

Only ``sys_id`` is required. Numbers may be text, since ServiceNow writes them so; unknown keys are ignored; half a
surrogate pair, which cutting a text in JavaScript leaves behind, is repaired. What no reader should be asked to parse
(deep nesting, thousands of keys, NUL) is refused before or right after decoding.
"""

import hashlib
import json
import re
from typing import Final, Literal

import msgspec

from syncd.core.fields import BLANK, Form, shown
from syncd.core.webhook import Webhook
from syncd.errors import Invalid, Malformed, Problem

LEVELS_MAX: Final = 64
KEYS_MAX: Final = 1000
WORD_LETTERS_MAX: Final = 255
_BRACKETS_AND_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_SYS_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_VERSION = re.compile(r"[0-9A-Za-z.-]{1,20}")
_WHOLE = re.compile(r"[0-9]{1,15}")
WEBHOOK_FORM: Final[Form] = {
    "type": "object",
    "required": ["sys_id"],
    "properties": {
        "sys_id": {
            "description": "The record that changed.",
            "anyOf": [
                {"type": "string", "pattern": f"^[{BLANK}]*{_SYS_ID.pattern}[{BLANK}]*$"},
                {"type": "integer", "minimum": 1 - 10**18, "maximum": 10**18 - 1},
            ],
        },
        "event_id": {"description": "Tells two events apart: the same again is a duplicate."},
        "operation": {"description": "insert, update or delete."},
        "sys_mod_count": {"description": "How often the record was written, as a number or as text."},
        "updated_on": {"description": "Kept as evidence of what was seen when."},
        "updated_by": {"description": "Kept as evidence of what was seen when."},
        "number": {"description": "Such as INC0010026."},
        "work_notes": {"description": "Where there are any, the record's notes are read too."},
    },
    "description": "Keys that are not known are ignored. At most 1000 keys and 64 levels, and no NUL anywhere.",
}
_HINT: Final = "send one JSON object, as the script of `im integration webhook-script` does"


def decode_webhook(raw: bytes) -> tuple[Webhook, str]:
    """What the body says, and its text as evidence; ``Malformed`` or ``Invalid`` otherwise. Never anything else."""
    # Looking closely costs more than decoding. There are no more levels than brackets and no more keys than colons, and
    # only this escape makes a NUL, so an ordinary body is not looked at closely.
    if raw.count(b"{") + raw.count(b"[") > LEVELS_MAX and levels_of(raw) > LEVELS_MAX:
        raise Malformed(f"the body is nested more than {LEVELS_MAX} levels deep", hint=_HINT)
    fields = _object_in(raw)
    if not isinstance(fields, dict):
        raise Malformed(f"the body is {shown(fields)}, not an object", hint=_HINT)
    if raw.count(b":") > KEYS_MAX or b"\\u0000" in raw:
        _check_sane(fields)
    sys_id = _word(fields, "sys_id")
    if not _SYS_ID.fullmatch(sys_id):
        reason = f"{shown(fields['sys_id'])} is not a sys_id" if "sys_id" in fields else "is missing; it is required"
        raise Invalid(f"sys_id {reason}", problems=(Problem("sys_id", reason),), hint=_HINT)
    operation, count = _operation(fields), _count(fields.get("sys_mod_count"))
    says_nothing = {"operation": not operation, "sys_mod_count": count is None}
    webhook = Webhook(
        sys_id=sys_id,
        event_id=_event_id(fields),
        operation=operation,
        sys_mod_count=count,
        number=_word(fields, "number"),
        updated_on=_word(fields, "updated_on"),
        updated_by=_word(fields, "updated_by"),
        has_note=bool(fields.get("work_notes")),
        instance_name=_word(fields, "instance_name"),
        script_version=_version(fields),
        keys=frozenset(key for key in fields if not says_nothing.get(key)),
    )
    return webhook, raw.decode("utf-8")


def levels_of(raw: bytes) -> int:
    """The deepest nesting of brackets outside strings, counted without parsing."""
    level = deepest = 0
    for match in _BRACKETS_AND_STRINGS.finditer(raw):
        first = match[0][:1]
        if first in b"[{":
            level += 1
            deepest = max(deepest, level)
        elif first in b"]}":
            level -= 1
    return deepest


def _object_in(raw: bytes) -> object:
    try:
        return msgspec.json.decode(raw)
    except (UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the body is not JSON in UTF-8: {error}", hint=_HINT) from error
    except msgspec.DecodeError as error:
        refused = str(error)  # not the error: it would hold this frame, and with it the body, in a cycle
    try:  # msgspec refuses half a surrogate pair, which the standard library lets through
        text = raw.decode("utf-8")
        value = json.loads(text, parse_constant=_no_constant, strict=True)
        return json.loads(_LONE_SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False)))
    except (ValueError, RecursionError) as error:  # ValueError: also bad UTF-8, and numbers of thousands of digits
        raise Malformed(f"the body is not JSON: {refused}", hint=_HINT) from error


def _no_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _check_sane(fields: dict[str, object]) -> None:
    """Refuse NUL and too many keys, wherever they stand."""
    waiting: list[object] = [fields]
    keys = 0
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            keys += len(value)
            if keys > KEYS_MAX:
                raise Malformed(f"the body has more than {KEYS_MAX} keys", hint=_HINT)
            waiting += value.keys()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, str) and "\0" in value:
            raise Malformed("the body has a NUL character", hint="remove it")


def _word(fields: dict[str, object], name: str) -> str:
    """A value as a short text; empty when it is not one."""
    value = fields.get(name)
    if isinstance(value, str):
        return value.strip()[:WORD_LETTERS_MAX]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18:
        return str(value)
    return ""


def _event_id(fields: dict[str, object]) -> str:
    """What tells two events apart; one that is too long to keep counts by all of its letters, as a hash."""
    value = fields.get("event_id")
    if isinstance(value, str) and len(value.strip()) > WORD_LETTERS_MAX:
        return f"sha256:{hashlib.sha256(value.strip().encode()).hexdigest()}"
    return _word(fields, "event_id")


def _operation(fields: dict[str, object]) -> Literal["", "insert", "update", "delete"]:
    word = _word(fields, "operation").lower()
    match word:
        case "insert" | "update" | "delete":
            return word
        case _:
            return ""


def _version(fields: dict[str, object]) -> str:
    """The version of the script that sent it; empty for a rule of another make."""
    word = _word(fields, "script_version")
    return word if _VERSION.fullmatch(word) else ""


def _count(value: object) -> int | None:
    """``sys_mod_count``, as a number or as text; None when it is neither."""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15 else None
