"""The arithmetic of `deploy costs`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from deploy.costs import MonthlyLoad, cost_lines, read_prices
from deploy.errors import DeployError
from deploy.layout.names import ROOT
from deploy.simulate import RunProfile
from deploy.stage import Stage
from deploy.stage_file import read_stage


def quantities(stage: Stage, runs: float = 1000) -> dict[str, float]:
    load = MonthlyLoad(runs=runs, files_gib=50, rows_gib=10)
    return {each.name: each.quantity for each in cost_lines(stage, load, RunProfile(), 730)}


def test_quantities_follow_from_stage_and_runs() -> None:
    found = quantities(read_stage("prod"))

    assert found["web, busy"] == pytest.approx(1000 * 3 * 0.05)
    assert found["worker, warm"] == pytest.approx((730 * 3600 - 1400 * 0.1) * 2)
    assert found["validators, memory"] == pytest.approx(200 * 30 * 4)
    assert found["database, memory"] == 730 * 2 * 7.5
    assert found["database, backups"] == pytest.approx(10 * (1 + 29 / 10))
    assert found["queue"] == 2400


def test_busy_services_are_not_charged_as_warm() -> None:
    assert quantities(read_stage("prod"), runs=1e9)["worker, warm"] == 0


@pytest.mark.parametrize(
    ("tier", "name", "quantity"),
    [("db-g1-small", "database", 730), ("db-perf-optimized-N-2", "database, memory", 730 * 16)],
)
def test_each_kind_of_machine_has_its_price(tier: str, name: str, quantity: float) -> None:
    stage = read_stage("prod")
    assert stage.database
    size = stage.database.model_copy(update={"tier": tier, "high_availability": False})

    assert quantities(stage.model_copy(update={"database": size}))[name] == quantity


def test_stage_without_database_or_runs_has_a_sheet() -> None:
    stage = read_stage("prod").model_copy(update={"database": None})

    assert "database, disk" not in quantities(stage, runs=0)
    assert CliRunner().invoke(app, ["costs", "dev", "--runs", "0"]).exit_code == 0


def test_page_has_the_sheet_of_the_stage_file() -> None:
    told = CliRunner().invoke(app, ["costs", "prod"]).output

    assert told in (ROOT / "docs/costs.md").read_text(), (
        "Copy the output of the command to the page."
    )


def test_damaged_price_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text('currency = "USD"\nhours = 730\n[tasks]\nprice = 1\n')

    with pytest.raises(DeployError, match=r"prices\.toml: .*Each price has the keys"):
        read_prices(path)
