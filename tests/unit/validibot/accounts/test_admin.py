"""Access to the admin site."""

from http import HTTPStatus

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def test_anonymous_user_is_redirected_to_the_common_sign_in_page(client: Client) -> None:
    answer = client.get("/admin/login/?next=/admin/")

    assert answer.status_code == HTTPStatus.FOUND
    assert answer.headers["Location"].startswith(reverse("account_login"))


def test_user_who_is_not_staff_gets_403(client: Client) -> None:
    client.force_login(UserFactory.create())

    assert client.get("/admin/login/").status_code == HTTPStatus.FORBIDDEN
    assert client.get("/admin/", follow=True).status_code == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(
    "model", ["apikey", "invitation", "organisation", "project", "workflowgrant"]
)
def test_operator_opens_lists_of_the_admin_site(client: Client, model: str) -> None:
    client.force_login(UserFactory.create(is_superuser=True, is_staff=True))

    answer = client.get(reverse(f"admin:accounts_{model}_changelist"))
    assert answer.status_code == HTTPStatus.OK
