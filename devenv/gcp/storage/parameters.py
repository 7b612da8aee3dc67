"""Parameters of requests: numbers, booleans, preconditions, `fields`, and those that are not emulated.

Booleans are read without regard to case, because Python's client sends `True`. Parameters whose
effect is not emulated are refused by name, so that no client believes that they acted.

A precondition compares a generation, a metageneration or an entity tag with those of the live
object; generation 0 stands for "no object". A failed precondition is 412, except that a reader who
already has the current state gets 304. A change decides its preconditions in the transaction that
writes, so that of several writers with `ifGenerationMatch=0` exactly one succeeds.

`fields` asks for a partial response. A selector lists members by comma; `a/b` and `a(b,c)` select
inside of `a`, and `*` selects every member. A list is transparent: a selector applies to each of
its elements. A client that forgets a field it needs must miss it here as it does at Google.

See https://cloud.google.com/storage/docs/request-preconditions and
https://cloud.google.com/storage/docs/json_api#partial-response.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.errors import NotEmulated, NotModified, PreconditionFailed
from devenv.gcp.storage.model import ObjectRecord

_MAX_NUMBER = 2**63
_UNSUPPORTED_TEXTS = (
    *("destinationKmsKeyName", "dropContextGroups", "filter", "kmsKeyName", "restoreToken"),
    *("rewriteToken", "uploadProtocol"),
)
_UNSUPPORTED_FLAGS = ("enableObjectRetention", "overrideUnlockedRetention")
_CUSTOMER_KEYS = {"x-goog-encryption-algorithm", "x-goog-copy-source-encryption-algorithm"}


@dataclass(frozen=True, slots=True)
class Preconditions:
    """Conditions on the live object at the moment when a request takes effect."""

    generation: int | None = None
    not_generation: int | None = None
    metageneration: int | None = None
    not_metageneration: int | None = None
    etag: str | None = None
    not_etag: str | None = None

    def check(self, found: ObjectRecord | None) -> None:
        """Raise PreconditionFailed if `found`, the live object, may not be changed."""
        if self is not UNCONDITIONAL and not (self._matches(found) and self._differs(found)):
            raise PreconditionFailed

    def check_read(self, found: ObjectRecord) -> None:
        """Raise PreconditionFailed, or NotModified for a reader who has this state already."""
        if self is UNCONDITIONAL:
            return
        if not self._matches(found):
            raise PreconditionFailed
        if not self._differs(found):
            raise NotModified

    def _matches(self, found: ObjectRecord | None) -> bool:
        generation, metageneration = _state(found)
        return (
            self.generation in (None, generation)
            and self.metageneration in (None, metageneration)
            and (self.etag is None or _tagged(self.etag, found))
        )

    def _differs(self, found: ObjectRecord | None) -> bool:
        generation, metageneration = _state(found)
        return (
            self.not_generation != generation
            and self.not_metageneration != metageneration
            and not (self.not_etag is not None and _tagged(self.not_etag, found))
        )


UNCONDITIONAL = Preconditions()
_CONDITIONS = {
    *("ifGenerationMatch", "ifGenerationNotMatch"),
    *("ifMetagenerationMatch", "ifMetagenerationNotMatch"),
}
_CONDITION_HEADERS = {
    *("if-match", "if-none-match"),
    *("x-goog-if-generation-match", "x-goog-if-metageneration-match"),
}


def parse(query: Mapping[str, str], headers: Mapping[str, str]) -> Preconditions:
    """Read the preconditions of a request on an object. Raises InvalidArgument."""
    if _CONDITIONS.isdisjoint(query) and _CONDITION_HEADERS.isdisjoint(headers):
        return UNCONDITIONAL
    return Preconditions(
        generation=_number(query, "ifGenerationMatch", headers.get("x-goog-if-generation-match")),
        not_generation=_number(query, "ifGenerationNotMatch"),
        metageneration=_number(
            query, "ifMetagenerationMatch", headers.get("x-goog-if-metageneration-match")
        ),
        not_metageneration=_number(query, "ifMetagenerationNotMatch"),
        etag=headers.get("if-match"),
        not_etag=headers.get("if-none-match"),
    )


def parse_source(query: Mapping[str, str]) -> Preconditions:
    """Read the preconditions on the source of a copy. Raises InvalidArgument."""
    return Preconditions(
        generation=_number(query, "ifSourceGenerationMatch"),
        not_generation=_number(query, "ifSourceGenerationNotMatch"),
        metageneration=_number(query, "ifSourceMetagenerationMatch"),
        not_metageneration=_number(query, "ifSourceMetagenerationNotMatch"),
    )


def number(value: object, name: str) -> int:
    """Return a 64-bit number that came as text or JSON. Raises InvalidArgument."""
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    if len(text) <= 19 and text.isascii() and text.isdigit() and int(text) < _MAX_NUMBER:
        return int(text)
    raise InvalidArgument(f"Invalid value '{str(value)[:40]}' for {name}.")


def flag(query: Mapping[str, str], name: str) -> bool:
    """Return a boolean parameter of `query`; absent or empty is false. Raises InvalidArgument."""
    value = query.get(name, "").lower()
    if value not in ("", "false", "true"):
        raise InvalidArgument(f"Invalid value '{value[:40]}' for {name}; it must be a boolean.")
    return value == "true"


def check_supported(query: Mapping[str, str], headers: Mapping[str, str]) -> None:
    """Refuse parameters and headers whose effect is not emulated. Raises NotEmulated."""
    for name in query:
        if (name in _UNSUPPORTED_TEXTS and query[name]) or (
            name in _UNSUPPORTED_FLAGS and flag(query, name)
        ):
            raise NotEmulated(f"The parameter '{name}'")
    if not _CUSTOMER_KEYS.isdisjoint(headers):
        raise NotEmulated("Encryption with customer-supplied keys")


def _number(query: Mapping[str, str], name: str, header: str | None = None) -> int | None:
    value = query.get(name, header)
    return None if value is None else number(value, name)


def _state(found: ObjectRecord | None) -> tuple[int, int]:
    return (found.generation, found.metageneration) if found else (0, 0)


def _tagged(tags: str, found: ObjectRecord | None) -> bool:
    wanted = [tag.strip().removeprefix("W/").strip('"') for tag in tags.split(",")]
    return found is not None and ("*" in wanted or found.etag in wanted)


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
