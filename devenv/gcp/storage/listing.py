"""Pages of a bucket's objects, with common prefixes taken together.

After https://cloud.google.com/storage/docs/json_api/v1/objects/list.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.storage.catalogue import Catalogue
from devenv.gcp.storage.conditions import number
from devenv.gcp.storage.model import Object

_LAST = "\U0010ffff"
_MOST = 1000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a listing asks for. `start` and `generation` are where this page begins."""

    prefix: str = ""
    delimiter: str = ""
    start: str = ""
    generation: int = 0
    end: str = ""
    most: int = _MOST
    versions: bool = False
    trailing: bool = False


@dataclass(slots=True)
class Page:
    """Objects and common prefixes; `token` is empty on the last page."""

    items: list[Object] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    token: str = ""

    def __len__(self) -> int:
        return len(self.items) + len(self.prefixes)


def parse(query: Mapping[str, str]) -> Wanted:
    """Read the parameters of objects.list. Raises InvalidArgument."""
    if "matchGlob" in query or "filter" in query:
        raise InvalidArgument("matchGlob and filter are not emulated.")
    prefix = query.get("prefix", "")
    token_name, generation = read_token(query.get("pageToken", ""))
    offset, end = query.get("startOffset", ""), query.get("endOffset", "")
    return Wanted(
        prefix=prefix,
        delimiter=query.get("delimiter", ""),
        start=max(prefix, offset, token_name),
        generation=generation,
        end=min(filter(None, (end, prefix + _LAST))),
        most=page_size(query),
        versions=query.get("versions") == "true",
        trailing=query.get("includeTrailingDelimiter") == "true",
    )


def page_size(query: Mapping[str, str]) -> int:
    """Return `maxResults`, which Google cuts at 1000."""
    return min(number(query.get("maxResults", _MOST), "maxResults"), _MOST) or _MOST


def page(catalogue: Catalogue, bucket: str, wanted: Wanted) -> Page:
    """Return one page; a common prefix costs one step however many objects it hides."""
    result = Page()
    start: str | None = wanted.start
    while start is not None:
        start = _fill(result, catalogue, bucket, wanted, start)
    return result


def _fill(
    result: Page, catalogue: Catalogue, bucket: str, wanted: Wanted, start: str
) -> str | None:
    """Add objects from `start` on; return where to go on behind a common prefix, None at the end."""
    for item in catalogue.scan(bucket, start=start, end=wanted.end, versions=wanted.versions):
        if item.name == wanted.start and item.generation < wanted.generation:
            continue
        common = _common_prefix(item.name, wanted)
        if len(result) >= wanted.most:
            result.token = make_token(common or item.name, 0 if common else item.generation)
            return None
        if common is None:
            result.items.append(item)
            continue
        result.prefixes.append(common)
        if wanted.trailing and item.name == common:
            result.items.append(item)
        return common + _LAST
    return None


def _common_prefix(name: str, wanted: Wanted) -> str | None:
    if not wanted.delimiter:
        return None
    cut = name.find(wanted.delimiter, len(wanted.prefix))
    return None if cut < 0 else name[: cut + len(wanted.delimiter)]


def make_token(name: str, generation: int = 0) -> str:
    """Return the page token of a page that begins with `name`."""
    return base64.urlsafe_b64encode(json.dumps([name, generation]).encode()).decode()


def read_token(token: str) -> tuple[str, int]:
    """Return the name and the generation with which a page begins. Raises InvalidArgument."""
    if not token:
        return "", 0
    try:
        name, generation = json.loads(base64.urlsafe_b64decode(token))
        name.encode()
    except (binascii.Error, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidArgument("Invalid page token.") from error
    if not isinstance(name, str) or not isinstance(generation, int):
        raise InvalidArgument("Invalid page token.")
    return name, generation
