"""Schematron schemas as stylesheets: composition, phases, lines, and what is refused."""

import pytest
from lxml import etree

from validators.schematron.compile import CompiledRules, SchemaInvalid, compile_schema
from validators.schematron.document import line_of

XSL = "{http://www.w3.org/1999/XSL/Transform}"


def schema(body: str, attributes: str = "") -> str:
    return f'<schema xmlns="http://purl.oclc.org/dsdl/schematron" {attributes}>\n{body}\n</schema>'


def conditions(compiled: CompiledRules) -> list[str]:
    """Return the conditions of a stylesheet in their order."""
    root = etree.fromstring(compiled.stylesheet)
    return [each.get("test", "") for each in root.iter(f"{XSL}if")]


def rule(test: str, extra: str = "") -> str:
    return f'<rule context="a" {extra}><assert test="{test}">m</assert></rule>'


def test_abstract_pattern_is_filled_with_parameters() -> None:
    text = schema(
        '<pattern abstract="true" id="limit">'
        '<rule context="$place"><assert test="$value &lt; $value2">m</assert></rule></pattern>'
        '<pattern is-a="limit"><param name="place" value="b"/><param name="value" value="@x"/>'
        '<param name="value2" value="9"/></pattern>'
    )

    compiled = compile_schema(text)

    assert conditions(compiled) == ["not(@x < 9)"]
    assert b'match="b"' in compiled.stylesheet


def test_extended_rule_contributes_its_assertions_in_place() -> None:
    text = schema(
        '<pattern><rule abstract="true" id="base"><assert test="1">m</assert></rule>'
        '<rule context="a"><extends rule="base"/><report test="2">m</report></rule></pattern>'
    )

    assert conditions(compile_schema(text)) == ["not(1)", "2"]


@pytest.mark.parametrize(
    ("phase", "tests"), [("", ["not(1)", "not(2)"]), ('defaultPhase="second"', ["not(2)"])]
)
def test_only_patterns_of_phase_are_compiled(phase: str, tests: list[str]) -> None:
    text = schema(
        '<phase id="second"><active pattern="p2"/></phase>'
        f'<pattern id="p1">{rule("1")}</pattern><pattern id="p2">{rule("2")}</pattern>',
        phase,
    )

    assert conditions(compile_schema(text)) == tests


def test_line_of_stylesheet_leads_to_line_of_schema() -> None:
    compiled = compile_schema(schema(f"<pattern>\n\n{rule('foo()')}</pattern>"))

    root = etree.fromstring(compiled.stylesheet)
    (condition,) = root.iter(f"{XSL}if")
    assert compiled.schema_line(line_of(condition) or 0) == 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<a", "not XML"),
        ("<a/>", "root element is a"),
        (schema("", 'queryBinding="stx"'), "binding 'stx'"),
        (schema("", 'defaultPhase="x"'), "no phase 'x'; it has: none"),
        (schema('<include href="/etc/passwd"/>'), "other files are not read"),
        (schema('<pattern documents="x"/>'), "other files are not read"),
        (schema('<pattern is-a="x"/>'), "no abstract pattern 'x'"),
        (schema("<pattern><rule/></pattern>"), "`rule` has no attribute `context`"),
        (schema('<let name="x" value="1"/><let name="x" value="2"/>'), "'x' is defined twice"),
        (schema('<ns prefix="xsl" uri="urn:x"/>'), "prefix 'xsl' belongs to"),
        (schema('<ns prefix="1 a" uri="urn:x"/>'), "Invalid namespace prefix"),
        (
            schema(
                '<pattern><rule abstract="true" id="r"><extends rule="r"/></rule>'
                '<rule context="a"><extends rule="r"/></rule></pattern>'
            ),
            "extend each other",
        ),
    ],
)
def test_invalid_schema_is_refused_with_reason(text: str, words: str) -> None:
    with pytest.raises(SchemaInvalid, match=words.replace("(", r"\(")):
        compile_schema(text)


def test_entities_of_schema_are_not_expanded() -> None:
    bomb = '<!DOCTYPE schema [<!ENTITY a "x"><!ENTITY b "&a;&a;">]>' + schema("<title>&b;</title>")

    assert b"xx" not in compile_schema(bomb).stylesheet


EXTENDING = "".join(
    f'<rule abstract="true" id="r{n}"><extends rule="r{n - 1}"/><extends rule="r{n - 1}"/></rule>'
    for n in range(1, 20)
)
INSTANCES = '<pattern is-a="p"><param name="x" value="1"/></pattern>' * 20_000
LONG = "y" * 100_000


@pytest.mark.parametrize(
    "body",
    [
        (
            f'<pattern><rule abstract="true" id="r0"><assert test="{"z" * 20_000}">m</assert></rule>'
            f'{EXTENDING}<rule context="a"><extends rule="r19"/></rule></pattern>'
        ),
        f'<pattern abstract="true" id="p"><title>{LONG}</title></pattern>{INSTANCES}',
        (
            f'<pattern abstract="true" id="p"><rule context="{"$x " * 10_000}"/></pattern>'
            f'<pattern is-a="p"><param name="x" value="{LONG}"/></pattern>'
        ),
        (
            f'<pattern><rule context="a"><assert test="1" diagnostics="{"d " * 10_000}">m</assert>'
            f'</rule></pattern><diagnostics><diagnostic id="d">{LONG}</diagnostic></diagnostics>'
        ),
    ],
    ids=["rules", "patterns", "parameters", "diagnostics"],
)
def test_schema_that_multiplies_itself_is_refused(body: str) -> None:
    with pytest.raises(SchemaInvalid, match="less often"):
        compile_schema(schema(body))
