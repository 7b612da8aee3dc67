"""The environment of the product, read here only and refused by name when it is wrong.

Values come typed through django-environ; a missing or malformed variable stops the start.
"""

from pathlib import Path

import environ
from django.core.exceptions import ImproperlyConfigured

env = environ.Env()

BASE_DIR = Path(__file__).resolve().parent.parent


def choice(name: str, options: tuple[str, ...], default: str) -> str:
    """Return the variable `name`, which must be one of `options`."""
    value: str = env.str(name, default=default)
    if value not in options:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be one of {', '.join(options)}.")
    return value
