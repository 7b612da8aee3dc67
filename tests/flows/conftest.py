"""These tests talk to servers that they start on the loopback interface."""

from collections.abc import Iterator

import pytest

from tests.flows import foreign as foreigners, stack as stacks
from tests.flows.stack import Stack


@pytest.fixture(autouse=True)
def _loopback(socket_enabled: None) -> None:
    """Sockets are shut elsewhere."""


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The emulated mode, as `make up` starts it."""
    made = stacks.make(tmp_path_factory.mktemp("stack") / "emulated")
    stacks.start(made)
    yield made
    stacks.stop(made)


@pytest.fixture(scope="session")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The emulated mode with foreign containers."""
    made = foreigners.start(tmp_path_factory.mktemp("stack") / "foreign")
    yield made
    stacks.stop(made)
