"""The commands that a page of the documentation shows: its blocks marked `console`."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests import forked

ROOT = Path(__file__).parents[1]
_PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def blocks(page: str) -> list[str]:
    return _BLOCK.findall((ROOT / page).read_text())


def commands(page: str) -> str:
    """Return all commands of `page`, in order."""
    return "\n".join(blocks(page))


def execute(
    page: str, *, environ: Mapping[str, str], folder: Path = ROOT
) -> "subprocess.CompletedProcess[str]":
    """Run all commands of `page` in `folder`; they are one script, which ends at a failure."""
    programs = f"{Path(sys.executable).parent}:{_PATH}"
    return run(commands(page), folder=folder, environ=dict(environ) | {"PATH": programs})


def run(
    script: str, *, folder: Path, environ: Mapping[str, str]
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-x", "-c", script],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def path_of_forks(folder: Path, *, others: str = "/usr/bin:/bin") -> str:
    """Return a PATH whose `python` and `devenv` are forks, and whose `make` uses that Python.

    `make` takes it as it is, in place of installing one.
    """
    forked.put_programs(folder)
    make = folder / "make"
    make.write_text(
        f'#!/bin/sh\nexec /usr/bin/make -f {ROOT}/Makefile -o runtime PYTHON={folder}/python "$@"\n'
    )
    make.chmod(0o755)
    return f"{folder}:{Path(sys.executable).parent}:{others}"
