"""Schematron: findings with their places, and rules and documents that are hostile."""

from pathlib import Path
from typing import Any

import pytest
from validibot_shared.schematron import SchematronOutputEnvelope
from validibot_shared.validations.envelopes import ValidationStatus

from validators.schematron.validate import VALIDATOR
from validators.sdk.main import main
from validators.sdk.manifest import read_manifest
from validators.sdk.testing import write_envelope

MANIFEST = read_manifest(Path("validators/schematron"))


def check(folder: Path, rules: str, document: str, **inputs: Any) -> SchematronOutputEnvelope:
    path = folder / "document.xml"
    path.write_text(document)
    envelope = write_envelope(folder, MANIFEST, path, inputs={"schematron_text": rules, **inputs})
    main(VALIDATOR, [envelope.as_uri()])
    stored = (folder / "output.json").read_bytes()
    assert b"Traceback" not in stored
    return SchematronOutputEnvelope.model_validate_json(stored)


def schema(rule: str, around: str = "", binding: str = "xslt2") -> str:
    return (
        f'<schema xmlns="http://purl.oclc.org/dsdl/schematron" queryBinding="{binding}">'
        '<ns prefix="q" uri="urn:q"/><ns prefix="xs" uri="http://www.w3.org/2001/XMLSchema"/>'
        f"{around}\n<pattern>{rule}</pattern></schema>"
    )


RULES = """
<rule context="q:b">
  <let name="n" value="xs:integer(.)"/>
  <assert id="POSITIVE" flag="fatal" test="$n gt 0" diagnostics="d">{<name/>} is <value-of select="."/>.</assert>
  <assert id="EVEN" role="warning" test="$n mod 2 eq 0">odd</assert>
  <report id="BIG" flag="info" test="$n gt 100">big</report>
</rule>
<rule context="q:*"><report test="true()">never: the first rule counts</report></rule>
"""
DIAGNOSTICS = (
    '<diagnostics><diagnostic id="d">The parent is <name path=".."/>.</diagnostic></diagnostics>'
)


def test_findings_have_severity_place_and_diagnostics(tmp_path: Path) -> None:
    document = '<a xmlns:q="urn:q">\n<q:b>-2</q:b>\n<q:b>102</q:b>\n<q:b>3</q:b>\n<q:b>x</q:b></a>'

    output = check(tmp_path, schema(RULES, DIAGNOSTICS), document)

    found = [
        (m.severity.value, m.code, m.location.path, m.location.line)
        for m in output.messages
        if m.location
    ]
    assert found == [
        ("ERROR", "SCHEMATRON_NOT_EVALUATED", "/a/q:b[4]", 5),
        ("ERROR", "POSITIVE", "/a/q:b[1]", 2),
        ("WARNING", "EVEN", "/a/q:b[3]", 4),
        ("INFO", "BIG", "/a/q:b[2]", 3),
    ]
    assert output.messages[1].text == "{q:b} is -2. The parent is a."
    assert 'Cannot convert string "x"' in output.messages[0].text
    assert output.status is ValidationStatus.FAILED_VALIDATION
    assert output.outputs
    assert output.outputs.fired_rule_count == 4
    assert output.outputs.finding_rule_ids_by_severity["POSITIVE"] == "ERROR"
    assert [each.name for each in output.artifacts] == ["report.svrl.xml"]


def test_warnings_alone_pass_and_findings_are_limited(tmp_path: Path) -> None:
    rules = schema('<rule context="b"><assert role="warning" test="false()">m</assert></rule>')

    output = check(tmp_path, rules, f"<a>{'<b/>' * 30}</a>", max_findings=10)

    assert output.status is ValidationStatus.SUCCESS
    assert len(output.messages) == 11
    assert output.messages[-1].code == "SCHEMATRON_MORE_FINDINGS"
    assert output.outputs
    assert (output.outputs.warning_count, output.outputs.findings_suppressed_count) == (30, 20)


def test_first_binding_compares_as_xpath_1(tmp_path: Path) -> None:
    """In XPath 2 a list is an error where XPath 1 takes its first item."""
    rule = '<rule context="/*"><assert test="@n &gt; 5 and contains(b, \'x\')">m</assert></rule>'

    output = check(tmp_path, schema(rule, binding="xslt"), '<a n="10"><b>x</b><b>y</b></a>')

    assert output.status is ValidationStatus.SUCCESS


READING = """
<rule context="/*">
  <assert test="empty(doc('%(uri)s')//*)">m</assert>
  <assert test="unparsed-text('%(uri)s') = ''">m</assert>
  <assert test="empty(collection('%(folder)s'))">m</assert>
  <assert test="empty(document('http://127.0.0.1:9/x')//*)">m</assert>
  <assert test="empty(available-environment-variables())">m</assert>
</rule>
"""


def test_rules_reach_no_file_network_or_environment(tmp_path: Path) -> None:
    secret = tmp_path / "secret.xml"
    secret.write_text("<secret>TOP</secret>")
    rule = READING % {"uri": secret.as_uri(), "folder": tmp_path.as_uri()}

    output = check(tmp_path, schema(rule), "<a/>")

    assert [each.code for each in output.messages] == ["SCHEMATRON_NOT_EVALUATED"] * 4
    assert "TOP" not in (tmp_path / "outputs" / "report.svrl.xml").read_text()


FUNCTION = """<f:function xmlns:f="http://www.w3.org/1999/XSL/Transform" name="q:f"
  xmlns:q="urn:q"><f:param name="x"/>%s</f:function>"""
CALL = '<rule context="/*"><assert test="q:f(1) = 2">m</assert></rule>'


@pytest.mark.parametrize(
    ("around", "rule", "words"),
    [
        (
            "",
            '<rule context="/*"><assert test="foo(1)">m</assert></rule>',
            "Line 2 of the schema: ",
        ),
        ("", '<rule context="a["><assert test="1">m</assert></rule>', "Unexpected token <eof>"),
        (
            FUNCTION % '<f:result-document href="file:///tmp/x"/>',
            CALL,
            "result-document is disabled",
        ),
        (FUNCTION % '<f:sequence select="1 + q:f($x + 1)"/>', CALL, "Too many nested function"),
    ],
)
def test_unusable_rules_are_the_fault_of_the_step(
    tmp_path: Path, around: str, rule: str, words: str
) -> None:
    output = check(tmp_path, schema(rule, around), "<a/>")

    assert output.status is ValidationStatus.FAILED_RUNTIME
    assert output.messages[0].code == "SCHEMATRON_RULES_INVALID"
    assert words in output.messages[0].text


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("", "SCHEMATRON_NOT_XML"),
        ("<a><b></a>", "SCHEMATRON_NOT_XML"),
        ('<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>', "SCHEMATRON_DOCTYPE"),
        ("<a>" * 300 + "</a>" * 300, "SCHEMATRON_TOO_DEEP"),
        ("<a>" * 230 + "</a>" * 230, "SCHEMATRON_TOO_DEEP"),
        (f"<a>{'x' * 3000}</a>", "SCHEMATRON_TOO_LARGE"),
    ],
)
def test_bad_document_is_a_finding(tmp_path: Path, document: str, code: str) -> None:
    rules = schema('<rule context="a"><assert test="true()">m</assert></rule>')

    output = check(tmp_path, rules, document, max_input_bytes=2900)

    assert output.status is ValidationStatus.FAILED_VALIDATION
    assert [each.code for each in output.messages] == [code]


@pytest.mark.parametrize(
    ("test", "limits", "code"),
    [
        (
            "every $i in 1 to 2000000000 satisfies $i + count(//*) gt 0",
            {"xslt_timeout_seconds": 2},
            "SCHEMATRON_TIMEOUT",
        ),
        (
            "count(distinct-values(for $i in 1 to 20000000 return concat($i, 'x'))) = 1",
            {"max_memory_mb": 160},
            "SCHEMATRON_OUT_OF_MEMORY",
        ),
    ],
)
def test_endless_rules_are_stopped(
    tmp_path: Path, test: str, limits: dict[str, int], code: str
) -> None:
    rule = f'<rule context="/*"><assert test="{test}">m</assert></rule>'

    output = check(tmp_path, schema(rule), "<a/>", **limits)

    assert [each.code for each in output.messages] == [code]
