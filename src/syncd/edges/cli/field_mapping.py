"""`im integration field-mapping …`: which column of ServiceNow stands for which field under an integration."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from syncd.edges.cli.client import Json, path_of, read
from syncd.edges.cli.render import table
from syncd.edges.cli.session import Injected
from syncd.edges.cli.shapes import FieldMapping
from syncd.edges.cli.transport import WrongUsage

app = App(name="field-mapping", help="Which column of ServiceNow stands for a field.")


@app.command(name="list")
def list_(integration: str, /, *, session: Injected) -> int:
    """List where each field stands, by a mapping that was set or by default.

    Example: im integration field-mapping list prod-snow
    """
    answer = session.client.get(path_of("integrations", integration, "field-mapping"))

    def rows() -> str:
        return table(
            ["FIELD", "COLUMN", "DIRECTION", "MAPPING", "VALUES"],
            (
                [
                    one.field,
                    one.external_field or "not synced",
                    one.direction,
                    "default" if one.default else "set",
                    _values(one),
                ]
                for one in read(answer.body, list[FieldMapping])
            ),
            wraps=True,
        )

    session.show(answer.body, rows)
    return 0


@app.command(name="set")
def set_(
    integration: str,
    field: str,
    /,
    *,
    external_field: Annotated[str, Parameter(help="The column, such as u_service.")],
    value: Annotated[
        list[str] | None,
        Parameter(
            negative=(),
            help="What stands there for a value, such as SEV-1=1; one for each value of the field. Of several the "
            "first is written, and all are read.",
        ),
    ] = None,
    transform: Annotated[
        Literal["upper", "lower"] | None, Parameter(help="Text stands there in letters of this size.")
    ] = None,
    direction: Annotated[
        Literal["inbound", "outbound", "bidirectional"], Parameter(help="Where edits of the field spread.")
    ] = "bidirectional",
    session: Injected,
) -> int:
    """Map a field to a column; it replaces the mapping there was.

    Example: im integration field-mapping set prod-snow service --external-field u_service
    """
    values: dict[str, Json] = {}
    for pair in value or ():
        name, is_pair, text = pair.partition("=")
        if not is_pair:
            raise WrongUsage(f"{pair!r} is not a value and what stands for it", hint="write it as SEV-1=1")
        texts = values.setdefault(name, [])
        assert isinstance(texts, list)  # noqa: S101 for mypy: made here
        texts.append(text)
    body: dict[str, Json] = {"external_field": external_field, "direction": direction}
    body |= {"values": values} if values else {}
    body |= {"transform": transform} if transform else {}
    answer = session.client.call("PUT", path_of("integrations", integration, "field-mapping", field), body=body)
    session.confirm(answer.body, lambda: [_said(read(answer.body, FieldMapping))])
    return 0


@app.command
def delete(integration: str, field: str, /, *, session: Injected) -> int:
    """Take a field's mapping back: it stands where it does by default, or is not synced any more.

    Example: im integration field-mapping delete prod-snow service
    """
    answer = session.client.call("DELETE", path_of("integrations", integration, "field-mapping", field))
    session.confirm(answer.body, lambda: [f"mapping removed: {_said(read(answer.body, FieldMapping))}"])
    return 0


def _said(one: FieldMapping) -> str:
    if one.external_field is None:
        return f"{one.field} is not synced"
    words = f"{one.field} stands in {one.external_field}"
    words += f", {one.direction} only" * (one.direction != "bidirectional")
    return f"{words}; {values}" if (values := _values(one)) else words


def _values(one: FieldMapping) -> str:
    if one.transform:
        return f"in {one.transform} case"
    return ", ".join(f"{value}={'/'.join(texts)}" for value, texts in one.values.items())
