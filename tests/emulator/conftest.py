"""Fixtures for tests that start servers on the loopback interface."""

import pytest

from devenv.pytest_plugin import ActAs
from tests.cloud import act_as, cloud, config

__all__ = ["ActAs", "act_as", "cloud", "config"]


@pytest.fixture(autouse=True)
def _loopback(socket_enabled: None) -> None:
    """Allow sockets, which are disabled in other tests."""
