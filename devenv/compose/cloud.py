"""Entry point of the emulated cloud's container: drops root, keeps the group of Docker's socket."""

import os
import sys
from pathlib import Path
from socket import gethostname
from typing import NoReturn

from devenv.compose.inside import storage
from devenv.config import FILE, load

_SOCKET = Path("/var/run/docker.sock")
_ACCOUNT = 1000
_PORT = 4588


def become(root: Path, *, project: str) -> NoReturn:
    """Execute `python -m devenv.gcp`; it shares a network with the container of each job."""
    _step_down()
    elsewhere = storage()
    command = (
        *(sys.executable, "-m", "devenv.gcp"),
        *("--config", str(root / FILE), "--data", str(load(root).state / "gcp")),
        *("--plain-port", str(_PORT), "--bind", "0.0.0.0"),  # noqa: S104 - of a container
        *("--jobs", "docker", "--label", project, "--container-host", "gcp"),
        *("--container", gethostname()),  # the engine names containers by their id
        *(f"--service-port={each}" for each in _places(root)),
        *(("--storage", elsewhere) if elsewhere else ()),
    )
    os.execv(command[0], command)


def _places(root: Path) -> list[str]:
    """Return the addresses of Cloud Run's services: containers with the names of their accounts."""
    config = load(root)
    ports = {"web": 8000, "worker": 8001}
    return [
        f"{service.name}={service.account}:{ports[service.account]}"
        for service in config.cloud.services
        if service.account in ports
    ]


def _step_down() -> None:
    """Drop root, but keep the group that owns the engine's socket."""
    if os.geteuid() != 0:
        return
    os.setgroups([_SOCKET.stat().st_gid])
    os.setgid(_ACCOUNT)
    os.setuid(_ACCOUNT)
