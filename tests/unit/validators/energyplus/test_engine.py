"""Finding and starting the engine."""

import shutil
from pathlib import Path

import pytest

from validators.energyplus import engine
from validators.energyplus.engine import EnergyPlusEngine, find_engine
from validators.sdk.validation import Failure


def pretend(folder: Path, script: str) -> EnergyPlusEngine:
    binary = folder / "energyplus"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    return EnergyPlusEngine(binary=binary)


def test_missing_libx11_error_names_remedy(tmp_path: Path) -> None:
    words = "energyplus: error while loading shared libraries: libX11.so.6: cannot open"
    broken = pretend(tmp_path, f"echo '{words}' >&2; exit 127")

    with pytest.raises(Failure, match="apt-get install libx11-6") as caught:
        broken.simulate(Path("m"), weather=None, folder=tmp_path, timeout=5, memory_mb=None)

    assert caught.value.code == "ENERGYPLUS_NOT_STARTED"


def test_missing_engine_error_suggests_container(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)

    with pytest.raises(Failure, match="make up RUNTIME=docker"):
        find_engine()


def test_engine_of_search_path_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / name))

    assert find_engine().binary == tmp_path / "energyplus"
