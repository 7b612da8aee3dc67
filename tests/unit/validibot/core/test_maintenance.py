"""Maintenance: who is let in, and how the switch is asked."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError
from django.test import Client
from pytest_django import Settings

from deploy.verify import revision_checks
from validibot.core.maintenance import Switch
from validibot.core.models import Maintenance

PAGE = {"Accept": "text/html"}


@pytest.fixture
def _closed(settings: Settings) -> None:
    settings.MIDDLEWARE = [
        "validibot.core.health.HealthMiddleware",
        "validibot.core.maintenance.MaintenanceMiddleware",
        *settings.MIDDLEWARE[1:],
    ]
    settings.MAINTENANCE = True
    settings.ROOT_URLCONF = "config.urls_host"
    settings.WORKER_AUTH = "validibot.worker.views.worker_key"


@pytest.mark.usefixtures("_closed")
@pytest.mark.parametrize("path", ["/app/", "/accounts/signup/", "/nowhere/"])
def test_browser_gets_maintenance_page_with_retry_time(client: Client, path: str) -> None:
    answer = client.get(path, headers=PAGE)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert b"Back in a moment" in answer.content


@pytest.mark.usefixtures("_closed")
def test_checks_of_a_release_pass_during_maintenance(
    client: Client, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A point-in-time restore deploys while the site is closed."""
    settings.ROOT_URLCONF = "config.urls_web"

    def get(url: str, **options: object) -> Any:
        return client.get(url.removeprefix("https://web.example"))

    monkeypatch.setattr("deploy.verify.requests.get", get)
    for check in revision_checks("web", "https://web.example"):
        if check.name != "web reaches the database":
            check.run()


@pytest.mark.usefixtures("_closed")
@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_write_request_is_refused_during_maintenance(client: Client, method: str) -> None:
    answer = getattr(client, method)("/api/v1/orgs/demo/workflows/w/runs/")

    assert (answer.status_code, answer.json()["code"]) == (503, "MAINTENANCE")
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.django_db
@pytest.mark.usefixtures("_closed")
@pytest.mark.parametrize(
    ("path", "status"),
    [("/health/ready/", 200), ("/api/v1/orgs/o/runs/", 401), ("/accounts/login/", 200)],
)
def test_health_reading_and_administration_stay_open(
    client: Client, path: str, status: int
) -> None:
    assert client.get(path).status_code == status


@pytest.mark.usefixtures("_closed")
def test_callback_is_accepted_during_maintenance(client: Client) -> None:
    assert client.post("/internal/callbacks/").status_code == 403  # it has no key, but a door


@pytest.mark.django_db
def test_maintenance_command_switches_and_reports(settings: Settings) -> None:
    said = StringIO()
    for words in (["on", "--note", "new disks"], ["on"], ["off"], ["status"]):
        call_command("maintenance", *words, stdout=said)
    settings.MAINTENANCE = True
    call_command("maintenance", "off", stdout=said)

    lines = said.getvalue().splitlines()
    assert lines[0] == "Maintenance is on: new disks."
    assert lines[2:4] == ["Maintenance is off."] * 2
    assert "Unset it" in lines[4]
    assert not Maintenance.objects.exists()


def switch(*answers: bool | Exception) -> tuple[Switch, Callable[[float], None]]:
    """Return a switch, and what lets time pass for it."""
    now, left = [0.0], list(answers)

    def ask() -> bool:
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait(seconds: float) -> None:
        now[0] += seconds

    return Switch(ask, clock=lambda: now[0]), wait


def test_maintenance_flag_is_read_once_a_second() -> None:
    asked, wait = switch(True, False)

    assert [asked.is_on(), asked.is_on()] == [True, True]
    wait(1.0)
    assert not asked.is_on()


def test_switch_keeps_its_state_while_the_database_is_down() -> None:
    asked, wait = switch(True, OperationalError("gone"), False)

    assert asked.is_on()
    wait(1.0)
    assert asked.is_on()
    wait(1.0)
    assert not asked.is_on()
