"""Rules about a document and outputs, and what comes of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from validibot.engines.assertions.expressions import (
    Scope,
    Value,
    compiled,
    compiled_condition,
)
from validibot.engines.assertions.messages import expressions_in, filled
from validibot.engines.problems import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`expression` must be true wherever `when` is (or always); else `message` is a finding.

    `key` is the caller's name for the rule. `path` says what the finding is about.
    """

    expression: str
    when: str = ""
    severity: str = "ERROR"
    message: str = ""
    success_message: str = ""
    path: str = ""
    key: int | str = ""

    def expressions(self) -> Iterator[str]:
        """Yield all that is evaluated for this rule."""
        yield self.expression
        if self.when:
            yield self.when
        yield from expressions_in(self.message)
        yield from expressions_in(self.success_message)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a rule; no problem: it holds, or did not apply."""

    problem: Problem | None
    key: int | str


def check_rule(rule: Rule) -> None:
    """Raise EngineError if the rule cannot be evaluated whatever the document."""
    compiled_condition(rule.expression)
    for expression in rule.expressions():
        compiled(expression)
    if rule.when:
        compiled_condition(rule.when)


def evaluate_here(rules: Sequence[Rule], values: Mapping[str, Any]) -> Iterator[Outcome]:
    """Evaluate rules in this process. `values` must be fit for CEL (see values)."""
    scope = Scope(values)
    return (Outcome(_problem(rule, scope), rule.key) for rule in rules)


def _problem(rule: Rule, scope: Scope) -> Problem | None:
    if rule.when:
        applies = scope.evaluate(compiled_condition(rule.when))
        if applies.plain is False:
            return None
        if applies.plain is not True:
            return broken(rule, applies, expression=rule.when)
    holds = scope.evaluate(compiled_condition(rule.expression))
    if holds.plain is True:
        return _success(rule, scope)
    if holds.plain is not False:
        return broken(rule, holds, expression=rule.expression)
    message = filled(rule.message, scope) or f"This is not so: {rule.expression}"
    return Problem(message, severity=rule.severity, code="assertion.failed", path=rule.path)


def _success(rule: Rule, scope: Scope) -> Problem | None:
    if not rule.success_message:
        return None
    message = filled(rule.success_message, scope)
    return Problem(message, severity="INFO", code="assertion.passed", path=rule.path)


def broken(rule: Rule, value: Value, *, expression: str) -> Problem:
    """The finding for a rule that came to neither true nor false: it does not hold."""
    reason = value.error or f"it gives {value.kind}, not true or false"
    message = f"Could not evaluate {expression}: {reason}."
    return Problem(message, severity=rule.severity, code="assertion.error", path=rule.path)
