"""Functions of the query language: SEARCH, sample, ip_in_net and cast.

See https://cloud.google.com/logging/docs/view/logging-query-language#functions.
"""

import hashlib
import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from devenv.gcp.logging.entry_view import EntryTest, possible_test, text_of, texts_in
from devenv.gcp.logging.fields import (
    FieldComparison,
    FilterProblem,
    field_values,
    known_path,
    moment_of,
    number_of,
    ordered,
)

# Between the words of a text for SEARCH; parts in backquotes are one phrase.
_DELIMITERS = re.compile(r"""[\[\]<>(){}|!;,'"*&?+/:=@.\-$%\\_\s]+""")
_PHRASE = re.compile(r"`([^`]*)`")
_BUCKETS = 1 << 53
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
            [_words(text) for value in field_values(view, names) for text in texts_in(value)],
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

    return lambda view: any(chosen(value) for value in field_values(view, names))


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

    return lambda view: any(is_inside(value) for value in field_values(view, names))


def cast_test(path: list[str], kind: str, comparison: FieldComparison) -> EntryTest:
    """Return the test of `cast(field, TYPE) > value`; what cannot be cast is not there.

    Raises FilterProblem.
    """
    if comparison.negative:
        inner = cast_test(path, kind, comparison.positive())
        return lambda view: not inner(view)
    names, convert = known_path(path), _CASTS.get(kind.upper())
    if convert is None:
        raise FilterProblem(f"Unknown type {kind[:40]!r}; known are {', '.join(_CASTS)}.")
    compare = ordered(comparison.operator)
    wanted = convert(comparison.text)
    if compare is None or wanted is None:
        raise FilterProblem(
            f"{comparison.operator} {comparison.text[:60]!r} is no comparison with a {kind.upper()}."
        )
    return lambda view: any(
        left is not None and compare(left, wanted)
        for left in map(convert, field_values(view, names))
    )


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


def _folded(value: Any) -> str:
    return text_of(value).casefold()


def _time(value: Any) -> int | None:
    try:
        return moment_of(text_of(value))
    except FilterProblem:
        return None


def _duration(value: Any) -> float | None:
    return number_of(value) if text_of(value).endswith("s") else None


_CASTS: Mapping[str, Callable[[Any], Any]] = {
    "STRING": _folded,
    "INT64": _integer,
    "FLOAT64": number_of,
    "BOOL": _boolean,
    "TIMESTAMP": _time,
    "DURATION": _duration,
}
