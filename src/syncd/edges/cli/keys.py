"""`im keys …`: the keys that seal stored secrets, by name, and another master key."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from syncd.edges.cli.client import Json, path_of, read
from syncd.edges.cli.render import facts, table
from syncd.edges.cli.session import Injected
from syncd.edges.cli.shapes import Keys
from syncd.edges.cli.transport import WrongUsage

KEY_BYTES_MAX = 4096

app = App(name="keys", help="See and change the keys that seal stored credentials.")


@app.command(name="list")
def list_(*, session: Injected) -> int:
    """Show the master key and each integration's key, by name; keys themselves are never shown.

    Example: im keys list
    """
    answer = session.client.get(path_of("keys"))

    def card() -> str:
        keys = read(answer.body, Keys)
        lines = [("master key", keys.master_id), ("from", f"{keys.source} {keys.path}")]
        if keys.next_id:
            lines.append(("next", f"{keys.next_id}, to be put there; then restart the daemon"))
        rows = [[key.integration or key.integration_id, key.id, "yes" if key.opens else "NO"] for key in keys.data_keys]
        return "\n\n".join([facts(lines), *([table(["INTEGRATION", "KEY", "OPENS"], rows)] if rows else [])])

    session.show(answer.body, card)
    return 0


@app.command
def rotate(
    *,
    new_key_file: Annotated[
        str | None,
        Parameter(help="A key that you will put in the place of the present one. Without it the daemon makes one."),
    ] = None,
    session: Injected,
) -> int:
    """Change the master key, without a pause; all stored credentials stay.

    Where the key comes from systemd, or another daemon reads its file, too, make the new one yourself, and put it in
    place when this is done.

    Example: im keys rotate --new-key-file /etc/syncd/master.key.new
    """
    body: dict[str, Json] = {} if new_key_file is None else {"new_key": _key_in(new_key_file)}
    answer = session.client.call("POST", path_of("keys", "rotate"), body=body)

    def lines() -> list[str]:
        keys = read(answer.body, Keys)
        if not keys.next_id:
            return [f"the master key is now {keys.master_id}, in {keys.path}", "next: back it up, apart from the state"]
        return [
            f"either key will do now: {keys.master_id}, and {keys.next_id} of {new_key_file}",
            "next: put the new one where the present one comes from, and restart the daemon;"
            " from then on the old one opens nothing",
        ]

    session.confirm(answer.body, lines)
    return 0


def _key_in(path: str) -> str:
    hint = "make one: (umask 077; head -c 32 /dev/urandom | base64 > F)"
    try:
        with Path(path).open("rb") as file:
            raw = file.read(KEY_BYTES_MAX)
        text = raw.decode("ascii").strip()
    except (OSError, ValueError) as error:
        # Not the error's own words, which may repeat the bytes.
        reason = error.strerror if isinstance(error, OSError) else "it is not a key in base64 or hex"
        raise WrongUsage(f"--new-key-file {path} cannot be read: {reason}", hint=hint) from None
    if not text:
        raise WrongUsage(f"--new-key-file {path} is empty", hint=hint)
    return text
