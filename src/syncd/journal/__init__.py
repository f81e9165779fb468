"""Remember: the one durable truth, an ordered log of events."""
