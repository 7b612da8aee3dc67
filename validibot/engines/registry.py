"""Finds the engines: every module beside this one that defines `ENGINE`, by its name.

An engine is imported when it is first asked for, so a process pays only for those it uses.
"""

import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from validibot.engines.base import Engine, EngineError

_PACKAGE = __name__.rpartition(".")[0]


@cache
def _modules() -> frozenset[str]:
    return frozenset(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))


@cache
def _load(name: str) -> Engine | None:
    return getattr(import_module(f"{_PACKAGE}.{name}"), "ENGINE", None)


class Engines(Mapping[str, Engine]):
    """The engines by name."""

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
        raise EngineError(f"There is no engine named {name!r}; there are {known}.") from None
