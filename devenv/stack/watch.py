"""Edits of files, as the names of the services that they concern.

One watcher for the whole stack: the kernel is asked once, and an edit that concerns several
services reloads them in the same moment. Globs have the form of `pathlib.Path.glob`, relative to the
stack's folder: `shop/**`, `jobs/**/*.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path, PurePath
from typing import TypeAlias

from watchfiles import Change, DefaultFilter, awatch
from wcmatch.glob import DOTGLOB, GLOBSTAR, globmatch

_WILD = frozenset("*?[")
_STEP_MS, _DEBOUNCE_MS = 50, 400

Edits: TypeAlias = Mapping[str, list[str]]
"""Changed files by the name of the service that they concern."""


def services_of(globs: Mapping[str, Iterable[str]], changed: Iterable[PurePath]) -> Edits:
    """Return which services a set of changed files concerns, with these files."""
    changed = sorted(set(changed))
    found = {
        name: [
            str(path)
            for path in changed
            if globmatch(path, list(patterns), flags=GLOBSTAR | DOTGLOB)
        ]
        for name, patterns in globs.items()
    }
    return {name: paths for name, paths in found.items() if paths}


def folders(root: Path, globs: Iterable[str]) -> list[Path]:
    """Return the existing folders that the globs look into, none inside another."""
    found = sorted({_base(root, pattern) for pattern in globs})
    outer = [one for one in found if not any(one != up and one.is_relative_to(up) for up in found)]
    return [one for one in outer if one.exists()]


async def edits(root: Path, globs: Mapping[str, Iterable[str]]) -> AsyncIterator[Edits]:
    """Yield the edits below `root` that concern a service, those of one moment together.

    Caches, version control and the temporary files of editors are left out. Raises OSError where
    the system cannot watch, for example because its limit of inotify watches is reached.
    """
    patterns = {name: tuple(several) for name, several in globs.items()}
    places = folders(root, (one for several in patterns.values() for one in several))
    if not places:
        return
    enough = asyncio.Event()
    try:
        async for batch in awatch(
            *places,
            watch_filter=_SourceFilter(),
            step=_STEP_MS,
            debounce=_DEBOUNCE_MS,
            stop_event=enough,
        ):
            changed = (PurePath(path).relative_to(root) for _, path in batch)
            if concerned := services_of(patterns, changed):
                yield concerned
    finally:
        enough.set()


class _SourceFilter(DefaultFilter):
    """The files that people edit."""

    ignore_entity_patterns = (
        *DefaultFilter.ignore_entity_patterns,
        r"^\.#",  # Emacs locks
        r"^4913$",  # Vim asks with this name whether it may write
        r"\.tmp(\.|$)",
    )

    def __call__(self, change: Change, path: str) -> bool:
        # A folder that is made or touched says nothing; its files do.
        return super().__call__(change, path) and not Path(path).is_dir()


def _base(root: Path, pattern: str) -> Path:
    parts = PurePath(pattern).parts
    plain = next((at for at, part in enumerate(parts) if _WILD & set(part)), len(parts) - 1)
    return root.joinpath(*parts[:plain])
