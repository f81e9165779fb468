"""Decide: pure functions and frozen Structs; no clock, no randomness, no I/O."""
