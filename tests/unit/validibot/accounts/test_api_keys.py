"""API keys open doors only as long as they should."""

import datetime as dt

import pytest
import time_machine
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from validibot.accounts import api_keys
from validibot.accounts.models import ApiKey, Membership, Organisation, Role, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice@example.com", "secret")


def owner_of(text: str) -> User | None:
    caller = api_keys.authenticate(text)
    return caller.user if caller else None


def test_valid_key_authenticates_its_owner(alice: User) -> None:
    _, text = api_keys.issue(alice, "laptop")

    assert owner_of(text) == alice


def test_key_text_is_not_stored(alice: User) -> None:
    key, text = api_keys.issue(alice, "laptop")
    secret = text.rpartition("_")[2]

    assert all(secret not in str(value) for value in ApiKey.objects.values_list().get(pk=key.pk))


@pytest.mark.parametrize(
    "wrong", ["", "vbk_1_", "x" * 10_000, "vbk_1_" + "0" * 32 + "_" + "0" * 64]
)
def test_wrong_key_is_refused(alice: User, wrong: str) -> None:
    api_keys.issue(alice, "laptop")

    assert api_keys.authenticate(wrong) is None


def test_key_with_changed_secret_is_refused(alice: User) -> None:
    _, text = api_keys.issue(alice, "laptop")
    changed = text[:-1] + ("0" if text[-1] != "0" else "1")

    assert api_keys.authenticate(changed) is None


def test_revoked_key_is_refused(alice: User) -> None:
    key, text = api_keys.issue(alice, "laptop")

    assert api_keys.revoke(alice, key.pk)
    assert api_keys.authenticate(text) is None


def test_revoking_the_key_of_another_user_fails(alice: User) -> None:
    bob = User.objects.create_user("bob@example.com", "secret")
    key, text = api_keys.issue(alice, "laptop")

    assert not api_keys.revoke(bob, key.pk)
    assert owner_of(text) == alice


def test_key_expires_after_a_year(alice: User) -> None:
    _, text = api_keys.issue(alice, "laptop")

    with time_machine.travel(timezone.now() + dt.timedelta(days=366)):
        assert api_keys.authenticate(text) is None


def test_key_of_a_deactivated_user_is_refused(alice: User) -> None:
    _, text = api_keys.issue(alice, "laptop")
    User.objects.filter(pk=alice.pk).update(is_active=False)

    assert api_keys.authenticate(text) is None


def test_key_and_membership_come_in_one_query(
    alice: User, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    organisation = Organisation.objects.create(name="Acme", slug="acme")
    Membership.objects.create(organisation=organisation, user=alice, role=Role.AUTHOR)
    _, text = api_keys.issue(alice, "laptop")
    api_keys.authenticate(text)  # writes `last_used_at`

    with django_assert_num_queries(1):
        caller = api_keys.authenticate(text, organisation="acme")

    assert caller
    assert caller.scope
    assert caller.scope.can("workflow.edit")


def test_key_of_non_member_has_no_scope(alice: User) -> None:
    Organisation.objects.create(name="Acme", slug="acme")
    _, text = api_keys.issue(alice, "laptop")

    caller = api_keys.authenticate(text, organisation="acme")

    assert caller
    assert caller.scope is None


def test_user_of_a_key_equals_the_stored_user(alice: User) -> None:
    """The statement names its columns, and each must reach the field of its name."""
    User.objects.filter(pk=alice.pk).update(name="Alice", is_staff=True)
    acme = Organisation.objects.create(name="Acme", slug="acme")
    Membership.objects.create(organisation=acme, user=alice, role=Role.VIEWER)
    _, text = api_keys.issue(alice, "laptop")

    caller = api_keys.authenticate(text, organisation="acme")

    assert caller is not None
    assert caller.scope is not None
    for loaded in (caller.user, caller.scope.organisation):
        stored = type(loaded).objects.get(pk=loaded.pk)
        names = [field.attname for field in loaded._meta.concrete_fields]
        assert [getattr(loaded, name) for name in names] == [
            getattr(stored, name) for name in names
        ]
    assert not caller.user.is_superuser
