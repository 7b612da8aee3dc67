"""The commands that a page of the documentation shows: its blocks marked `console`."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
_PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def execute(
    page: str, *, environ: Mapping[str, str], folder: Path = ROOT
) -> "subprocess.CompletedProcess[str]":
    """Run all commands of `page` in `folder`; they are one script, which ends at a failure."""
    commands = "\n".join(_BLOCK.findall((ROOT / page).read_text()))
    programs = Path(sys.executable).parent
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-x", "-c", commands],
        cwd=folder,
        env=dict(environ) | {"PATH": f"{programs}:{_PATH}"},
        capture_output=True,
        text=True,
        check=False,
    )
