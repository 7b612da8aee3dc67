"""What an operator may say about containers, and what is wrong with it."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from containers import Engine, EngineUnavailable
from validibot.runs.backends import get_backend
from validibot.runs.backends.docker.options import Options
from validibot.runs.checks import check_backends


def configure(settings: Settings, **options: Any) -> None:
    settings.EXECUTION_BACKENDS = {
        "default": {"BACKEND": "validibot.runs.backends.docker.DockerBackend", "OPTIONS": options}
    }


def complaints(settings: Settings, **options: Any) -> list[tuple[str | None, str]]:
    configure(settings, **options)
    return [(message.id, str(message.msg)) for message in check_backends()]


@pytest.fixture
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "ping", lambda self: None)


@pytest.mark.usefixtures("_engine")
def test_everything_has_a_default(settings: Settings) -> None:
    assert complaints(settings, allow_without_debug=True) == []


@pytest.mark.usefixtures("_engine")
def test_it_does_not_serve_unless_told(settings: Settings) -> None:
    assert [pk for pk, _ in complaints(settings)] == ["validibot.runs.E002"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", "host"),
        ("network_name", 1),
        ("memory_mb", 0),
        ("memory_mb", "1g"),
        ("cpus", -1),
        ("cpus", float("inf")),
        ("output_mb", 1.5),
        ("user", "root"),
        ("user", "1000"),
        ("owner", "Me & you"),
        ("environ", {"A": 1}),
        ("allow_without_debug", "yes"),
    ],
)
def test_a_wrong_option_is_named_with_its_value(settings: Settings, name: str, value: Any) -> None:
    [(pk, said)] = complaints(settings, **{name: value})

    assert pk == "validibot.runs.E001"
    assert f"{name} is {value!r}; it must be" in said


def test_an_unknown_option_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ImproperlyConfigured, match="'privileged'; known are network,"):
        Options.parse("here", {"privileged": True})


def test_files_must_be_where_containers_can_be_given_them(settings: Settings) -> None:
    settings.DATA_ROOT = "gs://bucket"

    said = complaints(settings, allow_without_debug=True)

    assert [pk for pk, _ in said] == ["validibot.runs.E003"]


def test_an_engine_that_does_not_answer_is_a_warning(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(self: Engine) -> None:
        raise EngineUnavailable("Nobody answers.")

    monkeypatch.setattr(Engine, "ping", silent)

    [(pk, said)] = complaints(settings, allow_without_debug=True)

    assert (pk, said) == (
        "validibot.runs.W001",
        "EXECUTION_BACKENDS['default']: Nobody answers.",
    )


def test_two_deployments_on_one_engine_own_different_containers(settings: Settings) -> None:
    settings.DATA_ROOT = "file:///srv/one"
    one = Options.parse("here", {}).owner
    settings.DATA_ROOT = "file:///srv/two"

    assert Options.parse("here", {}).owner != one


def test_without_a_network_validators_are_not_told_to_call_back(settings: Settings) -> None:
    configure(settings, network="none")
    assert not get_backend().posts_callbacks

    configure(settings)
    assert get_backend().posts_callbacks
