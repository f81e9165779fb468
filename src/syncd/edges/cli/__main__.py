"""The process that is `im`: started, used once and gone within a tenth of a second.

So it never collects garbage: the collector would look through everything that is imported, several times on the way in
and once more on the way out, which is a fifth of what a command takes.
"""

import gc
import sys


def main() -> int:
    """The entry point; returns the exit code."""
    gc.disable()
    from syncd.edges.cli.main import main as run  # behind it, because importing is most of the work

    try:
        return run()
    finally:
        gc.freeze()


if __name__ == "__main__":
    sys.exit(main())
