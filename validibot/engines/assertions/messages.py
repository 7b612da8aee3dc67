"""Messages with places for values: `{{ expression }}`, or `{name}` for a plain dotted name."""

import re
from collections.abc import Iterator

from validibot.engines.assertions.expressions import NAMES, Scope, compiled
from validibot.engines.assertions.values import shown
from validibot.engines.base import EngineError

MAX_PLACES = 20
_PLACE = re.compile(
    r"\{\{\s*(?P<expression>[^{}]+?)\s*\}\}"
    rf"|\{{(?P<name>(?:{'|'.join(NAMES)})(?:\.\w+|\[\d+\]|\[\"[^\"]*\"\])*)\}}"
)


def expressions_in(template: str) -> Iterator[str]:
    """Yield the expressions whose values a message shows. Raises EngineError when too many."""
    for number, place in enumerate(_PLACE.finditer(template), start=1):
        if number > MAX_PLACES:
            raise EngineError(f"A message shows more than {MAX_PLACES} values.")
        yield _expression(place)


def filled(template: str, scope: Scope) -> str:
    """Put values into a message. One that cannot be had is shown as a question mark."""
    return _PLACE.sub(lambda place: _value(_expression(place), scope), template)


def _expression(place: re.Match[str]) -> str:
    expression: str = place["expression"] or place["name"]
    return expression


def _value(expression: str, scope: Scope) -> str:
    value = scope.evaluate(compiled(expression))
    return "?" if value.error else shown(value.plain)
