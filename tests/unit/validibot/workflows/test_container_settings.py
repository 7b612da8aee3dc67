"""Inputs of envelopes, from the settings of steps with container validators."""

import hashlib
import re
from typing import Any

import pytest
from pydantic import ValidationError

from validibot.core.echo import echo
from validibot.workflows.container_settings import SchematronSettings, envelope_inputs

LONG = "x" * 5000
NEEDED = echo(LONG, most=200)  # as much of the name as one has to write
RULES = """<?xml version="1.0" encoding="UTF-16"?>
<schema xmlns="http://purl.oclc.org/dsdl/schematron" defaultPhase="all"><phase id="intake"/></schema>"""


@pytest.mark.parametrize(
    ("phase", "attribute"),
    [({}, "all"), ({"phase": "#DEFAULT"}, "all"), ({"phase": "intake"}, "intake")],
)
def test_phase_of_step_becomes_default_phase_of_rules(
    phase: dict[str, Any], attribute: str
) -> None:
    inputs = envelope_inputs("SCHEMATRON", {"schematron_text": RULES, **phase})

    text = inputs["schematron_text"]
    assert f'defaultPhase="{attribute}"' in text
    assert inputs["schematron_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert "phase" not in inputs


def test_unknown_phase_is_refused_with_known_ones() -> None:
    with pytest.raises(ValidationError, match="no phase 'x'; use one of: #ALL, #DEFAULT, intake"):
        SchematronSettings(schematron_text=RULES, phase="x")


@pytest.mark.parametrize("is_allowed", [True, False])
def test_step_alone_decides_on_sparql_in_shapes(is_allowed: bool) -> None:
    inputs = envelope_inputs("SHACL", {"shapes_text": "", "advanced_shacl": is_allowed})

    assert inputs["enable_advanced_features"] is is_allowed


SCHEMA = '<schema xmlns="http://purl.oclc.org/dsdl/schematron">{}</schema>'
PATTERN = '<pattern xmlns="http://purl.oclc.org/dsdl/schematron" id="p">{}</pattern>'


def test_included_rules_are_sent_as_one_text() -> None:
    """References are relative to the text that has them, and may name an element by its id."""
    documents = {
        "parts/model.sch": PATTERN.format(
            '<rule context="a"><extends href="rules/a.sch#r"/></rule>'
        ),
        "parts/rules/a.sch": PATTERN.format(
            '<rule id="r" abstract="true"><assert id="A" test="b"/></rule>'
        ),
    }
    settings = {
        "schematron_text": SCHEMA.format('<include href="./parts/model.sch"/>'),
        "documents": documents,
    }
    SchematronSettings.model_validate(settings)

    text = envelope_inputs("SCHEMATRON", settings)["schematron_text"]

    assert '<rule context="a"><assert id="A" test="b"/></rule>' in text
    assert "include" not in text
    assert "extends" not in text


@pytest.mark.parametrize(
    ("body", "documents", "message"),
    [
        ('<include href="a.sch"/>', {}, "refer to 'a.sch', which is not given. Add 'a.sch' to"),
        (f'<include href="{LONG}"/>', {LONG: "<a/>"}, f"{echo(LONG)} begins with a"),
        (f'<include href="{LONG}"/>', {}, f"to {NEEDED}, which is not given. Add {NEEDED} to"),
        ('<include href="../a.sch"/>', {"a.sch": "<a/>"}, "Add '../a.sch' to `documents`"),
        ('<include href="file:///etc/passwd"/>', {}, "Add 'file:/etc/passwd' to `documents`"),
        ('<include href="a"/>', {"a": "no XML"}, "The document 'a' is not XML"),
        ('<include href="a"/>', {"a": "<a/>"}, "begins with a, which cannot be included"),
        ('<include href="a"/>', {"a": SCHEMA}, "schema, which cannot be included"),
        ('<include href="a#x"/>', {"a": PATTERN}, "has no element with the id 'x'"),
        ('<include href="a"/>', {"a": PATTERN.format('<include href="a"/>')}, "'a' includes itself"),
        ('<include href="a"/>' * 3, {"a": PATTERN.format("x" * 900_000)}, "2,000,000 characters"),
        (
            '<include href="a0"/>',
            {f"a{n}": PATTERN.format(f'<include href="a{n + 1}"/>') for n in range(30)},
            "more than 20 levels deep",
        ),
    ],
)  # fmt: skip
def test_unusable_include_is_refused_by_name(
    body: str, documents: dict[str, str], message: str
) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        SchematronSettings(schematron_text=SCHEMA.format(body), documents=documents)
