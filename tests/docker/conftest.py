"""Fixtures of the tests with containers, which need an engine and this checkout's images."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from docker import DockerClient

from tests import engine as engines
from validators.sdk.manifest import ValidatorManifest, read_manifest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder `docker`."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("docker")
    _put_last(items)


def _put_last(items: list[pytest.Item]) -> None:
    """Move tests marked `last` behind the others of their module, in the order of the file."""

    def place(item: pytest.Item) -> int:
        return item.location[1] or 0 if item.get_closest_marker("last") else -1

    for path in {item.path for item in items if item.get_closest_marker("last")}:
        indexes = [index for index, item in enumerate(items) if item.path == path]
        ordered = sorted((items[index] for index in indexes), key=place)
        for index, item in zip(indexes, ordered, strict=True):
            items[index] = item


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
