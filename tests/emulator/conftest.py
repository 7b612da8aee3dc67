"""The whole emulated cloud on loopback ports, and Google's clients as this process constructs them.

One cloud serves the session: gRPC reads the CA bundle once in the life of a process.
"""

import _socket
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_socket
from google.auth.compute_engine import _metadata

from devenv.gcp import Cloud
from devenv.gcp.config import Binding, CloudConfig, parse

ROOT = Path(__file__).parents[2]

type ActAs = Callable[[str], None]


@pytest.fixture(autouse=True)
def _loopback(socket_enabled: None) -> None:
    """Sockets are shut elsewhere."""


@pytest.fixture(scope="session")
def config() -> CloudConfig:
    """The project of devenv.toml with an `admin`; nothing in it starts by itself.

    Its services have ports that nobody else has, so that a running devenv is left alone.
    """
    declared = parse(tomllib.loads((ROOT / "devenv.toml").read_text())["gcp"])
    cold = tuple(replace(image, warm=()) for image in declared.images)
    admin = (
        Binding("admin", "roles/cloudtasks.admin"),
        Binding("admin", "roles/cloudscheduler.admin"),
        Binding("admin", "roles/iam.serviceAccountUser"),
        Binding("admin", "roles/run.admin"),
    )
    return replace(
        declared,
        accounts=(*declared.accounts, "admin"),
        bindings=(*declared.bindings, *admin),
        images=cold,
        schedules=(),
        services=tuple(replace(service, port=_free_port()) for service in declared.services),
    )


def _free_port() -> int:
    # The raw socket: the class above it is shut outside of tests.
    probe = _socket.socket()
    probe.bind(("127.0.0.1", 0))
    port = int(probe.getsockname()[1])
    probe.close()
    return port


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
