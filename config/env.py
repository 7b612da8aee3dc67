"""The environment of the product, read here only and refused by name when it is wrong.

Values come typed through django-environ; a missing or malformed variable stops the start.
"""

from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parent.parent


def require(*names: str) -> None:
    """Refuse to start unless all variables `names` have a value; tell every one that has none."""
    missing = [name for name in names if not env.str(name, default="")]
    if missing:
        raise ImproperlyConfigured(f"Set the environment variable(s) {', '.join(missing)}.")


def choice(name: str, options: tuple[str, ...], default: str) -> str:
    """Return the variable `name`, which must be one of `options`."""
    value: str = env.str(name, default=default)
    if value not in options:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be one of {', '.join(options)}.")
    return value
