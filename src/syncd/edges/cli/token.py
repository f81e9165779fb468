"""`im token …`: who may call over TCP. The socket needs no token, so the first one can always be made there."""

from typing import Annotated, Literal

from cyclopts import App, Parameter

from syncd.edges.cli.client import Json, path_of, read
from syncd.edges.cli.render import age, facts, table, when
from syncd.edges.cli.session import All, Injected, Whole
from syncd.edges.cli.shapes import Token

app = App(name="token", help="Make and revoke the tokens for calls over TCP.")


@app.command
def create(
    *,
    scope: Annotated[
        Literal["read", "operate", "admin"], Parameter(help="operate includes read, admin includes both.")
    ],
    name: Annotated[str, Parameter(help="What it is for; shown by `im token list`.")] = "im",
    expires_at: Annotated[str | None, Parameter(help="An RFC 3339 time; without it the token stays valid.")] = None,
    session: Injected,
) -> int:
    """Make a token; it is shown this once.

    Example: im token create --scope operate --name deploy-bot
    """
    body: dict[str, Json] = {"name": name, "scope": scope}
    if expires_at is not None:
        body["expires_at"] = expires_at
    answer = session.client.call("POST", path_of("tokens"), body=body)

    def card() -> str:
        made = read(answer.body, Token)
        lines = [("id", made.id), ("name", made.name), ("scope", made.scope), ("token", made.token)]
        lines += [("expires", when(made.expires_at, session.now_s) or "never")]
        return facts(lines) + "\nThe token is not shown again: keep it now, for example in $INCIDENTS_TOKEN."

    session.show(answer.body, card)
    return 0


@app.command(name="list")
def list_(
    *,
    limit: Whole = 100,
    everything: All = False,
    session: Injected,
) -> int:
    """List tokens, without their secrets.

    Example: im token list
    """
    found = session.client.pages(path_of("tokens"), {}, limit=None if everything else limit)

    def rows() -> str:
        now_s = session.now_s
        return table(
            ["ID", "SCOPE", "CREATED", "LAST USED", "EXPIRES", "NAME"],
            (
                [
                    token.id,
                    token.scope,
                    age(token.created_at, now_s),
                    age(token.last_used_at, now_s) or "never",
                    age(token.expires_at, now_s) or "never",
                    token.name,
                ]
                for token in read(found.body, list[Token])
            ),
        )

    session.show_list(found, rows, empty="no tokens")
    return 0


@app.command
def revoke(token_id: str, /, *, session: Injected) -> int:
    """Revoke a token; calls with it are refused from now on.

    Example: im token revoke token-4Q7ZK2M9XD
    """
    answer = session.client.call("DELETE", path_of("tokens", token_id))
    session.confirm(answer.body or b'{"revoked":true}', lambda: [f"{token_id} revoked"])
    return 0
