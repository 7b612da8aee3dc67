"""Fixtures of the tests of runs."""

from pathlib import Path

import pytest
from pytest_django import Settings

from tests.factories import StepFactory, ValidatorFactory, started_run
from tests.unit.validibot.runs.scripted import ScriptedProvider
from validibot.runs.backends.base import LaunchRequest
from validibot.runs.execute import execute
from validibot.runs.models import Run


@pytest.fixture
def data_root(settings: Settings, tmp_path: Path) -> str:
    settings.DATA_ROOT = tmp_path.as_uri()
    return str(settings.DATA_ROOT)


@pytest.fixture
def provider(settings: Settings, data_root: str) -> ScriptedProvider:
    """A provider of executions that does what the test says."""
    provider = ScriptedProvider()
    settings.EXECUTION_BACKENDS = {
        "default": {
            "BACKEND": "tests.unit.validibot.runs.scripted.ScriptedBackend",
            "OPTIONS": {"provider": provider},
        }
    }
    return provider


@pytest.fixture
def container_run(db: None, data_root: str) -> Run:
    """A run of one FMU step that nobody has begun."""
    step = StepFactory.create(
        validator=ValidatorFactory.create(
            container=True,
            outputs=[
                {
                    "slug": "time",
                    "label": "Time",
                    "unit": "s",
                    "path": "outputs.simulation_time_reached",
                },
                {"slug": "y", "label": "y", "unit": "", "path": "outputs.output_values.y"},
                {"slug": "z", "label": "z", "unit": "", "path": "outputs.output_values.z"},
            ],
        ),
        config={"output_variables": ["y"]},
    )
    return started_run(
        step=step, filename="model.fmu", mime_type="application/vnd.fmi.fmu", inline=b"PK"
    )


@pytest.fixture
def request_(provider: ScriptedProvider, container_run: Run) -> LaunchRequest:
    """The request that the provider received."""
    execute(container_run.pk)
    return provider.requests[0]
