"""Partial responses: the `fields` parameter of the JSON API.

A selector lists members by comma; `a/b` and `a(b,c)` select inside of `a`, and `*` selects every
member. A list is transparent: a selector applies to each of its elements. A client that forgets a
field it needs must miss it here as it does at Google.

See https://cloud.google.com/storage/docs/json_api#partial-response.
"""

import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from devenv.gcp.errors import InvalidArgument

Selection: TypeAlias = dict[str, "Selection"]

_TOKEN = re.compile(r"[A-Za-z0-9_*.-]+|[,/()]")
_MAX_DEPTH = 16


def select(resource: Any, fields: str) -> Any:
    """Return the parts of a JSON value that `fields` names. Raises InvalidArgument."""
    text = re.sub(r"\s", "", fields)
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != text:
        raise _invalid(fields)
    remaining = iter([*tokens, ""])
    try:
        selection, end = _selection(remaining, 0)
    except (StopIteration, RecursionError) as error:
        raise _invalid(fields) from error
    if end or not selection:
        raise _invalid(fields)
    return _picked(resource, selection)


def _invalid(fields: str) -> InvalidArgument:
    return InvalidArgument(f"Invalid field selection '{fields[:100]}'.")


def _selection(tokens: Iterator[str], depth: int) -> tuple[Selection, str]:
    """Return a list of selectors and the token after it."""
    chosen: Selection = {}
    while True:
        inner, mark = chosen, next(tokens)
        if depth > _MAX_DEPTH or not mark or mark in ",/()":
            raise StopIteration
        inner = inner.setdefault(mark, {})
        while (mark := next(tokens)) == "/":
            inner = inner.setdefault(next(tokens), {})
        if mark == "(":
            below, mark = _selection(tokens, depth + 1)
            if mark != ")":
                raise StopIteration
            inner.update(below)
            mark = next(tokens)
        if mark != ",":
            return chosen, mark


def _picked(value: Any, selection: Selection) -> Any:
    if not selection:
        return value
    if isinstance(value, list):
        return [_picked(item, selection) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _picked(item, selection.get(key, selection.get("*", {})))
        for key, item in value.items()
        if key in selection or "*" in selection
    }
