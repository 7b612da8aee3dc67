"""Secrets of a folder's stack: random, never committed."""

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

TOKEN = "{token:30}"  # noqa: S105 - the form of a secret
# The built-in database needs it, whether or not devenv.toml names it.
POSTGRES_PASSWORD = "postgres_password"  # noqa: S105 - the name of a secret
# The link to the console has it.
CONSOLE_TOKEN = "console_token"  # noqa: S105 - the name of a secret
# The client of the built-in OpenID Connect provider proves with it who it is.
OIDC_CLIENT_SECRET = "oidc_client_secret"  # noqa: S105 - the name of a secret
BUILT_IN_SECRETS = (POSTGRES_PASSWORD, CONSOLE_TOKEN, OIDC_CLIENT_SECRET)
_PART = re.compile(r"\{(token|hex):([1-9]\d{0,2})\}")
_MAKERS = {"token": secrets.token_urlsafe, "hex": secrets.token_hex}


class Secrets(Mapping[str, str]):
    """Secrets of one folder by name, in a file that only its owner can read.

    `make reset` deletes the file. Their representation does not show them.
    """

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    @classmethod
    def load(cls, path: Path, forms: Mapping[str, str]) -> Self:
        """Read the file, or create it. Secrets that it lacks are made by their form and added."""
        found = _parse(path.read_text()) if path.exists() else {}
        forms = {**dict.fromkeys(BUILT_IN_SECRETS, TOKEN), **forms}
        values = {name: found.get(name.upper()) or make(form) for name, form in forms.items()}
        kept = found | {name.upper(): value for name, value in values.items()}
        text = "".join(f"{name}={value}\n" for name, value in kept.items())
        if not path.exists() or path.read_text() != text:
            _write_privately(path, text)
        return cls(values)

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._values)})"


def make(form: str) -> str:
    """Return a new secret: `{token:30}` is 30 random bytes as letters, `{hex:16}` 16 as digits."""
    return _PART.sub(lambda part: _MAKERS[part[1]](int(part[2])), form)


def is_random(form: str) -> bool:
    """Return whether a form has enough random bytes, so that nobody can guess the secret."""
    return sum(int(part[2]) for part in _PART.finditer(form)) >= 6


def _parse(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _write_privately(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
