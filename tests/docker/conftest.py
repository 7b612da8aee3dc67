"""These tests run containers: they need an engine and the images of this checkout."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient

from tests import engine as engines
from validators.sdk.manifest import ValidatorManifest, read_manifest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test of this folder is marked `docker`, and may take as long as containers do."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("docker")
            if not item.get_closest_marker("timeout"):
                item.add_marker(pytest.mark.timeout(120))


@pytest.fixture(autouse=True)
def _loopback(socket_enabled: None) -> None:
    """Sockets are shut elsewhere."""


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerClient]:
    """The engine of this machine; without one the test is skipped, in CI it fails."""
    client = engines.connect()
    yield client
    client.close()


@pytest.fixture(scope="session")
def manifests(engine: DockerClient) -> dict[str, ValidatorManifest]:
    """The shipped validators by slug, with their images built from this checkout."""
    engines.build_validators()
    folders = [path.parent for path in sorted(Path("validators").glob("*/validator.toml"))]
    return {folder.name: read_manifest(folder) for folder in folders}


@pytest.fixture(scope="session")
def standin_image(engine: DockerClient) -> str:
    """The image of a foreign validator: another base, user and folder, and none of our SDK."""
    return engines.build_standin()
