"""Creation of organisations, and the workspace that every user has."""

from collections.abc import Callable, Container
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from pytest_django import Settings

from tests.factories import OrganisationFactory, RunFactory, UserFactory, WorkflowFactory
from validibot.accounts import workspaces
from validibot.accounts.models import Organisation, User
from validibot.accounts.workspaces import (
    create_organisation,
    ensure_personal_workspace,
    set_data_region,
)
from validibot.core.slugs import free_slug


@pytest.mark.django_db
def test_personal_workspace_is_created_once() -> None:
    user = UserFactory.create(email="ada@example.org")

    assert ensure_personal_workspace(user) == ensure_personal_workspace(user)
    assert Organisation.objects.get().slug == "ada"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("emails", [("ada@a.org", "ada@b.org"), ("ada@a.org", "ada@a.org")])
def test_concurrent_workspaces_get_different_slugs(
    monkeypatch: pytest.MonkeyPatch, emails: tuple[str, str]
) -> None:
    users = {email: UserFactory.create(email=email) for email in set(emails)}
    monkeypatch.setattr(workspaces, "free_slug", seen_by_both(free_slug))

    with ThreadPoolExecutor(2) as threads:
        made = list(threads.map(made_apart, [users[email] for email in emails]))

    assert {each.personal_owner_id for each in made} == {user.pk for user in users.values()}
    assert {each.slug for each in made} == {"ada", "ada-2"} or len(users) == 1


def seen_by_both(
    find: Callable[[str, Container[str]], str],
) -> Callable[[str, Container[str]], str]:
    """Return `find` for two who both look before either writes."""
    barrier, first = Barrier(2), [True, True]

    def late(stem: str, taken: Container[str]) -> str:
        slug = find(stem, taken)
        if first:
            first.pop()
            barrier.wait(60)
        return slug

    return late


def made_apart(user: User) -> Organisation:
    try:
        return ensure_personal_workspace(user)
    finally:
        connection.close()


@pytest.mark.django_db
def test_created_organisation_has_an_owner_and_a_default_project() -> None:
    user = UserFactory.create()
    made = create_organisation(user, "Bau & Söhne")

    assert made.slug == "bau-sohne"
    assert made.memberships.get().role == "owner"
    assert made.projects.get().is_default


@pytest.mark.django_db
def test_second_organisation_of_the_same_name_is_refused() -> None:
    user = UserFactory.create()
    create_organisation(user, "Acme")

    with pytest.raises(ValidationError, match="already"):
        create_organisation(user, "ACME")
    assert create_organisation(UserFactory.create(), "Acme").slug == "acme-2"


@pytest.mark.django_db
def test_data_region_is_fixed_by_the_first_run(settings: Settings) -> None:
    settings.DATA_REGIONS = {"site": "Here", "eu": "European Union"}
    acme = OrganisationFactory.create()
    with pytest.raises(ValidationError, match="not a data region"):
        set_data_region(acme, "moon")
    set_data_region(acme, "eu")
    RunFactory.create(workflow=WorkflowFactory.create(organisation=acme))

    with pytest.raises(ValidationError, match="European Union and cannot be changed"):
        set_data_region(acme, "site")
    acme.refresh_from_db()
    assert acme.data_region == "eu"
