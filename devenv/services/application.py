"""The services of the product: two setup steps, web, worker, and what local modes add to them.

Web and worker are reloaded after edits of Python, templates, static files and settings. Granian
lets two processes listen on one port, so the new one takes over without a refused request.
"""

import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from devenv.product import Product
from devenv.services import bridge, debugger
from devenv.services.backing import postgres_cluster_id
from devenv.stack.probe import HttpProbe
from devenv.stack.service import Once, Reload, StackService

# Everything that a process of the product reads when it starts.
CODE = ("config/**", "containers/**/*.py", "validibot/**")
MIGRATIONS = ("validibot/*/migrations/*.py",)
_SETUP_SOURCES = (
    "requirements/runtime.txt",
    *MIGRATIONS,
    "validibot/engines/**/*.py",
    "validibot/setup/**/*",
    "validators/*/validator.toml",
    "validators/*/samples/*",
)
_THREADS = 2 * (os.cpu_count() or 2) + 1  # the most that granian takes without a warning
ANY = "0.0.0.0"  # noqa: S104 - inside a container


def web(product: Product, *, host: str = "127.0.0.1", port: int = 0) -> StackService:
    """Return the public half of the product: pages and API."""
    port = port or product.config.ports.web
    return StackService(
        name="web",
        command=(
            *_granian("asginl", host, port),
            "--no-ws",
            "config.asgi:application",
        ),
        environ=lambda: product.environ("web") | debugger.variables(product, "web"),
        needs=("setup",) if product.config.external.smtp else ("setup", "mail"),
        probe=HttpProbe(port, "/health/", address="127.0.0.1" if host == ANY else host),
        reload=_reload(product, "web", port),
    )


def worker(
    product: Product, *, host: str = "", port: int = 0, threads: int = _THREADS
) -> StackService:
    """Return the private half of the product, which queue, scheduler and validators call."""
    host, port = host or bridge.address(product), port or product.config.ports.worker
    return StackService(
        name="worker",
        command=(
            *_granian("wsgi", host, port),
            *("--blocking-threads", str(threads)),
            "config.wsgi:application",
        ),
        environ=lambda: product.environ("worker") | debugger.variables(product, "worker"),
        needs=("setup",),
        probe=HttpProbe(port, "/health/", address="127.0.0.1" if host == ANY else host),
        reload=_reload(product, "worker", port),
    )


def queue(product: Product) -> StackService:
    """Return the process that takes tasks from the database, for modes without Cloud Tasks."""
    port = product.config.ports.queue
    return StackService(
        name="queue",
        command=(
            *(sys.executable, *debugger.launcher(product, "queue")),
            *("manage.py", "queue_worker", "--health-port", str(port)),
        ),
        environ=lambda: product.environ("worker"),
        needs=("setup",),
        probe=HttpProbe(port, "/health/"),
        # Its port takes one listener. Nobody waits for an answer from it: it may be stopped first.
        reload=Reload(watch=CODE),
    )


def sweep(product: Product) -> StackService:
    """Return the process that reconciles runs every minute, as Cloud Scheduler does elsewhere."""
    return StackService(
        name="sweep",
        command=(sys.executable, "manage.py", "reconcile", "--every", "60"),
        environ=lambda: product.environ("worker"),
        needs=("worker",),
        reload=Reload(watch=CODE),
    )


def setup_steps(product: Product) -> tuple[StackService, ...]:
    """Return the two steps before the product serves: tables, and the rows that must exist."""

    def step(name: str, command: str, *after: str, watch: tuple[str, ...] = ()) -> StackService:
        return StackService(
            name=name,
            command=(sys.executable, "manage.py", command),
            environ=lambda: product.environ("web"),
            needs=after,
            once=Once(product.config.state / f"{name}.done", lambda: setup_key(product)),
            reload=Reload(watch=watch) if watch else None,
        )

    return (
        step("migrate", "migrate", *_setup_needs(product), watch=MIGRATIONS),
        step("setup", "setup_all", "migrate"),
    )


def setup_key(product: Product) -> str:
    """Return a digest of everything that the two steps depend on: files, database, settings."""
    digest = hashlib.sha256()
    for path in _setup_files(product.config.root):
        digest.update(str(path).encode() + b"\0" + path.read_bytes())
    settings = (
        postgres_cluster_id(product),
        product.database_url,
        product.mode,
        product.site_url,
        product.secrets,
    )
    digest.update(repr(settings).encode())
    return digest.hexdigest()


def _setup_needs(product: Product) -> tuple[str, ...]:
    postgres = () if product.config.external.postgres else ("postgres",)
    if product.has_cloud:
        return (*postgres, "gcp")
    return (*postgres, "tunnel") if product.has_tunnel else postgres


def _setup_files(root: Path) -> Iterator[Path]:
    for pattern in _SETUP_SOURCES:
        found = (path for path in root.glob(pattern) if "__pycache__" not in path.parts)
        yield from sorted(path for path in found if path.is_file())


def _granian(interface: str, host: str, port: int) -> tuple[str, ...]:
    return (
        *(sys.executable, "-m", "granian", "--interface", interface),
        *("--host", host, "--port", str(port)),
        *("--workers", "1", "--log-level", "warning"),
    )


def _reload(product: Product, name: str, port: int) -> Reload:
    """Hand the port over, except where a debugger's port can have one listener only."""
    return Reload(watch=CODE, port=0 if name in product.debug else port)
