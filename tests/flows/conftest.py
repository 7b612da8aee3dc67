"""These tests talk to servers that they start on the loopback interface."""

from collections.abc import Iterator

import pytest

from tests.containers import servers  # noqa: F401 - a fixture
from tests.flows import foreign as foreigners, stack as stacks
from tests.flows.stack import Stack


@pytest.fixture(autouse=True)
def _loopback(socket_enabled: None) -> None:
    """Sockets are shut elsewhere."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the flows on the cloud that `--cloud` does not ask for."""
    other = {"embedded": "containers", "containers": "embedded"}.get(config.getoption("cloud"))
    left_out = [item for item in items if other and other in _clouds(item)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def _clouds(item: pytest.Item) -> set[object]:
    call = getattr(item, "callspec", None)
    return {call.params.get(name) for name in ("stack", "foreign")} if call else set()


_IN_CONTAINERS = (pytest.mark.docker, pytest.mark.xdist_group("containers"))


@pytest.fixture(
    scope="session", params=("embedded", pytest.param("containers", marks=_IN_CONTAINERS))
)
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The emulated mode, as `make up` starts it; then with all that can be in containers."""
    cloud: str = request.param
    used = request.getfixturevalue("servers") if cloud == "containers" else None
    made = stacks.make(tmp_path_factory.mktemp("stack") / cloud, servers=used)
    stacks.start(made)
    yield made
    stacks.stop(made)


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The emulated mode with foreign containers."""
    made = foreigners.start(tmp_path_factory.mktemp("stack") / "foreign")
    yield made
    stacks.stop(made)
