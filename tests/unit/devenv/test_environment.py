"""Unit tests of the environment that the product gets, and of its secrets."""

import json
import sys
from pathlib import Path

import pytest

from devenv import environment
from devenv.local_stack import LocalStack
from devenv.secrets import Secrets, make
from devenv.services import declared
from tests.declared import stack_in

FORMS = {"key": "{token:30}", "demo": "{hex:2}-{hex:2}-{hex:2}"}

VALIDATORS = ("energyplus", "fmu", "schematron", "shacl")


@pytest.fixture
def stack(tmp_path: Path) -> LocalStack:
    stack = stack_in(tmp_path)
    stack.folder.cloud.mkdir()
    environ = {"web": {"GCE_METADATA_HOST": "web"}, "worker": {"GCE_METADATA_HOST": "worker"}}
    (stack.folder.cloud / "endpoints.json").write_text(json.dumps({"environ": environ}))
    return stack


def test_cloud_variables_follow_declared_cloud(stack: LocalStack) -> None:
    variables = declared.variables(stack, "worker")

    assert variables["WORKER_URL"] == "https://validibot-worker-123456789012.us-west1.run.app"
    assert variables["CLOUD_TASKS_QUEUE"] == "runs"
    assert variables["GCS_BUCKET"] == "validibot-local"
    assert variables["SCHEDULER_ACCOUNT"] == "scheduler@validibot-local.iam.gserviceaccount.com"
    assert variables["ALLOWED_CALLERS"].split(",") == [
        f"{name}@validibot-local.iam.gserviceaccount.com"
        for name in (
            "tasks",
            "scheduler",
            *(f"validator-{each}" for each in (*VALIDATORS, "custom")),
            "custom-1",
        )
    ]


@pytest.mark.parametrize("role", ["web", "worker"])
def test_each_service_has_own_identity(stack: LocalStack, role: str) -> None:
    variables = declared.variables(stack, role)

    assert (variables["APP_ROLE"], variables["GCE_METADATA_HOST"]) == (role, role)


def test_mock_mode_has_no_cloud_variables(tmp_path: Path) -> None:
    variables = declared.variables(stack_in(tmp_path, "mock"), "web")

    assert variables["DJANGO_SETTINGS_MODULE"] == "config.settings.local"
    assert not [name for name in variables if name.startswith(("GOOGLE", "GCE", "CLOUD"))]


def test_foreign_and_hidden_variables_are_removed(
    monkeypatch: pytest.MonkeyPatch, stack: LocalStack
) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "https_proxy", "PGHOST", "DJANGO_DEBUG"):
        monkeypatch.setenv(name, "/real")

    assert "/real" not in declared.environ(stack, "web").values()
    assert environment.machine()["DJANGO_DEBUG"] == "/real"
    assert environment.foreign_credentials() == ["GOOGLE_APPLICATION_CREDENTIALS"]


def test_proxy_that_excludes_localhost_is_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert environment.proxies() == ["http_proxy"]

    monkeypatch.setenv("no_proxy", "localhost")
    assert environment.proxies() == []


def test_secrets_are_kept_and_missing_one_is_made(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    first = Secrets.load(path, FORMS)
    assert Secrets.load(path, FORMS) == first

    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("DEMO")))
    again = Secrets.load(path, FORMS)

    assert again["key"] == first["key"]
    assert again["demo"] != first["demo"]


def test_secrets_of_others_stay_in_file(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    first = Secrets.load(path, FORMS)

    assert "key" not in Secrets.load(path, {})
    assert Secrets.load(path, FORMS) == first


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    found = Secrets.load(tmp_path / "secrets.env", FORMS)

    names = "postgres_password, console_token, oidc_client_secret, key, demo"
    assert repr(found) == f"Secrets({names})"
    assert not any(value in repr(found) for value in found.values())


def test_secret_has_declared_form() -> None:
    assert [len(part) for part in make("a-{hex:2}-{hex:16}").split("-")] == [1, 4, 32]


def test_web_is_reached_without_a_proxy(stack: LocalStack) -> None:
    assert declared.variables(stack, "web")["TRUSTED_PROXY_COUNT"] == "0"


def test_bytecode_is_kept_beside_packages_if_unwanted_beside_sources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)

    environ = environment.machine()

    assert "PYTHONDONTWRITEBYTECODE" not in environ
    assert environ["PYTHONPYCACHEPREFIX"] == str(Path(sys.prefix) / "pycache")


def test_bytecode_of_packages_is_read_if_none_can_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "missing"))

    assert "PYTHONPYCACHEPREFIX" not in environment.machine()
