"""The whole emulated cloud on loopback ports, and Google's clients as this process constructs them.

One cloud serves the session: gRPC reads the CA bundle once in the life of a process.
"""

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_socket
from google.auth.compute_engine import _metadata

from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig, parse

ROOT = Path(__file__).parents[2]

type ActAs = Callable[[str], None]


@pytest.fixture(autouse=True)
def _loopback(socket_enabled: None) -> None:
    """Sockets are shut elsewhere."""


@pytest.fixture(scope="session")
def config() -> CloudConfig:
    """The project of devenv.toml; nothing in it starts by itself."""
    declared = parse(tomllib.loads((ROOT / "devenv.toml").read_text())["gcp"])
    cold = tuple(replace(image, warm=()) for image in declared.images)
    return replace(declared, images=cold, schedules=())


@pytest.fixture(scope="session")
def cloud(config: CloudConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    pytest_socket.enable_socket()
    with Cloud(config, data=tmp_path_factory.mktemp("gcp"), project=ROOT) as cloud:
        yield cloud
        pytest_socket.enable_socket()  # the test before may have shut them again


@pytest.fixture
def act_as(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> ActAs:
    """Make Google's clients that are constructed from now on be a service account."""

    def act(account: str) -> None:
        environ = cloud.environ(account)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        # google-auth reads this variable only when it is imported.
        monkeypatch.setattr(_metadata, "_GCE_METADATA_HOST", environ["GCE_METADATA_HOST"])

    return act
