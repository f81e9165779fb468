"""People, groups, choices and the dictionary: what a fresh instance knows before its first incident.

Owns fixed rows with fixed sys_ids, the same in every instance: two people of one name, two with one e-mail address, one
who left, one who is locked out. Never draws anything by chance; the incidents are in ``seed_incidents.py``.
"""

from typing import Final

from syncd.simulator.accounts import ITIL_ROLES, Accounts
from syncd.simulator.tables import Store, fixed_sys_id

__all__ = ["GONE_USER_SYS_ID", "GROUPS", "HUMANS", "fill_fixtures"]

GONE_USER_SYS_ID: Final = "5137153cc611227c000bbd1bd8cd2099"
"""A sys_id that some incident is assigned to and that no user has any more."""

HUMANS: Final = (
    # user_name, name, e-mail, sys_id, active, locked_out, zone, password
    ("beth.anglin", "Beth Anglin", "", "46d44a23a9fe19810012d100cca80666", True, False, "", "beth-secret"),
    ("fred.luddy", "Fred Luddy", "", "5137153cc611227c000bbd1bd8cd2005", True, False, "", "fred-secret"),
    ("abel.tuter", "Abel Tuter", "", "62826bf03710200044e0bfc8bcbe5df1", True, False, "America/New_York", ""),
    ("david.loo", "David Loo", "", "5137153cc611227c000bbd1bd8cd2007", True, False, "", ""),
    ("don.goodliffe", "Don Goodliffe", "", "9ee1b13dc6112271007f9d0efdb69cd0", True, False, "", ""),
    ("luke.wilson", "Luke Wilson", "", "681b365ec0a80164000fb0b05854a0cd", True, False, "Europe/London", ""),
    ("ana.ruiz", "Ana Ruiz", "", "", True, False, "Europe/Berlin", ""),
    ("ana.ruiz2", "Ana Ruiz", "ana.ruiz2@example.com", "", True, False, "", ""),
    ("ops.night", "Nora Night", "operations@example.com", "", True, False, "", ""),
    ("ops.day", "Dan Day", "operations@example.com", "", True, False, "", ""),
    ("joe.employee", "Joe Employee", "", "681ccaf9c0a8016400b98a06818d57c7", True, False, "", "joe-secret"),
    ("ingrid.gone", "Ingrid Gone", "", "", False, False, "", "ingrid-secret"),
    ("lars.locked", "Lars Locked", "", "", True, True, "", "lars-secret"),
)

GROUPS: Final = {
    "Network": ("287ebd7da9fe198100f92cc8d1d2154e", ("beth.anglin", "ops.night", "ops.day")),
    "Software": ("8a4dde73c6112278017a6a4baf547aa7", ("fred.luddy", "ana.ruiz", "don.goodliffe")),
    "Database": ("287ee6fea9fe198100ada7950d0b1b73", ("don.goodliffe", "david.loo", "ana.ruiz2")),
    "Hardware": ("8a5055c9c61122780043563ef53438e3", ("luke.wilson", "beth.anglin")),
    "Service Desk": ("d625dccec0a8016700a222a0f7900d06", ("beth.anglin", "fred.luddy", "david.loo", "luke.wilson")),
}
"""Group name to its sys_id and its members."""

_STATES: Final = (
    ("1", "New"),
    ("2", "In Progress"),
    ("3", "On Hold"),
    ("6", "Resolved"),
    ("7", "Closed"),
    ("8", "Canceled"),
)
_LEVELS: Final = (("1", "1 - High"), ("2", "2 - Medium"), ("3", "3 - Low"))
_PRIORITIES: Final = (
    ("1", "1 - Critical"), ("2", "2 - High"), ("3", "3 - Moderate"), ("4", "4 - Low"), ("5", "5 - Planning"),
)  # fmt: skip
_CLOSE_CODES: Final = (
    "Duplicate", "Known error", "No resolution provided", "Resolved by caller", "Resolved by change",
    "Resolved by problem", "Resolved by request", "Solution provided", "Workaround provided", "User error",
)  # fmt: skip
_CATEGORIES: Final = ("inquiry", "software", "hardware", "network", "database")

_CHOICES: Final = {
    ("incident", "state"): _STATES,
    ("incident", "incident_state"): _STATES,
    ("task", "impact"): _LEVELS,
    ("task", "urgency"): _LEVELS,
    ("task", "priority"): _PRIORITIES,
    ("incident", "severity"): _LEVELS,
    ("incident", "hold_reason"): (
        ("1", "Awaiting Caller"),
        ("3", "Awaiting Problem"),
        ("4", "Awaiting Vendor"),
        ("5", "Awaiting Change"),
    ),
    ("incident", "close_code"): tuple((code, code) for code in _CLOSE_CODES),
    ("incident", "category"): tuple(
        (name, "Inquiry / Help" if name == "inquiry" else name.title()) for name in _CATEGORIES
    ),
    ("task", "contact_type"): (
        ("phone", "Phone"),
        ("email", "Email"),
        ("self-service", "Self-service"),
        ("monitoring", "Monitoring"),
    ),
    ("task", "escalation"): (("0", "Normal"), ("1", "Moderate"), ("2", "High"), ("3", "Overdue")),
    ("task", "approval"): (
        ("not requested", "Not Yet Requested"),
        ("requested", "Requested"),
        ("approved", "Approved"),
    ),
    ("incident", "notify"): (("1", "Do Not Notify"), ("2", "Send Email"), ("3", "Phone")),
    ("task", "upon_reject"): (("cancel", "Cancel all future Tasks"), ("goto", "Go to a previous approval point")),
    ("task", "upon_approval"): (
        ("proceed", "Proceed to Next Task"),
        ("do_nothing", "Wait for a User to Close this task"),
    ),
}
_GERMAN_STATES: Final = {"1": "Neu", "2": "In Bearbeitung", "3": "Zurückgestellt", "6": "Gelöst", "7": "Geschlossen"}


def fill_fixtures(store: Store, accounts: Accounts, stamp: str, instance_name: str) -> None:
    """Put people, groups, memberships, choices, the dictionary and the instance's name into an empty store."""
    stamps = {"sys_created_on": stamp, "sys_updated_on": stamp, "sys_created_by": "admin", "sys_updated_by": "admin"}
    _fill_people(store, accounts, stamps)
    sys_id = fixed_sys_id("sys_properties", "instance_name")
    store.put("sys_properties", sys_id=sys_id, name="instance_name", value=instance_name, type="string", **stamps)
    for (table, element), choices in _CHOICES.items():
        for sequence, (value, label) in enumerate(choices, start=1):
            _put_choice(store, table, element, value, label, str(sequence), "en", stamps)
    for value, label in _GERMAN_STATES.items():
        _put_choice(store, "incident", "state", value, label, value, "de", stamps)
    for name, column in store.tables["incident"].columns.items():
        store.put(
            "sys_dictionary",
            sys_id=fixed_sys_id("sys_dictionary", column.owner, name),
            name=column.owner,
            element=name,
            column_label=column.label,
            internal_type=column.type,
            max_length=str(column.length_max),
            reference=column.reference,
            active="true",
            **stamps,
        )


def _fill_people(store: Store, accounts: Accounts, stamps: dict[str, str]) -> None:
    admin = {"name": "System Administrator", "email": "admin@example.com"}
    accounts.add("admin", "admin", {"admin"}, sys_id="6816f79cc0a8016401c5a33be04be441", **admin, **stamps)
    for user_name, name, email, sys_id, is_active, is_locked, zone, password in HUMANS:
        first, _, last = name.partition(" ")
        accounts.add(
            user_name,
            password or None,
            frozenset() if user_name == "joe.employee" else ITIL_ROLES,
            sys_id=sys_id or fixed_sys_id("sys_user", user_name),
            name=name,
            first_name=first,
            last_name=last,
            email=email or f"{user_name}@example.com",
            active="true" if is_active else "false",
            locked_out="true" if is_locked else "false",
            time_zone=zone,
            date_format="yyyy-MM-dd",
            preferred_language="en",
            **stamps,
        )
    for name, (sys_id, members) in GROUPS.items():
        store.put("sys_user_group", sys_id=sys_id, name=name, active="true", **stamps)
        for member in members:
            row = accounts.user_row(member)
            if row is not None:
                link = fixed_sys_id("sys_user_grmember", name, member)
                store.put("sys_user_grmember", sys_id=link, user=row["sys_id"], group=sys_id, **stamps)


def _put_choice(
    store: Store, table: str, element: str, value: str, label: str, sequence: str, language: str, stamps: dict[str, str]
) -> None:
    store.put(
        "sys_choice",
        sys_id=fixed_sys_id("sys_choice", table, element, value, language),
        name=table,
        element=element,
        value=value,
        label=label,
        sequence=sequence,
        language=language,
        inactive="false",
        **stamps,
    )
