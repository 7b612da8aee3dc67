"""Regular expressions of callers, matched by RE2: their time is linear, whoever wrote them."""

from collections.abc import Callable
from functools import cache
from typing import Any

from cel_expr_python import cel

_LONGEST = 4096  # characters


def pattern_test(pattern: str) -> Callable[[str], bool]:
    """Return the test whether a text has a match. Raises ValueError for what is no pattern."""
    if len(pattern) > _LONGEST:
        raise ValueError(f"The regular expression is longer than {_LONGEST} characters.")
    environment, expression = _matcher()

    def search(text: str) -> Any:
        return expression.eval(environment.Activation({"text": text, "pattern": pattern}))

    if search("").type() != cel.Type.BOOL:
        raise ValueError(f"Invalid regular expression {pattern[:100]!r}.")
    return lambda text: search(text).value() is True


@cache
def _matcher() -> tuple[cel.Env, cel.Expression]:
    environment = cel.NewEnv(variables={"text": cel.Type.STRING, "pattern": cel.Type.STRING})
    return environment, environment.compile("text.matches(pattern)")
