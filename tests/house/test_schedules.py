"""Comparison of config/schedules.toml with everything that runs the periodic work."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_schedules_are_those_of_stack_and_worker() -> None:
    wanted = tomllib.loads((ROOT / "config/schedules.toml").read_text())["schedules"]
    declared = tomllib.loads((ROOT / "devenv.toml").read_text())["gcp"]["schedules"]
    urls = (ROOT / "config/urls_worker.py").read_text()

    assert {each["name"]: each["cron"] for each in wanted} == {
        each["name"]: each["schedule"] for each in declared
    }
    for each in wanted:
        assert f'path("internal/schedules/{each["name"]}/"' in urls
