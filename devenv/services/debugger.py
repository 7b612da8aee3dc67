"""Debuggers: which processes listen for one (`DEBUGPY=web,energyplus make up`), and on which ports."""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from devenv.gcp.config import ImageConfig
from devenv.product import Product
from devenv.stack.problems import StackError

FIRST_PORT = 5678  # what debugpy's documentation and editors suggest
_PYTHON = "{python}"


def wanted(names: Iterable[str], product: Product) -> dict[str, int]:
    """Return the port that each of `names` asks for, always the same one. Raises StackError."""
    known = [*_servers(product), *_images(product)]
    for name in names:
        if name not in known:
            there = f"in this mode there are {', '.join(known)}"
            raise StackError(f"DEBUGPY={name} is unknown; {there}.", hint="make up")
    if names and find_spec("debugpy") is None:
        raise StackError("DEBUGPY needs debugpy, which is not installed.", hint="make dev")
    return {name: FIRST_PORT + known.index(name) for name in names}


def variables(product: Product, server: str) -> dict[str, str]:
    """Return what makes web or worker listen, see config/debugger.py."""
    return {"DEBUGPY_PORT": str(product.debug[server])} if server in product.debug else {}


def launcher(product: Product, server: str) -> tuple[str, ...]:
    """Return what stands before a program of Python's that listens."""
    port = product.debug.get(server)
    return ("-m", "debugpy", "--listen", f"127.0.0.1:{port}") if port else ()


def images(product: Product) -> Mapping[str, int]:
    """Return the images whose jobs wait for a debugger before they begin, with their ports."""
    found = _images(product)
    return {found[name].name: port for name, port in product.debug.items() if name in found}


def _servers(product: Product) -> list[str]:
    return ["web", "worker", *(["queue"] if product.has_queue else [])]


def _images(product: Product) -> dict[str, ImageConfig]:
    """Return what runs as a process of Python's by its short name: NAME of …-NAME:1.0."""
    if not product.has_cloud or product.jobs != "process":
        return {}
    return {
        image.name.partition(":")[0].rpartition("-")[2]: image
        for image in product.config.cloud.images
        if image.command[:1] == (_PYTHON,)
    }
