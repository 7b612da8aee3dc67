"""How long images take to build, and how long the stack in containers takes to start."""

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.checkout import ROOT
from tests.docker import composed

type Row = tuple[str, str, str]

_BUILDS = {
    "images of all validators": "compose/production/validator/build.sh",
    "image of web and worker": "compose/production/django/build.sh",
}


def measure() -> Iterator[Row]:
    """Yield the rows; none where there is no engine."""
    if not _engine_answers():
        return
    for name, script in _BUILDS.items():
        cold, sizes = _build(script, anew="1")
        warm, _ = _build(script)
        yield (
            f"{name}: built without a cache, with one; size",
            f"{cold:.0f} s, {warm:.1f} s; {sizes}",
            "",
        )
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    try:
        with composed.made(folder) as stack:
            first = _up(stack)
            stack.devenv("down")
            yield "`make up RUNTIME=docker`, image and volume new", f"{first:.1f} s", ""
            yield "the same again, everything there", f"{_up(stack):.1f} s", "≤ 25 s"
            stack.devenv("down")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _engine_answers() -> bool:
    program = shutil.which("docker")
    command = [program or "false", "compose", "version"]
    info = [program or "false", "version"]
    return not any(
        subprocess.run(c, capture_output=True, check=False).returncode for c in (command, info)
    )


def _build(script: str, *, anew: str = "") -> tuple[float, str]:
    environ = dict(os.environ) | {"NO_CACHE": anew}  # noqa: TID251 - a benchmark hands it on
    started = time.perf_counter()
    done = subprocess.run(
        [script], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    return time.perf_counter() - started, ", ".join(re.findall(r"\d+MB", done.stdout))


def _up(stack: composed.Composed) -> float:
    started = time.perf_counter()
    done = stack.devenv("up", "--runtime", "docker", "--detach", "--json")
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - started
