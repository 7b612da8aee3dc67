"""The arithmetic of `deploy simulate`."""

import re

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.layout.names import ROOT
from deploy.simulate import RunProfile, load_limits, simulation_lines
from deploy.stage_file import read_stage


def needs(rate: float) -> dict[str, float]:
    found = load_limits(read_stage("prod"), rate, 400, RunProfile())
    return {each.name: each.need for each in found}


def test_needs_at_one_hundred_runs_per_second() -> None:
    assert needs(100) == pytest.approx(
        {
            "queue rate": 120,
            "queue rate of Cloud Tasks": 120,
            "queue deliveries at once": 12,
            "worker instances": 14 / 5,
            "web instances": 1,
            "database connections": 12 * 20,
            "running executions": 600,
            "bucket writes/s": 80,
            "bucket reads/s": 60,
        }
    )


@pytest.mark.parametrize(
    ("share", "first"), [(0.2, "queue rate, at 41.7 runs/s"), (1, "queue rate, at 25 runs/s")]
)
def test_first_limit_is_named_with_its_rate(share: float, first: str) -> None:
    profile = RunProfile(container_share=share)
    *_, last = simulation_lines(read_stage("prod"), 1, 400, profile)

    assert last == f"  binds first: {first}"


def test_page_shows_the_output_of_the_command() -> None:
    page = (ROOT / "docs" / "scale.md").read_text()
    (shown,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)

    assert CliRunner().invoke(app, ["simulate", "prod"]).output == shown
