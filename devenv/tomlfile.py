"""TOML files whose errors name file and line."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from devenv.gcp.tables import ConfigError, Key


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A file of configuration: its tables, and its text to find the lines of errors in."""

    path: Path
    text: str
    tables: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path, known: tuple[str, ...]) -> Self:
        """Read a file. Raises ConfigError, also for tables that are not among the known ones."""
        try:
            text = path.read_text(encoding="utf-8")
            file = cls(path, text, tomllib.loads(text))
        except FileNotFoundError as error:
            raise ConfigError(f"{path} is not there.") from error
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"line (\d+)", str(error))  # else "at end of document"
            line = int(found[1]) if found else max(len(text.splitlines()), 1)
            raise ConfigError(f"{path.name}:{line}: {error}.") from error
        except UnicodeDecodeError as error:
            line_number = error.object[: error.start].count(b"\n") + 1
            raise ConfigError(f"{path.name}:{line_number}: not UTF-8: {error}.") from error
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
        with file.errors():
            for name, table in file.tables.items():
                if name not in known:
                    tables = ", ".join(f"[{one}]" for one in known)
                    raise ConfigError(f"unknown table [{name}]; known are {tables}.", key=(name,))
                if not isinstance(table, dict):
                    raise ConfigError(f"{name} is {table!r:.60}; it must be a table.", key=(name,))
        return file

    @contextmanager
    def errors(self, *overlays: Key) -> Iterator[None]:
        """Put file and line before the messages of ConfigErrors.

        A key may stand below one of the tables `overlays`, too; the last that has most of it counts.
        """
        try:
            yield
        except ConfigError as error:
            line = self._line(error.key, overlays)
            place = f"{self.path.name}:{line}" if line else self.path.name
            raise ConfigError(f"{place}: {error}", key=error.key) from error

    def _line(self, key: Key, overlays: Sequence[Key]) -> int:
        best, best_line = 0, 0
        for prefix in ((), *overlays):
            depth, line = find_key(self.text, (*prefix, *key))
            if depth - len(prefix) >= max(best, 1):
                best, best_line = depth - len(prefix), line
        return best_line


_HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\"'-]+)\s*\]")
_KEY = re.compile(r"\s*([\w.\"'-]+)\s*=")


def find_key(text: str, key: Key) -> tuple[int, int]:
    """Return how many parts of a key TOML has, and in which line; (0, 0) if none.

    tomllib has no positions. Keys inside a value that spans lines are found at the value's line, or
    at the line of their element where each element begins a line of its own.
    """
    best, best_line, prefix, counts = 0, 0, (), {}  # type: int, int, Key, dict[Key, int]
    elements = -1
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            prefix = tuple(part.strip("\"'") for part in header[2].split("."))
            if header[1] == "[[":
                counts[prefix] = counts.get(prefix, -1) + 1
                prefix = (*prefix, counts[prefix])
            here, elements = prefix, -1
        elif ((assigned := _KEY.match(line)) and elements < 0) or (
            assigned and not line[:1].isspace()
        ):
            here = (*prefix, *(part.strip("\"'") for part in assigned[1].split(".")))
            elements = 0 if line.rstrip().endswith("[") else -1
            array = here
        elif elements >= 0 and line.lstrip()[:1] in ("{", '"', "'"):
            here = (*array, elements)
            elements += 1
        else:
            continue
        if len(here) > best and key[: len(here)] == here:
            best, best_line = len(here), number
    return best, best_line


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the keys of `overlay`: tables merge, other values replace, false removes.

    A `false` that replaces a truth value is a value like others. Raises ConfigError if there is
    nothing to remove.
    """
    merged = dict(base)
    for key, value in overlay.items():
        before = merged.get(key)
        if value is False and not isinstance(before, bool):
            if key not in merged:
                raise ConfigError(f"{key} is false, but there is no {key} to remove.", key=(key,))
            del merged[key]
        elif isinstance(value, Mapping) and isinstance(before, Mapping):
            try:
                merged[key] = merge(before, value)
            except ConfigError as error:
                raise ConfigError(str(error), key=(key, *error.key)) from error
        else:
            merged[key] = value
    return merged
