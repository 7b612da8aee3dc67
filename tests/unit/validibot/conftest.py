"""Fixtures of all unit tests of the product."""

import pytest

from validibot.runs.events import RunEventListener
from validibot.runs.lease import LeaseHeartbeat


@pytest.fixture(autouse=True)
def _no_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that listens would outlive the test and hold on to its database."""
    monkeypatch.setattr(RunEventListener, "start", lambda self: None)


@pytest.fixture(autouse=True)
def _no_heartbeat_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the thread that renews leases from using the database while a slow test runs."""
    monkeypatch.setattr(LeaseHeartbeat, "_run", lambda self: None)
