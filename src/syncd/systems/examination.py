"""The connection test: asks an instance a few questions, one step after the other, and tells what each found.

Within the integration's rate, and with its own patience: what the breaker thinks of the instance plays no part. Changes
nothing there, unless the write check is asked for, which makes one incident and cancels it again.
"""

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from syncd.core import examination as judge
from syncd.core.examination import NEEDED_COLUMNS, Step
from syncd.core.lens import lens_of
from syncd.core.mapping import PRIORITY_OF_PAIR, transition_defaults
from syncd.core.model import Integration, Observation
from syncd.core.sending import CORRELATION_PREFIX
from syncd.errors import ExternalFailed
from syncd.systems.servicenow import NO_RECORD, ServiceNow

TOTAL_S_MAX: Final = 55.0
STEP_S_MAX: Final = 20.0
WRITE_S_MAX: Final = 40.0
NOTED_RECORDS: Final = 20
CHOICES_MAX: Final = 500
ROLES_TO_WRITE: Final = "give the account the roles sn_incident_write and itil; see also its API access policies"
TITLE: Final = "Connection test of syncd: to be ignored"
NOTE: Final = "Written by the connection test of syncd."
USER_COLUMNS: Final = ("user_name", "time_zone", "preferred_language", "locked_out", "active")

Ask = Callable[[], Awaitable[Step]]


class Examination:
    """One run over one instance: an iterator of steps, which never raises ``ExternalFailed``.

    ``word`` makes the incident of the write check unmistakable. ``aclose`` ends what was opened for it alone.
    """

    def __init__(
        self,
        instance: ServiceNow,
        integration: Integration,
        *,
        writes: bool,
        word: str,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._instance = instance
        self._integration = integration
        self._correlation_id = f"{CORRELATION_PREFIX}test:{word}"
        self._close = close
        self._blocked = ""
        self._ends_at = trio.current_time() + TOTAL_S_MAX
        self._refused: ExternalFailed | None = None
        steps: dict[str, Ask] = {
            "reach": self._reach,
            "credentials": self._credentials,
            "account": self._account,
            "instance": self._identity,
            "clock": self._clock,
            "read": self._read,
            "queries": self._queries,
            "choices": self._choices,
            "work notes": self._work_notes,
            "write permission": self._write_permission,
            "rate limit": self._rate_limit,
            "write check": self._write_check if writes else self._no_write_check,
        }
        self._left = iter(steps.items())

    def __aiter__(self) -> "Examination":
        return self

    async def __anext__(self) -> Step:
        """The next step, done."""
        try:
            name, ask = next(self._left)
        except StopIteration:
            raise StopAsyncIteration from None
        if self._blocked:
            await trio.lowlevel.checkpoint()
            return Step(name, "skipped", f"not tried: {self._blocked}")
        patience_s = WRITE_S_MAX if name == "write check" else STEP_S_MAX
        with trio.move_on_at(min(self._ends_at, trio.current_time() + patience_s)):
            try:
                return await ask()
            except ExternalFailed as error:
                return Step(name, "failed", str(error), error.hint or _remedy(error))
        if trio.current_time() >= self._ends_at:
            self._blocked = f"the {TOTAL_S_MAX:g} s of the whole test are over"
        words, remedy = "no answer in time", "see whether the instance is slow, or rate_limit very low"
        if name == "write check":
            words += f"; what it made has correlation_id {self._correlation_id}, and was not canceled"
        return Step(name, "failed", words, remedy)

    async def aclose(self) -> None:
        """End the connections that were made for this run."""
        if self._close is not None:
            await self._close()

    async def _reach(self) -> Step:
        self._instance.ask_for_a_login()
        try:
            await self._instance.rows("incident", f"sys_id={NO_RECORD}", ("sys_id",), 1)
        except ExternalFailed as error:
            is_there = error.status is not None and error.outcome in ("paused", "refused", "gone", "throttled")
            if not is_there:
                self._blocked = "the instance does not answer as it should"
                return Step("reach", "failed", str(error), _remedy(error))
            self._refused = error
        return Step("reach", "ok", f"{self._integration.settings.base_url}: name, connection and answer are well")

    async def _credentials(self) -> Step:
        await trio.lowlevel.checkpoint()
        error, handle = self._refused, self._integration.settings.handle
        if not self._integration.credentials:
            self._blocked = "there are no credentials"
            return Step("credentials", "failed", "none are stored", f"im integration configure {handle} --username …")
        if error is None:
            return Step("credentials", "ok", f"accepted: {_kind(self._integration)}")
        self._blocked = "the instance refuses us"
        return Step("credentials", "failed", str(error), error.hint or _remedy(error))

    async def _account(self) -> Step:
        name = self._integration.account
        if not name:
            await trio.lowlevel.checkpoint()
            return Step("account", "skipped", "under which user we are there is known from the first write on")
        return judge.account(name, await self._instance.rows("sys_user", f"user_name={name}", USER_COLUMNS, 2))

    async def _identity(self) -> Step:
        one, name = self._integration, await self._instance.instance_name()
        return judge.identity(name, one.instance, one.settings.base_url, one.settings.handle)

    async def _clock(self) -> Step:
        await trio.lowlevel.checkpoint()
        return judge.clock(self._instance.offset, is_measured=self._instance.is_clock_known)

    async def _read(self) -> Step:
        wanted = (*NEEDED_COLUMNS, *lens_of(self._integration.settings).columns)
        return judge.columns(await self._instance.rows("incident", "ORDERBYDESCsys_created_on", wanted, 1), wanted)

    async def _queries(self) -> Step:
        faults = await self._instance.query_faults()
        if not faults:
            return Step("queries", "ok", "ids, ranges and order are kept to")
        remedy = "give the account query_range on these columns of incident: until then new records are not looked for"
        return Step("queries", "failed", "; ".join(faults), remedy)

    async def _choices(self) -> Step:
        settings = self._integration.settings
        among = ",".join(judge.chosen_columns(settings))
        query = f"nameINincident,task^elementIN{among}^inactive=false"
        rows = await self._instance.rows("sys_choice", query, ("name", "element", "value", "inactive"), CHOICES_MAX)
        found: dict[str, dict[str, set[str]]] = {"incident": {}, "task": {}}
        for row in rows:
            if row.get("name") in found and row.get("inactive") != "true":
                found[row["name"]].setdefault(row.get("element", ""), set()).add(row.get("value", ""))
        return judge.choices(
            {**found["task"], **found["incident"]}, settings
        )  # the table's own come before its parent's

    async def _work_notes(self) -> Step:
        shown = await self._instance.rows(
            "incident", "ORDERBYDESCsys_updated_on", ("sys_id", "work_notes"), NOTED_RECORDS, display=True
        )
        if shown and all("work_notes" not in row for row in shown):
            return Step("work notes", "failed", "not shown", "let the account read work_notes of incident (role itil)")
        noted = next((row["sys_id"] for row in shown if row.get("work_notes") and row.get("sys_id")), "")
        if not noted:
            return Step("work notes", "skipped", f"none of the {len(shown)} newest incidents has one to try it with")
        query = f"element_id={noted}^element=work_notes"
        rows = await self._instance.rows("sys_journal_field", query, ("element_id", "element"), 1)
        if any(row.get("element_id") == noted for row in rows):
            return Step("work notes", "ok", "read from sys_journal_field")
        return Step(
            "work notes",
            "warning",
            "sys_journal_field is hidden, so they are read from the records, without the accounts that wrote them",
            "give the account the role audit_viewer, or another that may read sys_journal_field",
        )

    async def _write_permission(self) -> Step:
        if self._integration.settings.sync_direction in ("none", "inbound"):
            await trio.lowlevel.checkpoint()
            return Step("write permission", "skipped", "the direction writes nothing")
        try:
            await self._instance.update(NO_RECORD, {})
        except ExternalFailed as error:
            if error.outcome == "gone":
                words = "a change is looked at; what becomes of it shows only with --write-check"
                return Step("write permission", "ok", words)
            return Step("write permission", "failed", str(error), ROLES_TO_WRITE)
        return Step("write permission", "failed", "a change of a record that is not there was accepted", "see the log")

    async def _rate_limit(self) -> Step:
        await trio.lowlevel.checkpoint()
        left = self._instance.remaining_budget
        if left is None:
            return Step("rate limit", "ok", "no rule of so many requests an hour covers us")
        if left > 0:
            return Step("rate limit", "ok", f"{left} requests are left in this hour, by our own count")
        remedy = "raise the rule for this account, or lower rate_limit"
        return Step("rate limit", "warning", "the requests of this hour are used up", remedy)

    async def _no_write_check(self) -> Step:
        await trio.lowlevel.checkpoint()
        return Step("write check", "skipped", "changes something there; give --write-check to have it done")

    async def _write_check(self) -> Step:
        if self._integration.settings.sync_direction in ("none", "inbound"):
            await trio.lowlevel.checkpoint()
            return Step("write check", "skipped", "the direction writes nothing")
        return await _WriteCheck(self._instance, self._integration, self._correlation_id).run()


class _WriteCheck:
    """Makes an incident, writes it as the sync would, and cancels it."""

    def __init__(self, instance: ServiceNow, integration: Integration, correlation_id: str) -> None:
        self._instance = instance
        self._defaults = integration.settings.external_defaults
        self._correlation_id = correlation_id
        self._faults: list[str] = []

    async def run(self) -> Step:
        columns = {"short_description": TITLE, "impact": "3", "urgency": "3", "correlation_id": self._correlation_id}
        try:
            made = await self._instance.create({**transition_defaults(self._defaults, "create"), **columns})
        except ExternalFailed as error:
            if error.outcome == "ambiguous":
                left = f"it may have been made: look for correlation_id {self._correlation_id}"
                return Step("write check", "failed", f"create: {error}; {left}", "try again, and cancel what is left")
            return Step("write check", "failed", f"create: {error}", _write_remedy(f"{error}"))
        self._compare("create", made, {**columns, "priority": PRIORITY_OF_PAIR["3", "3"]})
        await self._try("look-up", self._look_up(made.external_id))
        await self._try("note", self._note(made.external_id))
        await self._try("resolve", self._write(made.external_id, "resolve", {"state": "6"}))
        left = await self._cancelled(made)
        if not self._faults:
            return Step("write check", "ok", f"{made.number}: created, found, noted, resolved; {left}")
        words = "; ".join(self._faults)
        return Step("write check", "failed", f"{words}; {made.number}: {left}", _write_remedy(words))

    async def _look_up(self, external_id: str) -> None:
        found = await self._instance.with_correlation(self._correlation_id)
        if [seen.external_id for seen in found] != [external_id]:
            self._faults.append("look-up: not found by its correlation_id, so an unclear create cannot be told")

    async def _note(self, external_id: str) -> None:
        await self._instance.add_note(external_id, NOTE)
        count = await self._instance.count_notes(external_id, NOTE, "")
        if count != 1:
            shown = "cannot be read back" if count is None else f"is there {count} times"
            self._faults.append(f"note: {shown}")

    async def _write(self, external_id: str, transition: str, columns: dict[str, str]) -> None:
        sent = {**transition_defaults(self._defaults, transition), **columns}
        self._compare(transition, await self._instance.update(external_id, sent), sent)

    async def _cancelled(self, made: Observation) -> str:
        known = len(self._faults)
        await self._try("cancel", self._write(made.external_id, "cancel", {"state": "8"}))
        if len(self._faults) == known:
            return "canceled"
        return f"left there (sys_id {made.external_id}): close it by hand"

    async def _try(self, name: str, work: Awaitable[None]) -> None:
        try:
            await work
        except ExternalFailed as error:
            self._faults.append(f"{name}: {error}")

    def _compare(self, name: str, echo: Observation, sent: dict[str, str]) -> None:
        shown = {**echo.columns, "correlation_id": echo.correlation_id}
        for column, value in sent.items():
            if column in shown and shown[column] != value:
                self._faults.append(f"{name}: {column} {value!r} became {shown[column]!r}")


def _write_remedy(words: str) -> str:
    """What to do about a write that was refused, or came back as something else, in ServiceNow's words."""
    if "mandatory" in words:
        return "give the mandatory fields through external_defaults (im integration configure --external-defaults)"
    if "Not Authorized" in words or "ACL Exception" in words:
        return ROLES_TO_WRITE
    if "Business Rule" in words:
        return "see the business rule that is named: exempt the account from it, or give what it asks for"
    return "see docs/servicenow.md for what each of these means"


def _kind(integration: Integration) -> str:
    names = integration.credentials
    if "client_id" in names:
        return "OAuth, password grant" if "username" in names else "OAuth, client credentials"
    return "API key" if "api_key" in names else "user name and password"


def _remedy(error: ExternalFailed) -> str:
    match error.outcome:
        case "paused" if error.status == 401:
            return (
                "check the credentials, that the account is neither locked nor restricted, and the API access policies"
            )
        case "paused" | "refused":
            return "check the roles of the account (itil, snc_platform_rest_api_access) and the address"
        case "throttled":
            return "wait, or raise the rate rule of this account"
        case _ if "query rights" in error.detail:
            return "give the account query_match and query_range on that column (query ACLs), or nothing is read"
        case _ if error.status is None:
            return "check base_url, the resolver, the firewall and the certificate"
        case _:
            return "open the instance in a browser: it may be hibernating, in maintenance or behind a sign-in page"
