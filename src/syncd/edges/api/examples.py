"""Examples for the API's description: one incident of a shop, and what hangs on it.

Bodies are as a caller would send them, answers as syncd would give them; a test holds both to what is really read and
written.
"""

from typing import Final

_AT: Final = "2026-11-24T09:00:00.000000Z"
_LATER: Final = "2026-11-24T09:14:03.500000Z"
_SYS_ID: Final = "1c741bd70b2322007518478d83673af3"
_URL: Final = f"https://your-instance.service-now.com/nav_to.do?uri=incident.do?sys_id={_SYS_ID}"
_INCIDENT_ID: Final = "INC-WQV72H7HPR"
_INTEGRATION_ID: Final = "int_4Q7ZK2M9XD"

NEW_INCIDENT: Final = {"title": "Checkout latency", "severity": "SEV-2", "service": "checkout"}
CHANGES: Final = {"status": "resolved", "resolution_code": "Solution provided", "resolution_notes": "Rolled back."}
NEW_NOTE: Final = {"text": "Failed over to the other region."}
NEW_INTEGRATION: Final = {
    "handle": "prod-snow",
    "name": "Production ServiceNow",
    "organization_id": "acme-corp",
    "base_url": "https://your-instance.service-now.com",
    "credentials": {"username": "svc.sync", "password": "…"},
    "external_defaults": {"close_code": "Solution provided", "close_notes": "Resolved by SRE"},
}
PAIR: Final = {"incident_id": _INCIDENT_ID, "external_id": _SYS_ID}
VERDICT: Final = {"use": "platform"}
NEW_MAPPING: Final = {
    "external_field": "u_sev",
    "values": {"SEV-1": "1", "SEV-2": "2", "SEV-3": "3", "SEV-4": ["4", "5"]},
}
NEW_TOKEN: Final = {"name": "deploy-bot", "scope": "operate"}
WEBHOOK: Final = {
    "sys_id": _SYS_ID,
    "number": "INC0010026",
    "operation": "update",
    "sys_mod_count": 3,
    "updated_on": "2026-11-24 09:14:02",
    "updated_by": "beth.anglin",
}

MAPPING: Final = {
    "field": "severity",
    "external_field": "u_sev",
    "values": {"SEV-1": ["1"], "SEV-2": ["2"], "SEV-3": ["3"], "SEV-4": ["4", "5"]},
    "transform": "",
    "direction": "bidirectional",
    "default": False,
}
INCIDENT: Final = {
    "id": _INCIDENT_ID,
    "organization_id": "acme-corp",
    "title": "Checkout latency",
    "description": "",
    "severity": "SEV-2",
    "status": "open",
    "assigned_to": None,
    "service": "checkout",
    "resolution_code": None,
    "resolution_notes": None,
    "version": 3,
    "created_at": _AT,
    "updated_at": _LATER,
    "updated_by": "integration:prod-snow",
    "links": [
        {
            "integration_id": _INTEGRATION_ID,
            "integration": "prod-snow",
            "external_id": _SYS_ID,
            "external_number": "INC0010026",
            "external_url": _URL,
            "state": "active",
        }
    ],
}
NOTE: Final = {
    "id": "note-7HPRWQV72H",
    "text": "Failed over to the other region.",
    "author": "user:ana",
    "created_at": _LATER,
    "origin": "platform",
}
LINK: Final = {
    "incident_id": _INCIDENT_ID,
    "external_id": _SYS_ID,
    "external_number": "INC0010026",
    "external_url": _URL,
    "state": "active",
    "reason": None,
    "created_at": _AT,
    "last_synced_at": _LATER,
    "delivery": None,
}
INTEGRATION: Final = {
    "id": _INTEGRATION_ID,
    "handle": "prod-snow",
    "name": "Production ServiceNow",
    "organization_id": "acme-corp",
    "integration_type": "servicenow",
    "base_url": "https://your-instance.service-now.com",
    "sync_direction": "bidirectional",
    "enabled": True,
    "conflict_strategy": "last-write-wins",
    "conflict_window": "5s",
    "create_external": True,
    "create_platform": True,
    "import_query": "",
    "external_defaults": {"close_code": "Solution provided", "close_notes": "Resolved by SRE"},
    "rate_limit": 10.0,
    "max_concurrency": 4,
    "transaction_quota": "60s",
    "poll_interval": "off",
    "closed_policy": "park",
    "account": "svc.sync",
    "credentials_set": ["password", "username"],
    "created_at": _AT,
    "first_enabled_at": _AT,
}
CONFLICT: Final = {
    "id": "conflict-17",
    "integration_id": _INTEGRATION_ID,
    "integration": "prod-snow",
    "incident_id": _INCIDENT_ID,
    "external_id": _SYS_ID,
    "field": "title",
    "base": "Checkout",
    "platform": "Checkout latency",
    "external": "Checkout is slow",
    "platform_by": "user:ana",
    "external_by": "beth.anglin",
    "platform_at": _AT,
    "external_from": _AT,
    "external_at": _LATER,
    "strategy": "manual-review",
    "status": "pending",
    "decided": None,
    "version": 1,
    "created_at": _LATER,
    "resolved_at": None,
    "resolved_by": None,
    "reason": "held-for-review",
    "rule": "manual-review, window 5s, owner platform (priority 1): "
    "both edits lie within the window, so a person decides; the stamps cannot tell which edit was later",
    "would_write": {
        "use_platform": {"incident": {}, "record": {"short_description": "Checkout latency"}},
        "use_external": {"incident": {"title": "Checkout is slow"}, "record": {}},
    },
}
OWNERSHIP: Final = {
    "field": "severity",
    "owner": "platform",
    "priority": 10,
    "exclusive": False,
    "default": False,
    "effect": None,
}
RULE: Final = {"owner": "platform", "priority": 10}
DEAD_LETTER: Final = {
    "id": "entry-17",
    "incident_id": _INCIDENT_ID,
    "external_id": _SYS_ID,
    "operation": "update",
    "fields": ["status"],
    "attempts": 1,
    "error": {
        "kind": "refused",
        "status": 403,
        "message": "Operation Failed",
        "detail": "Data Policy Exception: Resolution code is mandatory",
    },
    "remedy": "set external_defaults.close_code, then retry",
    "created_at": _AT,
    "last_attempt_at": _AT,
    "next_attempt_at": None,
    "note_id": None,
    "would_send": {"state": "6", "close_code": "Solution provided"},
}
RUN: Final = {
    "id": "run-17",
    "integration_id": "int_4f1c9a",
    "mode": "heal",
    "trigger": "manual",
    "status": "finished",
    "reason": "",
    "started_at": _AT,
    "finished_at": _LATER,
    "checked": 42,
    "links": None,
    "found": 1,
    "causes": {"missed-webhook": 1},
    "healed": 1,
    "drifts": [
        {
            "incident_id": _INCIDENT_ID,
            "external_id": _SYS_ID,
            "field": "title",
            "platform": "Checkout latency",
            "external": "Checkout is slow",
            "base": "Checkout latency",
            "base_external": "Checkout latency",
            "cause": "missed-webhook",
            "action": "take over ServiceNow's value",
            "healed": True,
        }
    ],
    "left_out": 0,
}
