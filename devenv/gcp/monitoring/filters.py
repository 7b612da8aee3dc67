"""Filters of metrics and time series.

See https://cloud.google.com/monitoring/api/v3/filters. Comparisons are joined by AND, OR and NOT, with
parentheses; two side by side are joined by AND, and OR binds closer than AND.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.patterns import pattern_test

SeriesTest: TypeAlias = Callable[[Any], bool]
"""Returns whether a TimeSeries passes a filter; its points have no part in it."""
_ValueTest: TypeAlias = Callable[[str], bool]

_LONGEST = 2048
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"""|(?P<sign>!=|>=|<=|=|<|>|:|\(|\)|,)|(?P<word>[A-Za-z0-9_.\-/\[\]]+))"""
)
_COMPARISONS = frozenset({"=", "!=", ">", ">=", "<", "<=", ":"})
_SELECTOR = re.compile(
    r"project|group\.id|metric\.type|resource\.type|(metric|resource)\.labels?\.[A-Za-z_]\w*"
    r"|metadata\.(system|user)(_labels)?\.[\w.\[\]\"-]+"
)
_FUNCTIONS: Mapping[str, Callable[[str], _ValueTest]] = {
    "starts_with": lambda wanted: lambda text: text.startswith(wanted),
    "ends_with": lambda wanted: lambda text: text.endswith(wanted),
    "has_substring": lambda wanted: lambda text: wanted in text,
    "one_of": lambda wanted: lambda text: text == wanted,
    "monitoring.regex.full_match": lambda wanted: pattern_test(f"^(?:{wanted})$"),
}


def parse_filter(where: str, text: str) -> tuple[str, SeriesTest]:
    """Return the metric type that a filter selects, and its test of series. Raises InvalidArgument."""
    if len(text) > _LONGEST:
        raise InvalidArgument(f"{where} is longer than {_LONGEST} characters.")
    parsed = _SeriesFilter(where, text)
    if len(parsed.metric_types) != 1:
        raise InvalidArgument(
            f'{where} must specify a single metric type, as in metric.type = "TYPE"; it has '
            f"{len(parsed.metric_types)}."
        )
    return parsed.metric_types[0], parsed.test


class _SeriesFilter:
    """A recursive descent over the tokens of one filter.

    `metric_types` are those that it asks to be equal.
    """

    def __init__(self, where: str, text: str) -> None:
        self._where = where
        self._tokens = list(self._split(text))
        self._next = 0
        self.metric_types: list[str] = []
        self.test = self._expression(depth=0)
        if self._peek():
            raise self._bad(f"{self._peek()!r} was not expected")

    def _split(self, text: str) -> list[str]:
        found, place = [], 0
        text = text.rstrip()
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None:
                raise self._bad(f"{text[place:].strip()[:20]!r} was not expected")
            found.append(match[0].strip())
            place = match.end()
        return found

    def _peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def _take(self, *wanted: str) -> str:
        token = self._peek()
        if not token or (wanted and token not in wanted):
            raise self._bad(f"{token or 'its end'!r} was not expected")
        self._next += 1
        return token

    def _expression(self, depth: int) -> SeriesTest:
        if depth > 20:
            raise self._bad("it has too many parentheses")
        # Of each inner list one test must hold, and that of every list.
        groups = [[self._term(depth)]]
        while self._peek() not in ("", ")"):
            joint = self._take() if self._peek() in ("AND", "OR") else "AND"
            term = self._term(depth)
            if joint == "OR":
                groups[-1].append(term)
            else:
                groups.append([term])
        return lambda series: all(any(test(series) for test in group) for group in groups)

    def _term(self, depth: int) -> SeriesTest:
        is_negated = self._peek() == "NOT"
        if is_negated:
            self._take()
        if self._peek() == "(":
            self._take()
            test = self._expression(depth + 1)
            self._take(")")
        else:
            test = self._comparison()
        return (lambda series: not test(series)) if is_negated else test

    def _comparison(self) -> SeriesTest:
        selector = self._take()
        if not _SELECTOR.fullmatch(selector):
            raise self._bad(
                f"{selector[:60]!r} is not a selector: use metric.type, resource.type, "
                "metric.labels.NAME or resource.labels.NAME"
            )
        sign = self._take(*_COMPARISONS)
        token = self._take()
        if token in _FUNCTIONS:
            passes = self._function(token)
        else:
            wanted = _text(token)
            passes = _sign_test("=" if sign == "!=" else sign, wanted)
            if selector == "metric.type" and sign == "=":
                self.metric_types.append(wanted)
        return lambda series: passes(value_of(series, selector)) != (sign == "!=")

    def _function(self, name: str) -> _ValueTest:
        self._take("(")
        tests = [self._argument(name)]
        while self._peek() == ",":
            self._take()
            tests.append(self._argument(name))
        self._take(")")
        return lambda text: any(test(text) for test in tests)

    def _argument(self, function: str) -> _ValueTest:
        text = _text(self._take())
        try:
            return _FUNCTIONS[function](text)
        except ValueError as error:
            raise self._bad(str(error)) from error

    def _bad(self, why: str) -> InvalidArgument:
        return InvalidArgument(f"{self._where} is not a valid filter: {why}.")


def _text(token: str) -> str:
    """Return the text of a token, which may be quoted."""
    if token[0] not in "\"'":
        return token
    return re.sub(r"\\(.)", r"\1", token[1:-1])


def value_of(series: Any, selector: str) -> str:
    """Return what a selector selects of a series, empty if the series does not have it."""
    if selector == "project":
        return str(dict(series.resource.labels).get("project_id", ""))
    first, _, rest = selector.partition(".")
    if first not in ("metric", "resource"):
        return ""
    holder = getattr(series, first)
    if rest == "type":
        return str(holder.type)
    return str(dict(holder.labels).get(rest.partition(".")[2], ""))


def _sign_test(sign: str, wanted: str) -> _ValueTest:
    """Return the test of a comparison; numbers are compared as such."""
    if sign == "=":
        return lambda text: text == wanted
    if sign == ":":
        return lambda text: wanted in text
    above, equal = ">" in sign, "=" in sign

    def test(text: str) -> bool:
        try:
            one, other = float(text), float(wanted)
        except ValueError:
            return False
        return one == other if one == other and equal else (one > other) == above and one != other

    return test
