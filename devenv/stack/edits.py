"""Globs of devenv.toml: the files that they match, and the edits of these files.

Globs have the form of `pathlib.Path.glob`, relative to the stack's folder: `shop/**`,
`jobs/**/*.py`. Folders that programs fill are not looked into: version control, virtual
environments, packages of Node.js, caches. They often hold more files than the project itself.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path, PurePath
from typing import TypeAlias

from watchfiles import Change, DefaultFilter, awatch
from watchfiles.main import FileChange
from wcmatch.glob import DOTGLOB, GLOBSTAR, globmatch

_WILD = frozenset("*?[")
_STEP_MS, _DEBOUNCE_MS = 50, 400
_GENERATED = frozenset(
    {*DefaultFilter.ignore_dirs, ".devenv", ".nox", ".ruff_cache", "bower_components"}
)

Edits: TypeAlias = Mapping[str, list[str]]
"""Changed files by the name of the service that they concern."""


class _SourceFilter(DefaultFilter):
    """The files that people edit, by their paths below `root`: it may itself be in such a folder."""

    ignore_dirs = tuple(_GENERATED)
    ignore_entity_patterns = (
        *DefaultFilter.ignore_entity_patterns,
        r"^\.#",  # Emacs locks
        r"^4913$",  # Vim asks with this name whether it may write
        r"\.tmp(\.|$)",
    )

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = f"{root}{os.sep}"

    def __call__(self, change: Change, path: str) -> bool:
        return super().__call__(change, path.removeprefix(self._root))


def matching_files(root: Path, patterns: Iterable[str]) -> Iterator[Path]:
    """Yield the files below `root` that the globs match, in the order of globs and names."""
    for pattern in patterns:
        base = _base(root, pattern)
        deepest = len(PurePath(pattern).parts) - len(base.relative_to(root).parts)
        found = (
            path
            for folder, names in _folders(base, 0 if "**" in pattern else deepest)
            for path in (folder / name for name in names)
            if _matches(path.relative_to(root), (pattern,))
        )
        yield from sorted(path for path in found if path.is_file())


def _folders(base: Path, deepest: int) -> Iterator[tuple[Path, list[str]]]:
    """Yield the folders to look into, each with the names of its files. 0: at any depth."""
    for where, folders, names in os.walk(base):
        folder = Path(where)
        yield folder, names
        depth = len(folder.relative_to(base).parts) + 1
        kept = [name for name in folders if not _is_generated(folder / name)]
        folders[:] = [] if depth == deepest else kept


def _is_generated(folder: Path) -> bool:
    return folder.name in _GENERATED or (folder / "pyvenv.cfg").exists()


def _matches(path: PurePath, patterns: Iterable[str]) -> bool:
    return bool(globmatch(path, list(patterns), flags=GLOBSTAR | DOTGLOB))


def services_of(globs: Mapping[str, Iterable[str]], changed: Iterable[PurePath]) -> Edits:
    """Return which services a set of changed files concerns, with these files."""
    changed = sorted(set(changed))
    found = {
        name: [str(path) for path in changed if _matches(path, patterns)]
        for name, patterns in globs.items()
    }
    return {name: paths for name, paths in found.items() if paths}


def watched_folders(root: Path, globs: Iterable[str]) -> list[Path]:
    """Return the existing folders that the globs look into, none inside another."""
    found = sorted({_base(root, pattern) for pattern in globs})
    outer = [one for one in found if not any(one != up and one.is_relative_to(up) for up in found)]
    return [one for one in outer if one.exists()]


def watch_plan(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return folders to watch with everything below them, and folders to watch by themselves.

    The latter hold, at some depth, a folder that programs fill.
    """
    trees, alone, is_whole = list[Path](), list[Path](), True
    _, names, _ = next(os.walk(folder), ("", [], []))
    for path in sorted(folder / name for name in names):
        if _is_generated(path):
            is_whole = False
        elif path.is_symlink():
            trees.append(path)
        else:
            inner_trees, inner_alone = watch_plan(path)
            trees += inner_trees
            alone += inner_alone
    return ([folder], []) if is_whole and not alone else (trees, [folder, *alone])


async def edits(root: Path, globs: Mapping[str, Iterable[str]]) -> AsyncGenerator[Edits, None]:
    """Yield the edits below `root` that concern a service, those of one moment together.

    Caches, version control and the temporary files of editors are left out. A folder that goes is
    watched again when it is back. Raises OSError where the system cannot watch, for example because
    its limit of inotify watches is reached.
    """
    patterns = {name: tuple(several) for name, several in globs.items()}
    every = [one for several in patterns.values() for one in several]
    is_source = _SourceFilter(root)
    new: set[Path] = set()
    while every:
        places = watched_folders(root, every)
        plans = [watch_plan(place) for place in places]
        trees, alone = ([path for plan in plans for path in plan[kind]] for kind in (0, 1))
        alone += _above(root, every, places)
        # Files of a new folder may have been written before it was watched.
        changed = {path for folder in new for path in _sources(folder, is_source)}
        if concerned := services_of(patterns, (path.relative_to(root) for path in changed)):
            yield concerned
        new = set()
        async with aclosing(_batches(trees, alone, is_source)) as batches:
            async for batch in batches:
                # A folder that is made or touched says nothing; its files do.
                paths = {Path(path) for _, path in batch}
                folders = {path for path in paths if path.is_dir()}
                changed = paths - folders
                if concerned := services_of(patterns, (path.relative_to(root) for path in changed)):
                    yield concerned
                added = {Path(path) for change, path in batch if change is Change.added}
                new = {one for one in folders & added if one.parent in alone}
                if new:
                    break


def _above(root: Path, globs: Iterable[str], places: Iterable[Path]) -> list[Path]:
    """Return the nearest folders above those that globs look into, where these go and come back."""
    found = set()
    for place in {_base(root, pattern) for pattern in globs} - {root}:
        up = next(folder for folder in place.parents if folder.exists())
        if not any(up.is_relative_to(other) for other in places):
            found.add(up)
    return sorted(found)


def _sources(folder: Path, is_source: _SourceFilter) -> Iterator[Path]:
    for where, names in _folders(folder, 0):
        yield from (path for name in names if is_source(Change.added, str(path := where / name)))


async def _batches(
    trees: Sequence[Path], alone: Sequence[Path], is_source: _SourceFilter
) -> AsyncGenerator[set[FileChange], None]:
    """Yield what changes in `trees` at any depth, or right in a folder of `alone`."""
    enough = asyncio.Event()
    waiting: dict[asyncio.Future[set[FileChange]], AsyncIterator[set[FileChange]]] = {}

    def wait(stream: AsyncIterator[set[FileChange]]) -> None:
        waiting[asyncio.ensure_future(anext(stream))] = stream

    for several, recursive in ((trees, True), (alone, False)):
        # One may have gone since it was planned; that is an event in the folder above.
        places = [place for place in several if place.exists()]
        if places:
            wait(
                awatch(
                    *places,
                    watch_filter=is_source,
                    step=_STEP_MS,
                    debounce=_DEBOUNCE_MS,
                    stop_event=enough,
                    recursive=recursive,
                )
            )
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                stream = waiting.pop(one)
                yield one.result()
                wait(stream)
    finally:
        enough.set()
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def _base(root: Path, pattern: str) -> Path:
    parts = PurePath(pattern).parts
    plain = next((at for at, part in enumerate(parts) if _WILD & set(part)), len(parts) - 1)
    return root.joinpath(*parts[:plain])
