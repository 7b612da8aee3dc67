"""Comparison of docs/modes/host.md with settings and Procfile."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/modes/host.md").read_text()
PROCFILE = dict(re.findall(r"^(\w+): (.*)$", (ROOT / "Procfile").read_text(), re.MULTILINE))


def test_variable_reference_is_generated_from_the_settings() -> None:
    written = subprocess.run(
        [sys.executable, "-m", "config.variables", "host"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert written in PAGE, "Run: python -m config.variables host --write docs/modes/host.md"


@pytest.mark.parametrize("process", ["web", "worker"])
def test_systemd_units_run_the_commands_of_the_procfile(process: str) -> None:
    command = PROCFILE[process].replace("$", "$$")

    assert f"ExecStart=/bin/sh -c '{command}'\n" in PAGE


def test_host_page_has_the_procfile_variables_with_defaults() -> None:
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \| ([^|]*) \|", PAGE, re.MULTILINE)
    told = {
        name: default
        for names, defaults in rows
        for name, default in zip(
            names.replace("`", "").split(", "), defaults.split(", "), strict=False
        )
    }
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", "\n".join(PROCFILE.values())))

    assert used.pop("WEB_INTERFACE") == "asgi"
    assert {name: told[name] for name in used} == used


def test_procfile_has_web_worker_clock_and_release() -> None:
    assert list(PROCFILE) == ["web", "worker", "clock", "release"]
