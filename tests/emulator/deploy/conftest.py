"""Stage files for tests of `deploy` against the emulated cloud."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.google import GoogleCloud
from devenv.gcp import Cloud
from devenv.pytest_plugin import become
from tests.cloud import STAGES
from tests.emulator.conftest import ActAs

TEXT = """
project = "validibot-local"
region = "us-west1"
image_tag = "1"

[web]
cpu = "1"
memory = "512Mi"
concurrency = 40
timeout = 300
min_instances = 0
max_instances = 2

[worker]
cpu = "1"
memory = "512Mi"
concurrency = 5
timeout = 1800
min_instances = 0
max_instances = 2

[buckets]
run_days = 400
"""
DATABASE = """
[database]
tier = "db-custom-1-3840"
protected = false
"""
ALERTS = """
[alerts]
emails = ["ops@example.org", "second@example.org"]
"""
BUDGET = """
[budget]
account = "01AB23-456789-CDEF01"
amount = "500AUD"
"""
PLACE = "projects/validibot-local/locations/us-west1"
MakeStage = Callable[..., str]


@pytest.fixture(scope="module")
def applied(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The path of a stage that is applied once for a module: a test leaves it as it was."""
    path = tmp_path_factory.mktemp("applied") / "shared.toml"
    path.write_text(TEXT)
    with pytest.MonkeyPatch.context() as patch:
        become(cloud, "deployer", patch)
        patch.setattr("deploy.cli.GoogleCloud", cache(GoogleCloud))
        deploy("apply", str(path))
        yield str(path)
        deploy("destroy", str(path), "--yes", "--with-data")


@pytest.fixture
def make_stage(
    tmp_path: Path, act_as: ActAs, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeStage]:
    """Return a function that writes a stage's file, ended by `tables`, and returns its path.

    The stages are destroyed at the end.
    """
    act_as("deployer")
    # Connections are made once for a test, which has many commands.
    monkeypatch.setattr("deploy.cli.GoogleCloud", cache(GoogleCloud))
    paths: set[Path] = set()

    def make(name: str, tables: str = "") -> str:
        assert name in STAGES
        path = tmp_path / f"{name}.toml"
        path.write_text(TEXT + tables)
        paths.add(path)
        return str(path)

    yield make
    for path in paths:
        path.write_text(TEXT)
        deploy("destroy", str(path), "--yes", "--with-data")


def deploy(*arguments: str, given: str | None = None) -> str:
    """Run a command of `python -m deploy` with `given` as input; return its output.

    Raises what the command raises.
    """
    result = CliRunner().invoke(app, arguments, input=given)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output
