"""System checks for EXECUTION_BACKENDS."""

from typing import Any

import pytest
from django.core.checks import WARNING
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from validibot.runs.backends import check_backends, check_isolation, get_backend

BACKENDS = "validibot.runs.backends"


def ids(settings: Settings, backends: dict[str, Any]) -> list[str | None]:
    settings.EXECUTION_BACKENDS = backends
    return [message.id for message in check_backends()]


def named(path: str, **options: Any) -> dict[str, Any]:
    return {"default": {"BACKEND": f"{BACKENDS}.{path}", "OPTIONS": options}}


def test_cloud_run_needs_project_region_and_capability_account(settings: Settings) -> None:
    complete = named("cloud_run.CloudRunBackend", project="p", region="r")

    assert ids(settings, complete) == ["validibot.runs.E003"]
    settings.CAPABILITY_ACCOUNT = "capability@p.iam.gserviceaccount.com"
    assert ids(settings, complete) == []
    assert ids(settings, named("cloud_run.CloudRunBackend")) == ["validibot.runs.E001"]


def options(settings: Settings, path: str) -> dict[str, str]:
    return {"validators_dir": str(settings.VALIDATORS_DIR)} if "subprocess" in path else {}


@pytest.mark.parametrize("path", ["mock.MockBackend", "subprocess.SubprocessBackend"])
def test_local_backend_needs_option_without_debug(settings: Settings, path: str) -> None:
    assert ids(settings, named(path)) == ["validibot.runs.E002"]

    allowed = named(path, allow_without_debug=True, **options(settings, path))
    assert ids(settings, allowed) == []


def test_missing_validators_folder_is_reported(settings: Settings) -> None:
    settings.DEBUG = True

    wrong = named("subprocess.SubprocessBackend", validators_dir="/nowhere")
    assert ids(settings, wrong) == ["validibot.runs.E003"]


@pytest.mark.parametrize(
    "backends",
    [{}, {"default": {}}, named("nothing.Nothing"), named("mock.Nothing"), {"other": {}}],
)
def test_invalid_entry_is_reported(settings: Settings, backends: dict[str, Any]) -> None:
    assert "validibot.runs.E001" in ids(settings, backends)


def test_unknown_alias_error_names_alias(settings: Settings) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"EXECUTION_BACKENDS\['other'\]"):
        get_backend("other")


def test_shared_user_is_reported_before_deployment(settings: Settings) -> None:
    settings.EXECUTION_BACKENDS = named("subprocess.SubprocessBackend")
    (said,) = check_isolation()

    assert (said.id, said.level < WARNING) == ("validibot.runs.I001", True)
    assert "run as the user of the worker" in said.msg

    settings.EXECUTION_BACKENDS = named("docker.DockerBackend")
    assert check_isolation() == []
