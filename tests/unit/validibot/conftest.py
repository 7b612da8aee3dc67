"""Fixtures of all unit tests of the product."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from config.settings.test import DATA_ROOT
from validibot.runs.events import RunEventListener
from validibot.runs.lease import LeaseHeartbeat
from validibot.runs.purge import MARKER


@pytest.fixture(autouse=True)
def _no_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that listens would outlive the test and hold on to its database."""
    monkeypatch.setattr(RunEventListener, "start", lambda self: None)


@pytest.fixture(autouse=True)
def _no_heartbeat_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the thread that renews leases from using the database while a slow test runs."""
    monkeypatch.setattr(LeaseHeartbeat, "_run", lambda self: None)


@pytest.fixture(autouse=True)
def _unclaimed_data_root() -> Iterator[None]:
    """A purge marks the folder of this process for a database that ends with the test."""
    yield
    Path(DATA_ROOT.removeprefix("file://"), MARKER).unlink(missing_ok=True)
