"""Health probes, which come to an address and not to a name."""

from unittest.mock import Mock

import psycopg
import pytest
from django.conf import settings
from django.test import Client


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["validibot.example"])
    monkeypatch.setattr(settings, "SECURE_SSL_REDIRECT", True)


def test_probe_without_known_host_or_tls_is_answered(strict: None) -> None:
    assert Client().get("/health/", headers={"host": "10.0.0.7:8080"}).json() == {"status": "ok"}


def test_other_paths_check_the_host(strict: None) -> None:
    assert Client().get("/health", headers={"host": "10.0.0.7:8080"}).status_code == 400


@pytest.mark.django_db
def test_process_with_database_is_ready() -> None:
    assert Client().get("/health/ready/").status_code == 200


@pytest.mark.django_db
def test_process_without_database_lives_and_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psycopg.connect", Mock(side_effect=psycopg.OperationalError("gone")))

    assert Client().get("/health/ready/").status_code == 503
    assert Client().get("/health/").status_code == 200
