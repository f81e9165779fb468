"""Golden journals: one folder for each version, kept for ever, and opened by every build (``test_golden.py``)."""
