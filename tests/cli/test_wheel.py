"""The wheel of devenv in an empty environment: it runs an example outside this repository."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.checkout import ROOT
from tests.cli import wheels
from tests.ports import on_free_ports
from tests.waiting import LIMIT, until

pytestmark = pytest.mark.xdist_group("devenv")


def _oldest() -> str:
    """Return the oldest Python of this machine that the wheel supports."""
    for name in ("python3.11", "python3.12"):
        found = shutil.which(name)
        # A version manager has programs of this name that only complain.
        if found and not subprocess.run([found, "-c", ""], check=False).returncode:
            return found
    return str(ROOT / ".venv/bin/python")


@pytest.fixture(scope="module")
def devenv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program `devenv` of an environment that has the wheel and what it needs.

    It has the oldest Python that the wheel supports and this machine has.
    """
    place = tmp_path_factory.mktemp("wheel")
    wheel = wheels.build(place)
    return wheels.install(place / "env", [str(wheel)], python=_oldest()) / "devenv"


@pytest.fixture
def example(devenv: Path, tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "word-count"
    shutil.copytree(ROOT / "examples" / "word-count", folder)
    file = folder / "devenv.toml"
    file.write_text(on_free_ports(file.read_text()))
    yield folder
    _run(devenv, "down", folder=folder)


def _run(devenv: Path, *arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}  # noqa: TID251 - handed on
    return subprocess.run(
        [devenv, *arguments], cwd=folder, env=inherited, capture_output=True, text=True, check=False
    )


def test_wheel_runs_example_in_another_folder(devenv: Path, example: Path) -> None:
    up = _run(devenv, "up", "--detach", folder=example)
    assert up.returncode == 0, up.stderr
    (site,) = [
        line.split()[-1] for line in up.stdout.splitlines() if line.strip().startswith("web")
    ]

    with httpx.Client(base_url=site, trust_env=False, timeout=LIMIT) as client:
        path = client.post("/", content="to be or not to be").text.strip()
        until(lambda: client.get(path).status_code == 200)

        assert client.get(path).text == "6\n"
