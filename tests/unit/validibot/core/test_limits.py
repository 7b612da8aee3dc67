"""Limits on requests and responses that hold for every view."""

import pytest
from django.test import Client

from validibot.accounts.models import User


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP"])
def test_compressed_body_returns_415(encoding: str) -> None:
    answer = Client().post(
        "/api/v1/orgs/acme/workflows/w/runs/",
        b"\x1f\x8b",
        content_type="application/json",
        headers={"Content-Encoding": encoding},
    )

    assert (answer.status_code, answer.json()["code"]) == (415, "UNSUPPORTED_CONTENT_ENCODING")


@pytest.mark.django_db
def test_page_of_signed_in_user_is_not_stored(client: Client) -> None:
    client.force_login(User.objects.create_user("ann@example.com"))

    assert "no-store" in client.get("/app/users/api-key/").headers["Cache-Control"]


@pytest.mark.django_db
def test_answer_to_api_key_is_not_stored(client: Client) -> None:
    answer = client.get("/api/v1/auth/me/", headers={"Authorization": "Bearer x"})

    assert answer.headers["Cache-Control"] == "no-store"


def test_page_without_session_may_be_stored(client: Client) -> None:
    assert "Cache-Control" not in client.get("/health/").headers
