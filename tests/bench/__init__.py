"""The bench: `make bench` measures the daemon against baselines of the same run. Not collected by pytest.

Every number is a ratio to something measured beside it, because no machine that this runs on is quiet or fast enough
for an absolute one. What each row and each part means is in docs/performance.md.
"""
