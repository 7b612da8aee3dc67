"""Filters of metrics and time series: their syntax, without anything to apply them to.

See https://cloud.google.com/monitoring/api/v3/filters. Comparisons are joined by AND, OR and NOT, with
parentheses; two side by side are joined by AND.
"""

import re

from devenv.gcp.errors import InvalidArgument

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
_FUNCTIONS = frozenset(
    {
        *("starts_with", "ends_with", "has_substring", "one_of"),
        "monitoring.regex.full_match",
    }
)


def check_filter(where: str, text: str) -> None:
    """Raise InvalidArgument for a filter that does not select the series of one metric type."""
    if len(text) > _LONGEST:
        raise InvalidArgument(f"{where} is longer than {_LONGEST} characters.")
    metrics = _FilterCheck(where, text).metric_types()
    if len(metrics) != 1:
        raise InvalidArgument(
            f'{where} must specify a single metric type, as in metric.type = "TYPE"; it has '
            f"{len(metrics)}."
        )


class _FilterCheck:
    """A recursive descent over the tokens of one filter."""

    def __init__(self, where: str, text: str) -> None:
        self._where = where
        self._tokens = list(self._split(text))
        self._next = 0
        self._metrics: list[str] = []

    def metric_types(self) -> list[str]:
        """Return the metric types that the filter asks to be equal."""
        self._expression(depth=0)
        if self._peek():
            raise self._bad(f"{self._peek()!r} was not expected")
        return self._metrics

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

    def _expression(self, depth: int) -> None:
        if depth > 20:
            raise self._bad("it has too many parentheses")
        self._term(depth)
        while self._peek() not in ("", ")"):
            if self._peek() in ("AND", "OR"):
                self._take()
            self._term(depth)

    def _term(self, depth: int) -> None:
        if self._peek() == "NOT":
            self._take()
        if self._peek() == "(":
            self._take()
            self._expression(depth + 1)
            self._take(")")
        else:
            self._comparison()

    def _comparison(self) -> None:
        selector = self._take()
        if not _SELECTOR.fullmatch(selector):
            raise self._bad(
                f"{selector[:60]!r} is not a selector: use metric.type, resource.type, "
                "metric.labels.NAME or resource.labels.NAME"
            )
        sign = self._take(*_COMPARISONS)
        value = self._value()
        if selector == "metric.type" and sign == "=":
            self._metrics.append(value)

    def _value(self) -> str:
        token = self._take()
        if token in _FUNCTIONS:
            self._take("(")
            self._take()
            while self._peek() == ",":
                self._take()
                self._take()
            self._take(")")
        return token.strip("\"'")

    def _bad(self, why: str) -> InvalidArgument:
        return InvalidArgument(f"{self._where} is not a valid filter: {why}.")
