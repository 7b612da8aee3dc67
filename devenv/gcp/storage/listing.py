"""Lists of objects in pages, with common prefixes and glob patterns.

A page is filled by walking the names of the bucket in order. When a delimiter folds names into a
common prefix, the walk continues behind everything that has this prefix, so that a prefix costs one
step however many objects it hides. A page token holds the name, and for versions the generation,
at which the next page begins; it stays valid while objects come and go.

See https://cloud.google.com/storage/docs/json_api/v1/objects/list.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.patterns import pattern_test
from devenv.gcp.storage.catalogue import Catalogue
from devenv.gcp.storage.model import ObjectRecord
from devenv.gcp.storage.parameters import flag, number

NameTest: TypeAlias = Callable[[str], bool]
LAST = "\U0010ffff"
_MAX_PAGE = 1000
_MAX_GLOB = 1024
_GLOB = re.compile(r"\*+|\[[!^]?[^\]]+\]|\\.|.", re.DOTALL)
# Python tries the combinations of the choices that a pattern leaves; with more than these RE2 matches it.
_MOST_CHOICES = 2
_ALTERNATIVES = {"{": "(?:", ",": "|", "}": ")"}


@dataclass(frozen=True, slots=True)
class ListRequest:
    """The parameters of a list; the page begins at `start` and `generation`."""

    prefix: str = ""
    delimiter: str = ""
    start: str = ""
    generation: int = 0
    end: str = ""
    limit: int = _MAX_PAGE
    versions: bool = False
    soft_deleted: bool = False
    trailing: bool = False
    glob: NameTest | None = None

    def matches(self, name: str) -> bool:
        """Return whether the glob pattern, if there is one, admits an object or prefix."""
        return self.glob is None or self.glob(name)


@dataclass(slots=True)
class ObjectPage:
    """Objects and common prefixes; `token` is empty on the last page."""

    items: list[ObjectRecord] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    token: str = ""

    def __len__(self) -> int:
        return len(self.items) + len(self.prefixes)


def parse(query: Mapping[str, str]) -> ListRequest:
    """Read the parameters of objects.list. Raises InvalidArgument."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    pattern = query.get("matchGlob", "")
    if pattern and delimiter not in ("", "/"):
        raise InvalidArgument("matchGlob is allowed with the delimiter '/' only.")
    versions, soft_deleted = flag(query, "versions"), flag(query, "softDeleted")
    if versions and soft_deleted:
        raise InvalidArgument("versions and softDeleted cannot both be true.")
    token_name, generation = read_token(query.get("pageToken", ""))
    offset, end = query.get("startOffset", ""), query.get("endOffset", "")
    return ListRequest(
        prefix=prefix,
        delimiter=delimiter,
        start=max(prefix, offset, token_name),
        generation=generation,
        end=min(filter(None, (end, prefix + LAST))),
        limit=page_size(query),
        versions=versions,
        soft_deleted=soft_deleted,
        trailing=flag(query, "includeTrailingDelimiter"),
        glob=glob_test(pattern) if pattern else None,
    )


def page_size(query: Mapping[str, str]) -> int:
    """Return `maxResults`, which Google cuts at 1000."""
    return min(number(query.get("maxResults", _MAX_PAGE), "maxResults"), _MAX_PAGE) or _MAX_PAGE


def page(catalogue: Catalogue, bucket: str, request: ListRequest, *, now: float) -> ObjectPage:
    """Return one page; a common prefix costs one step however many objects it hides."""

    def scan(start: str) -> Iterator[ObjectRecord]:
        if request.soft_deleted:
            return catalogue.soft_deleted(bucket, start=start, end=request.end, now=now)
        return catalogue.scan(bucket, start=start, end=request.end, versions=request.versions)

    result = ObjectPage()
    start: str | None = request.start
    while start is not None:
        start = _fill(result, request, scan(start))
    return result


def _fill(result: ObjectPage, request: ListRequest, items: Iterator[ObjectRecord]) -> str | None:
    """Add `items`; return where to go on behind a common prefix, None at the end."""
    for item in items:
        if item.name == request.start and item.generation < request.generation:
            continue
        common = _common_prefix(item.name, request)
        if not request.matches(common or item.name):
            if common:
                return common + LAST
            continue
        if len(result) >= request.limit:
            result.token = make_token(common or item.name, 0 if common else item.generation)
            return None
        if common is None:
            result.items.append(item)
            continue
        result.prefixes.append(common)
        if request.trailing and item.name == common:
            result.items.append(item)
        return common + LAST
    return None


def _common_prefix(name: str, request: ListRequest) -> str | None:
    if not request.delimiter:
        return None
    cut = name.find(request.delimiter, len(request.prefix))
    return None if cut < 0 else name[: cut + len(request.delimiter)]


def glob_test(glob: str) -> NameTest:
    """Return whether a `matchGlob` admits a name. Raises InvalidArgument.

    `*` and `?` stop at a slash, `**` does not; `[a-z]`, `[!a]` and `{one,two}` are as in a shell.
    """
    if len(glob) > _MAX_GLOB:
        raise InvalidArgument(f"matchGlob must not be longer than {_MAX_GLOB} characters.")
    pieces, depth, choices = [], 0, 0
    for piece in _GLOB.findall(glob):
        choices += piece[0] in "*{"
        if piece in _ALTERNATIVES and (depth or piece == "{"):
            pieces.append(_ALTERNATIVES[piece])
            depth += {"{": 1, ",": 0, "}": -1}[piece]
        else:
            pieces.append(_glob_piece(piece))
    text = "".join(pieces)
    try:
        pattern = re.compile(text, re.DOTALL)
        if choices > _MOST_CHOICES:
            return pattern_test(f"^(?s:{text})$")
    except (re.error, ValueError) as error:
        raise InvalidArgument(f"Invalid matchGlob '{glob}': {error}.") from error
    return lambda name: pattern.fullmatch(name) is not None


def _glob_piece(piece: str) -> str:
    if piece[0] == "*":
        return "[^/]*" if piece == "*" else ".*"
    if piece == "?":
        return "[^/]"
    if piece[0] == "[" and len(piece) > 2:
        negation = "^" if piece[1] in "!^" else ""
        members = piece[1 + len(negation) : -1].replace("\\", r"\\").replace("[", r"\[")
        return f"[{negation}{members}]"
    return re.escape(piece[1:] if piece[0] == "\\" and len(piece) == 2 else piece)


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
