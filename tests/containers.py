"""PostgreSQL 17 and fake-gcs-server in containers, and a mail catcher, for stacks that use external servers.

Ports are random and published on localhost. A guardian or the next test process removes
the containers of a killed one, which it knows by their labels.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import docker
import psycopg
import pytest
from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import ExecWaitStrategy, HttpWaitStrategy

from tests import engine as engines, guardian
from tests.ports import free_port

POSTGRES = "postgres:17"
STORAGE = "fsouza/fake-gcs-server:1.54"
_OWNER = "io.validibot.tests"

# No container watches over ours (its image would have to be fetched); they are ours to remove.
testcontainers_config.ryuk_disabled = True
testcontainers_config.connection_mode_override = ConnectionMode.docker_host


@dataclass(frozen=True)
class Servers:
    """Where the servers listen on this machine."""

    postgres: DockerContainer
    postgres_port: int
    password: str
    smtp_port: int
    mail_port: int
    storage_port: int

    def database(self) -> str:
        """Make an empty database and return its URL."""
        name = f"stack_{secrets.token_hex(6)}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self._url(name)

    def in_place_of_built_in(self, text: str) -> str:
        """Return a devenv.toml that uses these servers; each call for a stack of its own."""
        further = {
            "gcp": f'storage = "{self.storage}"',
            "services.postgres": f'external = "{self.database()}"',
            "services.mail": f'external = "smtp://127.0.0.1:{self.smtp_port}"\n'
            f'external_page = "http://127.0.0.1:{self.mail_port}"',
        }
        for table, lines in further.items():
            text = text.replace(f"\n[{table}]\n", f"\n[{table}]\n{lines}\n", 1)
        return text

    def kill_postgres(self) -> None:
        """Kill PostgreSQL and start it again; what was committed is there, at the same port."""
        container = self.postgres.get_wrapped_container()
        container.kill()
        container.start()

    @property
    def storage(self) -> str:
        return f"http://127.0.0.1:{self.storage_port}"

    def _url(self, database: str) -> str:
        return f"postgres://validibot:{self.password}@127.0.0.1:{self.postgres_port}/{database}"


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The servers of this test process, for jobs whose images have been built."""
    engines.connect().close()
    engines.build_validators()
    _sweep()
    password = secrets.token_hex(16)
    with ExitStack() as started:
        postgres = started.enter_context(_postgres(password))
        smtp_port, mail_port = started.enter_context(_mail())
        storage = started.enter_context(_storage())
        yield Servers(
            postgres=postgres,
            postgres_port=postgres.get_exposed_port(5432),
            password=password,
            smtp_port=smtp_port,
            mail_port=mail_port,
            storage_port=storage.get_exposed_port(4443),
        )


def _postgres(password: str) -> DockerContainer:
    environ = {"POSTGRES_USER": "validibot", "POSTGRES_PASSWORD": password}
    server = _container(POSTGRES).with_envs(**environ)
    # A port that Docker chooses is another one after a restart.
    server.with_bind_ports(5432, free_port())
    # Not the port: its publisher listens before PostgreSQL does.
    server.waiting_for(ExecWaitStrategy(["pg_isready", "-q", "-h", "127.0.0.1"]))
    return server.with_command("postgres -c fsync=off -c max_connections=300")


@contextmanager
def _mail() -> Iterator[tuple[int, int]]:
    """Run our own mail catcher, a process; yield the ports of SMTP and HTTP."""
    smtp, http = free_port(), free_port()
    ports = ("--smtp-port", str(smtp), "--http-port", str(http))
    with subprocess.Popen([sys.executable, "-m", "devenv.mail", *ports]) as catcher:
        try:
            yield smtp, http
        finally:
            catcher.terminate()


def _storage() -> DockerContainer:
    ours = "-external-url https://storage.googleapis.com -public-host storage.googleapis.com"
    ready = HttpWaitStrategy(4443, "/_internal/healthcheck").for_status_code(200)
    server = _container(STORAGE, 4443).waiting_for(ready)
    return server.with_command(f"-scheme http -port 4443 -backend memory -log-level warn {ours}")


def _container(image: str, *ports: int) -> DockerContainer:
    container = DockerContainer(image, labels={_OWNER: str(os.getpid())} | guardian.labels())
    return container.with_exposed_ports(*ports)


def _sweep() -> None:
    """Remove the containers of test processes that are no more."""
    client = docker.from_env()
    for container in client.containers.list(
        all=True, filters={"label": _OWNER}, ignore_removed=True
    ):
        if not _lives(int(container.labels[_OWNER])):
            container.remove(force=True, v=True)
    client.close()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
