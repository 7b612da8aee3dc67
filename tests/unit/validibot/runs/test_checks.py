"""What is wrong with EXECUTION_BACKENDS is said at the start."""

from typing import Any

import pytest
from django.core.checks import WARNING
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from validibot.runs.backends import get_backend
from validibot.runs.checks import check_backends, check_isolation

BACKENDS = "validibot.runs.backends"


def ids(settings: Settings, backends: dict[str, Any]) -> list[str | None]:
    settings.EXECUTION_BACKENDS = backends
    return [message.id for message in check_backends()]


def named(path: str, **options: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": f"{BACKENDS}.{path}", "OPTIONS": options}}


def test_cloud_run_needs_project_and_region(settings: Settings) -> None:
    whole = named("cloud_run.CloudRunBackend", project="p", region="r")

    assert ids(settings, whole) == []
    assert ids(settings, named("cloud_run.CloudRunBackend")) == ["validibot.runs.E003"] * 2


@pytest.mark.parametrize("path", ["mock.MockBackend", "subprocess.SubprocessBackend"])
def test_a_local_twin_does_not_serve_unless_told(settings: Settings, path: str) -> None:
    assert ids(settings, named(path)) == ["validibot.runs.E002"]

    told = named(path, allow_without_debug=True, validators_dir=str(settings.VALIDATORS_DIR))
    assert ids(settings, told) == []


def test_a_folder_of_validators_must_be_there(settings: Settings) -> None:
    settings.DEBUG = True

    wrong = named("subprocess.SubprocessBackend", validators_dir="/nowhere")
    assert ids(settings, wrong) == ["validibot.runs.E003"]


@pytest.mark.parametrize(
    "backends",
    [{}, {"default": {}}, named("nothing.Nothing"), named("mock.Nothing"), {"other": {}}],
)
def test_a_wrong_entry_is_named(settings: Settings, backends: dict[str, Any]) -> None:
    assert "validibot.runs.E001" in ids(settings, backends)


def test_an_unknown_alias_is_named(settings: Settings) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"EXECUTION_BACKENDS\['other'\]"):
        get_backend("other")


def test_before_a_deployment_it_is_said_what_foreign_models_may_do(settings: Settings) -> None:
    settings.EXECUTION_BACKENDS = named("subprocess.SubprocessBackend")
    (said,) = check_isolation()

    assert (said.id, said.level < WARNING) == ("validibot.runs.I001", True)
    assert "run as the user of the worker" in said.msg

    settings.EXECUTION_BACKENDS = named("docker.DockerBackend")
    assert check_isolation() == []
