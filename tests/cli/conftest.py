"""These tests talk to servers that they start on the loopback interface."""

import pytest


@pytest.fixture(autouse=True)
def _loopback(socket_enabled: None) -> None:
    """Sockets are shut elsewhere."""
