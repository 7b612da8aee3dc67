"""Fixtures of the tests with containers, which need an engine and this checkout's images."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient

from tests import engine as engines
from validators.sdk.manifest import ValidatorManifest, read_manifest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder `docker`, with a longer time limit."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("docker")
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(120))


@pytest.fixture(autouse=True)
def _loopback(socket_enabled: None) -> None:
    """Allow sockets, which other tests may not use."""


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerClient]:
    """Return this machine's engine; without one skip the test, or fail it in CI."""
    client = engines.connect()
    yield client
    client.close()


@pytest.fixture(scope="session")
def manifests(engine: DockerClient) -> dict[str, ValidatorManifest]:
    """Return the shipped validators by slug after building their images."""
    engines.build_validators()
    folders = [path.parent for path in sorted(Path("validators").glob("*/validator.toml"))]
    return {folder.name: read_manifest(folder) for folder in folders}


@pytest.fixture(scope="session")
def standin_image(engine: DockerClient) -> str:
    """Return the image of a foreign validator: another base, user and folder, without our SDK."""
    return engines.build_standin()
