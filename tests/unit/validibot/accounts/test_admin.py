"""The way into the admin site."""

from http import HTTPStatus

import pytest
from django.test import Client
from django.urls import reverse

from tests.factories import UserFactory

pytestmark = pytest.mark.django_db


def test_who_is_not_signed_in_goes_through_the_common_door(client: Client) -> None:
    answer = client.get("/admin/login/?next=/admin/")

    assert answer.status_code == HTTPStatus.FOUND
    assert answer.headers["Location"].startswith(reverse("account_login"))


def test_who_is_no_staff_stays_out(client: Client) -> None:
    client.force_login(UserFactory.create())

    assert client.get("/admin/login/").status_code == HTTPStatus.FORBIDDEN
    assert client.get("/admin/", follow=True).status_code == HTTPStatus.FORBIDDEN
