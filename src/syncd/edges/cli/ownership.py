"""`im integration field-ownership …`: which side owns a field under an integration, and how strictly."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from syncd.edges.cli.client import Json, path_of, read
from syncd.edges.cli.render import table
from syncd.edges.cli.session import Flag, Injected, Whole
from syncd.edges.cli.shapes import Ownership

app = App(name="field-ownership", help="Which side owns a field, and how strictly.")


@app.command(name="list")
def list_(integration: str, /, *, session: Injected) -> int:
    """List who owns each field, by a rule that was set or by default.

    Example: im integration field-ownership list prod-snow
    """
    answer = session.client.get(path_of("integrations", integration, "field-ownership"))

    def rows() -> str:
        return table(
            ["FIELD", "OWNER", "PRIORITY", "EXCLUSIVE", "RULE", "EFFECT"],
            (
                [
                    one.field,
                    one.owner,
                    str(one.priority),
                    "yes" if one.exclusive else "no",
                    "default" if one.default else "set",
                    one.effect,
                ]
                for one in read(answer.body, list[Ownership])
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
    owner: Literal["platform", "external"],
    priority: Annotated[
        Whole, Parameter(help="Of the owner, 0 to 1000; the other side has 0, and ties go to the owner.")
    ] = 1,
    exclusive: Annotated[Flag, Parameter(help="Put the owner's value back after the other side's edit.")] = False,
    session: Injected,
) -> int:
    """Set the rule of a field; it replaces the one there was.

    Example: im integration field-ownership set prod-snow severity --owner platform --priority 10
    """
    body: dict[str, Json] = {"owner": owner, "priority": priority, "exclusive": exclusive}
    answer = session.client.call("PUT", path_of("integrations", integration, "field-ownership", field), body=body)
    session.confirm(answer.body, lambda: [_said(read(answer.body, Ownership))])
    return 0


@app.command
def delete(integration: str, field: str, /, *, session: Injected) -> int:
    """Restore a field's default owner.

    Example: im integration field-ownership delete prod-snow severity
    """
    answer = session.client.call("DELETE", path_of("integrations", integration, "field-ownership", field))
    session.confirm(answer.body, lambda: [f"default restored: {_said(read(answer.body, Ownership))}"])
    return 0


def _said(rule: Ownership) -> str:
    words = f"{rule.field} is owned by {rule.owner}, priority {rule.priority}" + ", exclusive" * rule.exclusive
    return f"{words}; effect: {rule.effect}" if rule.effect else words
