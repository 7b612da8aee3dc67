"""CEL expressions by Google's implementation: compiled once, bounded, errors as values.

This module adds three things to the library. `Converter` copies values into types that CEL accepts:
no Decimal, no date, no NUL, no integer beyond 64 bits. Expressions are compiled once and evaluated
with a `ValueScope`; an error is a value, never an exception. CEL bounds iterations but not memory
(thirty chained `map` calls that double a text fill any machine), so `is_light` decides by the
functions that an expression calls whether it may be evaluated in this process.
"""

import json
import re
from collections.abc import Iterable, Mapping, Set as AbstractSet
from dataclasses import dataclass
from datetime import date, time
from functools import cache, lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_bindings, ext_encoders, ext_math, ext_optional, ext_strings

from validibot.core.echo import echo
from validibot.engines.base import EngineError
from validibot.engines.cel_messages import (
    explain_compilation,
    explain_evaluation,
    unavailable,
)
from validibot.engines.json_text import JSON, MAX_DEPTH
from validibot.engines.scope import ROW, SPELLINGS, with_short_names

MAX_CHARACTERS = 2000
MAX_SCOPE_CHARACTERS = 32 * 1024 * 1024
LIGHT_SCOPE = 256 * 1024
LIGHT_SCOPE_WITHOUT_LOOPS = 1024 * 1024
# Extensions that the library has by name only; `_environment` adds the others.
_CONFIG = """
extensions:
- name: two-var-comprehensions
- name: lists
- name: sets
- name: regex
"""
_INT64 = range(-(2**63), 2**63)
_SHOWN = 200
_LITERAL = re.compile(r"\"[^\"]*\"|'[^']*'")
# With escapes, comments or long quotes the end of a literal is not certain.
_UNSURE = ("\\", "//", '"""', "'''")
_CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
# Each of these, nested, can repeat the work of the one around it.
_LOOPS = frozenset({"all", "bind", "exists", "exists_one", "existsOne", "filter"})
# A list or object of variables that is compared or looped over repeats the work, too.
_BUILDS = re.compile(r"(?:^|[^\w\])])\s*\[[^\]]*[A-Za-z_]|\{|\+")
# These inspect values and return nothing larger than a number.
_KINDS = {"bool", "double", "in", "int", "size", "timestamp", "type", "uint"}
_TEXT = {"charAt", "contains", "endsWith", "indexOf", "lastIndexOf", "matches", "startsWith"}
_MAYBE = {"get", "has", "hasValue", "of", "optMap", "or", "orValue", "value"}
_SIZES = {"abs", "ceil", "floor", "greatest", "least", "round", "sign", "sqrt", "trunc"}
_FLOATS = {"isFinite", "isInf", "isNaN"}
_LOOKING = frozenset(_KINDS | _TEXT | _MAYBE | _SIZES | _FLOATS)
# The results of these are at most about as long as their arguments.
_COPYING = frozenset(
    {"bytes", "lowerAscii", "reverse", "string", "substring", "trim", "upperAscii"}
)


@dataclass(frozen=True, slots=True)
class Value:
    """The value of an expression with CEL's name for its type, or an `error`."""

    plain: Any = None
    kind: str = ""
    error: str = ""


@cache
def _environment(*, of_rows: bool = False) -> cel.Env:
    names = (*SPELLINGS, ROW.name) if of_rows else SPELLINGS
    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml(_CONFIG),
        variables=dict.fromkeys(names, cel.Type.DYN),
        extensions=[
            ext_strings.ExtStrings(),
            ext_math.ExtMath(),
            ext_optional.ExtOptional(),
            ext_bindings.ExtBindings(),
            ext_encoders.ExtEncoders(),
        ],
    )


def _with_expression(reason: str, expression: str) -> str:
    end = "" if reason.endswith("?") else "."
    return f"{reason}{end} Expression: {_shown(expression)}."


@lru_cache(maxsize=2048)
def compiled(expression: str, *, of_rows: bool = False) -> cel.Expression:
    """Compile an expression, which knows `row` if it is `of_rows`.

    Raises EngineError with the error and its position.
    """
    if len(expression) > MAX_CHARACTERS:
        raise EngineError(f"An expression has more than {MAX_CHARACTERS} characters.")
    if "\0" in expression:
        raise EngineError("An expression has a NUL character.")
    if reason := unavailable(expression):
        raise EngineError(_with_expression(reason, expression))
    try:
        return _environment(of_rows=of_rows).compile(expression)
    except RuntimeError as error:
        reason = explain_compilation(str(error), expression, of_rows=of_rows)
        raise EngineError(_with_expression(reason, expression)) from None


def check_condition(expression: str, *, of_rows: bool = False) -> None:
    """Raise EngineError if an expression cannot be a boolean."""
    kind = compiled(expression, of_rows=of_rows).return_type().name()
    if kind not in ("BOOL", "DYN"):
        raise EngineError(f"The expression {echo(expression)} gives {kind}; it must give BOOL.")


class ValueScope:
    """The values that expressions can use, passed to CEL once for all of them."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._activation = _environment().Activation(with_short_names(values))

    def evaluate(self, text: str) -> Value:
        """Return the value of an expression that compiles, or the reason why it has none."""
        try:
            result = self._compiled(text).eval(self._activation)
        except RuntimeError as error:
            return Value(error=explain_evaluation(str(error), text))
        kind = result.type().name()
        if kind == "ERROR":
            return Value(error=explain_evaluation(str(result.value()), text))
        return Value(result.plain_value(), kind)

    def _compiled(self, text: str) -> cel.Expression:
        return compiled(text)


class RowScope(ValueScope):
    """The values that row expressions can use; `row` is set for each row of a table."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self._names = with_short_names(values)
        self._row: Mapping[str, Any] = {}

    @property
    def row(self) -> Mapping[str, Any]:
        """The current row, by column."""
        return self._row

    @row.setter
    def row(self, row: Mapping[str, Any]) -> None:
        self._row = row
        environment = _environment(of_rows=True)
        self._activation = environment.Activation({**self._names, ROW.name: row})

    def _compiled(self, text: str) -> cel.Expression:
        return compiled(text, of_rows=True)


def _shown(expression: str) -> str:
    text = repr(expression)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 2]}…'"


class ScopeTooLarge(Exception):
    """The values for the expressions are too deep or too large."""


class Converter:
    """A copier of values into what CEL accepts; `size` is the number of their characters."""

    def __init__(self) -> None:
        self.size = 0

    def convert(self, value: Any, *, depth: int = 0) -> JSON:
        if depth > MAX_DEPTH:
            raise ScopeTooLarge(f"The values are nested deeper than {MAX_DEPTH} levels.")
        self._count(1)
        match value:
            case None | bool() | float():
                return value
            case int() | str():
                return self._scalar(value)
            case Mapping():
                return {
                    self._text(str(key)): self.convert(item, depth=depth + 1)
                    for key, item in value.items()
                }
            case list() | tuple() | AbstractSet():
                return [self.convert(item, depth=depth + 1) for item in value]
        return self._other(value)

    def _scalar(self, value: int | str) -> JSON:
        if isinstance(value, str):
            return self._text(value)
        return value if value in _INT64 else _as_float(value)

    def _text(self, text: str) -> str:
        self._count(len(text))
        return text.replace("\0", "�") if "\0" in text else text

    def _other(self, value: Any) -> JSON:
        """Return a date as ISO text, a Decimal as a number, anything else as text."""
        if isinstance(value, date | time):
            return value.isoformat()
        try:
            return float(value)
        except (TypeError, ValueError):
            return self._text(str(value))

    def _count(self, characters: int) -> None:
        self.size += characters
        if self.size > MAX_SCOPE_CHARACTERS:
            raise ScopeTooLarge(f"The values have more than {MAX_SCOPE_CHARACTERS} characters.")


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


def format_value(value: Any) -> str:
    """Return a value as text for a message."""
    match value:
        case str():
            text = value
        case bool() | None:
            text = json.dumps(value)
        case float():
            text = _number(value)
        case list() | dict():
            text = json.dumps(value, ensure_ascii=False, default=str)
        case _:
            text = str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _number(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e15:
        return f"{value:.4g}"
    return f"{value:.4f}".rstrip("0").rstrip(".")


def is_light(expressions: Iterable[str], *, scope_size: int) -> bool:
    """Return whether the expressions are certainly cheap on `scope_size` characters of values."""
    return all(_is_light(expression, scope_size) for expression in expressions)


def _is_light(expression: str, scope_size: int) -> bool:
    code = _without_literals(expression)
    calls = set(_CALL.findall(code))
    if calls & _LOOPS:
        quiet = calls <= _LOOPS | _LOOKING and not _BUILDS.search(code)
        return quiet and scope_size <= LIGHT_SCOPE
    return calls <= _LOOKING | _COPYING and scope_size <= LIGHT_SCOPE_WITHOUT_LOOPS


def _without_literals(expression: str) -> str:
    if any(mark in expression for mark in _UNSURE):
        return expression
    return _LITERAL.sub("''", expression)
