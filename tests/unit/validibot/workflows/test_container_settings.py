"""Inputs of envelopes, from the settings of steps with container validators."""

import hashlib
from typing import Any

import pytest
from pydantic import ValidationError

from validibot.workflows.container_settings import SchematronSettings, envelope_inputs

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
