"""What the product is told."""

import json
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


def test_the_wiring_follows_from_the_declared_cloud(product: Product) -> None:
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
def test_each_role_has_an_identity_of_its_own(product: Product, role: str) -> None:
    variables = product.variables(role)

    assert (variables["APP_ROLE"], variables["GCE_METADATA_HOST"]) == (role, role)


def test_mock_mode_knows_no_cloud(product: Product) -> None:
    variables = replace(product, mode="mock").variables("web")

    assert variables["DJANGO_SETTINGS_MODULE"] == "config.settings.local"
    assert not [name for name in variables if name.startswith(("GOOGLE", "GCE", "CLOUD"))]


def test_what_leads_elsewhere_does_not_reach_our_services(
    monkeypatch: pytest.MonkeyPatch, product: Product
) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "https_proxy", "PGHOST", "DJANGO_DEBUG"):
        monkeypatch.setenv(name, "/real")

    assert "/real" not in environment.machine().values()
    assert environment.foreign_credentials() == ["GOOGLE_APPLICATION_CREDENTIALS"]


def test_a_proxy_that_spares_localhost_is_not_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert environment.proxies() == ["http_proxy"]

    monkeypatch.setenv("no_proxy", "localhost")
    assert environment.proxies() == []


def test_secrets_stay_the_same_and_a_missing_one_is_made(tmp_path: Path) -> None:
    path = tmp_path / "secrets.env"
    first = Secrets.load(path)
    assert Secrets.load(path) == first

    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not line.startswith("DEMO_API_KEY")))
    again = Secrets.load(path)

    assert replace(again, demo_api_key=first.demo_api_key) == first
    assert again.demo_api_key != first.demo_api_key
