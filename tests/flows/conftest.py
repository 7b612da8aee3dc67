"""Fixtures of the flows, which start servers on the loopback interface."""

from collections.abc import Iterator

import pytest

from tests import engine as engines
from tests.containers import Servers, servers  # noqa: F401 - a fixture
from tests.flows import foreign as foreigners, stack as stacks
from tests.flows.stack import Stack


@pytest.fixture(autouse=True)
def _loopback(socket_enabled: None) -> None:
    """Allow sockets, which other tests may not use."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the flows on clouds that `--cloud` does not select.

    By default each flow runs on processes of this machine, and those with the mark `both_clouds`
    also in containers.
    """
    wanted = config.getoption("cloud")
    left_out = [item for item in items if _is_left_out(item, wanted)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def _is_left_out(item: pytest.Item, wanted: str) -> bool:
    clouds = _clouds(item)
    if wanted == "both":
        return "containers" in clouds and not item.get_closest_marker("both_clouds")
    return bool(clouds - {wanted, None})


def _clouds(item: pytest.Item) -> set[object]:
    call = getattr(item, "callspec", None)
    return {call.params.get("stack")} if call else set()


_IN_CONTAINERS = (pytest.mark.docker, pytest.mark.xdist_group("containers"))


_CLOUDS = ("embedded", pytest.param("containers", marks=_IN_CONTAINERS))


def _servers(request: pytest.FixtureRequest) -> Servers | None:
    """Return the containers of the stack, or None if it uses processes."""
    found: Servers | None = None
    if request.param == "containers":
        found = request.getfixturevalue("servers")
    return found


@pytest.fixture(scope="session", params=_CLOUDS)
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Start the emulated mode as `make up` does, with processes or with containers."""
    folder = tmp_path_factory.mktemp("stack") / request.param
    if used := _servers(request):
        engines.build_standin()
    made = foreigners.make(folder, servers=used)
    stacks.start(made)
    yield made
    stacks.stop(made)


@pytest.fixture(scope="session")
def foreign(stack: Stack) -> Stack:
    """The emulated mode with workflows of foreign validators."""
    foreigners.create_workflows(stack)
    return stack


@pytest.fixture(scope="session")
def mocked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack of `MOCK_VALIDATORS=1 make up`."""
    made = stacks.make(tmp_path_factory.mktemp("stack") / "mocked", mock=True)
    stacks.start(made)
    yield made
    stacks.stop(made)
