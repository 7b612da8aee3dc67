"""Entry point of the emulated cloud's container: drops root, keeps the group of Docker's socket."""

import os
import sys
from pathlib import Path
from socket import gethostname
from typing import NoReturn

from devenv.compose.inside import stack, storage
from devenv.local_stack import LocalStack
from devenv.services.builtin import write_cloud_file

_SOCKET = Path("/var/run/docker.sock")
_ACCOUNT = 1000
_PORT = 4588


def become(root: Path, *, project: str) -> NoReturn:
    """Execute `python -m devenv.gcp`; it shares a network with the container of each job."""
    _step_down()
    elsewhere, (_, ours) = storage(), stack(root)
    command = (
        *(sys.executable, "-m", "devenv.gcp"),
        *("--config", str(write_cloud_file(ours)), "--folder", str(root)),
        *("--data", str(ours.folder.cloud)),
        *("--plain-port", str(_PORT), "--bind", "0.0.0.0"),  # noqa: S104 - of a container
        *("--jobs", "docker", "--label", project, "--container-host", "gcp"),
        *("--container", gethostname()),  # the engine names containers by their id
        *(f"--service-port={each}" for each in _places(ours)),
        *(("--storage", elsewhere) if elsewhere else ()),
    )
    os.execv(command[0], command)


def _places(stack: LocalStack) -> list[str]:
    """Return the addresses of Cloud Run's services: containers with the names of our services."""
    return [
        f"{run}={name}:{stack.ports[name]}"
        for name in stack.config.commands()
        if (run := stack.run_service(name))
    ]


def _step_down() -> None:
    """Drop root, but keep the group that owns the engine's socket."""
    if os.geteuid() != 0:
        return
    os.setgroups([_SOCKET.stat().st_gid])
    os.setgid(_ACCOUNT)
    os.setuid(_ACCOUNT)
