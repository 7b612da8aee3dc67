"""Docker: needed by nobody who does not ask for containers."""

import shutil
import subprocess

from containers import Engine, EngineUnavailable
from devenv.stack.problems import Check

_FOR = "needed only for JOBS=docker and RUNTIME=docker"


def containers() -> Check:
    try:
        Engine(owner="doctor").ping()
    except EngineUnavailable:
        return Check("engine", "ok", f"no Docker engine answers; {_FOR}")
    if not _has_compose():
        return Check("engine", "ok", "Docker answers; for RUNTIME=docker it lacks docker compose")
    return Check("engine", "ok", "Docker answers, with docker compose")


def _has_compose() -> bool:
    if (program := shutil.which("docker")) is None:
        return False
    return not subprocess.run(
        [program, "compose", "version"], capture_output=True, check=False
    ).returncode
