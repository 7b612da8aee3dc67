"""The environment of the product, read here only and refused by name when it is wrong.

Values come typed through django-environ; a missing or malformed variable stops the start. What is
read is noted, so that `config.variables` can tell operators what there is to set.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
_KINDS: dict[Any, str] = {bool: "1 or 0", int: "number", list: "list, by commas", str: "text"}


@dataclass(frozen=True, slots=True)
class Variable:
    """What the settings say of a variable by reading it."""

    name: str
    kind: str = "text"
    default: Any = ""
    required: bool = False


class Environment(environ.Env):  # type: ignore[misc]  # the library is not typed
    """`imagined`: nothing is set, and nothing is refused for it. For looking at settings only."""

    def __init__(self) -> None:
        super().__init__()
        self.imagined = False
        self.variables: dict[str, Variable] = {}

    def note(self, name: str, **said: Any) -> None:
        self.variables[name] = replace(self.variables.get(name, Variable(name)), **said)

    def imagine(self) -> None:
        self.imagined = True
        self.ENVIRON: dict[str, str] = {}

    def get_value(
        self,
        var: str,
        cast: Callable[..., Any] | None = None,
        default: Any = environ.Env.NOTSET,
        parse_default: bool = False,
    ) -> Any:
        is_needed = default is self.NOTSET
        self.note(var, kind=_KINDS.get(cast, "URL"))
        if not is_needed:
            self.note(var, default=default)
        if is_needed and self.imagined:
            default = ""
        return super().get_value(var, cast=cast, default=default, parse_default=parse_default)


env = Environment()


def require(*names: str) -> None:
    """Refuse to start unless all variables `names` have a value; tell every one that has none."""
    for name in names:
        env.note(name, required=True)
    missing = [name for name in names if not env.ENVIRON.get(name)]
    if missing and not env.imagined:
        raise ImproperlyConfigured(f"Set the environment variable(s) {', '.join(missing)}.")


def choice(name: str, options: tuple[str, ...], default: str) -> str:
    """Return the variable `name`, which must be one of `options`."""
    value: str = env.str(name, default=default)
    env.note(name, kind=f"one of {', '.join(options)}")
    if value not in options:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be one of {', '.join(options)}.")
    return value
