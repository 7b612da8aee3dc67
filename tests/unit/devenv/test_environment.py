"""Unit tests of the environment that the product gets, and of its secrets."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from devenv import config, environment
from devenv.product import Product
from devenv.secrets import Secrets

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def product(tmp_path: Path) -> Product:
    ours = replace(config.load(ROOT), root=tmp_path)
    (ours.state / "gcp").mkdir(parents=True)
    environ = {"web": {"GCE_METADATA_HOST": "web"}, "worker": {"GCE_METADATA_HOST": "worker"}}
    (ours.state / "gcp" / "endpoints.json").write_text(json.dumps({"environ": environ}))
    return Product(config=ours, secrets=Secrets.load(ours.secrets_file))


def test_cloud_variables_follow_declared_cloud(product: Product) -> None:
    variables = product.variables("worker")

    assert variables["WORKER_URL"] == "https://validibot-worker-123456789012.us-west1.run.app"
    assert variables["CLOUD_TASKS_QUEUE"] == "runs"
    assert variables["GCS_BUCKET"] == "validibot-local"
    assert variables["SCHEDULER_ACCOUNT"] == "scheduler@validibot-local.iam.gserviceaccount.com"
    assert variables["ALLOWED_CALLERS"].split(",") == [
        f"{name}@validibot-local.iam.gserviceaccount.com"
        for name in ("tasks", "scheduler", "validator-energyplus", "validator-fmu")
    ]


@pytest.mark.parametrize("role", ["web", "worker"])
def test_each_role_has_own_identity(product: Product, role: str) -> None:
    variables = product.variables(role)

    assert (variables["APP_ROLE"], variables["GCE_METADATA_HOST"]) == (role, role)


def test_mock_mode_has_no_cloud_variables(product: Product) -> None:
    variables = replace(product, mode="mock").variables("web")

    assert variables["DJANGO_SETTINGS_MODULE"] == "config.settings.local"
    assert not [name for name in variables if name.startswith(("GOOGLE", "GCE", "CLOUD"))]


def test_foreign_variables_are_removed(monkeypatch: pytest.MonkeyPatch, product: Product) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "https_proxy", "PGHOST", "DJANGO_DEBUG"):
        monkeypatch.setenv(name, "/real")

    assert "/real" not in environment.machine().values()
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
    first = Secrets.load(path)
    assert Secrets.load(path) == first

    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("DEMO_API_KEY")))
    again = Secrets.load(path)

    assert replace(again, demo_api_key=first.demo_api_key) == first
    assert again.demo_api_key != first.demo_api_key


def test_web_is_reached_without_a_proxy(product: Product) -> None:
    assert product.variables("web")["TRUSTED_PROXY_COUNT"] == "0"


def test_bytecode_is_kept_beside_packages_if_unwanted_beside_sources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("PYTHONPYCACHEPREFIX", raising=False)

    environ = environment.machine()

    assert "PYTHONDONTWRITEBYTECODE" not in environ
    assert environ["PYTHONPYCACHEPREFIX"] == str(Path(sys.prefix) / "pycache")
