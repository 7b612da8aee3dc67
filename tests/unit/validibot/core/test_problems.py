"""Errors that no view answers: a page for people, a problem document for programs."""

import pytest
from django.db import OperationalError
from django.test import Client, RequestFactory
from pytest_django import Settings

from validibot.core import problems
from validibot.core.storage import StorageError

API = "/api/v1/orgs/"
BROWSER = {"Accept": "text/html"}


def test_unknown_host_returns_problem_document(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["ours.example"]
    answer = Client().get(API, headers={"Host": "evil.example"})

    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.django_db
@pytest.mark.parametrize("headers", [{}, BROWSER])
def test_form_without_csrf_token_is_refused_with_reason(headers: dict[str, str]) -> None:
    answer = Client(enforce_csrf_checks=True).post("/accounts/login/", headers=headers)

    assert answer.status_code == 403
    assert "Load its page again" in answer.content.decode()


@pytest.mark.django_db
def test_people_see_a_page_of_ours() -> None:
    answer = Client().get("/nowhere/", headers=BROWSER)

    assert answer.status_code == 404
    assert "Back to your workflows" in answer.content.decode()


@pytest.mark.parametrize("error", [StorageError("it is down"), OperationalError("it is down")])
def test_unreachable_dependency_returns_503_with_retry_after(error: Exception) -> None:
    context = {"request": RequestFactory().get(API)}
    answer = problems.exception_handler(error, context)

    assert answer is not None
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "it is down" not in str(answer.data)
