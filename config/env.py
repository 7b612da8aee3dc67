"""The environment of the product, read here only and refused by name when it is wrong.

Values come typed through django-environ; a missing or malformed variable stops the start. Each read
is noted, and `config.variables` makes the reference for operators from these notes.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent
_KINDS: dict[Any, str] = {
    bool: "1 or 0",
    int: "number",
    list: "list, by commas",
    dict: "key=text, by commas",
    str: "text",
}


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable as the settings read it."""

    name: str
    kind: str = "text"
    default: Any = ""
    required: bool = False


class Environment(environ.Env):  # type: ignore[misc]  # the library is not typed
    """The environment, with a note of each variable that was read.

    With `use_placeholders` nothing is read from the process: required variables get an empty value.
    Settings can then be imported to be looked at.
    """

    def __init__(self) -> None:
        super().__init__()
        self.uses_placeholders = False
        self.variables: dict[str, Variable] = {}

    def note(self, name: str, **said: Any) -> None:
        self.variables[name] = replace(self.variables.get(name, Variable(name)), **said)

    def use_placeholders(self) -> None:
        self.uses_placeholders = True
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
        if is_needed and self.uses_placeholders:
            default = ""
        return super().get_value(var, cast=cast, default=default, parse_default=parse_default)


env = Environment()


def expect(*names: str) -> None:
    """Add variables to those that the next `require` checks, so that it names all at once."""
    for name in names:
        env.note(name, required=True)


def require(*names: str) -> None:
    """Refuse to start unless these and all expected variables have a value; name those without."""
    expect(*names)
    needed = [each.name for each in env.variables.values() if each.required]
    missing = sorted(name for name in needed if not env.ENVIRON.get(name))
    if missing and not env.uses_placeholders:
        raise ImproperlyConfigured(f"Set the environment variable(s) {', '.join(missing)}.")


def choice(name: str, options: tuple[str, ...], default: str) -> str:
    """Return the variable `name`, which must be one of `options`."""
    value: str = env.str(name, default=default)
    env.note(name, kind=f"one of {', '.join(options)}")
    if value not in options:
        raise ImproperlyConfigured(f"{name} is {value!r}; it must be one of {', '.join(options)}.")
    return value
