"""What the product's unit tests share."""

import pytest

from validibot.runs.events import RunEventListener


@pytest.fixture(autouse=True)
def _no_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that listens would outlive the test and hold on to its database."""
    monkeypatch.setattr(RunEventListener, "start", lambda self: None)
