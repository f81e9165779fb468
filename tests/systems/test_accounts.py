"""What is known of an account, of an integration's rate, and of whom it holds for."""

from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from syncd.core.backoff import RETRY_AFTER_S_MAX, HourlyBudget
from syncd.errors import ExternalFailed
from syncd.systems.accounts import LOGINS_KEPT, Account, Accounts, Rate
from syncd.systems.signin import Credentials
from tests.systems.test_servicenow import EPOCH_S, VirtualClock

HOST = "https://dev12345.service-now.com"
BASIC = Credentials("svc.sync", "secret")


def test_an_account_is_one_at_its_address_whatever_the_password() -> None:
    known = Accounts()
    one = known.terms("int_A", HOST, BASIC).account
    assert known.terms("int_B", HOST, Credentials("SVC.sync", "another")).account is one
    assert known.terms("int_A", f"{HOST}.example", BASIC).account is not one
    others = [
        Credentials("svc.other", "secret"),
        Credentials(client_id="client", client_secret="secret"),
        Credentials("svc.sync", "secret", client_id="client", client_secret="secret"),
        Credentials(api_key="key"),
        Credentials(api_key="another key"),
    ]
    accounts = [known.terms("int_A", HOST, other).account for other in others]
    assert len({id(account) for account in (one, *accounts)}) == len(others) + 1


def test_the_rate_is_an_integrations_own_and_begins_anew_at_another_address() -> None:
    known = Accounts()
    used = known.terms("int_A", HOST, BASIC).used
    assert known.terms("int_A", HOST, Credentials("svc.other", "secret")).used is used
    assert known.terms("int_B", HOST, BASIC).used is not used
    assert known.terms("int_A", f"{HOST}.example", BASIC).used is not used


async def test_logins_are_known_by_all_of_the_credentials_and_the_oldest_are_forgotten(
    autojump_clock: MockClock,
) -> None:
    account = Account()
    first = account.logins(BASIC)
    assert account.logins(Credentials("svc.sync", "secret")) is first
    for number in range(LOGINS_KEPT - 1):
        assert account.logins(Credentials("svc.sync", f"secret {number}")) is not first
    assert account.logins(BASIC) is first
    for number in range(LOGINS_KEPT):
        account.logins(Credentials("svc.sync", f"another {number}"))
    assert account.logins(BASIC) is not first


async def test_who_asks_to_be_left_alone_is_for_as_long_as_any_answer_said_and_an_hour_at_most(
    autojump_clock: MockClock,
) -> None:
    account = Account()
    account.check()
    account.be_quiet(60)
    account.be_quiet(30)
    await trio.sleep(59)
    with pytest.raises(ExternalFailed, match="left alone") as caught:
        account.check()
    assert (caught.value.outcome, caught.value.retry_after_s) == ("throttled", 1.0)
    await trio.sleep(1)
    account.check()
    account.be_quiet(1e9)
    await trio.sleep(RETRY_AFTER_S_MAX)
    account.check()


async def test_all_of_an_account_share_what_its_hourly_rule_has_left(autojump_clock: MockClock) -> None:
    account, clock, began_at = Account(), VirtualClock(), list[float]()
    account.budget = HourlyBudget(10, EPOCH_S + 3600, 8)

    async def begin() -> None:
        for _ in range(2):
            await account.paced(clock)
            began_at.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(begin)
        nursery.start_soon(begin)
    assert min(later - earlier for earlier, later in pairwise(began_at[1:])) > 300


async def test_a_rate_that_is_lowered_holds_at_once_and_gives_no_new_burst(autojump_clock: MockClock) -> None:
    used = Rate()
    for _ in range(10):
        await used.take(10)
    assert trio.current_time() == 0
    for _ in range(4):
        await used.take(2)
    assert trio.current_time() == pytest.approx(2.0)
