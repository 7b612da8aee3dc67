"""These tests talk to servers that they start on the loopback interface."""

import pytest

from tests.cloud import act_as, cloud, config

__all__ = ["act_as", "cloud", "config"]


@pytest.fixture(autouse=True)
def _loopback(socket_enabled: None) -> None:
    """Sockets are shut elsewhere."""
