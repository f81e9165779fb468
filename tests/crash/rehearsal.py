"""An integration to rehearse trouble on: what a person can do to it from both sides, and what it then shows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, cast

from tests.crash.buggy_daemon import MENDED
from tests.crash.installation import Installation, until

Row = dict[str, object]
PASSWORD: Final = "a-right-one"


class Place:
    """An integration with an organization and a ServiceNow account of its own, so that stories leave others alone."""

    def __init__(self, installation: Installation, name: str) -> None:
        self.installation = installation
        self.im = installation.im
        self.handle = self.org = self.user = name
        self.names = {"I": name}
        password_file = installation.folder / f"{name}.password"
        password_file.write_text(PASSWORD)
        self.names |= {"USER": name, "FILE": str(password_file), "URL": installation.simulator_url}
        self.control("POST", "/users", {"user": name, "password": PASSWORD})

    def control(self, method: str, path: str, body: object = None) -> object:
        """One request to the simulator's control API."""
        return self.installation.control(method, path, body)

    def acl(self, **rights: object) -> None:
        """What the account may do; an empty list takes a restriction away."""
        self.control("POST", "/acl", {"user": self.user, **rights})

    def arm(self, name: str, value: object = None, times: int | None = None) -> None:
        """Arm a fault or set a switch."""
        wanted = {"name": name, "value": value, "times": times}
        self.control("POST", "/faults", {key: one for key, one in wanted.items() if one is not None})

    def configured(self, **settings: object) -> None:
        """Make the integration. New records of others do not come in."""
        usual = {
            "name": self.handle,
            "handle": self.handle,
            "organization_id": self.org,
            "base_url": self.installation.simulator_url,
            "create_platform": False,
            "transaction_quota": "1s",
            "rate_limit": 100,
            "credentials": {"username": self.user, "password": PASSWORD},
        }
        made = {key: value for key, value in (usual | settings).items() if value is not None}
        self.ask("POST", "/integrations", made)

    def configure(self, **settings: object) -> None:
        """Change the integration."""
        self.ask("PATCH", f"/integrations/{self.handle}", settings)

    def ask(self, method: str, path: str, body: object = None) -> object:
        """One request to the daemon's API, which costs less than a run of `im`."""
        url = f"{self.installation.daemon.url}/api/v1{path}"
        answer = self.installation.client.request(method, url, json=body)
        assert answer.status_code < 300, answer.text
        found: object = answer.json()
        return found

    def declare(self, title: str) -> str:
        """Declare an incident, which is ``INC`` from now on."""
        body = {"title": title, "severity": "SEV-3", "organization_id": self.org}
        self.names["INC"] = str(cast("Row", self.ask("POST", "/incidents", body))["id"])
        return self.names["INC"]

    def edit(self, **values: object) -> None:
        """Edit the incident."""
        self.ask("PATCH", f"/incidents/{self.names['INC']}", values)

    def note(self, text: str) -> None:
        """Add a work note to the incident."""
        self.ask("POST", f"/incidents/{self.names['INC']}/notes", {"text": text, "author": "ann"})

    def linked(self, title: str = "Checkout is down") -> None:
        """Configure, declare, and wait until the incident has its record, which is ``SYS_ID`` from now on."""
        if not self.is_configured():
            self.configured()
        self.declare(title)
        until(self.is_linked, "the record is made")
        self.names["SYS_ID"] = str(self.links()[-1]["external_id"])

    def is_configured(self) -> bool:
        """Whether there is an integration yet."""
        return bool(self.ask("GET", f"/integrations?org={self.org}"))

    def is_linked(self) -> bool:
        return any(
            one["incident_id"] == self.names["INC"] and one["state"] == "active" and one["delivery"] is None
            for one in self.links()
        )

    def status(self) -> Row:
        """What sync-status says."""
        return cast("Row", self.ask("GET", f"/integrations/{self.handle}/sync-status"))

    def told(self) -> str:
        """How it is, for whoever waited in vain."""
        return f"it is {self.status()}, with {self.letters()} and {self.links()}"

    def letters(self) -> list[Row]:
        """The dead letters."""
        return cast("list[Row]", self.ask("GET", f"/integrations/{self.handle}/dlq"))

    def links(self) -> list[Row]:
        """The links, oldest first."""
        return cast("list[Row]", self.ask("GET", f"/integrations/{self.handle}/links"))

    def is_well(self) -> bool:
        """It is healthy, has no dead letters, and nothing waits."""
        status = self.status()
        return status["state"] == "healthy" and cast("Row", status["queue"])["outbox"] == 0

    def becomes(self, state: str, words: str = "") -> None:
        """Wait until it is in a state, with words among its reasons."""
        until(
            lambda: (seen := self.status())["state"] == state and words in str(seen["reasons"]),
            lambda: f"it becomes {state}, {words}; {self.told()}",
        )

    def has_letter(self, kind: str) -> None:
        """Wait until there is a dead letter of this kind."""
        until(
            lambda: any(cast("Row", one["error"])["kind"] == kind for one in self.letters()),
            lambda: f"a letter, {kind}; {self.told()}",
        )
        self.names["ENTRY"] = str(self.letters()[0]["id"])

    def record(self) -> dict[str, str]:
        """The incident's record, raw."""
        return cast("dict[str, str]", self.control("GET", f"/incidents/{self.names['SYS_ID']}"))

    def shows(self, **columns: str) -> None:
        """Wait until the record shows these."""
        until(lambda: columns.items() <= self.record().items(), f"{columns} arrive")

    def incident(self) -> Row:
        """The incident."""
        return cast("Row", self.ask("GET", f"/incidents/{self.names['INC']}"))

    def agent_writes(self, **columns: str) -> None:
        """Somebody edits the record in ServiceNow."""
        self.control("POST", f"/incidents/{self.names['SYS_ID']}/edit", {"as_user": "admin", "fields": columns})

    def notes_there(self) -> list[str]:
        """The work notes of the record."""
        found = cast("list[Row]", self.control("GET", f"/incidents/{self.names['SYS_ID']}/notes"))
        return [str(one["value"]) for one in found]

    def named(self, word: str) -> str:
        """A word of a command line, with a name in the place of what stands for one."""
        return self.names.get(word, word)

    def mend(self, bug: str) -> None:
        """Mend one of the bugs of our own."""
        folder = Path(self.im.environ[MENDED])
        folder.mkdir(exist_ok=True)
        (folder / bug).touch()

    def calm(self) -> None:
        """Take back what was done to the instance as a whole."""
        self.control("DELETE", "/faults")
        self.control("DELETE", "/rules")
        self.arm("title_prefix", "")
        self.arm("query_acl", "drop")

    def abort(self, query: str) -> None:
        """Have a business rule abort writes whose result matches."""
        self.control("POST", "/rules", {"abort": {"name": "Not like that", "query": query}})

    def reconcile(self) -> None:
        """Compare all records now, and heal."""
        self.ask("POST", f"/integrations/{self.handle}/reconcile?wait=true", {"auto_heal": True})


Story = Callable[[Place], Iterator[None]]
"""It yields twice: when there is something to be seen, and when what is wrong outside of ``syncd`` is mended, so that
the page's commands are next. What it asserts after that holds when they have been run and all is well."""
