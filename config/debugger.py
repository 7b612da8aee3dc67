"""A debugger's door into the process that serves; only `DEBUGPY=web make up` opens it."""

from importlib import import_module

from django.core.exceptions import ImproperlyConfigured

from config.env import env


def listen() -> None:
    """Wait for debuggers on the port DEBUGPY_PORT of this machine, where it is set."""
    port = env.int("DEBUGPY_PORT", default=0)
    if not port:
        return
    try:
        # Not imported above: only developers have it.
        debugpy = import_module("debugpy")
    except ImportError as error:
        raise ImproperlyConfigured(
            "DEBUGPY_PORT is set, but debugpy is not installed. Unset it, or: make dev"
        ) from error
    debugpy.listen(("127.0.0.1", port))
