"""Unit tests of the check whether this machine can run EnergyPlus."""

import ctypes
from typing import NoReturn

import pytest

from validators.energyplus import available


def test_missing_libx11_names_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> NoReturn:
        raise OSError

    monkeypatch.setattr(available, "find_spec", lambda _: True)
    monkeypatch.setattr(ctypes, "CDLL", missing)

    assert available.finding()[1] == "sudo apt-get install libx11-6"


def test_missing_engine_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(available, "find_spec", lambda _: None)

    assert available.main() == 1
    assert "all other validators work" in capsys.readouterr().out
