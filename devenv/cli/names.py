"""Words that the shell offers after Tab: names in devenv.toml, and snapshots of its folder.

The file is only read, not checked: a shell waits for each answer, and an invalid file has names, too.
"""

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from devenv.cli.module import project_folder


def services(incomplete: str) -> list[str]:
    """Return the services of devenv.toml, those of its profiles included."""
    file = _file()
    tables = (file, *_tables(file, "profiles").values())
    return _offered((name for one in tables for name in _tables(one, "services")), incomplete)


def profiles(incomplete: str) -> list[str]:
    """Return the profiles that are chosen by name."""
    found = _tables(_file(), "profiles").items()
    return _offered((name for name, profile in found if "on" not in profile), incomplete)


def accounts(incomplete: str) -> list[str]:
    """Return the service accounts of the emulated cloud."""
    return _offered(map(str, _tables(_file(), "gcp").get("accounts", ())), incomplete)


def snapshots(incomplete: str) -> list[str]:
    """Return the snapshots of this folder."""
    found = project_folder().glob(".devenv/snapshots/*/*.json")
    return _offered((path.parent.name for path in found), incomplete)


def _file() -> Mapping[str, Any]:
    try:
        return tomllib.loads((project_folder() / "devenv.toml").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _tables(table: Any, name: str) -> Mapping[str, Any]:
    found = table.get(name) if isinstance(table, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _offered(names: Iterable[str], incomplete: str) -> list[str]:
    return sorted({name for name in names if name.startswith(incomplete)})
