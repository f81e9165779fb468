"""Hypothesis for the whole suite: no deadline (a busy machine is no failure), and the same examples in every run.

`make unit ARGS=--hypothesis-profile=explore` draws new examples instead. At the end of the output stands how many
simulated worlds there were, and how often the rare states came in them.
"""

import signal
from collections import Counter

import pytest
from hypothesis import settings

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in its background like this, and every process that a test starts would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("steady")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add up what the tests of drawn worlds have counted, over all workers."""
    worlds, rare = 0, Counter[str]()
    for report in [one for many in terminalreporter.stats.values() for one in many]:
        told = dict(report.user_properties) if getattr(report, "when", "") == "call" else {}
        worlds += told.get("worlds", 0)
        rare.update(told.get("rare", {}))
    if worlds:
        terminalreporter.write_line(
            f"{worlds} simulated worlds: {', '.join(f'{n} {name}' for name, n in rare.items())}"
        )
