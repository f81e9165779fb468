"""Who is who in a simulated instance, by this test's own reading of docs/sync.md, "People"."""

from syncd.simulator.instance import Instance


class People:
    """The people of one instance, who do not change."""

    def __init__(self, instance: Instance) -> None:
        self._rows = list(instance.kernel.store.tables["sys_user"].rows.values())

    def sys_id(self, text: str) -> str:
        """Whom a text of the platform names; the text itself where it names nobody, or more than one."""
        for column in ("email", "user_name") if "@" in text else ("user_name",):
            found = [row["sys_id"] for row in self._rows if row[column].casefold() == text.casefold()]
            if found:
                return found[0] if len(found) == 1 else text
        return text

    def names(self, text: str) -> bool:
        """Whether a record can be assigned to whom this text names."""
        sys_id = self.sys_id(text)
        return any(row["sys_id"] == sys_id and row["active"] == "true" for row in self._rows)

    def named(self, user_name: str) -> str:
        """The ``sys_id`` of a user; empty for nobody."""
        return next((row["sys_id"] for row in self._rows if row["user_name"] == user_name), "")
