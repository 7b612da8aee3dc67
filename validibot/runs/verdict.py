"""Verdicts: the result of a step before it is written, and the assertions that contribute to it.

`judged` is the verdict on a document (it passes unless a finding is an ERROR), `broken` says that
nothing can be said about the document and that this is our fault, `timed_out` that a validator did
not finish in time. Everything in a verdict fits the columns that it will be stored in.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import F, OuterRef, QuerySet
from django.db.models.functions import JSONObject

from validibot.engines import Document
from validibot.engines.assertions import Rule, compute, evaluate
from validibot.engines.problems import DocumentProblem, storable
from validibot.engines.scope import build_scope
from validibot.runs.models import Artifact, Finding, Run, StepRun
from validibot.runs.rules import LEFT_OUT, TRUNCATION_CODES
from validibot.runs.states import ErrorCategory, RunStatus, StepStatus
from validibot.submissions.models import Submission
from validibot.workflows.inputs import typed
from validibot.workflows.models import Assertion, Severity, Step, StepSeverity

MAX_FINDINGS = 100_000
MAX_ERROR = 2000
# Larger documents have no payload where their step does not read them itself.
MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
_MAX_CODE = 100
_MAX_POSITION = 2**31 - 1
_MAX_DEPTH = 32
ASSERTION_FIELDS = ("expression", "when", "severity", "message", "success_message", "path")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The result of a step. `run_status` is how the run ends because of it; None if it goes on."""

    status: StepStatus
    run_status: RunStatus | None = None
    category: ErrorCategory = ErrorCategory.NONE
    error: str = ""
    findings: Sequence[Finding] = ()
    outputs: Mapping[str, Any] = field(default_factory=dict)
    artifacts: Sequence[Artifact] = ()


def judged(
    findings: Iterable[Finding],
    *,
    outputs: Mapping[str, Any] | None = None,
    artifacts: Sequence[Artifact] = (),
) -> Verdict:
    """Return the verdict on a document: it passes when no finding is an ERROR."""
    noted = list(findings)
    failed = any(finding.severity == Severity.ERROR for finding in noted)
    return Verdict(
        status=StepStatus.FAILED if failed else StepStatus.PASSED,
        run_status=RunStatus.FAILED if failed else None,
        category=ErrorCategory.VALIDATION_FAILED if failed else ErrorCategory.NONE,
        findings=_bounded(noted),
        outputs=outputs or {},
        artifacts=artifacts,
    )


def broken(
    error: str,
    category: ErrorCategory = ErrorCategory.SYSTEM_ERROR,
    *,
    findings: Sequence[Finding] = (),
    artifacts: Sequence[Artifact] = (),
) -> Verdict:
    """Return the verdict that nothing can be said about the document, and that it is our fault."""
    return Verdict(
        status=StepStatus.FAILED,
        run_status=RunStatus.FAILED,
        category=category,
        error=storable(error, MAX_ERROR),
        findings=_bounded(list(findings)),
        artifacts=artifacts,
    )


def timed_out(
    error: str, *, findings: Sequence[Finding] = (), artifacts: Sequence[Artifact] = ()
) -> Verdict:
    """Return the verdict on a validator that exceeded its time."""
    return Verdict(
        status=StepStatus.FAILED,
        run_status=RunStatus.TIMED_OUT,
        category=ErrorCategory.TIMEOUT,
        error=storable(error, MAX_ERROR),
        findings=_bounded(list(findings)),
        artifacts=artifacts,
    )


def finding(problem: DocumentProblem, *, assertion_id: int | None = None) -> Finding:
    """Return the unsaved row of a problem, within the limits of its columns."""
    return Finding(
        severity=problem.severity,
        code=storable(problem.code, _MAX_CODE),
        message=problem.message,
        path=problem.path,
        line=_position(problem.line),
        column=_position(problem.column),
        assertion_id=assertion_id,
    )


def complete(
    verdict: Verdict,
    step_run: StepRun,
    *,
    run: Run,
    document: Document,
    earlier: Mapping[str, Mapping[str, Any]],
) -> Verdict:
    """Add the signals, assertions and message of a step to the verdict of its validator.

    A document with errors has neither signals nor assertions: they need a valid one. Last, errors
    become warnings if the step says so. `earlier` holds the outputs of steps by order. Raises
    EngineError and EngineBusy.
    """
    step, assertions = step_run.step, assertions_of(step_run)
    if not uses_expressions(step, assertions):
        return _with_severity(verdict, step)
    scope = names_in_scope(run, earlier=earlier, outputs=verdict.outputs)
    scope["payload"] = document.payload_or_none()
    findings, outputs = list(verdict.findings), dict(verdict.outputs)
    if verdict.status == StepStatus.PASSED:
        signals = _signals(step, scope, findings)
        outputs |= signals
        scope |= {name: {**scope[name], **signals} for name in ("output", "s")}
        findings += [
            finding(outcome.problem, assertion_id=int(outcome.key))
            for outcome in evaluate(assertions, scope)
            if outcome.problem
        ]
    completed = judged(findings, outputs=outputs, artifacts=verdict.artifacts)
    if message := _message_of_step(step, scope, passed=completed.status == StepStatus.PASSED):
        completed = replace(completed, findings=_bounded([*findings, message]))
    return _with_severity(completed, step)


def _with_severity(verdict: Verdict, step: Step) -> Verdict:
    """Return the verdict with warnings in place of errors in the data, if the step counts them so."""
    is_bad_data = verdict.category == ErrorCategory.VALIDATION_FAILED
    if step.severity != StepSeverity.WARNING or not is_bad_data:
        return verdict
    for each in verdict.findings:
        if each.severity == Severity.ERROR:
            each.severity = Severity.WARNING
    return judged(verdict.findings, outputs=verdict.outputs, artifacts=verdict.artifacts)


def uses_expressions(step: Step, assertions: Sequence[Rule]) -> bool:
    """Return whether the step has signals, assertions or messages."""
    return bool(assertions or step.signals or step.message or step.success_message)


def condition_verdict(
    step_run: StepRun, *, run: Run, document: Document, earlier: Mapping[str, Mapping[str, Any]]
) -> Verdict | None:
    """Return the verdict of a step that its condition stops, or None if it is to be executed.

    A condition that cannot be evaluated fails the step.
    """
    scope = names_in_scope(run, earlier=earlier, outputs={})
    scope["payload"] = document.payload_or_none()
    [outcome] = evaluate([Rule(expression=step_run.step.when)], scope)
    if outcome.problem is None:
        return None
    if outcome.problem.code == "assertion.failed":
        return Verdict(status=StepStatus.SKIPPED)
    return judged([finding(replace(outcome.problem, code="condition.error"))])


def _signals(step: Step, scope: Mapping[str, Any], findings: list[Finding]) -> dict[str, Any]:
    """Return the values of a step's signals; add a WARNING for each that has none."""
    values = compute([each["expression"] for each in step.signals], scope) if step.signals else []
    signals = {}
    for signal, value in zip(step.signals, values, strict=True):
        signals[signal["name"]] = value.plain
        if value.error:
            message = f"Signal {signal['name']} has no value: {value.error}."
            problem = DocumentProblem(message, severity=Severity.WARNING, code="signal.error")
            findings.append(finding(problem))
    return signals


def _message_of_step(step: Step, scope: Mapping[str, Any], *, passed: bool) -> Finding | None:
    """Return the INFO finding with the step's own message about its result."""
    template = step.success_message if passed else step.message
    if not template:
        return None
    [outcome] = evaluate([Rule(expression="true", success_message=template)], scope)
    if outcome.problem is None:
        return None
    code = "step.passed" if passed else "step.failed"
    return finding(replace(outcome.problem, severity=Severity.INFO, code=code))


def names_in_scope(
    run: Run, *, earlier: Mapping[str, Mapping[str, Any]], outputs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the values of all names of expressions but the payload."""
    return build_scope(
        payload=None,
        outputs=outputs,
        earlier=earlier,
        constants=run.workflow.constants,
        submission=_facts(run.submission),
        inputs=typed(run.workflow.input_schema, run.submission.metadata),
    )


def _facts(submission: Submission) -> dict[str, Any]:
    """Return the value of the name `submission` in expressions."""
    names = ("filename", "mime_type", "size_bytes", "sha256", "short_description", "metadata")
    return {
        "name": submission.name or submission.filename,
        **{name: getattr(submission, name) for name in names},
        "files": [file.filename for file in submission.further_files],
    }


def assertion_rows(steps: "QuerySet[StepRun]") -> "QuerySet[StepRun]":
    """Annotate step runs with the assertions of their steps, as `assertions_of` reads them."""
    assertions = Assertion.objects.filter(step=OuterRef("step")).order_by("order")
    row = JSONObject(key=F("id"), **{name: F(name) for name in ASSERTION_FIELDS})
    return steps.annotate(assertion_rows=ArraySubquery(assertions.values(row=row)))


def assertions_of(step_run: StepRun) -> list[Rule]:
    """Return the assertions of a step run that `assertion_rows` has annotated."""
    rows: list[dict[str, Any]] = step_run.assertion_rows  # type: ignore[attr-defined]
    return [Rule(**row) for row in rows]


def storable_json(value: Any, depth: int = 0) -> Any:
    """Return `value` as PostgreSQL's jsonb can hold it: no NUL, no NaN, bounded nesting."""
    kept = value
    match value:
        case str():
            kept = storable(value, len(value) + 1)
        case float() if not math.isfinite(value):
            kept = None
        case dict() | list() if depth >= _MAX_DEPTH:
            kept = None
        case dict():
            kept = {storable(str(k), 255): storable_json(v, depth + 1) for k, v in value.items()}
        case list():
            kept = [storable_json(item, depth + 1) for item in value]
    return kept


def _position(number: int | None) -> int | None:
    return number if number is not None and 0 <= number <= _MAX_POSITION else None


def _bounded(findings: list[Finding]) -> list[Finding]:
    """Keep the worst MAX_FINDINGS in their order, and say how many were left out.

    The note of an engine that it left problems out stays, and does not count.
    """
    notes = [each for each in findings if each.code in TRUNCATION_CODES]
    if len(findings) - len(notes) <= MAX_FINDINGS:
        return findings
    findings = [each for each in findings if each.code not in TRUNCATION_CODES]
    ranks = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
    order = sorted(
        range(len(findings)), key=lambda index: ranks[Severity(findings[index].severity)]
    )
    kept = [findings[index] for index in sorted(order[:MAX_FINDINGS])]
    left = len(findings) - len(kept)
    message = f"{left:,} further findings were left out; the {MAX_FINDINGS:,} worst are shown."
    return [*kept, *notes, finding(DocumentProblem(message, severity="INFO", code=LEFT_OUT))]
