"""Google's Node clients with keys and identities, and their objects in other clients."""

import os
from pathlib import Path

import pytest

from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from tests.emulator.foreign.conftest import Client, check_signed_url


@pytest.fixture
def name() -> str:
    return f"node/{os.urandom(6).hex()}"


@pytest.fixture
def bucket(config: CloudConfig) -> str:
    return config.buckets[0]


def test_node_key_file_authenticates_every_client(
    node: Client, bucket: str, name: str, key_file: Path
) -> None:
    answer = node("validator-fmu", "keyFile", str(key_file), bucket, name)

    assert answer == {"content": "by key", "paused": 7, "identity": 3}


def test_node_impersonates_an_account(node: Client, config: CloudConfig) -> None:
    answer = node("admin", "impersonate", config.email("web"))

    assert answer == {"token": True, "key": 40, "identity": 3}


@pytest.mark.parametrize("version", ["v2", "v4"])
def test_node_signed_url_is_accepted_until_changed(
    node: Client, cloud: Cloud, bucket: str, name: str, version: str
) -> None:
    check_signed_url(cloud, node("admin", "sign", bucket, name, version))
