"""Findings, outputs and artifact of a Schematron check, from its report in SVRL."""

import hashlib
from pathlib import Path

from lxml import etree
from validibot_shared.schematron import (
    SchematronFinding,
    SchematronInputs,
    SchematronOutputs,
    SvrlFinding,
    parse_svrl,
)
from validibot_shared.validations.envelopes import (
    MessageLocation,
    Severity,
    ValidationMessage,
    ValidationStatus,
)

from validators.schematron.compile import OWN, SVRL, CompiledRules
from validators.schematron.document import XmlDocument, words_of
from validators.sdk.validation import ArtifactFile, ValidationResult, error

_ORDER = ("ERROR", "WARNING", "INFO")
_MAX_TEXT = 4000


def read_report(
    folder: Path,
    *,
    document: XmlDocument,
    inputs: SchematronInputs,
    rules: CompiledRules,
    seconds: float,
) -> ValidationResult:
    """Return the result of a check whose report is `report.xml`."""
    path = folder / "report.xml"
    content = path.read_bytes()
    # A report in SVRL only has what the library counts; it lists the findings in their order.
    summary = parse_svrl(content, max_findings=0)
    root = etree.fromstring(content, etree.XMLParser(resolve_entities=False, huge_tree=True))
    elements = root.iter(f"{{{SVRL}}}failed-assert", f"{{{SVRL}}}successful-report")
    found = sorted(
        zip(summary.findings, elements, strict=True),
        key=lambda each: _ORDER.index(each[0].severity),
    )
    broken = [_broken(each, document) for each in root.iter(f"{{{OWN}}}broken")]
    limit = inputs.max_findings
    messages = [*broken, *(_message(*each, document) for each in found[:limit])][:limit]
    hidden = len(found) + len(broken) - len(messages)
    if hidden:
        text = f"{hidden} more findings are in report.svrl.xml; the first {limit} are listed."
        messages.append(
            ValidationMessage(severity=Severity.INFO, code="SCHEMATRON_MORE_FINDINGS", text=text)
        )
    passed = summary.passed and not broken
    report = path.rename(folder / "report.svrl.xml")
    return ValidationResult(
        status=ValidationStatus.SUCCESS if passed else ValidationStatus.FAILED_VALIDATION,
        messages=messages,
        artifacts=[ArtifactFile(path=report, type="svrl-report", mime_type="application/xml")],
        outputs=SchematronOutputs(
            passed=passed,
            error_count=summary.error_count + len(broken),
            warning_count=summary.warning_count,
            info_count=summary.info_count,
            fired_rule_count=summary.fired_rule_count,
            finding_rule_ids_by_severity=summary.finding_rule_ids_by_severity,
            findings=[_published(finding) for finding, _element in found[:limit]],
            findings_truncated=bool(hidden),
            findings_suppressed_count=hidden,
            schematron_sha256=hashlib.sha256(inputs.schematron_text.encode()).hexdigest(),
            query_binding=rules.binding,
            engine=(folder / "engine").read_text(),
            execution_seconds=seconds,
        ),
    )


def _message(
    finding: SvrlFinding, element: etree._Element, document: XmlDocument
) -> ValidationMessage:
    path, line = document.place(finding.location)
    text = finding.message or f"This must be true: {element.get('test')}"
    for each in element.iter(f"{{{SVRL}}}diagnostic-reference"):
        text += f" {words_of(each)}"
    kind = "SCHEMATRON_ASSERT" if finding.element == "failed-assert" else "SCHEMATRON_REPORT"
    return ValidationMessage(
        severity=Severity(finding.severity),
        code=finding.rule_id or kind,
        text=text[:_MAX_TEXT],
        location=MessageLocation(path=path, line=line),
    )


def _broken(element: etree._Element, document: XmlDocument) -> ValidationMessage:
    """Return the finding for an assertion that has no value for this document."""
    path, line = document.place(element.get("location", ""))
    name = element.get("id") or element.get("test", "")[:100]
    reason = words_of(element).rstrip(".")
    text = (
        f"The rule {name!r} (line {element.get('line')} of the schema) could not be evaluated "
        f"here: {reason}."
    )
    place = MessageLocation(path=path, line=line)
    return error(text[:_MAX_TEXT], code="SCHEMATRON_NOT_EVALUATED", location=place)


def _published(finding: SvrlFinding) -> SchematronFinding:
    return SchematronFinding(
        rule_id=finding.rule_id,
        message=finding.message[:_MAX_TEXT],
        severity=finding.severity,
        location_xpath=finding.location,
        flag=finding.flag,
        role=finding.role,
    )
