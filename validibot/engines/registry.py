"""Finds the engines: every module beside this one that defines `ENGINE`, by its name."""

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from validibot.engines.base import Engine, EngineError


def discover() -> Mapping[str, Engine]:
    package = __name__.rpartition(".")[0]
    found = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name != "registry":
            engine = getattr(import_module(f"{package}.{module.name}"), "ENGINE", None)
            if isinstance(engine, Engine):
                found[module.name] = engine
    return found


ENGINES: Mapping[str, Engine] = discover()


def get_engine(name: str) -> Engine:
    """Return the engine `name`. Raises EngineError."""
    try:
        return ENGINES[name]
    except KeyError:
        known = ", ".join(ENGINES)
        raise EngineError(f"There is no engine named {name!r}; there are {known}.") from None
