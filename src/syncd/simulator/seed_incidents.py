"""The incidents that a fresh instance already has: realistic, and the same for the same seed.

Owns the texts and the draws. Writes rows straight into the store, as a history that no rule saw happen: no webhook and
no count of requests comes from here.
"""

from random import Random
from typing import Final, NamedTuple

from syncd.simulator.clock import stamp_of
from syncd.simulator.fixtures import GONE_USER_SYS_ID, GROUPS
from syncd.simulator.journal import Journal
from syncd.simulator.kernel import Kernel
from syncd.simulator.rules import BASE_MATRIX

__all__ = ["seed_incidents"]


class _Story(NamedTuple):
    title: str
    description: str
    category: str
    group: str
    impact: str
    urgency: str
    notes: tuple[str, ...] = ()


_STORIES: Final = (
    _Story(
        "Checkout latency above 4 s",
        "p99 of /checkout went from 600 ms to 4.2 s.\nStarted with release 4.2.1.",
        "software",
        "Software",
        "1",
        "2",
        ("Deploy of 4.2.1 suspected.", "Rolled back to 4.2.0, latency falls."),
    ),
    _Story(
        "VPN drops every ten minutes in Berlin",
        "Tunnel re-keys and does not come back until the client restarts.",
        "network",
        "Network",
        "2",
        "2",
        ("Provider ticket opened.",),
    ),
    _Story("Payroll export failed", "The nightly export stopped at row 18 004.", "software", "Software", "2", "1"),
    _Story(
        "Database replica lags 40 minutes",
        "Replica db-eu-2 behind primary; reads are stale.",
        "database",
        "Database",
        "1",
        "1",
        ("Long transaction found.\n\nKilled it, lag is shrinking.",),
    ),
    _Story("Printer on floor 3 offline", "", "hardware", "Hardware", "3", "3"),
    _Story("Mail queue growing", "Outbound queue at 12 000 and rising.", "network", "Network", "1", "2"),
    _Story(
        "Cannot log in after password change",
        "Error code AADSTS50126 on every attempt.",
        "inquiry",
        "Service Desk",
        "3",
        "2",
        ("Asked caller for the exact time.",),
    ),
    _Story("Disk 91 % full on app-17", "/var/log grew by 20 GB since Sunday.", "hardware", "Hardware", "2", "3"),
    _Story(
        "Search returns no results for umlauts",
        'Searching for "Zürich" or "Größe" finds nothing.',
        "software",
        "Software",
        "2",
        "3",
    ),
    _Story("Wi-Fi guest network down", "Captive portal does not load in the lobby.", "network", "Network", "3", "3"),
    _Story(
        "Invoices carry the wrong currency",
        "US customers receive invoices in EUR since 09:00.",
        "software",
        "Software",
        "1",
        "1",
        ("Feature flag `multi-currency` switched off.", "Corrected invoices are being sent."),
    ),
    _Story("Laptop does not charge", "Dock and adapter replaced, no change.", "hardware", "Hardware", "3", "3"),
    _Story("Certificate of api.example.com expires in 3 days", "", "network", "Network", "1", "3"),
    _Story(
        "Monitoring agent silent on 14 hosts", "No metrics since the kernel update.", "software", "Software", "2", "2"
    ),
    _Story("Request for a shared mailbox", "For the new procurement team.", "inquiry", "Service Desk", "3", "3"),
    _Story(
        "Order import stuck",
        "Partner sends files, nothing is imported; no error in the log.",
        "software",
        "Software",
        "1",
        "2",
        ("Second look by vendor needed.",),
    ),
    _Story("Phone system: no outgoing calls", "All sites. Incoming calls work.", "network", "Network", "1", "1"),
    _Story("Backup of finance share failed twice", "Job ends with status 84.", "database", "Database", "2", "2"),
    _Story(
        "Slow sign-on in the Singapore office",
        "Logging in takes two minutes in the morning.",
        "network",
        "Network",
        "2",
        "3",
    ),
    _Story("Dashboard shows yesterday's numbers", "The refresh job reports success.", "database", "Database", "3", "2"),
    _Story("Badge reader rejects new badges", "Only badges issued this week.", "hardware", "Hardware", "3", "2"),
    _Story(
        "Cannot open attachments in the portal",
        "Message: file is empty.",
        "software",
        "Software",
        "2",
        "3",
        ("2026-01-01 10:00:00 - Somebody Else (Work notes)\nquoted from the old ticket\n\nsame error as last year",),
    ),
    _Story("Kubernetes node not ready", "node-b7 flaps every few minutes.", "software", "Software", "2", "1"),
    _Story(
        "Wrong time zone in calendar invitations",
        "Invitations from mobile are one hour off.",
        "inquiry",
        "Service Desk",
        "3",
        "3",
    ),
    _Story(
        "Payment provider answers 503",
        "30 % of card payments fail since 14:10 UTC.",
        "software",
        "Software",
        "1",
        "1",
        ("Provider confirms an incident.",),
    ),
)

_STATES: Final = ("1", "1", "2", "2", "2", "3", "6", "6", "7", "8")


def seed_incidents(kernel: Kernel, journal: Journal, seed: int, count: int) -> None:
    """Put ``count`` incidents into the store, aged up to 20 days; the texts repeat, numbered, above 25."""
    random = Random(seed)
    now_s = kernel.clock.at_s()
    people = [row for row in kernel.store.tables["sys_user"].rows.values() if row["user_name"] != kernel.api_user]
    by_name = {row["user_name"]: row for row in people}
    for index in range(count):
        story = _STORIES[index % len(_STORIES)]
        group_sys_id, members = GROUPS[story.group]
        agent = by_name[random.choice(members)]
        caller = random.choice(people)
        state = _STATES[index % len(_STATES)] if index % 3 else random.choice(_STATES)
        opened_s = now_s - random.uniform(3600, 20 * 86400)
        touched_s = opened_s + random.uniform(0.1, 0.9) * (now_s - opened_s)
        copy = f" ({index // len(_STORIES) + 1})" if index >= len(_STORIES) else ""
        row = kernel.store.put(
            "incident",
            sys_id=f"{random.getrandbits(128):032x}",
            number=kernel.next_number(),
            short_description=story.title + copy,
            description=story.description,
            category=story.category,
            assignment_group=group_sys_id,
            assigned_to=agent["sys_id"] if state != "1" else "",
            caller_id=caller["sys_id"],
            opened_by=caller["sys_id"],
            opened_at=stamp_of(opened_s),
            contact_type=random.choice(("phone", "email", "self-service", "monitoring")),
            impact=story.impact,
            urgency=story.urgency,
            priority=BASE_MATRIX[story.impact, story.urgency],
            state=state,
            incident_state=state,
            active="false" if state in {"7", "8"} else "true",
            hold_reason=random.choice(("1", "3", "4")) if state == "3" else "",
            sys_created_on=stamp_of(opened_s),
            sys_created_by=caller["user_name"],
            sys_updated_on=stamp_of(touched_s),
            sys_updated_by=agent["user_name"],
            sys_mod_count=str(random.randint(1, 6) if state != "1" else 0),
        )
        if state in {"6", "7"}:
            row["close_code"], row["close_notes"] = "Solution provided", "Fixed and confirmed."
            row["resolved_at"], row["resolved_by"] = stamp_of(touched_s), agent["sys_id"]
        if state == "7":
            row["closed_at"], row["closed_by"] = stamp_of(touched_s), agent["sys_id"]
        written_s = sorted(random.uniform(opened_s, touched_s) for _ in story.notes)
        for note, at_s in zip(story.notes, written_s, strict=True):
            journal.add("incident", row["sys_id"], "work_notes", note, author=agent["user_name"], stamp=stamp_of(at_s))
    _assign_to_somebody_gone(kernel)


def _assign_to_somebody_gone(kernel: Kernel) -> None:
    """One open incident stays assigned to a user whose row no longer exists."""
    for row in kernel.incidents.rows.values():
        if row["state"] == "2":
            row["assigned_to"] = GONE_USER_SYS_ID
            return
