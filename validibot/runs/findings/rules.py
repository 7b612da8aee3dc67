"""Hold a step's assertions against its document and outputs."""

from collections.abc import Mapping, Sequence
from typing import Any

from validibot.engines import Document
from validibot.engines.assertions import Rule, evaluate
from validibot.runs.findings.verdict import finding
from validibot.runs.models import Finding, StepRun
from validibot.workflows.models import Assertion


def apply_assertions(
    step_run: StepRun,
    *,
    document: Document,
    outputs: Mapping[str, Any],
    earlier: Mapping[str, Any],
    constants: Sequence[Mapping[str, Any]],
) -> list[Finding]:
    """Return what the assertions of a step find. `earlier` holds the outputs of steps by order."""
    assertions = list(step_run.step.assertions.all())
    if not assertions:
        return []
    scope = {
        "payload": document.payload_or_none(),
        "output": outputs,
        "steps": earlier,
        "c": {str(constant["name"]): constant["value"] for constant in constants},
    }
    outcomes = evaluate([_rule(assertion) for assertion in assertions], scope)
    return [
        finding(outcome.problem, assertion_id=int(outcome.key))
        for outcome in outcomes
        if outcome.problem
    ]


def _rule(assertion: Assertion) -> Rule:
    return Rule(
        expression=assertion.expression,
        when=assertion.when,
        severity=assertion.severity,
        message=assertion.message,
        success_message=assertion.success_message,
        path=assertion.path,
        key=assertion.pk,
    )
