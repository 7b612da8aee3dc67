"""Secrets of a folder's stack: random, never committed."""

import os
import secrets
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Secrets:
    """Secrets of one folder, in a file that only its owner can read; `make reset` deletes it."""

    postgres_password: str
    django_secret_key: str
    api_key_pepper: str
    demo_password: str
    demo_api_key: str

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read the file, or create it. Missing lines are added."""
        found = _parse(path.read_text()) if path.exists() else {}
        names = [field.name for field in fields(cls)]
        values = {name: found.get(name.upper()) or _new(name) for name in names}
        text = "".join(f"{name.upper()}={value}\n" for name, value in values.items())
        if not path.exists() or path.read_text() != text:
            _write_privately(path, text)
        return cls(**values)


def _new(name: str) -> str:
    if name == "demo_password":
        return "-".join(secrets.token_hex(2) for _ in range(3))
    if name == "demo_api_key":  # the product takes keys of this form only
        return f"vbk_1_{secrets.token_hex(16)}_{secrets.token_hex(32)}"
    return secrets.token_urlsafe(30)


def _parse(text: str) -> dict[str, str]:
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _write_privately(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
