"""Verdicts: the status that follows from findings, and the limits of what is stored."""

import math
from typing import Any

import pytest

from validibot.engines.problems import DocumentProblem
from validibot.runs.models import Artifact, Finding
from validibot.runs.states import ErrorCategory, RunStatus, StepStatus
from validibot.runs.verdict import (
    MAX_ERROR,
    Verdict,
    broken,
    finding,
    judged,
    storable_json,
    timed_out,
)

LIMIT = 1_200
ARTIFACTS = [Artifact(name="report.csv")]


def found(severity: str, message: str = "") -> Finding:
    return finding(DocumentProblem(message, severity=severity))


@pytest.mark.parametrize(
    ("severities", "expected"),
    [
        ([], (StepStatus.PASSED, None, ErrorCategory.NONE)),
        (["WARNING", "INFO"], (StepStatus.PASSED, None, ErrorCategory.NONE)),
        (
            ["INFO", "ERROR"],
            (StepStatus.FAILED, RunStatus.FAILED, ErrorCategory.VALIDATION_FAILED),
        ),
    ],
)
def test_verdict_on_document_fails_only_on_errors(
    severities: list[str], expected: tuple[Any, ...]
) -> None:
    findings = [found(each) for each in severities]

    verdict = judged(iter(findings), outputs={"y": 1}, artifacts=ARTIFACTS)

    assert (verdict.status, verdict.run_status, verdict.category) == expected
    assert (verdict.error, list(verdict.findings)) == ("", findings)
    assert (verdict.outputs, verdict.artifacts) == ({"y": 1}, ARTIFACTS)
    assert judged([]).outputs == {}


def test_broken_and_timed_out_keep_findings_and_bounded_error() -> None:
    findings = [found("WARNING")]
    error = "x" * (MAX_ERROR + 1)

    failed = broken(error, ErrorCategory.OOM, findings=findings, artifacts=ARTIFACTS)
    late = timed_out(error, findings=findings, artifacts=ARTIFACTS)

    ends = [(verdict.status, verdict.run_status, verdict.category) for verdict in (failed, late)]
    assert ends == [
        (StepStatus.FAILED, RunStatus.FAILED, ErrorCategory.OOM),
        (StepStatus.FAILED, RunStatus.TIMED_OUT, ErrorCategory.TIMEOUT),
    ]
    for verdict in (failed, late):
        assert len(verdict.error) == MAX_ERROR
        assert (verdict.findings, verdict.artifacts) == (findings, ARTIFACTS)
    assert broken("A bug.") == Verdict(
        status=StepStatus.FAILED,
        run_status=RunStatus.FAILED,
        category=ErrorCategory.SYSTEM_ERROR,
        error="A bug.",
        findings=[],
    )


@pytest.mark.parametrize(
    "verdict", [judged, lambda found: broken("A bug.", findings=found)], ids=["judged", "broken"]
)
def test_findings_beyond_limit_keep_the_worst_in_order(
    verdict: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("validibot.runs.verdict.MAX_FINDINGS", LIMIT)
    findings = [
        *(found("INFO", f"info {n}") for n in range(2)),
        found("WARNING", "first warning"),
        *(found("ERROR", f"error {n}") for n in range(LIMIT - 2)),
        *(found("WARNING", f"warning {n}") for n in range(2)),
    ]

    *kept, note = verdict(findings).findings

    assert [each.message for each in kept] == [
        "first warning",
        *(f"error {n}" for n in range(LIMIT - 2)),
        "warning 0",
    ]
    assert (note.severity, note.code) == ("INFO", "findings.left_out")
    assert note.message == "3 further findings were left out; the 1,200 worst are shown."
    assert len(verdict(findings[:LIMIT]).findings) == LIMIT
    of_engine = finding(DocumentProblem("More.", severity="INFO", code="problems.truncated"))
    assert len(verdict([of_engine, *findings[:LIMIT]]).findings) == LIMIT + 1
    assert verdict([of_engine, *findings]).findings[-2] is of_engine


def test_finding_keeps_what_its_columns_hold() -> None:
    problem = DocumentProblem(
        "Bad zone.", severity="WARNING", code="c" * 101, path="Zone", line=2**31 - 1, column=0
    )

    row = finding(problem, assertion_id=7)

    assert (row.severity, row.message, row.path) == ("WARNING", "Bad zone.", "Zone")
    assert len(row.code) == 100
    assert (row.line, row.column, row.assertion_id) == (2**31 - 1, 0, 7)


@pytest.mark.parametrize("position", [None, -1, 2**31])
def test_finding_leaves_impossible_position_out(position: int | None) -> None:
    row = finding(DocumentProblem("Bad.", line=position, column=position))

    assert (row.line, row.column, row.assertion_id) == (None, None, None)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("a\0b", "a�b"),
        ("x" * 300, "x" * 300),
        (math.nan, None),
        (-math.inf, None),
        (1.5, 1.5),
        (True, True),
        ({"k\0": [1, {"n": math.inf}]}, {"k�": [1, {"n": None}]}),
        ({"k" * 255: 0, "l" * 256: 1, 7: 2}, {"k" * 255: 0, "l" * 254 + "…": 1, "7": 2}),
        ([], []),
    ],
)
def test_json_is_stored_as_postgresql_can_hold_it(value: Any, kept: Any) -> None:
    assert storable_json(value) == kept


@pytest.mark.parametrize(
    "wrap", [lambda value: [value], lambda value: {"k": value}], ids=["list", "dict"]
)
def test_json_is_cut_at_32_levels(wrap: Any) -> None:
    def nested(levels: int) -> Any:
        value: Any = "x"
        for _ in range(levels):
            value = wrap(value)
        return value

    assert storable_json(nested(32)) == nested(32)
    assert "x" not in repr(storable_json(nested(33)))
    assert repr(storable_json(nested(33))).count("None") == 1
