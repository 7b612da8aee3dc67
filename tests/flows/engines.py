"""The running EnergyPlus processes of a stack, in containers or not."""

import os
import signal
from pathlib import Path

import docker

from containers.spec import OWNER
from devenv.gcp.run_jobs.runtimes.docker import engine_of
from tests.flows.stack import Stack

_PROGRAM = b"payload/energyplus"


def running(stack: Stack) -> list[int]:
    """Return the engines' process numbers."""
    containers = _containers(stack) if stack.jobs == "docker" else []
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            program = (folder / "cmdline").read_bytes().split(b"\0")[0]
            if program.endswith(_PROGRAM) and _belongs(folder, stack, containers):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def kill(stack: Stack) -> None:
    """Kill EnergyPlus but not its validator."""
    for pid in stack.until(lambda: running(stack)):
        os.kill(pid, signal.SIGKILL)


def kill_job(stack: Stack) -> None:
    """Kill the validator that started EnergyPlus, as Cloud Run does when memory runs out."""
    engines: list[int] = stack.until(lambda: running(stack))
    status = Path(f"/proc/{engines[0]}/status").read_text()
    parent = int(status.partition("PPid:\t")[2].partition("\n")[0])
    os.kill(parent, signal.SIGKILL)


def _belongs(folder: Path, stack: Stack, containers: list[str]) -> bool:
    if not containers:  # it works in the folder of its job
        return (folder / "cwd").readlink().is_relative_to(stack.root)
    group = (folder / "cgroup").read_text()
    return any(container in group for container in containers)


def _containers(stack: Stack) -> list[str]:
    owner = engine_of((stack.root / ".devenv" / "gcp").resolve(), "").owner
    client = docker.from_env()
    try:
        listed = client.api.containers(filters={"label": f"{OWNER}={owner}"})
    finally:
        client.close()
    return [container["Id"] for container in listed]
