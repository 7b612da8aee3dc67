"""API keys open doors only as long as they should."""

import datetime as dt

import pytest
import time_machine
from django.core.exceptions import ValidationError
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

    assert api_keys.revoke(alice.api_keys.all(), key.pk)
    assert api_keys.authenticate(text) is None


def test_revoking_the_key_of_another_user_fails(alice: User) -> None:
    bob = User.objects.create_user("bob@example.com", "secret")
    key, text = api_keys.issue(alice, "laptop")

    assert not api_keys.revoke(bob.api_keys.all(), key.pk)
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


ROTATION = dt.timedelta(days=2)


def test_rotated_key_works_until_the_overlap_ends(alice: User) -> None:
    key, text = api_keys.issue(alice, "laptop", scopes=["read"])
    new, new_text = api_keys.rotate(alice.api_keys.all(), key.pk, overlap=ROTATION)

    assert (new.name, new.scopes) == ("laptop", "read")
    assert owner_of(text) == owner_of(new_text) == alice
    with time_machine.travel(timezone.now() + ROTATION):
        assert owner_of(text) is None
        assert owner_of(new_text) == alice


def test_key_is_rotated_once(alice: User) -> None:
    key, _ = api_keys.issue(alice, "laptop")
    api_keys.rotate(alice.api_keys.all(), key.pk, overlap=ROTATION)

    with pytest.raises(ValidationError, match="was replaced"):
        api_keys.rotate(alice.api_keys.all(), key.pk, overlap=ROTATION)
    assert alice.api_keys.count() == 2


def test_overlap_does_not_prolong_a_key(alice: User) -> None:
    key, text = api_keys.issue(alice, "laptop", lifetime=dt.timedelta(hours=1))
    api_keys.rotate(alice.api_keys.all(), key.pk, overlap=ROTATION)

    with time_machine.travel(timezone.now() + dt.timedelta(hours=2)):
        assert owner_of(text) is None


def test_service_key_outlives_its_creator(alice: User) -> None:
    acme = Organisation.objects.create(name="Acme", slug="acme")
    Membership.objects.create(organisation=acme, user=alice, role=Role.OWNER)
    key, text = api_keys.issue_for_service(
        acme, "CI", role=Role.EXECUTOR, scopes=["launch"], lifetime=api_keys.LIFETIME
    )
    alice.delete()
    caller = api_keys.authenticate(text, organisation="acme")

    assert caller
    assert caller.scope
    assert caller.scope.can("run.launch")
    assert not caller.scope.can("run.view_all")
    assert key.user.service_of == acme
    assert not key.user.has_usable_password()


def test_service_key_cannot_be_owner(alice: User) -> None:
    acme = Organisation.objects.create(name="Acme", slug="acme")

    with pytest.raises(ValidationError, match="cannot be an owner"):
        api_keys.issue_for_service(
            acme, "CI", role=Role.OWNER, scopes=["read"], lifetime=api_keys.LIFETIME
        )


def test_key_name_is_unique_among_valid_keys(alice: User) -> None:
    def issue() -> ApiKey:
        key, _ = api_keys.issue_for_user(
            alice, "laptop", scopes=["read"], lifetime=api_keys.LIFETIME
        )
        return key

    first = issue()
    with pytest.raises(ValidationError, match="already"):
        issue()
    api_keys.revoke(alice.api_keys.all(), first.pk)

    assert issue().is_valid
