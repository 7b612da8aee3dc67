"""CEL expressions by Google's implementation: compiled once, bounded, errors as values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_math, ext_optional, ext_strings

from validibot.engines.base import EngineError

NAMES = ("payload", "output", "steps", "c")
MAX_CHARACTERS = 2000
_STATUS = re.compile(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$")
_PLACE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_BUDGET = "Iteration budget exceeded"


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression came to and CEL's name for its type, or the `error` that it ended in."""

    plain: Any = None
    kind: str = ""
    error: str = ""


@cache
def _environment() -> cel.Env:
    return cel.NewEnv(
        variables=dict.fromkeys(NAMES, cel.Type.DYN),
        extensions=[ext_strings.ExtStrings(), ext_math.ExtMath(), ext_optional.ExtOptional()],
    )


@lru_cache(maxsize=2048)
def compiled(expression: str) -> cel.Expression:
    """Raises EngineError that says what is wrong with the expression, and where."""
    if len(expression) > MAX_CHARACTERS:
        raise EngineError(f"An expression has more than {MAX_CHARACTERS} characters.")
    if "\0" in expression:
        raise EngineError("An expression has a NUL character.")
    try:
        return _environment().compile(expression)
    except RuntimeError as error:
        raise EngineError(f"{_place(str(error))} in {expression!r}.") from None


def compiled_condition(expression: str) -> cel.Expression:
    """Compile an expression that can be a boolean. Raises EngineError."""
    condition = compiled(expression)
    kind = condition.return_type().name()
    if kind not in ("BOOL", "DYN"):
        raise EngineError(f"The expression {expression!r} gives {kind}, and must give BOOL.")
    return condition


class Scope:
    """The values that expressions see, handed to CEL once for all of them."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._activation = _environment().Activation({name: values.get(name) for name in NAMES})

    def evaluate(self, expression: cel.Expression) -> Value:
        try:
            result = expression.eval(self._activation)
        except RuntimeError as error:
            text = str(error)
            if _BUDGET in text:
                text = "it goes through more items than is allowed"
            return Value(error=_plain_error(text))
        kind = result.type().name()
        if kind == "ERROR":
            return Value(error=_plain_error(str(result.value())))
        return Value(result.plain_value(), kind)


def _plain_error(text: str) -> str:
    first, *_ = text.splitlines() or ["unknown error"]
    return _STATUS.sub("", first).replace(" : ", ": ").rstrip(".")


def _place(text: str) -> str:
    found = _PLACE.search(text)
    if not found:
        return _plain_error(text)
    line, column, message = found.groups()
    message = message.removesuffix(" (in container '')")
    return message if int(line) < 0 else f"{message} (line {line}, column {column})"
