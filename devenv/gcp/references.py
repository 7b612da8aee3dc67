"""References in texts of devenv.toml: `{postgres.url}` stands for a value that the stack knows.

A reference begins with a lower-case letter and holds names, digits, dots, hyphens and `[0]`; every
other brace is an ordinary character, so that JSON needs no escape. `{{name}}` is the text `{name}`.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeAlias

from devenv.gcp.tables import ConfigError, Key, dotted

_REFERENCE = re.compile(r"\{\{([a-z][\w.\[\]-]*)\}\}|\{([a-z][\w.\[\]-]*)\}")

Values: TypeAlias = Mapping[str, str | Callable[[], str]]
"""Values by their name, or functions that return them: some are known only once others run."""


def named_in(text: str) -> Iterator[str]:
    """Yield the names that a text refers to."""
    yield from (found[2] for found in _REFERENCE.finditer(text) if found[2])


@dataclass(frozen=True, slots=True)
class References:
    """The values that texts may refer to."""

    values: Values
    tables: Collection[str] = ()  # of built-in services, which bring values by their names

    def expand(self, text: str, *, quote: Callable[[str], str] = str) -> str:
        """Return a text with values in place of its references. Raises ConfigError.

        `quote` is applied to each value.
        """

        def replaced(found: re.Match[str]) -> str:
            return f"{{{found[1]}}}" if found[1] else quote(self.value(found[2]))

        return _REFERENCE.sub(replaced, text)

    def value(self, name: str) -> str:
        """Return one value. Raises ConfigError if it is unknown."""
        if name not in self.values:
            raise unknown(name, self.values, place="This text", key=())
        value = self.values[name]
        return value if isinstance(value, str) else value()

    def require(self, text: str, key: Key) -> None:
        """Raise ConfigError if the text at `key` has an unknown reference."""
        for name in named_in(text):
            if name not in self.values:
                raise unknown(name, self.values, place=dotted(key), key=key, tables=self.tables)


def unknown(
    name: str, known: Collection[str], *, place: str, key: Key, tables: Collection[str] = ()
) -> ConfigError:
    """Return the error about an unknown reference, which lists those that are known."""
    near, owner = get_close_matches(name, known, n=1), name.partition(".")[0]
    guess = f" Did you mean {{{near[0]}}}?" if near else ""
    if owner in tables and not any(one.startswith(f"{owner}.") for one in known):
        guess = f" It needs a table [services.{owner}]."
    names = ", ".join(f"{{{one}}}" for one in sorted(known))
    return ConfigError(
        f"{place} has the unknown reference {{{name}}}.{guess} Known are {names}.", key=key
    )
