"""The worker's doors: who gets in, and what they answer."""

import datetime as dt
import json
from typing import Any

import pytest
from django.db import OperationalError
from django.http import HttpRequest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from tests.factories import (
    IdempotencyKeyFactory,
    OrganisationFactory,
    StepFactory,
    started_run,
)
from validators.sdk.storage import StorageError
from validibot.runs import callback
from validibot.runs.models import Run
from validibot.worker import views

TASKS, CALLBACKS, RECONCILE, PURGE, DIGESTS, FIGURES = (
    "/internal/tasks/",
    "/internal/callbacks/",
    "/internal/schedules/reconcile/",
    "/internal/schedules/purge/",
    "/internal/schedules/digests/",
    "/internal/schedules/figures/",
)
QUEUE = "tasks@p.iam.gserviceaccount.com"
SCHEDULER = "scheduler@p.iam.gserviceaccount.com"
VALIDATOR = "validator-fmu@p.iam.gserviceaccount.com"


def say_who(request: HttpRequest) -> str:
    """Believe the header `X-Caller`."""
    return request.headers.get("X-Caller", "")


@pytest.fixture(autouse=True)
def _worker(settings: Settings) -> None:
    settings.ROOT_URLCONF = "config.urls_worker"


@pytest.fixture
def _cloud(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker whose callers are known, behind a queue that calls as QUEUE."""
    settings.SCHEDULER_ACCOUNT = SCHEDULER
    settings.WORKER_AUTH = "tests.unit.validibot.worker.test_doors.say_who"
    monkeypatch.setattr("validibot.worker.views.queue_account", lambda: QUEUE)


def post(client: Client, url: str, body: Any = b"", **headers: str) -> Any:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return client.post(url, content, content_type="application/json", headers=headers)


@pytest.mark.django_db
@pytest.mark.usefixtures("_cloud")
def test_delivery_executes_its_run(client: Client) -> None:
    run = started_run(step=StepFactory.create())
    call = {"task": "validibot.runs.tasks.execute_run", "args": [str(run.pk)], "kwargs": {}}

    answer = post(client, TASKS, call, **{"X-Caller": QUEUE, "X-CloudTasks-TaskName": "t1"})

    run.refresh_from_db()
    assert (answer.status_code, run.result) == (200, "PASS")
    assert run.events.get(kind="delivered").data == {"task": "t1"}


@pytest.mark.django_db
@pytest.mark.usefixtures("_cloud")
def test_delivery_of_leased_run_returns_409(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = started_run(step=StepFactory.create())
    Run.objects.update(status="RUNNING", lease_expires_at="2999-01-01T00:00:00Z")
    call = {"task": "validibot.runs.tasks.execute_run", "args": [str(run.pk)], "kwargs": {}}

    assert post(client, TASKS, call, **{"X-Caller": QUEUE}).status_code == 409


@pytest.mark.usefixtures("_cloud")
def test_validator_account_cannot_deliver_tasks(client: Client) -> None:
    answer = post(client, TASKS, {}, **{"X-Caller": VALIDATOR})

    assert answer.status_code == 403
    assert answer.json()["detail"] == "Only the queue delivers tasks."


@pytest.mark.parametrize("url", [TASKS, RECONCILE])
def test_unauthenticated_caller_needs_the_nonce(client: Client, url: str) -> None:
    assert post(client, url, {}).status_code == 403


@pytest.mark.django_db
@pytest.mark.usefixtures("_cloud")
@pytest.mark.parametrize("role", ["web", "worker"])
def test_access_is_told_to_the_scheduler_only(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    def refuse(uri: str) -> None:
        raise StorageError("lacks storage.objects.create")

    settings.ROOT_URLCONF = f"config.urls_{role}"
    monkeypatch.setattr("validibot.worker.access.get_storage", refuse)
    answer = post(client, "/internal/access/", **{"X-Caller": SCHEDULER})
    refused = post(client, "/internal/access/", **{"X-Caller": QUEUE})

    assert answer.json()["access"] == {
        "database": "",
        "queue default": "",
        "queue exports": "",
        "queue fmu-probes": "",
        "queue webhooks": "",
        "files": "StorageError: lacks storage.objects.create",
    }
    assert refused.json()["detail"] == "Only the scheduler's account may ask."


@pytest.mark.django_db
@pytest.mark.usefixtures("_cloud")
def test_scheduler_is_told_whether_organisation_has_a_model(
    client: Client, settings: Settings
) -> None:
    url = f"/internal/access/?org={OrganisationFactory.create().slug}"
    settings.AI_ENDPOINT_URL = settings.AI_ENDPOINT_MODEL = ""
    before = post(client, url, **{"X-Caller": SCHEDULER})
    settings.AI_ENDPOINT_URL, settings.AI_ENDPOINT_MODEL = "https://ai.example/v1", "small"
    after = post(client, url, **{"X-Caller": SCHEDULER})

    assert (before.json(), after.json()) == ({"language_model": False}, {"language_model": True})
    assert post(client, url, **{"X-Caller": QUEUE}).status_code == 403


@pytest.mark.django_db
@pytest.mark.usefixtures("_cloud")
def test_scheduler_starts_a_sweep(client: Client) -> None:
    answer = post(client, RECONCILE, **{"X-Caller": SCHEDULER})

    assert answer.json() == {
        "enqueued": 0,
        "looked_at": 0,
        "cancelled": 0,
        "messages": 0,
        "scheduled": 0,
        "probes": 0,
        "images": 0,
        "exports": 0,
    }


@pytest.mark.django_db
@pytest.mark.usefixtures("_cloud")
def test_scheduler_starts_a_purge(client: Client) -> None:
    IdempotencyKeyFactory.create(created_at=timezone.now() - dt.timedelta(days=3))

    answer = post(client, PURGE, **{"X-Caller": SCHEDULER})

    assert (answer.status_code, answer.json()["idempotency_keys"]) == (200, 1)


@pytest.mark.parametrize("caller", ["", VALIDATOR, QUEUE])
@pytest.mark.parametrize(
    ("url", "work"),
    [(RECONCILE, "reconcile"), (PURGE, "purge"), (DIGESTS, "digests"), (FIGURES, "figures")],
)
@pytest.mark.usefixtures("_cloud")
def test_other_callers_cannot_start_scheduled_work(
    client: Client, caller: str, url: str, work: str
) -> None:
    answer = post(client, url, **{"X-Caller": caller})

    assert answer.status_code == 403
    assert answer.json()["detail"] == f"Only the scheduler may start {work}."


@pytest.mark.parametrize("url", [TASKS, CALLBACKS, RECONCILE, PURGE, DIGESTS, FIGURES])
def test_missing_token_on_google_cloud_returns_401(
    client: Client, settings: Settings, url: str
) -> None:
    settings.WORKER_AUTH = "validibot.worker.views.google_id_token"

    for headers in ({}, {"Authorization": "Basic x"}, {"Authorization": "Bearer "}):
        answer = post(client, url, {}, **headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "NOT_AUTHENTICATED")


def test_verified_token_is_accepted(client: Client, settings: Settings, monkeypatch: Any) -> None:
    settings.WORKER_AUTH = "validibot.worker.views.google_id_token"
    settings.ALLOWED_CALLERS = [QUEUE]
    asked: dict[str, Any] = {}

    def verify(token: str, **kwargs: Any) -> str:
        asked.update(kwargs, token=token)
        return QUEUE

    monkeypatch.setattr(views, "verify_id_token", verify)

    assert post(client, CALLBACKS, b"{", Authorization="Bearer abc").status_code == 400
    assert asked == {"token": "abc", "audience": settings.WORKER_URL, "allowed": [QUEUE]}


def test_without_certificates_the_door_asks_to_come_again(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def verify(token: str, **kwargs: Any) -> str:
        raise views.CertificatesUnavailable("Google is away")

    settings.WORKER_AUTH = "validibot.worker.views.google_id_token"
    monkeypatch.setattr(views, "verify_id_token", verify)

    assert post(client, CALLBACKS, Authorization="Bearer abc").status_code == 503


@pytest.mark.parametrize("url", [TASKS, CALLBACKS, RECONCILE, PURGE, DIGESTS, FIGURES])
def test_huge_body_returns_413(client: Client, url: str) -> None:
    assert post(client, url, b" " * 70_000).status_code == 413


@pytest.mark.parametrize("url", [TASKS, CALLBACKS, RECONCILE, PURGE, DIGESTS, FIGURES])
def test_other_methods_are_refused_in_json(client: Client, url: str) -> None:
    answer = client.get(url)

    assert (answer.status_code, answer.json()["code"]) == (405, "METHOD_NOT_ALLOWED")


def test_unreachable_database_returns_503(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(body: bytes) -> None:
        raise OperationalError("server closed the connection")

    monkeypatch.setattr(callback, "handle", fail)

    assert post(client, CALLBACKS).status_code == 503


def test_public_service_has_no_worker_endpoints(client: Client, settings: Settings) -> None:
    settings.ROOT_URLCONF = "config.urls_web"

    assert post(client, CALLBACKS).status_code == 404
