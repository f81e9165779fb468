"""Integrations as decisions: what is unique, what is cleared, which secrets count when."""

import pytest
from msgspec import UNSET

from syncd.core import registry, settings
from syncd.core.events import (
    IntegrationChanged,
    IntegrationConfigured,
    IntegrationDeleted,
    LoginAccepted,
    LoginRefused,
    WebhookSecretsChanged,
)
from syncd.core.fields import Fields
from syncd.core.model import SealedSecret
from syncd.core.registry import GRACE_S, SealedSecrets
from syncd.core.settings import RESERVED_HANDLES, WantedSettings, handle_fault, slug
from syncd.core.state import State
from syncd.errors import Exists, Invalid, Unknown
from tests.core.picture import AT_S, INT, SEALED, apply, integration, picture

OTHER = SealedSecret("key", "n2", "c2")
URL = "https://example.service-now.com"


def wanted(**values: object) -> WantedSettings:
    given, _ = settings.read(Fields({"name": "New one", "base_url": URL} | values), (), is_new=True)
    return given


def test_a_new_integration_gets_its_handle_from_its_name() -> None:
    change = registry.create(wanted(), SealedSecrets({"api_key": SEALED}, OTHER), integration_id="int_B")(State(), AT_S)
    (event,) = change.events
    assert isinstance(event, IntegrationConfigured)
    made = event.integration
    assert (change.stream, made.id, made.settings.handle) == ("default", "int_B", "new-one")
    assert (made.credentials, made.account) == ({"api_key": SEALED}, "")
    assert [one.sealed for one in made.webhook_secrets] == [OTHER]
    assert apply(State(), event).integrations["int_B"].settings == change.result.settings


@pytest.mark.parametrize(
    ("name", "handle"),
    [
        ("Production ServiceNow", "production-servicenow"),
        ("  Züri / Test -- 2 ", "zuri-test-2"),
        ("x" * 100, "x" * 63),
        ("日本", ""),
        ("---", ""),
    ],
)
def test_a_slug_is_a_handle_or_empty(name: str, handle: str) -> None:
    assert slug(name) == handle
    assert not handle or handle_fault(handle) is None


def test_no_subcommand_can_be_a_handle() -> None:
    for word in RESERVED_HANDLES:
        assert handle_fault(word) is not None
        with pytest.raises(Invalid, match=word):
            registry.create(wanted(name=word), SealedSecrets(), integration_id="int_B")(State(), AT_S)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"handle": "prod"}, "handle"),
        ({"name": "Prod", "organization_id": "acme", "handle": "other"}, "name"),
        ({"name": "Prod"}, "handle"),  # its slug is taken
    ],
)
def test_a_taken_handle_or_name_is_refused_and_names_its_owner(values: dict[str, object], field: str) -> None:
    with pytest.raises(Exists, match=INT) as caught:
        registry.create(wanted(**values), SealedSecrets(), integration_id="int_B")(picture(), AT_S)
    assert [path for path, _ in caught.value.problems] == [field]


def test_the_same_name_may_be_used_in_another_organization() -> None:
    change = registry.create(wanted(name="Prod", handle="b"), SealedSecrets(), integration_id="int_B")(picture(), AT_S)
    assert change.result.settings.organization_id == "default"


def test_another_address_without_credentials_clears_them() -> None:
    moved = WantedSettings(base_url="https://other.service-now.com")
    (event,) = registry.update("prod", moved, SealedSecrets())(picture(), AT_S).events
    assert isinstance(event, IntegrationChanged)
    assert (event.credentials, event.account) == ({}, "")
    state = apply(picture(), event)
    assert (state.integrations[INT].credentials, state.integrations[INT].account) == ({}, "")


def test_another_address_with_credentials_takes_these() -> None:
    moved = WantedSettings(base_url="https://other.service-now.com")
    change = registry.update("prod", moved, SealedSecrets({"api_key": OTHER}))(picture(), AT_S)
    assert change.result.credentials == {"api_key": OTHER}


def test_other_settings_leave_the_credentials_alone() -> None:
    (event,) = registry.update("prod", WantedSettings(rate_limit=1.0), SealedSecrets())(picture(), AT_S).events
    assert isinstance(event, IntegrationChanged)
    assert (event.credentials, event.account) == (UNSET, UNSET)
    assert apply(picture(), event).integrations[INT].credentials.keys() == {"username", "password"}


def test_the_result_of_an_update_is_what_the_fold_makes_of_it() -> None:
    for asked in (
        WantedSettings(enabled=False),
        WantedSettings(handle="renamed"),
        WantedSettings(base_url="https://a.service-now.com"),
    ):
        state = picture()
        change = registry.update("prod", asked, SealedSecrets(webhook_secret=OTHER))(state, AT_S)
        apply(state, *change.events)
        assert state.integrations[INT] == change.result


def test_an_update_that_changes_nothing_is_not_journaled() -> None:
    assert (
        registry.update("prod", WantedSettings(handle="prod", enabled=True), SealedSecrets())(picture(), AT_S).events
        == ()
    )


def test_an_organization_cannot_be_changed() -> None:
    with pytest.raises(Invalid, match="organization_id"):
        registry.update("prod", WantedSettings(organization_id="other"), SealedSecrets())(picture(), AT_S)


def test_a_renamed_handle_must_be_free() -> None:
    state = apply(picture(), IntegrationConfigured(integration("int_B", "second")))
    with pytest.raises(Exists):
        registry.update("second", WantedSettings(handle="prod"), SealedSecrets())(state, AT_S)


def test_deleting_says_what_is_gone() -> None:
    change = registry.delete("prod")(picture(), AT_S)
    assert (change.events, change.result) == ((IntegrationDeleted(INT),), INT)
    with pytest.raises(Unknown):
        registry.delete("prod")(State(), AT_S)


def test_the_old_secret_counts_until_its_grace_ends() -> None:
    state = picture()
    change = registry.rotate("prod", OTHER, grace_s=60)(state, AT_S)
    assert change.result == AT_S + 60
    apply(state, *change.events)
    one = state.integrations[INT]
    assert registry.valid_secrets(one, AT_S + 59) == [OTHER, SEALED]
    assert registry.valid_secrets(one, AT_S + 60) == [OTHER]


def test_a_second_rotation_never_prolongs_the_first_one_s_grace() -> None:
    state = picture()
    third = SealedSecret("key", "n3", "c3")
    apply(state, *registry.rotate("prod", OTHER, grace_s=60)(state, AT_S).events)
    (event,) = registry.rotate("prod", third, grace_s=GRACE_S)(state, AT_S + 30).events
    assert isinstance(event, WebhookSecretsChanged)
    assert [one.valid_until_s for one in event.secrets] == [None, AT_S + 30 + GRACE_S, AT_S + 60]
    (late,) = registry.rotate("prod", third)(apply(state, event), AT_S + 100).events
    assert isinstance(late, WebhookSecretsChanged)
    assert SEALED not in [one.sealed for one in late.secrets]


def test_secrets_do_not_pile_up() -> None:
    state = picture()
    for number in range(20):
        apply(state, *registry.rotate("prod", SealedSecret("key", str(number), ""))(state, AT_S).events)
    assert len(state.integrations[INT].webhook_secrets) == registry.WEBHOOK_SECRETS_MAX


def test_secrets_in_clear_do_not_show() -> None:
    _, secrets = settings.read(
        Fields({"name": "x", "base_url": URL, "credentials": {"api_key": "tell"}, "webhook_secret": "tale"}),
        (),
        is_new=True,
    )
    assert "tell" not in repr(secrets)
    assert "tale" not in repr(secrets)


def test_refused_logins_are_kept_once_each_and_until_the_instance_or_a_person_gives_a_reason_to_try() -> None:
    state = picture()
    assert registry.login_accepted(INT)(state, AT_S).events == ()
    (refused,) = registry.login_refused(INT, 300.0)(state, AT_S).events
    assert refused == LoginRefused(INT, AT_S + 300)
    state = apply(state, refused)
    assert registry.login_refused(INT, 240.0)(state, AT_S + 60).events == (), "told again, it is the same one"
    assert registry.login_refused(INT, 300.0)(state, AT_S + 300).events == (LoginRefused(INT, AT_S + 600),)
    state = apply(state, IntegrationChanged(INT, state.integrations[INT].settings))
    assert state.integrations[INT].refused_until_s == AT_S + 300
    (accepted,) = registry.login_accepted(INT)(state, AT_S + 300).events
    assert accepted == LoginAccepted(INT)
    state = apply(state, accepted)
    assert state.integrations[INT].refused_until_s is None
    given = IntegrationChanged(INT, state.integrations[INT].settings, {"password": OTHER}, "svc")
    state = apply(apply(state, refused), given)
    assert state.integrations[INT].refused_until_s is None
    for decide in (registry.login_refused("int_gone", 300.0), registry.login_accepted("int_gone")):
        assert decide(state, AT_S).events == ()
