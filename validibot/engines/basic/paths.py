"""Paths of Basic rules: a small strict subset of JSONPath (RFC 9535) for all kinds of documents.

`$` is the root and may be left out; then come names (`.price`, `['unit price']`), indexes (`[0]`,
`[-1]`), all items or members (`[*]`, `.*`), and names at any depth (`..price`). Unquoted names may
also have `-`, `:` and `@`, for XML. Filters and slices are left out: libraries have them, but with
them a path is a program whose cost depends on the document, and a rule has `when` instead. In
this subset a path costs time in proportion to the document and gives each value its place.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from validibot.core.echo import echo

MAX_CHARACTERS = 500
MAX_DEEP_STEPS = 2
# So many values are selected by one path.
MAX_MATCHES = 1_000_000

type Keys = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class PathStep:
    """One step of a path; without `key` it selects all items or members. `deep`: at any depth."""

    key: str | int | None = None
    deep: bool = False


EACH = PathStep()
_NAME = r"(?:[^\W\d]|[@])[\w@:-]*"
_STEP = re.compile(
    rf"(?P<dots>\.\.?)?(?P<name>{_NAME})"
    r"|\.\*|\[\s*\*\s*\](?P<each>)"
    r"|\[\s*(?P<index>-?\d{1,9})\s*\]"
    r"""|\[\s*(?P<quote>['"])(?P<quoted>(?:\\.|(?!(?P=quote))[^\\])*)(?P=quote)\s*\]"""
)


class PathInvalid(ValueError):
    """A path cannot be read; the message has the place and an example."""


class TooManyMatches(Exception):
    """A path selects more than MAX_MATCHES values."""


@lru_cache(maxsize=4096)
def parse_path(text: str) -> tuple[PathStep, ...]:
    """Return the steps of a path. Raises PathInvalid."""
    if len(text) > MAX_CHARACTERS:
        raise PathInvalid(f"The path has more than {MAX_CHARACTERS} characters.")
    stripped = text.strip()
    if not stripped:
        raise PathInvalid("The path is empty; write `$` for the whole document.")
    offset = 1 if stripped.startswith("$") else 0
    steps: list[PathStep] = []
    while offset < len(stripped):
        found = _STEP.match(stripped, offset)
        bare = found and found["name"] and not found["dots"]
        if not found or (bare and offset > 0) or (found["dots"] == "." and offset == 0):
            raise PathInvalid(
                f"The path {echo(text)} cannot be read at column {offset + 1}: write names, indexes and"
                " wildcards, as in `items[*].price`, `['unit price']`, `[0]` or `..price`."
            )
        steps.append(_step(found))
        offset = found.end()
    if sum(step.deep for step in steps) > MAX_DEEP_STEPS:
        raise PathInvalid(f"The path {echo(text)} has more than {MAX_DEEP_STEPS} times `..`.")
    return tuple(steps)


def _step(found: re.Match[str]) -> PathStep:
    if found["name"]:
        return PathStep(found["name"], deep=found["dots"] == "..")
    if found["index"]:
        return PathStep(int(found["index"]))
    if found["quote"]:
        return PathStep(re.sub(r"\\(.)", r"\1", found["quoted"]))
    return EACH


@dataclass(frozen=True, slots=True)
class Match:
    """A value that a path selects, or the first place where a document has no such value.

    `keys` leads from the root to the value; of a missing one it ends with the names that are missing.
    `marks` has the number of keys after each step.
    """

    keys: Keys
    value: Any
    marks: tuple[int, ...]
    exists: bool = True


def select(root: Any, steps: Sequence[PathStep]) -> list[Match]:
    """Return the matches in the order of the document. Raises TooManyMatches."""
    matches = [Match((), root, ())]
    for step in steps:
        following: list[Match] = []
        for match in matches:
            if match.exists:
                following.extend(_follow(match, step))
            elif isinstance(step.key, str | int):
                keys = (*match.keys, step.key)
                following.append(Match(keys, None, (*match.marks, len(keys)), exists=False))
            if len(following) > MAX_MATCHES:
                raise TooManyMatches
        matches = following
    return matches


def _follow(match: Match, step: PathStep) -> Iterator[Match]:
    if step.deep:
        for keys, value in _descend(match.keys, match.value, step.key):
            yield Match(keys, value, (*match.marks, len(keys)))
        return
    for key, value in _children(match.value, step.key):
        yield _child(match, key, value)
    if step.key is not None and not _has(match.value, step.key):
        keys = (*match.keys, step.key)
        yield Match(keys, None, (*match.marks, len(keys)), exists=False)


def _child(match: Match, key: str | int, value: Any) -> Match:
    keys = (*match.keys, key)
    return Match(keys, value, (*match.marks, len(keys)))


def _has(value: Any, key: str | int) -> bool:
    if isinstance(value, dict):
        return key in value
    return isinstance(value, list) and isinstance(key, int) and -len(value) <= key < len(value)


def _children(value: Any, key: str | int | None) -> Iterator[tuple[str | int, Any]]:
    """Yield the children of a value: the one with the key, or all if `key` is None."""
    if key is None:
        if isinstance(value, dict):
            yield from value.items()
        elif isinstance(value, list):
            yield from enumerate(value)
    elif _has(value, key):
        yield (key % len(value) if isinstance(key, int) else key), value[key]


def _descend(keys: Keys, value: Any, name: str | int | None) -> Iterator[tuple[Keys, Any]]:
    """Yield each member `name` of a value and of everything below it, in document order."""
    stack = [(keys, value)]
    while stack:
        place, each = stack.pop()
        if place and place[-1] == name and len(place) > len(keys):
            yield place, each
        stack.extend(((*place, key), child) for key, child in reversed(list(_children(each, None))))


def at(root: Any, keys: Keys) -> Any:
    """Return the value at a place that exists."""
    for key in keys:
        root = root[key]
    return root
