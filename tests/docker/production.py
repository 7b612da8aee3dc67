"""The production image as Cloud Run would run it, beside the emulated cloud of this test process."""

import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
from docker import DockerClient
from docker.models.containers import Container
from docker.types import Mount

from devenv.gcp import Cloud
from devenv.gcp.config import CloudConfig
from tests import engine as engines, guardian
from tests.ports import free_port
from tests.waiting import LIMIT, until

API_KEY = f"vbk_1_{'1' * 32}_{'2' * 64}"
_HEALTHY_WITHIN = 60.0
_RESTRICTED: Mapping[str, Any] = {
    # The emulated cloud listens on this machine's loopback interface.
    "network_mode": "host",
    "read_only": True,
    "tmpfs": {"/tmp": "size=512m,mode=1777"},
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "mem_limit": "512m",
}


def build() -> str:
    """Run `make image` and return the image's name."""
    return engines.build("make", "--no-print-directory", "image").split()[0]


def variables(config: CloudConfig, database: str) -> dict[str, str]:
    """Return the settings of web and worker from docs/production.md."""
    validators = ("energyplus", "fmu", "schematron", "shacl")
    callers = ("tasks", "scheduler", *(f"validator-{name}" for name in validators))
    return {
        "DJANGO_SECRET_KEY": "s" * 25 + "0123456789-abcdefghijklmnopqrst",
        "API_KEY_PEPPER": "p" * 50,
        "DATABASE_URL": database,
        "SITE_URL": config.service_url("validibot-web"),
        "WORKER_URL": config.service_url("validibot-worker"),
        "ALLOWED_HOSTS": "localhost,.run.app",
        "GOOGLE_CLOUD_PROJECT": config.project,
        "GCP_REGION": config.region,
        "GCS_BUCKET": config.buckets[0],
        "CLOUD_TASKS_QUEUE": config.queues[0].name,
        "CLOUD_TASKS_SERVICE_ACCOUNT": config.email("tasks"),
        "CAPABILITY_ACCOUNT": config.email("capability"),
        "SCHEDULER_ACCOUNT": config.email("scheduler"),
        "ALLOWED_CALLERS": ",".join(config.email(name) for name in callers),
        "POSTMARK_SERVER_TOKEN": "no-mail-is-sent",
    }


@dataclass(frozen=True)
class Server:
    """A running web or worker container."""

    container: Container
    port: int

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def terminate(self) -> float:
        """Send SIGTERM as Cloud Run does; return the time."""
        self.container.kill("SIGTERM")
        return time.monotonic()

    def ended(self, *, since: float) -> tuple[int, float]:
        """Return the exit code and the seconds until the exit."""
        code = int(self.container.wait(timeout=300)["StatusCode"])
        return code, time.monotonic() - since

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used."""
        stats = self.container.stats(stream=False, one_shot=True)["cpu_stats"]["cpu_usage"]
        return float(stats["total_usage"]) / 1e9

    def megabytes(self) -> float:
        stats = self.container.stats(stream=False, one_shot=True)["memory_stats"]
        cache = stats["stats"].get("total_inactive_file", stats["stats"].get("inactive_file", 0))
        return float(stats["usage"] - cache) / 1e6


@dataclass(frozen=True)
class ProductionDeployment:
    """One image, one database and one cloud, for a web, a worker and commands."""

    engine: DockerClient
    image: str
    cloud: Cloud
    config: CloudConfig
    database: str
    certificates: Path

    def environ(self, role: str) -> dict[str, str]:
        told = {"APP_ROLE": role, **variables(self.config, self.database)}
        return {**told, **self.cloud.environ(role)}

    def command(self, *command: str, role: str = "web", **more: str) -> "EndedCommand":
        """Run a one-off container to its end."""
        options = self._options(role, **more)
        container = self.engine.containers.run(
            self.image, command, detach=True, labels=guardian.labels(), **options
        )
        try:
            code = int(container.wait(timeout=300)["StatusCode"])
            return EndedCommand(code, container.logs().decode())
        finally:
            container.remove(force=True)

    @contextmanager
    def serve(self, role: str, *, apart: bool = False, **more: str) -> Iterator[Server]:
        """Start web or worker on the port to which the emulated cloud forwards, or apart from it."""
        service = f"validibot-{role}"
        (port,) = [one.port for one in self.config.services if one.name == service]
        port = free_port() if apart else port
        options = self._options(role, PORT=str(port), **more)
        container = self.engine.containers.run(
            self.image, detach=True, labels=guardian.labels(), **options
        )
        try:
            _until_healthy(port, container)
            yield Server(container, port)
        finally:
            container.remove(force=True)

    @contextmanager
    def locked(self, table: str) -> Iterator[psycopg.Connection]:
        """Lock a table, in PostgreSQL's syntax, for the duration of the `with` block."""
        with psycopg.connect(self.database) as connection:
            connection.execute(f"LOCK TABLE {table}".encode())
            yield connection

    def until_somebody_waits(self, lock: psycopg.Connection) -> None:
        """Wait until another transaction waits for the lock."""
        question = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        until(lambda: lock.execute(question).fetchone() != (0,))

    def _options(self, role: str, **more: str) -> dict[str, Any]:
        return {
            **_RESTRICTED,
            "environment": {**self.environ(role), **more},
            "mounts": [_mount(self.certificates, str(self.cloud.bundle))],
        }


@dataclass(frozen=True)
class EndedCommand:
    code: int
    log: str


def api(server: Server) -> httpx.Client:
    """Return a client of the public API, as Cloud Run's front end passes its requests on."""
    return httpx.Client(
        base_url=f"{server.url}/api/v1/orgs/demo/",
        headers={"Authorization": f"Bearer {API_KEY}", "X-Forwarded-Proto": "https"},
        timeout=2 * LIMIT,
    )


def curl(*arguments: str) -> str:
    done = subprocess.run(
        ("curl", "--silent", "--show-error", "--noproxy", "*", *arguments),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def _mount(source: Path, target: str) -> Mount:
    return Mount(target, str(source), type="bind", read_only=True)


def _until_healthy(port: int, container: Container) -> None:
    url = f"http://127.0.0.1:{port}/health/"

    def answers() -> bool:
        return httpx.get(url, trust_env=False).is_success

    try:
        until(answers, seconds=_HEALTHY_WITHIN, progress=container.logs, forgive=httpx.HTTPError)
    except AssertionError as error:
        raise AssertionError(container.logs().decode()) from error
