"""Exports of a run: a report for people, and its findings for other programs.

- HTML: a report on one page (`validibot.runs.report`).
- PDF: the same report on numbered pages (`validibot.runs.pdf`).
- CSV (RFC 4180): a cell that a spreadsheet would take for a formula begins with an apostrophe.
- JSON Lines: an object per finding.
- JUnit XML, as CI systems read it: a test suite per step, a failed test case per error.
- SARIF 2.1.0 (https://docs.oasis-open.org/sarif/sarif/v2.1.0/): a rule per code, and the submitted
  file as the artifact in which the results are.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from django.conf import settings

from validibot.core.spreadsheets import safe_cell
from validibot.runs.models import Finding, Run, StepRun
from validibot.runs.report import as_html

COLUMNS = ("step", "severity", "code", "message", "path", "line", "column")
_LEVELS = {"ERROR": "error", "WARNING": "warning", "INFO": "note"}
# Characters that XML 1.0 does not allow, also not as references.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format of exports; `write` returns the whole document of a run.

    A document `by_task` takes time, so a task makes it, and only of a run that has ended.
    """

    title: str
    extension: str
    write: Callable[[Run], bytes]
    by_task: bool = False


def as_csv(run: Run) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in _rows(run):
        writer.writerow([safe_cell(row[name]) for name in COLUMNS])
    return text.getvalue().encode()


def as_json_lines(run: Run) -> bytes:
    lines = (json.dumps(row, ensure_ascii=False) for row in _rows(run))
    return "".join(f"{line}\n" for line in lines).encode()


def as_junit(run: Run) -> bytes:
    errors: dict[int, list[Finding]] = {}
    for finding in run.findings.filter(severity="ERROR").iterator():
        errors.setdefault(finding.step_run_id, []).append(finding)
    suites = [_suite(run, step, errors.get(step.pk, [])) for step in run.steps.all()]
    return _junit(run.workflow.name, suites)


def as_sarif(run: Run) -> bytes:
    return _sarif({run: _findings(run)})


def as_pdf(run: Run) -> bytes:
    """Return the report as PDF, with a library that costs a start 18 MB and 0.1 s."""
    from validibot.runs import pdf  # noqa: PLC0415 - see the docstring

    return pdf.as_pdf(run)


def junit_of(runs: Mapping[Run, Sequence[tuple[StepRun, Sequence[Finding]]]]) -> bytes:
    """Return JUnit XML of runs in memory, with the findings of each step."""
    suites = [
        _suite(run, step, [each for each in findings if each.severity == "ERROR"])
        for run, steps in runs.items()
        for step, findings in steps
    ]
    return _junit(next(iter(runs)).workflow.name, suites)


def sarif_of(runs: Mapping[Run, Sequence[tuple[StepRun, Sequence[Finding]]]]) -> bytes:
    """Return SARIF of runs in memory, with the findings of each step."""
    return _sarif(
        {run: [each for _, findings in steps for each in findings] for run, steps in runs.items()}
    )


def _junit(name: str, suites: Iterable[ET.Element]) -> bytes:
    root = ET.Element("testsuites", name=_xml(name))
    root.extend(suites)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _sarif(runs: Mapping[Run, Iterable[Finding]]) -> bytes:
    """Return SARIF with one run: code scanning refuses several of one tool and category.

    https://github.blog/changelog/2024-05-06-code-scanning-will-stop-combining-runs-from-a-single-upload/
    """
    codes: dict[str, int] = {}
    results = [
        _result(run, finding, codes, file)
        for file, (run, findings) in enumerate(runs.items())
        for finding in findings
    ]
    first = next(iter(runs))
    driver = {
        "name": "Validibot",
        "informationUri": settings.SITE_URL,
        "rules": [{"id": code} for code in codes],
    }
    joined = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"{first.workflow.slug}/{first.pk}"},
        "artifacts": [_submitted(run) for run in runs],
        "invocations": [{"executionSuccessful": run.result in ("PASS", "FAIL")} for run in runs],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    document = {"$schema": schema, "version": "2.1.0", "runs": [joined]}
    return json.dumps(document, ensure_ascii=False, indent=1).encode()


def _submitted(run: Run) -> dict[str, Any]:
    return {
        "location": {"uri": quote(run.submission.filename)},
        "length": run.submission.size_bytes,
        "hashes": {"sha-256": run.submission.sha256},
    }


FORMATS = {
    "html": ExportFormat("HTML report", "html", as_html, by_task=True),
    "pdf": ExportFormat("PDF report", "pdf", as_pdf, by_task=True),
    "csv": ExportFormat("CSV", "csv", as_csv),
    "jsonl": ExportFormat("JSON Lines", "jsonl", as_json_lines),
    "junit": ExportFormat("JUnit XML", "xml", as_junit),
    "sarif": ExportFormat("SARIF", "sarif", as_sarif),
}


def _findings(run: Run) -> Iterator[Finding]:
    return run.findings.select_related("step_run").iterator()


def _rows(run: Run) -> Iterator[dict[str, Any]]:
    for finding in _findings(run):
        named = {name: getattr(finding, name) for name in COLUMNS[1:]}
        yield {"step": finding.step_run.order, **named}


def _suite(run: Run, step: StepRun, errors: list[Finding]) -> ET.Element:
    broken = step.status == "FAILED" and not errors
    skipped = step.status in ("PENDING", "SKIPPED", "CANCELED")
    counts = {"failures": len(errors), "errors": int(broken), "skipped": int(skipped)}
    suite = ET.Element(
        "testsuite",
        name=_xml(step.name),
        timestamp=run.created_at.replace(tzinfo=None, microsecond=0).isoformat(),
        tests=str(max(1, len(errors))),
    )
    for name, count in counts.items():
        suite.set(name, str(count))
    for error in errors:
        case = _case(suite, run, error.code or "finding")
        place = f"{run.submission.filename}:{error.line or ''} {error.path}".rstrip(": ")
        failure = ET.SubElement(case, "failure", type=_xml(error.code), message=_xml(error.message))
        failure.text = _xml(f"{place}\n{error.message}")
    if not errors:
        case = _case(suite, run, step.name)
        if broken:
            ET.SubElement(case, "error", message=_xml(step.error))
        elif skipped:
            ET.SubElement(case, "skipped")
    return suite


def _case(suite: ET.Element, run: Run, name: str) -> ET.Element:
    return ET.SubElement(
        suite, "testcase", name=_xml(name), classname=_xml(run.submission.filename)
    )


def _result(run: Run, finding: Finding, codes: dict[str, int], file: int) -> dict[str, Any]:
    code = finding.code or "finding"
    region = {"startLine": finding.line, "startColumn": finding.column}
    physical: dict[str, Any] = {
        "artifactLocation": {"uri": quote(run.submission.filename), "index": file}
    }
    if finding.line:
        physical["region"] = {name: number for name, number in region.items() if number}
    location: dict[str, Any] = {"physicalLocation": physical}
    if finding.path:
        location["logicalLocations"] = [{"fullyQualifiedName": finding.path}]
    return {
        "ruleId": code,
        "ruleIndex": codes.setdefault(code, len(codes)),
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message or code},
        "locations": [location],
        "properties": {"step": finding.step_run.order},
    }


def _xml(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
