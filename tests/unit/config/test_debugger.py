"""The debugger's door of web and worker."""

import sys
from types import SimpleNamespace

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import debugger


def test_nothing_listens_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEBUGPY_PORT", raising=False)
    monkeypatch.setitem(sys.modules, "debugpy", None)

    debugger.listen()


def test_it_listens_on_the_loopback_interface_only(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[object] = []
    monkeypatch.setenv("DEBUGPY_PORT", "5678")
    monkeypatch.setitem(sys.modules, "debugpy", SimpleNamespace(listen=heard.append))

    debugger.listen()

    assert heard == [("127.0.0.1", 5678)]


def test_without_debugpy_the_start_fails_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEBUGPY_PORT", "5678")
    monkeypatch.setitem(sys.modules, "debugpy", None)

    with pytest.raises(
        ImproperlyConfigured, match=r"debugpy is not installed\. Unset it, or: make dev"
    ):
        debugger.listen()
