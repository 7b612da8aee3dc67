"""Fixtures for tests that start servers on the loopback interface."""

import pytest

from tests.cloud import ActAs, act_as, cloud, config

__all__ = ["ActAs", "act_as", "cloud", "config"]


@pytest.fixture(autouse=True)
def _loopback(socket_enabled: None) -> None:
    """Allow sockets, which are disabled in other tests."""
