"""Problems of JSON Schema in the user's words, with the reasons of failed alternatives.

Small documents are listed by jsonschema-rs, large ones by the package jsonschema, whose messages
quote values as Python does. So the words for both are those of jsonschema-rs, which quotes JSON.

Both libraries report a failed `oneOf` or `anyOf` as one error with the errors of each branch. The
branch that the author most probably meant comes first. Depth and number of the reasons are bounded.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby, islice
from typing import Any, NamedTuple

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
# Messages of these name properties and numbers only.
_WITHOUT_VALUES = {"additionalProperties", "unevaluatedProperties", "minContains", "maxContains"}
_REQUIRED, _MORE_ITEMS = "{name} is a required property", "{value} has more items than allowed"
_SENTENCES = {
    "None": "False schema does not allow {value}",
    "not": "{expected} is not allowed for {value}",
    "contains": "None of {value} are valid under the given schema",
    "items": _MORE_ITEMS,
    "unevaluatedItems": _MORE_ITEMS,
    "required": _REQUIRED,
    "dependentRequired": _REQUIRED,
    "dependencies": _REQUIRED,
    "oneOf": "{value} is not valid under any of the schemas listed in the 'oneOf' keyword",
    "anyOf": "{value} is not valid under any of the schemas listed in the 'anyOf' keyword",
    "several of oneOf": "{value} is valid under more than one of the schemas listed in the 'oneOf' keyword",
}
# The words for `format`; both libraries have its name only.
_FORMATS = {
    "date": "a date such as 2026-01-31",
    "date-time": "a date with time and zone such as 2026-01-31T12:00:00Z",
    "time": "a time with zone such as 12:00:00Z",
    "duration": "a duration such as P1DT12H",
    "email": "an email address",
    "idn-email": "an email address",
    "hostname": "a host name",
    "idn-hostname": "a host name",
    "ipv4": "an IPv4 address",
    "ipv6": "an IPv6 address",
    "uri": "a URI such as https://example.org/a",
    "uri-reference": "a URI or a relative reference",
    "iri": "an IRI such as https://example.org/a",
    "iri-reference": "an IRI or a relative reference",
    "uri-template": "a URI template such as /rooms/{id}",
    "uuid": "a UUID",
    "json-pointer": "a JSON Pointer such as /rooms/0",
    "relative-json-pointer": "a relative JSON Pointer such as 1/rooms",
    "regex": "a regular expression",
}
_DRAFT_4 = "http://json-schema.org/draft-04/schema#"
_DRAFT_7 = "http://json-schema.org/draft-07/schema#"
# A value that fails one of these is of another kind than the branch describes.
_KINDS = frozenset({"type", "const", "constant", "enum", "falseSchema", "required"})


class Reason(NamedTuple):
    """An error: its words, keyword, path in the document, and the errors of each branch."""

    words: Callable[[], str]
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
    words = partial(_words_of_compiled, error)
    return Reason(words, error.kind.name, error.instance_path, branches)


def _words_of_compiled(error: jsonschema_rs.ValidationError) -> str:
    """Return the message of an error of jsonschema-rs, with the name of a format in words."""
    name = getattr(error.kind, "format", None)
    ending = f'is not a "{name}"'
    if name in _FORMATS and error.message.endswith(ending):
        return f"{error.message.removesuffix(ending)}is not {_FORMATS[name]}"
    return str(error.message)


def from_listed(error: jsonschema.ValidationError, depth: int = 0) -> Reason:
    """Return an error of the package jsonschema."""
    context = islice(error.context or (), _MAX_COMPARED) if depth < MAX_DEPTH else ()
    branches = [
        (int(number) + 1, [from_listed(each, depth + 1) for each in errors])
        for number, errors in groupby(context, key=lambda each: each.relative_schema_path[0])
        if isinstance(number, int)
    ]
    keyword = str(error.validator or "falseSchema")
    return Reason(partial(_words, error), keyword, list(error.absolute_path), branches)


def _words(error: jsonschema.ValidationError) -> str:
    """Return the message of an error of the package jsonschema, with its values as JSON."""
    keyword, message, expected = str(error.validator), error.message, error.validator_value
    if keyword in _WITHOUT_VALUES or message.startswith("Too "):
        return str(message)
    if " is valid under each of " in message:
        keyword = f"several of {keyword}"
    if sentence := _SENTENCES.get(keyword):
        names = _names(expected) if "{name}" in sentence else []
        return sentence.format(
            value=_quoted(error.instance),
            expected=_quoted(expected) if "{expected}" in sentence else "",
            name=_quoted(next((name for name in names if message.startswith(repr(name))), "")),
        )
    return _words_of_keyword(error, keyword)


def _words_of_keyword(error: jsonschema.ValidationError, keyword: str) -> str:
    """Return the message of jsonschema-rs about a keyword that holds no schemas."""
    around = error.schema if isinstance(error.schema, dict) else {}
    schema = {keyword: error.validator_value}
    if isinstance(around.get(f"exclusive{keyword.title()}"), bool):
        schema |= {"$schema": _DRAFT_4, f"exclusive{keyword.title()}": True}
    elif keyword == "additionalItems":
        schema |= {"$schema": _DRAFT_7, "items": [True] * len(around.get("items", []))}
    try:
        validator = jsonschema_rs.validator_for(schema, validate_formats=True)
        return _words_of_compiled(next(iter(validator.iter_errors(error.instance))))
    except (ValueError, StopIteration):
        expected = _quoted(error.validator_value)
        return f"{_quoted(error.instance)} does not match `{keyword}`: {expected}"


def _names(value: Any) -> Iterable[str]:
    """Return the names of properties that a keyword requires."""
    if isinstance(value, dict):
        return [name for names in value.values() if isinstance(names, list) for name in names]
    return value if isinstance(value, list) else []


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def describe(reason: Reason) -> str:
    """Return the message of an error; a failed alternative says why each branch failed."""
    if reason.keyword not in _ALTERNATIVES or not reason.branches:
        return _shortened(reason.words())
    if not all(errors for _, errors in reason.branches):  # a branch that matches is one too many
        return _shortened(reason.words())
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
        return str(message)
    return f"{message[:_MAX_QUOTED]}…{message[-_MAX_QUOTED:]}"


def described(reasons: Iterable[Reason]) -> Iterable[tuple[str, str, Sequence[str | int]]]:
    """Yield message, keyword and path of each error."""
    return ((describe(reason), reason.keyword, reason.path) for reason in reasons)
