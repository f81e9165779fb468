"""Hypothesis for the whole suite: no deadline (a busy machine is no failure), and the same examples in every run.

`make unit ARGS=--hypothesis-profile=explore` draws new examples instead.
"""

from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("steady")
