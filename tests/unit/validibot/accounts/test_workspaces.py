"""The workspace that every user has."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from tests.factories import UserFactory
from validibot.accounts import workspaces
from validibot.accounts.models import Organisation, User
from validibot.accounts.workspaces import ensure_personal_workspace


@pytest.mark.django_db
def test_it_is_made_once() -> None:
    user = UserFactory.create(email="ada@example.org")

    assert ensure_personal_workspace(user) == ensure_personal_workspace(user)
    assert Organisation.objects.get().slug == "ada"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("emails", [("ada@a.org", "ada@b.org"), ("ada@a.org", "ada@a.org")])
def test_two_at_the_same_moment_both_get_theirs(
    monkeypatch: pytest.MonkeyPatch, emails: tuple[str, str]
) -> None:
    users = {email: UserFactory.create(email=email) for email in set(emails)}
    monkeypatch.setattr(workspaces, "free_slug", seen_by_both(workspaces.free_slug))

    with ThreadPoolExecutor(2) as threads:
        made = list(threads.map(made_apart, [users[email] for email in emails]))

    assert {each.personal_owner_id for each in made} == {user.pk for user in users.values()}
    assert {each.slug for each in made} == {"ada", "ada-2"} or len(users) == 1


def seen_by_both(free_slug: Callable[[str], str]) -> Callable[[str], str]:
    """Return `free_slug` for two who both look before either writes."""
    barrier, first = Barrier(2), [True, True]

    def late(stem: str) -> str:
        slug = free_slug(stem)
        if first:
            first.pop()
            barrier.wait(5)
        return slug

    return late


def made_apart(user: User) -> Organisation:
    try:
        return ensure_personal_workspace(user)
    finally:
        connection.close()
