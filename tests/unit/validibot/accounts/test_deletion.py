"""Deletion of accounts: organisations that need their owner, and the rows that go."""

import threading

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.apps import apps
from django.conf import settings
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client

from tests.factories import ApiKeyFactory, MembershipFactory, OrganisationFactory, UserFactory
from validibot.accounts.deletion import (
    _SIGN_IN_ROWS,
    AccountIsNeeded,
    close_account,
    delete_user_rows,
    plan_deletion,
)
from validibot.accounts.models import Membership, Organisation, Role, User
from validibot.accounts.workspaces import ensure_personal_workspace

pytestmark = pytest.mark.django_db


@pytest.fixture
def ann() -> User:
    user = UserFactory.create(email="ann@example.org")
    ensure_personal_workspace(user)
    return user


def _member(organisation: Organisation, role: Role = Role.VIEWER, **user: object) -> Membership:
    return MembershipFactory.create(
        organisation=organisation, role=role, user=UserFactory.create(**user)
    )


def _shared(ann: User, role: Role = Role.OWNER) -> Organisation:
    organisation = OrganisationFactory.create()
    MembershipFactory.create(user=ann, organisation=organisation, role=role)
    return organisation


def test_organisation_with_only_this_member_is_deleted(ann: User) -> None:
    alone = _shared(ann)
    _member(alone, service_of=alone)  # an organisation's own key is no person
    _member(alone, Role.OWNER, is_active=False)

    plan = plan_deletion(ann)

    assert {*plan.deleted} == {alone, Organisation.objects.get(personal_owner=ann)}
    assert plan.is_possible


def test_last_owner_of_others_is_needed(ann: User) -> None:
    organisation = _shared(ann)
    _member(organisation, Role.ADMIN)

    with pytest.raises(AccountIsNeeded):
        close_account(ann)

    assert plan_deletion(ann).needed == [organisation]
    assert User.objects.get(pk=ann.pk).is_active


@pytest.mark.parametrize("role", [Role.OWNER, Role.VIEWER])
def test_organisation_with_another_owner_is_left(ann: User, role: Role) -> None:
    organisation = _shared(ann, role)
    _member(organisation, Role.OWNER)

    assert close_account(ann).left == [organisation]
    assert not Membership.objects.filter(user=ann, organisation=organisation).exists()


def test_only_superuser_cannot_be_deleted(ann: User) -> None:
    User.objects.filter(pk=ann.pk).update(is_superuser=True)
    ann.refresh_from_db()

    assert not plan_deletion(ann).is_possible
    UserFactory.create(is_superuser=True)
    assert plan_deletion(ann).is_possible


def test_closed_account_loses_all_access(ann: User) -> None:
    client = Client()
    client.force_login(ann)
    key = ApiKeyFactory.create(user=ann)

    close_account(ann)

    assert client.get("/app/users/profile/").status_code == 302
    key.refresh_from_db()
    assert (key.is_valid, ann.has_usable_password(), ann.is_active) == (False, False, False)


@pytest.mark.django_db(transaction=True)
def test_two_last_owners_cannot_leave_at_once() -> None:
    organisation = OrganisationFactory.create()
    owners = [_member(organisation, Role.OWNER).user for _ in range(2)]
    _member(organisation)
    refused: list[User] = []

    def leave(user: User) -> None:
        try:
            close_account(user)
        except AccountIsNeeded:
            refused.append(user)
        finally:
            connection.close()

    threads = [threading.Thread(target=leave, args=[user]) for user in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(refused) == 1
    assert Membership.objects.get(organisation=organisation, role=Role.OWNER).user in refused


def test_rows_of_sign_in_are_deleted_without_cascade(ann: User) -> None:
    EmailAddress.objects.create(user=ann, email=ann.email)
    SocialAccount.objects.create(user=ann, provider="sso", uid="1")
    Authenticator.objects.create(user=ann, type=Authenticator.Type.TOTP, data={})
    LogEntry.objects.create(user=ann, action_flag=1)

    with connection.cursor() as cursor:
        for statement in _SIGN_IN_ROWS:
            cursor.execute(statement, [ann.pk])

    kinds = (EmailAddress, SocialAccount, Authenticator, LogEntry)
    assert not any(kind.objects.filter(user=ann).exists() for kind in kinds)
    delete_user_rows(ann.pk)
    assert not User.objects.filter(pk=ann.pk).exists()


def test_worker_knows_every_table_that_refers_to_users() -> None:
    """The worker's ORM cascades to the tables of its own apps only."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT conrelid::regclass::text FROM pg_constraint"
            " WHERE contype = 'f' AND confrelid = 'accounts_user'::regclass"
        )
        referring = {name for (name,) in cursor.fetchall()}
    of_worker = {
        model._meta.db_table
        for name in settings.WORKER_APPS
        for model in apps.get_app_config(name.rpartition(".")[2]).get_models(
            include_auto_created=True
        )
    }
    by_statement = {statement.split()[2] for statement in _SIGN_IN_ROWS}

    assert referring - of_worker <= by_statement
