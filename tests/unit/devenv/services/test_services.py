"""The services of this stack, as data."""

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


def test_the_product_starts_once_database_and_cloud_are_there(product: Product) -> None:
    assert start_levels(services(product)) == [
        ["gcp", "mail", "postgres"],
        ["migrate"],
        ["setup"],
        ["web", "worker"],
    ]


def test_mock_mode_does_without_the_cloud(product: Product) -> None:
    mock = replace(product, mode="mock")

    assert "gcp" not in {service.name for service in services(mock)}
    assert "gcp" not in urls(mock)


def test_the_cloud_is_told_where_its_services_listen(product: Product) -> None:
    moved = replace(product, config=product.config.on(replace(product.config.ports, worker=9001)))
    [cloud] = [service for service in services(moved) if service.name == "gcp"]

    assert "--service-port=validibot-worker=9001" in cloud.command


def test_the_cloud_is_told_what_jobs_run_in(product: Product) -> None:
    [cloud] = [each for each in services(replace(product, jobs="docker")) if each.name == "gcp"]

    assert cloud.command[cloud.command.index("--jobs") + 1] == "docker"


def test_setup_is_due_again_after_a_new_migration(product: Product) -> None:
    migrations = product.config.root / "validibot" / "runs" / "migrations"
    migrations.mkdir(parents=True)
    before = application.setup_key(product)

    (migrations / "0002_more.py").write_text("")

    assert application.setup_key(product) != before


def test_setup_is_due_again_in_a_new_database(product: Product) -> None:
    before = application.setup_key(product)

    cluster = product.config.state / "postgres" / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("18")

    assert application.setup_key(product) != before


def test_postgresql_listens_on_the_loopback_interface_only(tmp_path: Path) -> None:
    command = launch_postgres.server_command(tmp_path, port=5432)

    assert command[command.index("-h") + 1] == "127.0.0.1"
    assert "--unix_socket_directories=" in command


def test_what_somebody_else_runs_is_not_started(product: Product) -> None:
    external = External(
        postgres="postgres://a:b@db:1/c", smtp="smtp://post:2", mail="http://post:3"
    )
    theirs = replace(product, config=replace(product.config, external=external))

    assert start_levels(services(theirs))[0] == ["gcp"]
    assert urls(theirs)["mail"] == "http://post:3"
    assert theirs.database_url == "postgres://a:b@db:1/c"
