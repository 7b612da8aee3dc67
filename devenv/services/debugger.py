"""Processes that listen for a debugger (`DEBUGPY=web,energyplus make up`), and their ports."""

from collections.abc import Iterable, Mapping
from importlib.util import find_spec

from devenv.gcp.config import ImageConfig
from devenv.local_stack import LOCALHOST, LocalStack
from devenv.stack.problems import StackError

FIRST_PORT = 5678  # what debugpy's documentation and editors suggest
LAUNCH = "launch"
_PYTHON = "{python}"


def wanted(names: Iterable[str], stack: LocalStack) -> dict[str, int]:
    """Return the wanted port of each name, always the same one. Raises StackError."""
    known = [*_servers(stack), *_images(stack)]
    for name in names:
        if name not in known:
            there = f"in this mode there are {', '.join(known)}"
            raise StackError(f"DEBUGPY={name} is unknown; {there}.", hint="make up")
    if names and find_spec("debugpy") is None:
        raise StackError("DEBUGPY needs debugpy, which is not installed.", hint="make dev")
    return {name: FIRST_PORT + known.index(name) for name in names}


def variables(stack: LocalStack, name: str) -> dict[str, str]:
    """Return the variable that makes a service listen, if it opens the port itself."""
    variable = stack.command(name).debugger
    opens = name in stack.debug and variable != LAUNCH
    return {variable: str(stack.debug[name])} if opens else {}


def launcher(stack: LocalStack, name: str) -> tuple[str, ...]:
    """Return the arguments before a Python program that make it listen."""
    launches = name in stack.debug and stack.command(name).debugger == LAUNCH
    address = f"{LOCALHOST}:{stack.debug[name]}" if launches else ""
    return ("-m", "debugpy", "--listen", address) if launches else ()


def images(stack: LocalStack) -> Mapping[str, int]:
    """Return the images whose jobs wait for a debugger, with their ports."""
    found = _images(stack)
    return {found[name].name: port for name, port in stack.debug.items() if name in found}


def _servers(stack: LocalStack) -> list[str]:
    return [name for name, service in stack.config.commands().items() if service.debugger]


def _images(stack: LocalStack) -> dict[str, ImageConfig]:
    """Return the images that run as Python processes by short name: NAME of …-NAME:1.0."""
    if not stack.has_cloud or stack.jobs != "process":
        return {}
    return {
        image.name.partition(":")[0].rpartition("-")[2]: image
        for image in stack.config.cloud.images
        if image.command[:1] == (_PYTHON,)
    }
