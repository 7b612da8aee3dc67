"""Version of the installed `devenv`."""

import platform
from importlib import metadata

_DISTRIBUTION = "devenv-stack"


def version() -> str:
    """Return the versions of `devenv` and of its Python."""
    try:
        own = metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        own = "of a checkout"
    return f"devenv {own}, Python {platform.python_version()}"
