"""syncd keeps incidents of an incident platform and ServiceNow in two-way sync.

Each folder is a room and makes one kind of promise: ``core`` decides, ``journal`` remembers, ``systems`` talk to the
two sides, ``actors`` live, ``edges`` face people and peers, ``simulator`` pretends to be ServiceNow. The modules beside
them are the front hall: settings, seams, errors and the composition of the daemon.
``tests/test_rooms.py`` says who may import whom.
"""

__version__ = "0.1.0"
