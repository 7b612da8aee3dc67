"""The query language of Cloud Logging: its syntax.

See https://cloud.google.com/logging/docs/view/logging-query-language. NOT binds closest, then OR,
then AND; two comparisons side by side are joined by AND.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar

from devenv.gcp.errors import InvalidArgument
from devenv.gcp.logging.entry_view import EntryTest, text_test
from devenv.gcp.logging.fields import FieldComparison, FilterProblem, field_test, log_id_test
from devenv.gcp.logging.functions import (
    Converted,
    network_test,
    sample_test,
    search_test,
    source_test,
    values_of,
)

_LONGEST = 20_000  # characters, as documented
_DEEPEST = 50
_TOKEN = re.compile(
    r"""(?:\s|--[^\n]*)*(?:(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
    r"""|(?P<sign>>=|<=|!=|=~|!~|[=<>:().,])|(?P<minus>-(?=[^\s]))|(?P<word>[^\s"'=<>:().,!~]+))"""
)
_BLANK = re.compile(r"(?:\s|--[^\n]*)*")
_OPERATORS = frozenset({"=", "!=", ">", "<", ">=", "<=", ":", "=~", "!~"})
_KEYWORDS = frozenset({"AND", "OR", "NOT"})
_FIELD_FUNCTIONS = {"sample": sample_test, "ip_in_net": network_test}
_CONVERSIONS = frozenset({"cast", "regexp_extract"})
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|x[0-9A-Fa-f]{2}|.)")
_MakeTest: TypeAlias = Callable[[FieldComparison], EntryTest]
_Made = TypeVar("_Made")
_SIMPLE = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class _FilterToken:
    """A piece of the text; `kind` is string, word, sign or minus, empty at the end."""

    kind: str
    text: str
    place: int

    @property
    def value(self) -> str:
        if self.kind != "string":
            return self.text
        return _ESCAPE.sub(_unescaped, self.text[1:-1])


def parse_filter(text: str) -> EntryTest:
    """Return the test that `text` describes; every entry passes an empty one.

    Raises InvalidArgument, which names the place of the first problem.
    """
    if len(text) > _LONGEST:
        raise InvalidArgument(f"The filter is longer than {_LONGEST} characters.")
    return _EntryFilterParser(text).parse()


class _EntryFilterParser:
    """A recursive descent over the tokens of one filter."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._scan())
        self._next = 0

    def parse(self) -> EntryTest:
        if self._peek().kind == "":
            return lambda _entry: True
        found = self._conjunction(0)
        if self._peek().kind:
            raise self._problem()
        return found

    def _scan(self) -> list[_FilterToken]:
        tokens, at = [], 0
        end = len(self._text)
        while (start := _blank_end(self._text, at)) < end:
            found = _TOKEN.match(self._text, start)
            if found is None or found.lastgroup is None:
                raise _syntax_error(self._text, start)
            tokens.append(_FilterToken(found.lastgroup, found[found.lastgroup], start))
            at = found.end()
        return [*tokens, _FilterToken("", "", end)]

    def _conjunction(self, depth: int) -> EntryTest:
        if depth > _DEEPEST:
            raise InvalidArgument(
                f"Invalid filter: nested deeper than {_DEEPEST} at position {self._peek().place}."
            )
        terms = [self._disjunction(depth)]
        while self._peek().text == "AND" or self._peek().text not in ("", ")", "OR"):
            if self._is("AND"):
                self._take()
            terms.append(self._disjunction(depth))
        return terms[0] if len(terms) == 1 else lambda entry: all(term(entry) for term in terms)

    def _disjunction(self, depth: int) -> EntryTest:
        terms = [self._negation(depth)]
        while self._is("OR"):
            self._take()
            terms.append(self._negation(depth))
        return terms[0] if len(terms) == 1 else lambda entry: any(term(entry) for term in terms)

    def _negation(self, depth: int) -> EntryTest:
        negated = False
        while self._is("NOT") or self._peek().kind == "minus":
            self._take()
            negated = not negated
        inner = self._group(depth) if self._is("(") else self._restriction()
        return (lambda entry: not inner(entry)) if negated else inner

    def _group(self, depth: int) -> EntryTest:
        self._expect("(")
        inner = self._conjunction(depth + 1)
        self._expect(")")
        return inner

    def _restriction(self) -> EntryTest:
        first = self._peek()
        if first.kind not in ("word", "string") or self._keyword(first):
            raise self._problem()
        if first.kind == "word" and self._tokens[self._next + 1].text == "(":
            return self._function()
        path = self._path()
        if self._peek().text not in _OPERATORS or self._peek().kind != "sign":
            # A value alone is looked for in all fields.
            return text_test(".".join(path))
        return self._comparison(partial(field_test, path), first.place)

    def _comparison(self, make: _MakeTest, at: int) -> EntryTest:
        """Read an operator and one value or several in parentheses; `make` returns the test of one."""
        if self._peek().text not in _OPERATORS or self._peek().kind != "sign":
            raise self._problem()
        operator = self._take().text
        if self._is("("):
            return self._alternatives(make, at, operator, 0)
        return self._compare(make, at, operator)

    def _function(self) -> EntryTest:
        name = self._peek()
        known = name.text.lower()
        if known in _CONVERSIONS:
            return self._comparison(self._converted(0).test, name.place)
        if known not in ("log_id", "search", "source", *_FIELD_FUNCTIONS):
            raise _syntax_error(self._text, name.place)
        self._take()
        self._expect("(")
        if known == "log_id":
            test = log_id_test(self._value().value)
        elif known == "search":
            test = self._search(name)
        elif known == "source":
            resource = self._value().value
            test = _at(name, lambda: source_test(resource))
        else:
            path, argument = self._field_and_argument()
            test = _at(name, lambda: _FIELD_FUNCTIONS[known](path, argument.value))
        self._expect(")")
        return test

    def _converted(self, depth: int) -> Converted:
        """Read a field, or what `cast` or `regexp_extract` make of one."""
        name = self._peek()
        if name.kind not in ("word", "string") or depth > _DEEPEST:
            raise self._problem()
        if name.kind == "string" or self._tokens[self._next + 1].text != "(":
            path = self._path()
            return _at(name, lambda: values_of(path))
        function = self._take().text.lower()
        if function not in _CONVERSIONS:
            raise _syntax_error(self._text, name.place)
        self._expect("(")
        inner = self._converted(depth + 1)
        self._expect(",")
        argument, zone = self._value(), None
        if function == "cast" and self._is(","):
            self._take()
            zone = self._time_zone()
        self._expect(")")
        if function == "cast":
            return _at(name, lambda: inner.cast(argument.value, zone))
        return _at(name, lambda: inner.extract(argument.value))

    def _time_zone(self) -> str:
        if self._peek().text.upper() != "TIMEZONE":
            raise self._problem()
        self._take()
        self._expect("(")
        zone = self._value().value
        self._expect(")")
        return zone

    def _search(self, name: _FilterToken) -> EntryTest:
        path: list[str] | None = None
        if self._peek().kind == "word":
            path = self._path()
            self._expect(",")
        if self._peek().kind != "string":
            raise self._problem()
        query = self._take().value
        return _at(name, lambda: search_test(path, query))

    def _field_and_argument(self) -> tuple[list[str], _FilterToken]:
        if self._peek().kind not in ("word", "string"):
            raise self._problem()
        path = self._path()
        self._expect(",")
        return path, self._value()

    def _alternatives(self, make: _MakeTest, at: int, operator: str, depth: int) -> EntryTest:
        """Read the values of `field=(a OR b)`; AND and NOT are possible too."""
        if depth > _DEEPEST:
            raise self._problem()
        self._expect("(")
        joined: list[list[EntryTest]] = [[]]
        while True:
            negated = self._is("NOT") or self._peek().kind == "minus"
            if negated:
                self._take()
            if self._is("("):
                test = self._alternatives(make, at, operator, depth + 1)
            else:
                test = self._compare(make, at, operator)
            joined[-1].append(_inverted(test) if negated else test)
            if self._is("OR"):
                self._take()
                continue
            if self._is(")"):
                self._take()
                return lambda entry: all(any(test(entry) for test in group) for group in joined)
            if self._is("AND"):
                self._take()
            joined.append([])

    def _compare(self, make: _MakeTest, at: int, operator: str) -> EntryTest:
        value = self._value()
        comparison = FieldComparison(operator, value.value, quoted=value.kind == "string")
        try:
            return make(comparison)
        except FilterProblem as problem:
            raise _invalid(problem, at if problem.in_field else value.place) from problem

    def _path(self) -> list[str]:
        names = [self._take().value]
        while self._is("."):
            self._take()
            if self._peek().kind not in ("word", "string"):
                raise self._problem()
            names.append(self._take().value)
        return names

    def _value(self) -> _FilterToken:
        """Read a string, or a number, date or name without quotes, whose dots and colons are its own."""
        first = self._peek()
        if first.kind == "sign" or not first.kind or self._keyword(first):
            raise self._problem()
        self._take()
        if first.kind == "string":
            return first
        end = first.place + len(first.text)
        while (token := self._peek()).place == end and (
            token.kind == "word" or token.text in (".", ":")
        ):
            end += len(self._take().text)
        return _FilterToken("word", self._text[first.place : end], first.place)

    def _keyword(self, token: _FilterToken) -> bool:
        return token.kind == "word" and token.text in _KEYWORDS

    def _is(self, text: str) -> bool:
        token = self._peek()
        return token.text == text and token.kind != "string"

    def _peek(self) -> _FilterToken:
        return self._tokens[self._next]

    def _take(self) -> _FilterToken:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _expect(self, wanted: str) -> None:
        if not self._is(wanted):
            raise self._problem()
        self._take()

    def _problem(self) -> InvalidArgument:
        return _syntax_error(self._text, self._peek().place)


def _blank_end(text: str, start: int) -> int:
    found = _BLANK.match(text, start)
    return found.end() if found else start


def _at(function: _FilterToken, make: Callable[[], _Made]) -> _Made:
    """Return what `make` returns. Raises InvalidArgument with the place of a function."""
    try:
        return make()
    except FilterProblem as problem:
        raise _invalid(problem, function.place) from problem


def _invalid(problem: FilterProblem, place: int) -> InvalidArgument:
    return InvalidArgument(f"Invalid filter at position {place}: {problem}")


def _inverted(test: EntryTest) -> EntryTest:
    return lambda entry: not test(entry)


def _syntax_error(text: str, place: int) -> InvalidArgument:
    near = repr(text[place : place + 20].strip()) if text[place:].strip() else "the end"
    return InvalidArgument(
        f"Invalid filter: syntax error at line {text.count(chr(10), 0, place) + 1}, position "
        f"{place}, near {near}. A comparison looks like severity>=ERROR, "
        'resource.type="cloud_run_job" or jsonPayload.user:"ann".'
    )


def _unescaped(escape: re.Match[str]) -> str:
    code = escape[1]
    if code[0] in "ux" and len(code) > 1:
        return chr(int(code[1:], 16))
    return _SIMPLE.get(code, code)
