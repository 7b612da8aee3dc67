"""Problems of JSON Schema in the user's words, with the reasons of failed alternatives.

Both libraries report a failed `oneOf` or `anyOf` as one error with the errors of each branch. The
branch that the author most probably meant comes first. Depth and number of the reasons are bounded.
"""

from collections.abc import Iterable, Sequence
from itertools import groupby, islice
from typing import NamedTuple

import jsonschema
import jsonschema_rs

from validibot.engines.json_documents import pointer

MAX_DEPTH = 3
MAX_BRANCHES = 5
MAX_REASONS = 3
# Branches and errors that are looked at to find the nearest.
_MAX_COMPARED = 100
# Libraries quote the whole value at the start of a message.
_MAX_QUOTED = 300
_ALTERNATIVES = ("oneOf", "anyOf")
# A value that fails one of these is of another kind than the branch describes.
_KINDS = frozenset({"type", "const", "constant", "enum", "falseSchema", "required"})


class Reason(NamedTuple):
    """An error: message, keyword, path in the document, and the errors of each branch."""

    message: str
    keyword: str
    path: Sequence[str | int]
    branches: Sequence[tuple[int, Sequence["Reason"]]] = ()


def from_compiled(error: jsonschema_rs.ValidationError, depth: int = 0) -> Reason:
    """Return an error of jsonschema-rs."""
    context = getattr(error.kind, "context", None) or []
    branches = [
        (number, [from_compiled(each, depth + 1) for each in islice(errors, _MAX_COMPARED)])
        for number, errors in enumerate(islice(context, _MAX_COMPARED), start=1)
        if depth < MAX_DEPTH
    ]
    return Reason(error.message, error.kind.name, error.instance_path, branches)


def from_listed(error: jsonschema.ValidationError, depth: int = 0) -> Reason:
    """Return an error of the package jsonschema."""
    context = islice(error.context or (), _MAX_COMPARED) if depth < MAX_DEPTH else ()
    branches = [
        (int(number) + 1, [from_listed(each, depth + 1) for each in errors])
        for number, errors in groupby(context, key=lambda each: each.relative_schema_path[0])
        if isinstance(number, int)
    ]
    keyword = str(error.validator or "falseSchema")
    return Reason(error.message, keyword, list(error.absolute_path), branches)


def describe(reason: Reason) -> str:
    """Return the message of an error; a failed alternative says why each branch failed."""
    if reason.keyword not in _ALTERNATIVES or not reason.branches:
        return _shortened(reason.message)
    branches = sorted(reason.branches, key=lambda branch: _distance(branch[1], reason.path))
    shown = [
        f"branch {number}: {_reasons(errors, reason.path)}"
        for number, errors in branches[:MAX_BRANCHES]
    ]
    if len(branches) > MAX_BRANCHES:
        shown.append(f"{len(branches) - MAX_BRANCHES} other branches")
    count = "its only branch" if len(branches) == 1 else f"any of the {len(branches)} branches"
    return f"The value does not match {count} of {reason.keyword}. Nearest {'; '.join(shown)}"


def _reasons(errors: Sequence[Reason], parent: Sequence[str | int]) -> str:
    shown = [f"{describe(error)}{_where(error, parent)}" for error in islice(errors, MAX_REASONS)]
    if len(errors) > MAX_REASONS:
        shown.append(f"{len(errors) - MAX_REASONS} more")
    return ", ".join(shown)


def _where(error: Reason, parent: Sequence[str | int]) -> str:
    path = list(error.path)[len(parent) :]
    return f" (at {pointer(path)})" if path else ""


def _distance(errors: Sequence[Reason], parent: Sequence[str | int]) -> tuple[int, int, int]:
    """Return how far a value is from a branch: other kind, number of errors, shallow errors."""
    depths = [len(error.path) - len(parent) for error in errors]
    other_kind = sum(
        2 if error.keyword == "type" and depth == 0 else 1
        for error, depth in zip(errors, depths, strict=True)
        if error.keyword in _KINDS and depth <= 1
    )
    return other_kind, len(errors), -max(depths, default=0)


def _shortened(message: str) -> str:
    """Return a message with a long quoted value cut in the middle, so that the reason is kept."""
    if len(message) <= 2 * _MAX_QUOTED:
        return message
    return f"{message[:_MAX_QUOTED]}…{message[-_MAX_QUOTED:]}"


def described(reasons: Iterable[Reason]) -> Iterable[tuple[str, str, Sequence[str | int]]]:
    """Yield message, keyword and path of each error."""
    return ((describe(reason), reason.keyword, reason.path) for reason in reasons)
