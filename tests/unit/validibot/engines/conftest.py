"""Fixtures of the tests of engines."""

import json
from typing import Any

import pytest

from validibot.engines import tabular
from validibot.engines.base import EngineManifest
from validibot.engines.sandbox import Work


@pytest.fixture
def tables_in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check tables in this process: what a child process adds, its limits, is the same for all."""

    def run(work: Work, header: Any, body: bytes, manifest: EngineManifest) -> list[Any]:
        return [json.loads(json.dumps(item)) for item in work(header, body)]

    monkeypatch.setattr(tabular, "run_in_child", run)
