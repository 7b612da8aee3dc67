"""The queries that a launch and a poll cost; each is about a millisecond of processor time."""

from typing import Any

import pytest
from pytest_django import Settings

from tests.unit.validibot.api.conftest import Api
from validibot.runs.models import Run
from validibot.workflows.models import Workflow

pytestmark = pytest.mark.django_db(transaction=True)

GOOD = b'{"name": "Ada"}'


@pytest.fixture(autouse=True)
def _unattended_queue(settings: Settings) -> None:
    """Count what the web process does, without the run itself."""
    settings.TASKS = {"default": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"}}


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_launch_costs_at_most_ten_queries(
    alice: Api, people: Workflow, django_assert_max_num_queries: Any, headers: dict[str, str]
) -> None:
    alice.launch(GOOD)  # freezes the version
    alice.launch(GOOD)  # keeps its steps in memory

    with django_assert_max_num_queries(10):
        answer = alice.launch(GOOD, **headers)

    assert answer.status_code == 202


def test_launch_answers_from_memory_what_a_poll_reads(alice: Api, people: Workflow) -> None:
    launched = alice.launch(GOOD, "ada.json").json()
    read = alice.get(launched["poll"].removeprefix("/api/v1/")).json()

    assert launched == read | {"poll": read["url"]}


@pytest.mark.parametrize("status", ["PENDING", "SUCCEEDED"])
def test_poll_costs_at_most_four_queries(
    alice: Api, people: Workflow, django_assert_max_num_queries: Any, status: str
) -> None:
    run = alice.launch(GOOD).json()
    Run.objects.update(status=status)

    with django_assert_max_num_queries(4):
        answer = alice.get(run["url"].removeprefix("/api/v1/"))

    assert answer.json()["status"] == status
