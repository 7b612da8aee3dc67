"""Fixtures of the tests of the Docker backend."""

from pathlib import Path
from uuid import uuid4

import pytest
from pytest_django import Settings

from tests.unit.validibot.runs.backends.fake_engine import FakeEngine, store
from validibot.runs.backends.base import (
    LaunchRequest,
)
from validibot.runs.backends.docker import backend as docker, watch


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    made = FakeEngine()
    monkeypatch.setattr(docker, "engine", lambda owner: made)
    monkeypatch.setattr(watch, "_CHECK_INTERVAL", 0.01)
    return made


@pytest.fixture
def request_(settings: Settings, tmp_path: Path) -> LaunchRequest:
    """A launch whose envelope is stored."""
    settings.DATA_ROOT = tmp_path.as_uri()
    attempt = uuid4()
    folder = tmp_path / "attempts" / str(attempt)
    folder.mkdir(parents=True)
    (folder / "model.fmu").write_bytes(b"PK")
    store(folder / "input.json", callback_url="http://worker:8001/internal/callbacks/")
    return LaunchRequest(
        run_id=uuid4(),
        attempt_id=attempt,
        job="validator-fmu",
        image="validibot/fmu:1",
        command=(),
        input_uri=(folder / "input.json").as_uri(),
        output_uri=(folder / "output.json").as_uri(),
        capability_url="http://worker:8001/internal/capabilities/",
        timeout_seconds=60,
        memory_mb=512,
    )
