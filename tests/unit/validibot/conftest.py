"""What the product's unit tests share."""

import pytest

from validibot.runs.events.listener import Listener


@pytest.fixture(autouse=True)
def _no_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that listens would outlive the test and hold on to its database."""
    monkeypatch.setattr(Listener, "start", lambda self: None)
