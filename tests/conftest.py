"""What every test may use."""

import _socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connections

from devenv.secrets import Secrets
from devenv.services.postgres import BIN

ROOT = Path(__file__).parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cloud",
        choices=("embedded", "containers", "both"),
        default="both",
        help="what the flows run on: processes of this machine, containers, or one after the other",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep groups together: with pytest 9.2, pytest-xdist 3.8 forgets to (its issue 1386)."""
    if not config.getoption("loadgroup", default=False):
        return
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        if mark and not item.nodeid.endswith(suffix := f"@{mark.args[0]}"):
            item._id = item.id.parse(item.nodeid + suffix)


@pytest.fixture(scope="session")
def database_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A PostgreSQL of this test process alone, unless DATABASE_URL names another."""
    if settings.DATABASE_URL:
        yield {}
        return
    folder = tmp_path_factory.mktemp("postgres")
    secrets = folder / "secrets.env"
    password = Secrets.load(secrets).postgres_password
    port = _free_port()
    arguments = ["--data", str(folder), "--port", port, "--secrets", str(secrets)]
    server = subprocess.Popen(
        [sys.executable, "-m", "devenv.services.launch_postgres", *arguments],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _wait_for_postgres(port)
    yield {"HOST": "127.0.0.1", "PORT": port, "USER": "validibot", "PASSWORD": password}
    server.send_signal(2)
    server.wait(10)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    database_server: dict[str, str], django_db_modify_db_settings_parallel_suffix: None
) -> None:
    """Point Django at that server."""
    connections["default"].settings_dict.update(database_server)


def _free_port() -> str:
    # The raw socket: the class above it is shut while a unit test asks for the database.
    probe = _socket.socket()
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
    probe.close()
    return str(port)


def _wait_for_postgres(port: str) -> None:
    probe = [str(BIN / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", port]
    deadline = time.monotonic() + 30
    while subprocess.run(probe, check=False).returncode:
        assert time.monotonic() < deadline, "PostgreSQL did not start"
        time.sleep(0.05)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests that are coroutines (`pytest.mark.anyio`) run on asyncio."""
    return "asyncio"
