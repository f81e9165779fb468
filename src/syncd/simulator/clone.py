"""A clone: all data of one instance over another, as when production is copied over test.

Owns what travels and what does not. Records with their sys_ids and notes, people and passwords, rules, switches and the
webhook rule with its secret travel: afterwards the clone calls the same receiver about the same sys_ids, under another
name. The name, the clock, chance, armed faults, tokens and the log of requests stay the target's.
"""

from copy import deepcopy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from syncd.simulator.instance import Instance

__all__ = ["copy_over"]


def copy_over(source: "Instance", target: "Instance") -> int:
    """Replace everything that ``target`` stores by a copy; returns how many incidents it has now.

    What waits on the target (late commits, webhooks) still happens: a late commit of a record that is gone is lost.
    """
    source.settle()
    target.settle()
    for name, table in source.kernel.store.tables.items():
        if name == "sys_properties":  # the target's name is preserved
            continue
        other = target.kernel.store.tables[name]
        other.columns = dict(table.columns)
        other.schema_version += table.schema_version + 1
        other.rows.clear()
        other.rows.update({sys_id: dict(row) for sys_id, row in table.rows.items()})
    target.journal.find_entries()
    target.kernel.number_last = source.kernel.number_last
    target.kernel.api_user = source.kernel.api_user
    target.kernel.accounts.copy_from(source.kernel.accounts)
    target.kernel.switches.copy_from(source.kernel.switches)
    rules = deepcopy(source.rulebook)
    target.rulebook.matrix, target.rulebook.policies, target.rulebook.aborts = (
        rules.matrix,
        rules.policies,
        rules.aborts,
    )
    target.outbound.targets = list(source.outbound.targets)
    return len(target.kernel.incidents.rows)
