"""Validators that run inside Django, each a pure function.

Every module of this package that defines `ENGINE` is an engine with the module's name. It is
imported at its first use, so that a process loads only the libraries of the engines that it uses.
"""

import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from validibot.core.echo import echo
from validibot.engines.base import (
    Document,
    Engine,
    EngineBusy,
    EngineError,
    EngineManifest,
    EnginePort,
    FileType,
    Output,
    Result,
)
from validibot.engines.json_text import JSON
from validibot.engines.problems import BadDocument, DocumentProblem

__all__ = [
    "ENGINES",
    "JSON",
    "BadDocument",
    "Document",
    "DocumentProblem",
    "Engine",
    "EngineBusy",
    "EngineError",
    "EngineManifest",
    "EnginePort",
    "FileType",
    "Output",
    "Result",
    "get_engine",
]


@cache
def _modules() -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))


@cache
def _load(name: str) -> Engine | None:
    return getattr(import_module(f"{__name__}.{name}"), "ENGINE", None)


class Engines(Mapping[str, Engine]):
    """The engines by name, imported on demand."""

    def __getitem__(self, name: str) -> Engine:
        engine = _load(name) if name in _modules() else None
        if engine is None:
            raise KeyError(name)
        return engine

    def __iter__(self) -> Iterator[str]:
        return (name for name in sorted(_modules()) if _load(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)


ENGINES: Mapping[str, Engine] = Engines()


def get_engine(name: str) -> Engine:
    """Return the engine `name`. Raises EngineError."""
    try:
        return ENGINES[name]
    except KeyError:
        known = ", ".join(ENGINES)
        raise EngineError(f"Unknown engine {echo(name)}. The engines are {known}.") from None
