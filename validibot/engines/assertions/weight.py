"""Which expressions could take much time or memory, judged by what they call.

CEL bounds iterations, not memory: text that is doubled by each of thirty chained `map` fills any
machine. What could grow like that is evaluated apart (see sandbox); nearly no rule could.
"""

import re
from collections.abc import Iterable

LIGHT_SCOPE = 256 * 1024
LIGHT_SCOPE_WITHOUT_LOOPS = 1024 * 1024
_LITERAL = re.compile(r"\"[^\"]*\"|'[^']*'")
# Where a literal ends is only sure in an expression without these: escapes, comments, long quotes.
_UNSURE = ("\\", "//", '"""', "'''")
_CALL = re.compile(r"\b([A-Za-z_]\w*)\s*\(")
_LOOPS = frozenset({"all", "exists", "exists_one", "existsOne", "filter"})
# They look at values and make nothing bigger than a number.
_KINDS = {"bool", "double", "in", "int", "size", "timestamp", "type", "uint"}
_TEXT = {"charAt", "contains", "endsWith", "indexOf", "lastIndexOf", "matches", "startsWith"}
_MAYBE = {"get", "has", "hasValue", "of", "optMap", "or", "orValue", "value"}
_SIZES = {"abs", "ceil", "floor", "greatest", "least", "round", "sign", "sqrt", "trunc"}
_FLOATS = {"isFinite", "isInf", "isNaN"}
_LOOKING = frozenset(_KINDS | _TEXT | _MAYBE | _SIZES | _FLOATS)
# What they make is at most about as long as what they are given.
_COPYING = frozenset(
    {"bytes", "lowerAscii", "reverse", "string", "substring", "trim", "upperAscii"}
)


def is_light(expressions: Iterable[str], *, scope_size: int) -> bool:
    """Whether these expressions are surely cheap on values of `scope_size` characters."""
    return all(_is_light(expression, scope_size) for expression in expressions)


def _is_light(expression: str, scope_size: int) -> bool:
    code = _without_literals(expression)
    calls = set(_CALL.findall(code))
    if calls & _LOOPS:
        quiet = calls <= _LOOPS | _LOOKING and "+" not in code
        return quiet and scope_size <= LIGHT_SCOPE
    return calls <= _LOOKING | _COPYING and scope_size <= LIGHT_SCOPE_WITHOUT_LOOPS


def _without_literals(expression: str) -> str:
    if any(mark in expression for mark in _UNSURE):
        return expression
    return _LITERAL.sub("''", expression)
