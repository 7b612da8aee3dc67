"""Preconditions: the `if*` parameters of the JSON API and their headers.

After https://cloud.google.com/storage/docs/request-preconditions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.errors import NotModified, PreconditionFailed
from devenv.gcp.storage.model import Object

_LARGEST = 2**63


@dataclass(frozen=True, slots=True)
class Preconditions:
    """What must hold of an object when a request takes effect. Generation 0 is "no object"."""

    generation: int | None = None
    not_generation: int | None = None
    metageneration: int | None = None
    not_metageneration: int | None = None
    etag: str | None = None
    not_etag: str | None = None

    def check(self, found: Object | None) -> None:
        """Raise PreconditionFailed if `found`, the live object, may not be changed."""
        if not (self._matches(found) and self._differs(found)):
            raise PreconditionFailed

    def check_read(self, found: Object) -> None:
        """Raise PreconditionFailed, or NotModified for a reader who has this state already."""
        if not self._matches(found):
            raise PreconditionFailed
        if not self._differs(found):
            raise NotModified

    def _matches(self, found: Object | None) -> bool:
        generation, metageneration = _state(found)
        return (
            self.generation in (None, generation)
            and self.metageneration in (None, metageneration)
            and (self.etag is None or _tagged(self.etag, found))
        )

    def _differs(self, found: Object | None) -> bool:
        generation, metageneration = _state(found)
        return (
            self.not_generation != generation
            and self.not_metageneration != metageneration
            and not (self.not_etag is not None and _tagged(self.not_etag, found))
        )


def parse(query: Mapping[str, str], headers: Mapping[str, str]) -> Preconditions:
    """Read the preconditions of a request on an object. Raises InvalidArgument."""
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
    if len(text) <= 19 and text.isascii() and text.isdigit() and int(text) < _LARGEST:
        return int(text)
    raise InvalidArgument(f"Invalid value '{str(value)[:40]}' for {name}.")


def _number(query: Mapping[str, str], name: str, header: str | None = None) -> int | None:
    value = query.get(name, header)
    return None if value is None else number(value, name)


def _state(found: Object | None) -> tuple[int, int]:
    return (found.generation, found.metageneration) if found else (0, 0)


def _tagged(tags: str, found: Object | None) -> bool:
    wanted = [tag.strip().removeprefix("W/").strip('"') for tag in tags.split(",")]
    return found is not None and ("*" in wanted or found.etag in wanted)
