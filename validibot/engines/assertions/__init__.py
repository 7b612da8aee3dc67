"""Assertions in CEL: the engine for steps of nothing else, and what is evaluated after every step."""

from collections.abc import Mapping, Sequence
from typing import Any

from validibot.engines.assertions.expressions import Value
from validibot.engines.assertions.rules import Outcome, Rule, broken, check_rule, evaluate_here
from validibot.engines.assertions.sandbox import evaluate_apart
from validibot.engines.assertions.values import Converter, ScopeTooLarge
from validibot.engines.assertions.weight import is_light
from validibot.engines.base import (
    Document,
    Engine,
    EngineConfig,
    EngineError,
    EngineManifest,
    FileType,
    Result,
)
from validibot.engines.problems import BadDocument

__all__ = ["ENGINE", "Outcome", "Rule", "check_rule", "evaluate"]

MAX_RULES = 500


def evaluate(assertions: Sequence[Rule], scope: Mapping[str, Any]) -> list[Outcome]:
    """Evaluate rules on what `scope` holds: `payload`, `output`, `steps`, `c`.

    Never raises for what the document holds; raises EngineError for a rule that is wrong in itself.
    """
    if len(assertions) > MAX_RULES:
        raise EngineError(f"A step has more than {MAX_RULES} assertions.")
    for rule in assertions:
        check_rule(rule)
    converter = Converter()
    try:
        values = {name: converter.convert(value) for name, value in scope.items()}
    except ScopeTooLarge as error:
        return [_refused(rule, str(error)) for rule in assertions]
    expressions = (text for rule in assertions for text in rule.expressions())
    light = is_light(expressions, scope_size=converter.size)
    return list((evaluate_here if light else evaluate_apart)(assertions, values))


class AssertionsConfig(EngineConfig):
    """Settings of the engine. Without `document` the file need not be JSON."""

    document: bool = True


def _refused(rule: Rule, reason: str) -> Outcome:
    value = Value(error=reason.rstrip("."))
    return Outcome(broken(rule, value, expression=rule.expression), rule.key)


def check(document: Document, config: Mapping[str, Any]) -> Result:
    """Read the JSON document; with `document` false in `config` it may be anything."""
    if config.get("document", True) is False:
        return Result()
    try:
        _ = document.payload
    except BadDocument as bad:
        return Result((bad.problem,))
    return Result()


ENGINE = Engine(
    EngineManifest(
        slug="assertions",
        title="Assertions",
        description="Checks a JSON document, or outputs of earlier steps, with CEL expressions.",
        validation_type="BASIC",
        version="1",
        accepts=(FileType(".json", "application/json"), FileType(".epjson", "application/json")),
    ),
    check,
    AssertionsConfig,
)
