"""The door of a host's public process: the worker's key, then the nonce."""

import pytest
from django.test import Client
from django.utils import crypto
from pytest_django import Settings

CALLBACKS = "/internal/callbacks/"


@pytest.fixture(autouse=True)
def _host(settings: Settings) -> None:
    settings.ROOT_URLCONF = "config.urls_host"
    settings.WORKER_AUTH = "validibot.worker.views.worker_key"
    settings.WORKER_API_KEY = "correct"


@pytest.mark.parametrize("header", ["Worker-Key correct", "worker-key  correct "])
def test_right_worker_key_leads_to_the_callback(client: Client, header: str) -> None:
    answer = client.post(CALLBACKS, headers={"Authorization": header})

    assert answer.status_code == 400
    assert "Invalid callback" in answer.json()["detail"]


@pytest.mark.parametrize(
    "header",
    ["", "correct", "Bearer correct", "Worker-Key", "Worker-Key wrong", "Worker-Key çorrect"],
)
def test_wrong_worker_key_returns_403(client: Client, header: str) -> None:
    answer = client.post(CALLBACKS, headers={"Authorization": header})

    assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize("header", ["Worker-Key ", "Worker-Key", "Worker-Key x"])
def test_worker_without_key_refuses_every_caller(
    client: Client, settings: Settings, header: str
) -> None:
    settings.WORKER_API_KEY = ""

    assert client.post(CALLBACKS, headers={"Authorization": header}).status_code == 403


def test_worker_key_is_compared_in_constant_time(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def compare(given: str, expected: str) -> bool:
        compared.append((given, expected))
        return crypto.constant_time_compare(given, expected)

    monkeypatch.setattr("validibot.worker.views.constant_time_compare", compare)
    client.post(CALLBACKS, headers={"Authorization": "Worker-Key guess"})

    assert compared == [("guess", "correct")]


@pytest.mark.parametrize("door", ["tasks", "schedules/reconcile"])
def test_host_has_no_task_and_schedule_endpoints(client: Client, door: str) -> None:
    assert client.post(f"/internal/{door}/").status_code == 404
