"""Pretend: a ServiceNow for tests and demos that shares no code with the rest."""
