"""The door of a host's public process: the worker's key, then the nonce."""

import pytest
from django.test import Client
from django.utils import crypto
from pytest_django import Settings

CALLBACKS = "/internal/callbacks/"


@pytest.fixture(autouse=True)
def _host(settings: Settings) -> None:
    settings.ROOT_URLCONF = "config.urls_host"
    settings.WORKER_AUTH = "validibot.worker.auth.worker_key"
    settings.WORKER_API_KEY = "correct"


@pytest.mark.parametrize("header", ["Worker-Key correct", "worker-key  correct "])
def test_the_key_opens_the_door_and_then_the_nonce_is_asked_for(
    client: Client, header: str
) -> None:
    answer = client.post(CALLBACKS, headers={"Authorization": header})

    assert answer.status_code == 400
    assert "Invalid callback" in answer.json()["detail"]


@pytest.mark.parametrize(
    "header",
    ["", "correct", "Bearer correct", "Worker-Key", "Worker-Key wrong", "Worker-Key çorrect"],
)
def test_anything_else_does_not(client: Client, header: str) -> None:
    answer = client.post(CALLBACKS, headers={"Authorization": header})

    assert (answer.status_code, answer.json()["code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize("header", ["Worker-Key ", "Worker-Key", "Worker-Key x"])
def test_without_a_key_the_door_is_shut(client: Client, settings: Settings, header: str) -> None:
    settings.WORKER_API_KEY = ""

    assert client.post(CALLBACKS, headers={"Authorization": header}).status_code == 403


def test_keys_are_compared_in_constant_time(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[str, str]] = []

    def compare(given: str, expected: str) -> bool:
        compared.append((given, expected))
        return crypto.constant_time_compare(given, expected)

    monkeypatch.setattr("validibot.worker.auth.constant_time_compare", compare)
    client.post(CALLBACKS, headers={"Authorization": "Worker-Key guess"})

    assert compared == [("guess", "correct")]


@pytest.mark.parametrize("door", ["tasks", "schedules/reconcile"])
def test_the_other_doors_are_not_on_a_host(client: Client, door: str) -> None:
    assert client.post(f"/internal/{door}/").status_code == 404
