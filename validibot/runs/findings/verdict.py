"""What a step came to, before anything of it is written."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from validibot.engines.problems import Problem, storable
from validibot.runs.models import Artifact, Finding
from validibot.runs.states import ErrorCategory, RunStatus, StepStatus
from validibot.workflows.models import Severity

MAX_FINDINGS = 1000
MAX_ERROR = 2000
_MAX_CODE = 100
_MAX_POSITION = 2**31 - 1
_MAX_DEPTH = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """`run_status` is how the run ends because of it; None when it goes on."""

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


def timed_out(error: str) -> Verdict:
    """Return the verdict on a validator that did not answer in time."""
    return Verdict(
        status=StepStatus.FAILED,
        run_status=RunStatus.TIMED_OUT,
        category=ErrorCategory.TIMEOUT,
        error=storable(error, MAX_ERROR),
    )


def finding(problem: Problem, *, assertion_id: int | None = None) -> Finding:
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


def storable_json(value: Any, depth: int = 0) -> Any:
    """Return `value` as PostgreSQL's jsonb can hold it: no NUL, no NaN, no bottomless nesting."""
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
    """Keep the worst MAX_FINDINGS in their order, and say how many were left out."""
    if len(findings) <= MAX_FINDINGS:
        return findings
    ranks = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
    order = sorted(
        range(len(findings)), key=lambda index: ranks[Severity(findings[index].severity)]
    )
    kept = [findings[index] for index in sorted(order[:MAX_FINDINGS])]
    left = len(findings) - len(kept)
    message = f"{left:,} further findings were left out; the {MAX_FINDINGS:,} worst are shown."
    return [*kept, finding(Problem(message, severity="INFO", code="findings.left_out"))]
