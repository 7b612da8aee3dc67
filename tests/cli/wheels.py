"""Wheels of this repository in an empty environment."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.checkout import ROOT


def build(place: Path, project: str = "packaging") -> Path:
    """Build the wheel of a project of this repository into a folder."""
    command = (sys.executable, "-m", "hatchling", "build", "--target", "wheel")
    before = set(place.glob("*.whl"))
    subprocess.run([*command, "--directory", str(place)], cwd=ROOT / project, check=True)
    (wheel,) = set(place.glob("*.whl")) - before
    return wheel


def install(place: Path, wanted: Sequence[str], *, python: str = sys.executable) -> Path:
    """Make an environment with some packages, in the versions that we test; return its programs."""
    subprocess.run([_uv(), "venv", "-q", "--python", python, str(place)], check=True)
    locked = ("--constraint", str(ROOT / "requirements" / "runtime.txt"))
    command = (_uv(), "pip", "install", "-q", "--python", str(place), *locked)
    subprocess.run([*command, *wanted], check=True)
    return place / "bin"


def _uv() -> str:
    found = shutil.which("uv", path=f"{ROOT}/.tools/uv/bin:{os.defpath}") or shutil.which("uv")
    assert found, "make dev, which gets uv"
    return found
