"""Two steps before the product serves: the tables, and what must be in them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from devenv.product import Product
from devenv.services.postgres import cluster_id
from devenv.stack.service import Once, Service

_SOURCES = (
    "requirements/runtime.txt",
    "validibot/*/migrations/*.py",
    "validibot/engines/**/*.py",
    "validibot/setup/**/*",
    "validators/*/validator.toml",
    "validators/*/samples/*",
)


def needs(product: Product) -> tuple[str, ...]:
    postgres = () if product.config.external.postgres else ("postgres",)
    if product.has_cloud:
        return (*postgres, "gcp")
    return (*postgres, "tunnel") if product.has_tunnel else postgres


def steps(product: Product, python: str) -> tuple[Service, ...]:
    def step(name: str, command: str, *after: str) -> Service:
        return Service(
            name=name,
            command=(python, "manage.py", command),
            environ=lambda: product.environ("web"),
            needs=after,
            once=Once(product.config.state / f"{name}.done", lambda: key(product)),
        )

    return (
        step("migrate", "migrate", *needs(product)),
        step("setup", "setup_all", "migrate"),
    )


def key(product: Product) -> str:
    """Return a digest of all that decides what the two steps do: files, database, settings."""
    digest = hashlib.sha256()
    for path in _files(product.config.root):
        digest.update(str(path).encode() + b"\0" + path.read_bytes())
    told = (
        cluster_id(product),
        product.database_url,
        product.mode,
        product.site_url,
        product.secrets,
    )
    digest.update(repr(told).encode())
    return digest.hexdigest()


def _files(root: Path) -> Iterator[Path]:
    for pattern in _SOURCES:
        found = (path for path in root.glob(pattern) if "__pycache__" not in path.parts)
        yield from sorted(path for path in found if path.is_file())
