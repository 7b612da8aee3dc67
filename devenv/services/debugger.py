"""Processes that listen for a debugger (`DEBUGPY=web,energyplus make up`), and their ports."""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from devenv.gcp.config import ImageConfig
from devenv.product import Product
from devenv.stack.problems import StackError

FIRST_PORT = 5678  # what debugpy's documentation and editors suggest
_PYTHON = "{python}"


def wanted(names: Iterable[str], product: Product) -> dict[str, int]:
    """Return the wanted port of each name, always the same one. Raises StackError."""
    known = [*_servers(product), *_images(product)]
    for name in names:
        if name not in known:
            there = f"in this mode there are {', '.join(known)}"
            raise StackError(f"DEBUGPY={name} is unknown; {there}.", hint="make up")
    if names and find_spec("debugpy") is None:
        raise StackError("DEBUGPY needs debugpy, which is not installed.", hint="make dev")
    return {name: FIRST_PORT + known.index(name) for name in names}


def variables(product: Product, server: str) -> dict[str, str]:
    """Return the variables that make web or worker listen; config/debugger.py reads them."""
    return {"DEBUGPY_PORT": str(product.debug[server])} if server in product.debug else {}


def launcher(product: Product, server: str) -> tuple[str, ...]:
    """Return the arguments before a Python program that make it listen."""
    port = product.debug.get(server)
    return ("-m", "debugpy", "--listen", f"127.0.0.1:{port}") if port else ()


def images(product: Product) -> Mapping[str, int]:
    """Return the images whose jobs wait for a debugger, with their ports."""
    found = _images(product)
    return {found[name].name: port for name, port in product.debug.items() if name in found}


def _servers(product: Product) -> list[str]:
    return ["web", "worker", *(["queue"] if product.has_queue else [])]


def _images(product: Product) -> dict[str, ImageConfig]:
    """Return the images that run as Python processes by short name: NAME of …-NAME:1.0."""
    if not product.has_cloud or product.jobs != "process":
        return {}
    return {
        image.name.partition(":")[0].rpartition("-")[2]: image
        for image in product.config.cloud.images
        if image.command[:1] == (_PYTHON,)
    }
