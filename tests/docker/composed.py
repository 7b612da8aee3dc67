"""The stack of docker-compose.local.yml in a folder of its own, started as a user starts it."""

import json
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devenv.compose.project import project_name
from devenv.gcp.run_jobs.runtimes.docker import engine_of
from tests.checkout import ROOT
from tests.flows.stack import Stack
from tests.ports import on_free_ports

FILE = "docker-compose.local.yml"
_FOLDERS = ("compose", "config", "containers", "devenv", "requirements", "validators", "validibot")
_FILES = (FILE, "manage.py", "Makefile", "devenv.toml")
_TIMEOUT = 400  # seconds for a start that has to build the image first


@dataclass(frozen=True)
class Composed(Stack):
    """A stack in containers; `root` is a copy of this checkout, which tests may edit."""

    def devenv(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return self._run([sys.executable, "-m", "devenv", *arguments], **variables)

    def status(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads(self.devenv("status", "--json").stdout)
        return facts

    def compose(self, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        named = {"COMPOSE_PROJECT_NAME": self.project} | variables
        return self._run(["docker", "compose", "-f", FILE, *arguments], **named)

    @property
    def project(self) -> str:
        """Name of the compose project that `make up` starts in this folder."""
        return project_name(self.root)

    def left(self) -> list[str]:
        """Return the containers, networks and volumes of this project and its jobs."""
        return left(self.project)

    def job_containers(self) -> set[str]:
        """Return the containers that run validators; that of a run may live a little longer than it."""
        return set(_docker("ps", "-q", "--filter", _jobs(self.project)))

    @contextmanager
    def foreground(self, **variables: str) -> Iterator["subprocess.Popen[str]"]:
        """Run `up` as from a terminal; kill it at the end if it still runs."""
        command = [sys.executable, "-m", "devenv", "up", "--runtime", "docker"]
        with subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environ(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as up:
            try:
                yield up
            finally:
                up.send_signal(signal.SIGINT)
                up.wait(300)

    def remove(self) -> None:
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans")
        _docker("image", "rm", "--force", f"{self.project}-dev:local")

    def _run(self, command: list[str], **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environ(**variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )


def left(project: str) -> list[str]:
    """Return the containers, networks and volumes of a compose project, and its jobs."""
    mine = f"label=com.docker.compose.project={project}"
    return [
        *_docker("ps", "-aq", "--filter", mine),
        *_docker("network", "ls", "-q", "--filter", mine),
        *_docker("volume", "ls", "-q", "--filter", mine),
        *_docker("ps", "-aq", "--filter", _jobs(project)),
        *_docker("network", "ls", "-q", "--filter", _jobs(project)),
    ]


def _jobs(project: str) -> str:
    """Return the filter for resources that the emulated cloud of a project owns."""
    owner = engine_of(Path("/app/.devenv/gcp"), project).owner
    return f"label=io.validibot.owner={owner}"


@contextmanager
def made(parent: Path, name: str = "") -> Iterator[Composed]:
    """Copy the project into a folder, by default one whose name compose cannot use unchanged."""
    root = parent / (name or f"My Validibot {secrets.token_hex(3).upper()}")
    root.mkdir()
    for folder in _FOLDERS:
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in _FILES:
        shutil.copy(ROOT / file, root / file)
    text = (root / "devenv.toml").read_text()
    (root / "devenv.toml").write_text(on_free_ports(text))
    stack = Composed(root)
    try:
        yield stack
    finally:
        stack.remove()


def _docker(*arguments: str) -> list[str]:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.split()
