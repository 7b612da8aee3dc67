"""Assertions in CEL: the engine for steps of assertions only, and the rules after every step.

A `Rule` is an expression that must be true wherever its condition is. Messages may show values:
`{{ expression }}`, or `{name}` for a dotted name. Rules that could take much time or memory are
evaluated in a child process.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from validibot.engines.base import (
    Document,
    Engine,
    EngineConfig,
    EngineError,
    EngineManifest,
    FileType,
    Result,
)
from validibot.engines.cel import (
    Converter,
    ScopeTooLarge,
    Value,
    ValueScope,
    check_condition,
    compiled,
    format_value,
    is_light,
)
from validibot.engines.problems import BadDocument, DocumentProblem
from validibot.engines.sandbox import run_in_child
from validibot.engines.scope import ROW, SPELLINGS

MAX_RULES = 500
MAX_PLACES = 20
MAX_VALUE = 20_000
# Processor time of the child process that evaluates expensive rules.
MAX_SECONDS = 10
_PART = r"(?:\.\w+|\[\d+\]|\[\"[^\"]*\"\])"
# A name of one letter needs a part: `{i}` may be plain text.
_PLACE = re.compile(
    r"\{\{\s*(?P<expression>[^{}]+?)\s*\}\}"
    rf"|\{{(?P<name>(?:{'|'.join((*SPELLINGS, ROW.name))})(?:{_PART}+|(?<=\w\w)))\}}"
)
_TOO_HEAVY = Value(error="it needs more time or memory than is allowed")
_NOT_REACHED = Value(error="an earlier assertion used up the time or memory")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An expression that must be true if `when` is true or empty; else `message` is a finding.

    `key` is the caller's name for the rule, `path` the place in the document for the finding.
    """

    expression: str
    when: str = ""
    severity: str = "ERROR"
    message: str = ""
    success_message: str = ""
    path: str = ""
    key: int | str = ""

    def expressions(self) -> Iterator[str]:
        """Yield every expression that is evaluated for this rule."""
        yield self.expression
        if self.when:
            yield self.when
        yield from message_expressions(self.message)
        yield from message_expressions(self.success_message)


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """The outcome of a rule. Without a problem the rule is true or does not apply."""

    problem: DocumentProblem | None
    key: int | str


def check_rule(rule: Rule) -> None:
    """Raise EngineError if the rule cannot be evaluated for any document."""
    check_condition(rule.expression)
    for expression in rule.expressions():
        compiled(expression)
    if rule.when:
        check_condition(rule.when)


def evaluate_in_process(rules: Sequence[Rule], values: Mapping[str, Any]) -> Iterator[RuleOutcome]:
    """Evaluate rules in this process. `values` must be converted for CEL (see cel.Converter)."""
    scope = ValueScope(values)
    return (RuleOutcome(_problem(rule, scope), rule.key) for rule in rules)


def _problem(rule: Rule, scope: ValueScope) -> DocumentProblem | None:
    if rule.when:
        applies = scope.evaluate(rule.when)
        if applies.plain is False:
            return None
        if applies.plain is not True:
            return evaluation_problem(rule, applies, expression=rule.when)
    holds = scope.evaluate(rule.expression)
    if holds.plain is True:
        return _success(rule, scope)
    if holds.plain is not False:
        return evaluation_problem(rule, holds, expression=rule.expression)
    message = fill_message(rule.message, scope) or f"This must be true: {rule.expression}"
    return DocumentProblem(message, severity=rule.severity, code="assertion.failed", path=rule.path)


def _success(rule: Rule, scope: ValueScope) -> DocumentProblem | None:
    if not rule.success_message:
        return None
    message = fill_message(rule.success_message, scope)
    return DocumentProblem(message, severity="INFO", code="assertion.passed", path=rule.path)


def evaluation_problem(rule: Rule, value: Value, *, expression: str) -> DocumentProblem:
    """Return the problem of a rule whose value is an error or not a boolean."""
    reason = value.error or f"it gives {value.kind}, not true or false"
    message = f"Could not evaluate {expression}: {reason}."
    return DocumentProblem(message, severity=rule.severity, code="assertion.error", path=rule.path)


def message_expressions(template: str) -> Iterator[str]:
    """Yield the expressions whose values a message shows. Raises EngineError for too many."""
    for number, place in enumerate(_PLACE.finditer(template), start=1):
        if number > MAX_PLACES:
            raise EngineError(f"A message shows more than {MAX_PLACES} values.")
        yield _expression(place)


def fill_message(template: str, scope: ValueScope) -> str:
    """Return a message with its values; a value that cannot be computed is a question mark."""
    return _PLACE.sub(lambda place: _value(_expression(place), scope), template)


def _expression(place: re.Match[str]) -> str:
    expression: str = place["expression"] or place["name"]
    return expression


def _value(expression: str, scope: ValueScope) -> str:
    value = scope.evaluate(expression)
    return "?" if value.error else format_value(value.plain)


def evaluate_in_child(rules: Sequence[Rule], values: Mapping[str, Any]) -> Iterator[RuleOutcome]:
    """Evaluate rules in a child process; if it dies, the rule at fault gets a problem."""
    header = {"rules": [asdict(rule) for rule in rules], "values": values}
    answers = run_in_child(evaluate_header, header, b"", ENGINE.manifest)
    for number, rule in enumerate(rules):
        if number < len(answers):
            fields = answers[number]
            problem = DocumentProblem(**fields) if fields else None
            yield RuleOutcome(problem, rule.key)
        else:
            reason = _TOO_HEAVY if number == len(answers) else _NOT_REACHED
            yield RuleOutcome(
                evaluation_problem(rule, reason, expression=rule.expression), rule.key
            )


def evaluate_header(header: Mapping[str, Any], body: bytes) -> Iterator[Any]:
    """Yield the problem of each rule, or `null`. Runs in a child process (see sandbox)."""
    rules = [Rule(**fields) for fields in header["rules"]]
    for outcome in evaluate_in_process(rules, header["values"]):
        yield asdict(outcome.problem) if outcome.problem else None


def evaluate(assertions: Sequence[Rule], scope: Mapping[str, Any]) -> list[RuleOutcome]:
    """Evaluate rules on the values in `scope`, by the full names of `scope.NAMES`.

    Never raises for a bad document; raises EngineError for an invalid rule.
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
    return list((evaluate_in_process if light else evaluate_in_child)(assertions, values))


def compute(expressions: Sequence[str], scope: Mapping[str, Any]) -> list[Value]:
    """Return the value of each expression, or the reason why it has none; as `evaluate`."""
    converter = Converter()
    try:
        values = {name: converter.convert(value) for name, value in scope.items()}
    except ScopeTooLarge as error:
        return [Value(error=str(error).rstrip(".")) for _ in expressions]
    for text in expressions:
        compiled(text)
    if is_light(expressions, scope_size=converter.size):
        own = ValueScope(values)
        return [_kept(own.evaluate(text)) for text in expressions]
    header = {"expressions": list(expressions), "values": values}
    computed = [
        Value(**each) for each in run_in_child(compute_header, header, b"", ENGINE.manifest)
    ]
    missing = len(expressions) - len(computed)
    return [*computed, *[_TOO_HEAVY, *[_NOT_REACHED] * missing][:missing]]


def compute_header(header: Mapping[str, Any], body: bytes) -> Iterator[Any]:
    """Yield the value of each expression. Runs in a child process (see sandbox)."""
    scope = ValueScope(header["values"])
    for text in header["expressions"]:
        yield asdict(_kept(scope.evaluate(text)))


def _kept(value: Value) -> Value:
    """Return a value as JSON can hold it; times and durations as their text."""
    text = json.dumps(value.plain, default=str)
    if len(text) > MAX_VALUE:
        return Value(
            error=f"its value has {len(text):,} characters; at most {MAX_VALUE:,} are kept"
        )
    return Value(json.loads(text), value.kind, value.error)


class AssertionsConfig(EngineConfig):
    """Settings of the engine. If `document` is false, the file need not be JSON."""

    document: bool = True


def _refused(rule: Rule, reason: str) -> RuleOutcome:
    value = Value(error=reason.rstrip("."))
    return RuleOutcome(evaluation_problem(rule, value, expression=rule.expression), rule.key)


def check(document: Document, config: Mapping[str, Any]) -> Result:
    """Check that the document is JSON, unless `document` is false in `config`."""
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
        seconds=MAX_SECONDS,
    ),
    check,
    AssertionsConfig,
)
