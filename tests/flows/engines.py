"""The EnergyPlus process of a run, in a container or not."""

import os
import signal
from pathlib import Path

import docker

from containers.spec import NAME, OWNER
from devenv.gcp.run_jobs.runtimes.docker import engine_of
from tests.flows.stack import Stack

_PROGRAM = b"payload/energyplus"


def running(stack: Stack, execution: str) -> list[int]:
    """Return the process numbers of the engines of an execution; other tests have theirs."""
    containers = _containers(stack, execution) if stack.jobs == "docker" else []
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            program = (folder / "cmdline").read_bytes().split(b"\0")[0]
            if program.endswith(_PROGRAM) and _belongs(folder, execution, containers):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def kill(stack: Stack, execution: str) -> None:
    """Kill EnergyPlus but not its validator."""
    for pid in stack.until(lambda: running(stack, execution)):
        os.kill(pid, signal.SIGKILL)


def kill_job(stack: Stack, execution: str) -> None:
    """Kill the validator that started EnergyPlus, as Cloud Run does when memory runs out."""
    engines: list[int] = stack.until(lambda: running(stack, execution))
    status = Path(f"/proc/{engines[0]}/status").read_text()
    parent = int(status.partition("PPid:\t")[2].partition("\n")[0])
    os.kill(parent, signal.SIGKILL)


def _belongs(folder: Path, execution: str, containers: list[str]) -> bool:
    if f"/{execution}-" in str((folder / "cwd").readlink()):  # the folder of its job
        return True
    group = (folder / "cgroup").read_text()
    return any(container in group for container in containers)


def _containers(stack: Stack, execution: str) -> list[str]:
    owner = engine_of((stack.root / ".devenv" / "gcp").resolve(), "").owner
    client = docker.from_env()
    try:
        listed = client.api.containers(filters={"label": f"{OWNER}={owner}"})
    finally:
        client.close()
    return [each["Id"] for each in listed if each["Labels"][NAME].startswith(f"{execution}-")]
