"""Product with the docker backend, in this process: one deployment for each test."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from uuid import uuid4
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from django.core.wsgi import get_wsgi_application
from docker import DockerClient
from pytest_django import Settings

from containers import ContainerEngine
from tests.factories import StepFactory, ValidatorFactory, started_run
from tests.waiting import LIMIT, until
from validibot.runs.backends.docker import backend as docker_backend
from validibot.runs.execute import execute
from validibot.runs.models import Attempt, Run
from validibot.workflows.models import Validator

PROGRAM = "validibot-program:test"
# Runs the Python source in PROGRAM, without anything of ours.
DOCKERFILE = b"""
FROM python:3.13-slim-trixie
ENTRYPOINT ["python", "-c", "import os; exec(os.environ['PROGRAM'])"]
"""


@dataclass(frozen=True)
class DockerDeployment:
    """Deployment with `network: none` unless told otherwise."""

    client: DockerClient
    settings: Settings
    root: Path
    owner: str

    @property
    def engine(self) -> ContainerEngine:
        return docker_backend.engine(self.owner)

    def configure(self, **options: Any) -> None:
        self.settings.DATA_ROOT = self.root.as_uri()
        self.settings.EXECUTION_BACKENDS = {
            "default": {
                "BACKEND": "validibot.runs.backends.docker.DockerBackend",
                "OPTIONS": {"owner": self.owner, "network": "none"} | options,
            }
        }

    def run(self, image: str, *, memory_mb: int = 128, timeout_seconds: int = 600) -> Run:
        """Start a run of one container step, up to where its container is on its way."""
        validator = ValidatorFactory.create(
            container=True, image=image, memory_mb=memory_mb, timeout_seconds=timeout_seconds
        )
        return self.run_of(validator)

    def run_of(self, validator: Validator) -> Run:
        """Start a run of one step with a validator that takes FMUs."""
        step = StepFactory.create(validator=validator, config={"simulation": {"stop_time": 1.0}})
        run = started_run(
            step=step, filename="model.fmu", mime_type="application/vnd.fmi.fmu", inline=b"PK"
        )
        execute(run.pk)
        return run

    def program(self, source: str, *, seconds: float = 60, **limits: Any) -> Run:
        """Run Python source instead of a validator; return the run that has ended."""
        self.configure(environ={"PROGRAM": source}, **limits.pop("options", {}))
        return finished(self.run(PROGRAM, **limits), seconds=seconds)

    def containers(self) -> list[str]:
        """Return the names of the containers that there are, running or not."""
        found = self.client.containers.list(
            all=True,
            filters={"label": f"io.validibot.owner={self.owner}"},
            ignore_removed=True,
        )
        return [str(container.name) for container in found]


def finished(run: Run, *, seconds: float = 60) -> Run:
    """Wait for the end of a run without reconciling: the backend must report the end."""

    def ended() -> bool:
        run.refresh_from_db()
        return run.state == "COMPLETED"

    until(ended, seconds=seconds, progress=lambda: run.status)
    return run


def bundle() -> Path:
    """Return the folder of the only attempt."""
    return Path(Attempt.objects.get().bundle_uri.removeprefix("file://"))


@pytest.fixture
def deployment(
    engine: DockerClient, settings: Settings, tmp_path: Path
) -> Iterator[DockerDeployment]:
    """Return a deployment whose threads remove their containers at the end."""
    made = DockerDeployment(engine, settings, tmp_path, owner=f"test-{uuid4().hex[:12]}")
    made.configure()
    yield made
    for thread in threading.enumerate():
        if thread.name.startswith("attempt-"):
            thread.join(LIMIT)
    left = made.containers()
    made.engine.clear()
    made.engine.close()
    docker_backend.engine.cache_clear()
    assert left == []


@pytest.fixture(scope="session")
def program(engine: DockerClient) -> str:
    """Return an image that runs `DockerDeployment.program`."""
    engine.images.build(fileobj=BytesIO(DOCKERFILE), tag=PROGRAM, rm=True)
    return PROGRAM


@pytest.fixture
def worker(deployment: DockerDeployment, settings: Settings) -> Iterator[WSGIServer]:
    """Serve the worker on the bridge, where only containers reach it."""
    settings.ROOT_URLCONF = "config.urls_worker"
    gateway = deployment.engine.callback_network().gateway
    server = make_server(gateway, 0, get_wsgi_application(), _Threads, _Quiet)
    settings.WORKER_URL = f"http://{docker_backend.HOST}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class _Threads(ThreadingMixIn, WSGIServer):
    """WSGI server with a thread for each request."""

    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Write no log."""
