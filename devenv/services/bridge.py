"""Bridge network of job containers, on which, and nowhere else, a service may listen for them."""

import socket

from containers import ContainerEngine, ContainerRefused, EngineUnavailable
from devenv.local_stack import LocalStack
from devenv.stack.problems import StackError


def build(stack: LocalStack) -> list[str]:
    """Create the bridge of the stack; return the missing images. Raises StackError."""
    engine = ContainerEngine(owner=stack.owner)
    try:
        gateway = engine.callback_network().gateway
        images = stack.config.cloud.images
        missing = [image.name for image in images if not engine.has(image.name)]
    except (ContainerRefused, EngineUnavailable) as error:
        raise StackError(
            f"JOBS=docker needs a Docker engine. {error}", hint=_hint(stack)
        ) from error
    finally:
        engine.close()
    _check(gateway, stack)
    stack.folder.bridge_file.write_text(gateway)
    return missing


def clear(stack: LocalStack) -> None:
    """Remove the stack's containers and its bridge. Raises StackError."""
    engine = ContainerEngine(owner=stack.owner)
    try:
        engine.clear()
    except EngineUnavailable as error:
        message = f"Containers of this stack may be left. {error}"
        raise StackError(message, hint="make reset") from error
    finally:
        engine.close()


def _hint(stack: LocalStack) -> str:
    return f"make up MODE={stack.mode}"


def _check(gateway: str, stack: LocalStack) -> None:
    try:
        socket.create_server((gateway, 0)).close()
    except OSError as error:
        raise StackError(
            f"The bridge's address {gateway} is not on this machine ({error.strerror}): the engine runs "
            "elsewhere, or in a virtual machine as Docker Desktop's does.",
            hint=_hint(stack),
        ) from error
