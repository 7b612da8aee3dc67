"""The comparison of an instance of Cloud SQL with what Google answers, without a cloud."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from google.cloud import sqladmin_v1 as sqladmin

from deploy.errors import DeployError
from deploy.google import GoogleCloud
from deploy.plan import change_of
from deploy.resources.sql_instance import SqlInstance

Found = Callable[..., None]


@pytest.fixture
def cloud() -> GoogleCloud:
    return GoogleCloud("validibot-local", "us-west1")


@pytest.fixture
def instance(cloud: GoogleCloud) -> SqlInstance:
    return SqlInstance(cloud=cloud, name="db", tier="db-custom-1-3840", edition="ENTERPRISE")


@pytest.fixture
def found(cloud: GoogleCloud, monkeypatch: pytest.MonkeyPatch) -> Found:
    """Return a function that lets the cloud have an instance with the settings of one, and a network."""

    def have(wanted: SqlInstance, network: str = "") -> None:
        settings: Any = {**wanted._settings(), "data_disk_size_gb": 25}
        settings["ip_configuration"]["private_network"] = network
        there = sqladmin.DatabaseInstance(
            name="db",
            region=wanted.cloud.region,
            database_version="POSTGRES_17",
            state="RUNNABLE",
            settings=settings,
        )
        monkeypatch.setattr("deploy.resources.sql_instance.instances_of", lambda _: [there])

    return have


def test_removed_network_is_told_once(instance: SqlInstance, found: Found) -> None:
    """Google leaves the private address: the plan that removes the rest says so, later ones are empty."""
    network = "projects/validibot-local/global/networks/default"
    found(replace(instance, network="default"), network)
    change = change_of(instance)
    assert change is not None
    lines = list(change.lines())
    found(instance, network)

    assert lines[-1] == (
        "    Google leaves the instance its private address: it stays, and no plan shows it again."
    )
    assert "    public address: none -> True" in lines
    assert not [line for line in lines if line.startswith("    network")]
    assert change_of(instance) is None


def test_grown_disk_is_no_difference(instance: SqlInstance, found: Found) -> None:
    found(instance)

    assert change_of(instance) is None
    assert change_of(replace(instance, disk_gb=30)) is not None


def test_instance_of_another_region_is_refused(
    instance: SqlInstance, found: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.resources.sql_instance.finish_running", lambda cloud, name: None)
    found(instance)
    moved = replace(instance, cloud=GoogleCloud("validibot-local", "us-east1"))
    change = change_of(moved)
    assert change is not None

    with pytest.raises(
        DeployError, match="is in us-west1, and an instance cannot move to us-east1"
    ):
        change.carry_out()
