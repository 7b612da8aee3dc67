"""Unit tests of the services of this stack."""

from dataclasses import replace
from pathlib import Path

import pytest

from devenv import config
from devenv.config import External
from devenv.product import Product
from devenv.secrets import Secrets
from devenv.services import application, launch_postgres, services, urls
from devenv.stack.service import start_levels

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def product(tmp_path: Path) -> Product:
    ours = replace(config.load(ROOT), root=tmp_path)
    ours.state.mkdir()
    return Product(config=ours, secrets=Secrets.load(ours.secrets_file))


def test_product_starts_after_database_and_cloud(product: Product) -> None:
    assert start_levels(services(product)) == [
        ["gcp", "mail", "postgres"],
        ["migrate"],
        ["setup"],
        ["web", "worker"],
    ]


def test_mock_mode_has_no_cloud(product: Product) -> None:
    mock = replace(product, mode="mock")

    assert "gcp" not in {service.name for service in services(mock)}
    assert "gcp" not in urls(mock)


def test_cloud_gets_ports_of_services(product: Product) -> None:
    moved = replace(product, config=product.config.on(replace(product.config.ports, worker=9001)))
    [cloud] = [service for service in services(moved) if service.name == "gcp"]

    assert "--service-port=validibot-worker=9001" in cloud.command


def test_cloud_gets_runtime_of_jobs(product: Product) -> None:
    [cloud] = [each for each in services(replace(product, jobs="docker")) if each.name == "gcp"]

    assert cloud.command[cloud.command.index("--jobs") + 1] == "docker"


def test_new_migration_changes_setup_key(product: Product) -> None:
    migrations = product.config.root / "validibot" / "runs" / "migrations"
    migrations.mkdir(parents=True)
    before = application.setup_key(product)

    (migrations / "0002_more.py").write_text("")

    assert application.setup_key(product) != before


def test_new_database_changes_setup_key(product: Product) -> None:
    before = application.setup_key(product)

    cluster = product.config.state / "postgres" / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("18")

    assert application.setup_key(product) != before


def test_postgres_listens_on_loopback_only(tmp_path: Path) -> None:
    command = launch_postgres.server_command(tmp_path, port=5432)

    assert command[command.index("-h") + 1] == "127.0.0.1"
    assert "--unix_socket_directories=" in command


def test_external_servers_replace_services(product: Product) -> None:
    external = External(
        postgres="postgres://a:b@db:1/c", smtp="smtp://post:2", mail="http://post:3"
    )
    theirs = replace(product, config=replace(product.config, external=external))

    assert start_levels(services(theirs))[0] == ["gcp"]
    assert urls(theirs)["mail"] == "http://post:3"
    assert theirs.database_url == "postgres://a:b@db:1/c"
