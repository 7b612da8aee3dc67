"""A guess of a project's services, from the files that it has; and what readers of these files share."""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devenv.schema import BUILT_IN

FIRST_PORT = 8000
_LONGEST_NAME = 31


@dataclass(frozen=True, slots=True, kw_only=True)
class GuessedService:
    """A table `[services.NAME]`: its comment, and its keys in their order."""

    name: str
    comment: str
    keys: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Guess:
    """The services that files of a project suggest, the reason for each of them, and what was left out."""

    root: Path
    services: dict[str, GuessedService] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    def add(self, name: str, reason: str, **keys: Any) -> None:
        """Add a service, unless an earlier file has one of this name."""
        if name not in self.services:
            self.services[name] = GuessedService(name=name, comment=reason, keys=keys)
            self.reasons.append(f"{name}: {reason}")

    def next_port(self) -> int:
        """Return the first usual port that no guessed service has."""
        taken = {service.keys.get("port") for service in self.services.values()}
        return next(port for port in range(FIRST_PORT, FIRST_PORT + 1000) if port not in taken)


def server(
    command: Iterable[str],
    *,
    port: int = FIRST_PORT,
    needs: tuple[str, ...] = (),
    watch: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return the keys of a service that listens."""
    keys = {"command": tuple(command), "port": port, "needs": needs, "ready": {"tcp": True}}
    return keys | ({"watch": watch} if watch else {})


def service_name(name: str) -> str:
    """Return a name as services of devenv.toml have them, none of a built-in one."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "service"
    plain = plain if plain[0].isalpha() else f"service-{plain}"
    plain = plain[:_LONGEST_NAME].rstrip("-")
    return f"{plain}-process" if plain in BUILT_IN else plain


def interpreter(root: Path) -> str:
    """Return the interpreter of the project's own environment, else that of devenv."""
    places = (f"{name}/bin/python" for name in (".venv", "venv", "env"))
    return next((place for place in places if (root / place).exists()), "{python}")


def is_python(root: Path) -> bool:
    """Return whether a folder lists packages of Python."""
    return any((root / name).exists() for name in ("requirements.txt", "pyproject.toml", "Pipfile"))


def literal(text: str) -> str:
    """Return a text of another file so that nothing in it is a reference of devenv.toml."""
    return re.sub(r"\{([a-z][\w.\[\]-]*)\}", r"{{\1}}", text)


def text_of(path: Path | None) -> str:
    """Return the text of a file, "" if it cannot be read."""
    with suppress(OSError, UnicodeDecodeError):
        return path.read_text(encoding="utf-8") if path else ""
    return ""


def tables(guess: Guess) -> Iterator[str]:
    """Yield the tables of the services as TOML, the project's own first: tables of `up` begin so."""
    for service in sorted(guess.services.values(), key=lambda one: one.name in BUILT_IN):
        lines = (f"{key} = {_toml(value)}" for key, value in service.keys.items() if value)
        head = f"# Guessed from {service.comment}.\n[services.{service.name}]"
        yield "\n".join([head, *lines])


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        pairs = (f"{_key(k)} = {_toml(v)}" for k, v in value.items())
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, list | tuple):
        return "[ " + ", ".join(_toml(one) for one in value) + " ]"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)
