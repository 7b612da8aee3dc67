"""Bridge network of validator containers, on which, and nowhere else, the worker listens."""

import socket

from containers import ContainerEngine, ContainerRefused, EngineUnavailable
from devenv.product import Product
from devenv.stack.problems import StackError

_LOCALHOST = "127.0.0.1"
_HINT = "make up MODE=local"


def address(product: Product) -> str:
    """Return the address that the worker listens on: the bridge's if there is one, never all."""
    if not product.has_bridge or not product.config.bridge_file.exists():
        return _LOCALHOST
    return product.config.bridge_file.read_text().strip()


def build(product: Product) -> list[str]:
    """Create the bridge of the stack; return the missing images. Raises StackError."""
    engine = ContainerEngine(owner=product.owner)
    try:
        gateway = engine.callback_network().gateway
        missing = [
            image.name for image in product.config.cloud.images if not engine.has(image.name)
        ]
    except (ContainerRefused, EngineUnavailable) as error:
        raise StackError(f"JOBS=docker needs a Docker engine. {error}", hint=_HINT) from error
    finally:
        engine.close()
    _check(gateway)
    product.config.bridge_file.write_text(gateway)
    return missing


def clear(product: Product) -> None:
    """Remove the stack's containers and its bridge. Raises StackError."""
    engine = ContainerEngine(owner=product.owner)
    try:
        engine.clear()
    except EngineUnavailable as error:
        message = f"Containers of this stack may be left. {error}"
        raise StackError(message, hint="make reset") from error
    finally:
        engine.close()


def _check(gateway: str) -> None:
    try:
        socket.create_server((gateway, 0)).close()
    except OSError as error:
        raise StackError(
            f"The bridge's address {gateway} is not on this machine ({error.strerror}): the engine runs "
            "elsewhere, or in a virtual machine as Docker Desktop's does.",
            hint=_HINT,
        ) from error
