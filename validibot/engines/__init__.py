"""Validators that run inside Django, each a pure function."""

from validibot.engines.base import (
    Document,
    Engine,
    EngineError,
    EngineManifest,
    FileType,
    Output,
    Result,
)
from validibot.engines.json_text import JSON
from validibot.engines.problems import BadDocument, Problem
from validibot.engines.registry import ENGINES, get_engine

__all__ = [
    "ENGINES",
    "JSON",
    "BadDocument",
    "Document",
    "Engine",
    "EngineError",
    "EngineManifest",
    "FileType",
    "Output",
    "Problem",
    "Result",
    "get_engine",
]
