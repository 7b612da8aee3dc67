"""Fixtures of the console's tests."""

from pathlib import Path

import pytest

from devenv.stack.statefile import ServiceState
from tests.unit.devenv.console.console import ConsoleClient, write_state


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_state(
        tmp_path,
        postgres=ServiceState("healthy", restarts=2),
        migrate=ServiceState("done", needs=("postgres",), is_step=True),
        web=ServiceState("stopped", needs=("migrate",)),
        console=ServiceState("healthy"),
    )
    return tmp_path


@pytest.fixture
def visitor(folder: Path) -> ConsoleClient:
    """Return a browser with a session."""
    client = ConsoleClient(folder)
    client.sign_in()
    return client
