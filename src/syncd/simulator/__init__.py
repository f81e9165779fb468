"""A ServiceNow that keeps its promises, and breaks them on request.

Behaves like the Table API, the incident rules and the business-rule webhooks of a real instance as far as a two-way
sync can tell. It shares no code with the rest of syncd: if it shared our idea of the format, both would be wrong
together. ``Instance`` is the synchronous core; ``server`` puts it on a port, ``transport`` into a simulation.
"""
