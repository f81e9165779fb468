"""`im`: the root of the command line, its global options, and what becomes of an error.

Owns the exit codes (0 done, 1 refused or a check found something, 2 wrong usage, 3 drift found, 4 no daemon) and the
one line on standard error. The commands are imported when they are used: start-up is most of what a command costs.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Group, Parameter

from syncd import __version__
from syncd.edges.cli.help import NO_CONSOLE, Root
from syncd.edges.cli.render import safe
from syncd.edges.cli.session import STDIN_BYTES_MAX, Options, OutputFormat, Session, World
from syncd.edges.cli.transport import WrongUsage
from syncd.errors import SyncdError

WRONG_USAGE = 2
INTERRUPTED = 130  # what a shell makes of SIGINT
_TOKEN = re.compile(r"(sync_[a-z]+_)[0-9A-Za-z_]{16,}")
EVERYWHERE = Group("Options of every command", sort_key=90)


def build(world: World) -> App:
    """The whole command line; ``build(world).meta(argv)`` runs a command and returns its exit code."""
    app = Root(
        name="im",
        help="Declare and follow incidents, and keep them in sync with ServiceNow.",
        version=__version__,
        help_on_error=False,
        result_action="return_value",
        console=NO_CONSOLE,
        error_console=NO_CONSOLE,
    )
    rooms = "syncd.edges.cli"
    app.command(f"{rooms}.incident:declare", name="declare", help="Declare an incident.")
    app.command(f"{rooms}.incident:app", name="incident", help="Show and change incidents.")
    app.command(
        f"{rooms}.integration:app", name="integration", help="Connect ServiceNow instances and watch over them."
    )
    app.command(f"{rooms}.conflict:app", name="conflict", help="List and settle conflicts.")
    app.command(f"{rooms}.journal:app", name="journal", help="Look into the journal's files, daemon or not.")
    app.command(f"{rooms}.token:app", name="token", help="Make and revoke the tokens for calls over TCP.")
    app.command(f"{rooms}.keys:app", name="keys", help="See and change the keys that seal stored credentials.")
    app.command(
        f"{rooms}.status:status",
        name="status",
        help="Show whether the daemon is alive and ready, its journal, and its integrations.",
    )
    app.command(
        f"{rooms}.support_bundle:support_bundle",
        name="support-bundle",
        help="Write one file to attach to a bug report, without secrets and text of incidents.",
    )
    app.command(f"{rooms}.watch:watch", name="watch", help="Follow what happens, as it happens.")

    @app.command
    def completion(shell: Literal["bash", "zsh", "fish"], /) -> int:
        """Print the completion script of a shell; `im --install-completion` puts it where the shell looks.

        Example: source <(im completion bash)
        """
        print(app.generate_completion(prog_name="im", shell=shell))
        return 0

    @app.command(name="--install-completion")
    def install_completion(shell: Literal["bash", "zsh", "fish"] | None = None, /) -> int:
        """Put the completion script where your shell, or the one you name, looks for it.

        Example: im --install-completion
        """
        # Not cyclopts' own command for it, which would be imported on every start.
        from cyclopts.completion.detect import ShellDetectionError

        try:
            where = app.install_completion(shell=shell)
        except (ShellDetectionError, OSError) as error:
            raise WrongUsage(f"cannot install: {error}", hint="use `im completion bash`, zsh or fish") from error
        print(f"written to {where}; it works in the next shell you open")
        return 0

    @app.meta.default
    def launch(
        *words: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        output_format: Annotated[OutputFormat, Parameter(name="--format", group=EVERYWHERE)] = "table",
        server: Annotated[
            str | None, Parameter(group=EVERYWHERE, help="URL of a daemon elsewhere [$INCIDENTS_SERVER].")
        ] = None,
        token: Annotated[str | None, Parameter(group=EVERYWHERE, help="For --server [$INCIDENTS_TOKEN].")] = None,
        socket: Annotated[
            str | None, Parameter(group=EVERYWHERE, help="Socket of the daemon here [$INCIDENTS_SOCKET].")
        ] = None,
    ) -> int:
        options = Options(output_format=output_format, server=server, token=token, socket=socket)
        command, bound, injected = app.parse_args(words, exit_on_error=False, print_error=False)
        result = command(*bound.args, **bound.kwargs, **dict.fromkeys(injected, Session(options, world)))
        return result if isinstance(result, int) else 0

    return app


def run(argv: Sequence[str], world: World) -> int:
    """Run one command line and return its exit code; only what is not an error of anybody escapes."""
    try:
        code = build(world).meta(argv, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        error.verbose = False
        return _fail(_said(error), f"see {' '.join(['im', *(error.command_chain or ())])} --help", WRONG_USAGE)
    except SyncdError as error:
        return _fail(str(error), error.hint, error.exit_code)
    return code if isinstance(code, int) else 0


def _said(error: CycloptsError) -> str:
    """The parser's words, without its list of commands, which it cuts short."""
    return str(error).partition(" Available commands:")[0].strip().rstrip(".")


def _fail(message: str, hint: str, code: int) -> int:
    line = " ".join((f"{message} - {hint}" if hint else message).split())
    line = _TOKEN.sub(r"\1***", line)  # the parser repeats words that it does not know
    print(f"im: {safe(line)}", file=sys.stderr)
    return code


def main() -> int:
    """One run: the real world, and an end without a traceback when the reader or the user has had enough."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a Latin-1 terminal still shows the rest of the line
            stream.reconfigure(errors="backslashreplace")
    try:
        code = run(sys.argv[1:], _real_world())
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. The interpreter would flush once more and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _real_world() -> World:
    # The seams of the daemon would bring httpx and trio, ten times the start-up of a command. A run of `im` reads the
    # clock once, to say how long ago something was, and makes a random key for a declare.
    return World(
        environ=os.environ,
        user_id=os.geteuid(),
        now_s=time.time(),  # noqa: TID251
        new_key=lambda: os.urandom(16).hex(),  # noqa: TID251
        read_stdin=lambda: sys.stdin.buffer.read(STDIN_BYTES_MAX + 1),
        ask_password=_password_prompt(),
        sleep_s=time.sleep,
    )


def _password_prompt() -> Callable[[str], str] | None:
    if not sys.stdin.isatty():
        return None

    def ask(question: str) -> str:
        from getpass import getpass

        try:
            return getpass(question)
        except EOFError:
            return ""

    return ask
