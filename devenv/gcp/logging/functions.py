"""Functions of the query language: SEARCH, sample, source, ip_in_net, cast and regexp_extract.

See https://cloud.google.com/logging/docs/view/logging-query-language#functions.
"""

import datetime as dt
import hashlib
import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from devenv.gcp.logging.entry_view import EntryTest, EntryView, possible_test, text_of, texts_in
from devenv.gcp.logging.fields import (
    FieldComparison,
    FilterProblem,
    known_path,
    moment_of,
    number_of,
    ordered,
    text_pattern,
)
from devenv.gcp.patterns import pattern_capture

# Between the words of a text for SEARCH; parts in backquotes are one phrase.
_DELIMITERS = re.compile(r"""[\[\]<>(){}|!;,'"*&?+/:=@.\-$%\\_\s]+""")
_PHRASE = re.compile(r"`([^`]*)`")
_BUCKETS = 1 << 53
_SOURCES = ("projects", "folders", "organizations")
_BOOLEANS = {"true": 1.0, "false": 0.0}


def search_test(path: list[str] | None, query: str) -> EntryTest:
    """Return the test that all words and phrases of `query` are in a field, or in the entry.

    Raises FilterProblem.
    """
    wanted = [_words(phrase) for phrase in _PHRASE.findall(query)]
    wanted += [[word] for word in _words(_PHRASE.sub(" ", query))]
    wanted = [each for each in wanted if each]
    if not wanted:
        raise FilterProblem('SEARCH needs a word, for example SEARCH("disk full").')
    names = known_path(path) if path else []
    may_have = [possible_test(word) for phrase in wanted for word in phrase]
    return lambda view: (
        all(may(view) for may in may_have)
        and _has_all(
            [_words(text) for value in view.values(names) for text in texts_in(value)],
            wanted,
        )
    )


def sample_test(path: list[str], fraction: str) -> EntryTest:
    """Return the test that chooses a fraction of all values of a field. Raises FilterProblem."""
    names, share = known_path(path), number_of(fraction)
    if share is None or not 0 <= share <= 1:
        raise FilterProblem(f"The fraction {fraction[:40]!r} must be a number between 0 and 1.")

    def chosen(value: Any) -> bool:
        digest = hashlib.sha256(text_of(value).encode()).digest()
        return int.from_bytes(digest[:8]) >> 11 < share * _BUCKETS

    return lambda view: any(chosen(value) for value in view.values(names))


def network_test(path: list[str], network: str) -> EntryTest:
    """Return the test that an address is in a network. Raises FilterProblem."""
    names = known_path(path)
    try:
        wanted = ipaddress.ip_network(network, strict=False)
    except ValueError as error:
        raise FilterProblem(f"{network[:60]!r} is no network, such as 10.1.2.0/24.") from error

    def is_inside(value: Any) -> bool:
        try:
            return ipaddress.ip_address(text_of(value)) in wanted
        except ValueError:
            return False

    return lambda view: any(is_inside(value) for value in view.values(names))


def source_test(resource: str) -> EntryTest:
    """Return the test that an entry is of a project; here are no folders and no organisations.

    Raises FilterProblem.
    """
    kind, _, name = resource.partition("/")
    if kind not in _SOURCES or not name:
        raise FilterProblem(f"{resource[:100]!r} is no resource, such as projects/local-project.")
    logs = f"{resource}/logs/"
    return lambda view: view.entry.log_name.startswith(logs)


@dataclass(frozen=True, slots=True)
class Converted:
    """Values that a function makes of a field, all of one type; those that it cannot make are not there."""

    read: Callable[[EntryView], Iterator[Any]]
    kind: str = "STRING"

    def cast(self, kind: str, zone: str | None) -> "Converted":
        """Return the values in another type; a time zone is for times. Raises FilterProblem."""
        kind = kind.upper()
        if kind not in _CASTS:
            raise FilterProblem(f"Unknown type {kind[:40]!r}; known are {', '.join(_CASTS)}.")
        convert = _CASTS[kind]
        if zone is not None:
            convert = _zoned(kind, zone)
        return Converted(self._each(convert), kind)

    def extract(self, pattern: str) -> "Converted":
        """Return the part that a pattern captures in each text. Raises FilterProblem."""
        try:
            capture = pattern_capture(pattern)
        except ValueError as error:
            raise FilterProblem(str(error)) from error
        return Converted(self._each(lambda value: capture(text_of(value))))

    def test(self, comparison: FieldComparison) -> EntryTest:
        """Return the test of one comparison. Raises FilterProblem."""
        if comparison.negative:
            inner = self.test(comparison.positive())
            return lambda view: not inner(view)
        holds = self._comparison(comparison)
        return lambda view: any(map(holds, self.read(view)))

    def _comparison(self, wanted: FieldComparison) -> Callable[[Any], bool]:
        if self.kind == "STRING":
            if wanted.operator == "=~":
                return text_pattern(wanted.text)
            if wanted.operator == ":":
                return lambda value: wanted.folded in value.casefold()
        compare, right = ordered(wanted.operator), _CASTS[self.kind](wanted.text)
        if compare is None or right is None:
            raise FilterProblem(
                f"{wanted.operator} {wanted.text[:60]!r} is no comparison with a {self.kind}."
            )
        if self.kind == "STRING":
            return lambda value: compare(value.casefold(), wanted.folded)
        return lambda value: compare(value, right)

    def _each(self, convert: Callable[[Any], Any]) -> Callable[[EntryView], Iterator[Any]]:
        return lambda view: (
            made for value in self.read(view) if (made := convert(value)) is not None
        )


def values_of(path: list[str]) -> Converted:
    """Return the values of a field as they are. Raises FilterProblem."""
    names = known_path(path)
    return Converted(lambda view: view.values(names))


def _words(text: str) -> list[str]:
    return [word for word in _DELIMITERS.split(text.casefold()) if word]


def _has_all(texts: list[list[str]], wanted: list[list[str]]) -> bool:
    return all(any(_has(words, phrase) for words in texts) for phrase in wanted)


def _has(words: list[str], phrase: list[str]) -> bool:
    size = len(phrase)
    return any(words[at : at + size] == phrase for at in range(len(words) - size + 1))


def _integer(value: Any) -> float | None:
    number = number_of(value)
    return None if number is None or number != number // 1 else number


def _boolean(value: Any) -> float | None:
    return _BOOLEANS.get(text_of(value).casefold())


def _time(value: Any) -> int | None:
    try:
        return moment_of(text_of(value))
    except FilterProblem:
        return None


def _zoned(kind: str, name: str) -> Callable[[Any], Any]:
    """Return the conversion of times to texts in a time zone, or from such texts. Raises FilterProblem."""
    if kind not in ("STRING", "TIMESTAMP"):
        raise FilterProblem(f"TIMEZONE is for STRING and TIMESTAMP, not for {kind}.")
    try:
        zone = ZoneInfo(name)
    except (ValueError, OSError, ZoneInfoNotFoundError) as error:
        raise FilterProblem(f"Unknown time zone {name[:60]!r}; write one of IANA's.") from error
    if kind == "STRING":
        return lambda value: _local_text(text_of(value), zone)
    return lambda value: _local_time(text_of(value), zone)


def _local_text(text: str, zone: ZoneInfo) -> str | None:
    moment = _time(text)
    if moment is None:
        return None
    seconds, nanos = divmod(moment, 10**9)
    local = dt.datetime.fromtimestamp(seconds, zone).isoformat()
    fraction = f".{nanos:09d}".rstrip("0").rstrip(".")
    return local[:19] + fraction + local[19:]


def _local_time(text: str, zone: ZoneInfo) -> int | None:
    """Return the nanoseconds since 1970 of a text that has an offset, or is the time of a zone."""
    try:
        local = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    if local.tzinfo is not None:
        return _time(text)
    return int(local.replace(tzinfo=zone).timestamp() * 10**6) * 1000


def _duration(value: Any) -> float | None:
    return number_of(value) if text_of(value).endswith("s") else None


_CASTS: Mapping[str, Callable[[Any], Any]] = {
    "STRING": text_of,
    "INT64": _integer,
    "FLOAT64": number_of,
    "BOOL": _boolean,
    "TIMESTAMP": _time,
    "DURATION": _duration,
}
