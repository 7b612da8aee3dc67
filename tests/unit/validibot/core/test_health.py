"""Probes come to an address: whatever they call us, they learn whether we live."""

import pytest
from django.conf import settings
from django.db import DatabaseError, connection
from django.test import Client


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["validibot.example"])
    monkeypatch.setattr(settings, "SECURE_SSL_REDIRECT", True)


def test_a_probe_that_knows_no_host_and_no_tls_is_answered(strict: None) -> None:
    assert Client().get("/health/", headers={"host": "10.0.0.7:8080"}).json() == {"status": "ok"}


def test_everything_else_still_asks_for_the_host(strict: None) -> None:
    assert Client().get("/health", headers={"host": "10.0.0.7:8080"}).status_code == 400


@pytest.mark.django_db
def test_it_is_ready_while_the_database_answers() -> None:
    assert Client().get("/health/ready/").status_code == 200


@pytest.mark.django_db
def test_without_the_database_it_lives_and_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise DatabaseError

    monkeypatch.setattr(connection, "cursor", refuse)

    assert Client().get("/health/ready/").status_code == 503
    assert Client().get("/health/").status_code == 200
