"""The form of settings that is made from the schema of each validator."""

from typing import Any

import pytest

from tests.unit.validibot.web.editor.conftest import fields_of
from validibot.web.editor.config_form import ConfigForm
from validibot.web.editor.config_schema import SettingKind, settings_of
from validibot.workflows.models import Validator

SCHEMATRON = """<schema xmlns="http://purl.oclc.org/dsdl/schematron">
  <phase id="sums"/>
</schema>"""

CONFIGS: list[tuple[str, dict[str, Any]]] = [
    ("json-schema", {"schema": '{"type": "object"}', "formats": True}),
    ("json-schema", {"schema": '{"$ref": "a"}', "documents": {"a": '{"type": "array"}'}}),
    ("xml-schema", {"schema": "<!ELEMENT a EMPTY>"}),
    ("assertions", {"document": False}),
    ("assertions", {}),
    ("yaml", {"several": False}),
    (
        "basic",
        {
            "rules": [
                {"path": "items[*].price", "operator": "min", "value": 0},
                {"path": "name", "operator": "equals", "value": "1", "severity": "WARNING"},
                {
                    "path": "vat",
                    "operator": "required",
                    "when": {"path": "country", "operator": "equals", "value": "DE"},
                },
            ]
        },
    ),
    (
        "tabular",
        {
            "columns": [
                {"name": "id", "type": "string", "required": True, "pattern": "[A-Z]+"},
                {"name": "kwh", "type": "number", "minimum": 0.5, "enum": [1, 2.5]},
                {"name": "on", "type": "date", "format": "%d.%m.%Y", "maximum": "2026-12-31"},
            ],
            "primary_key": ["id"],
            "foreign_keys": [{"columns": ["id"], "file": "b", "reference_columns": ["id"]}],
            "row_rules": [{"expression": "row.kwh > 0.0", "severity": "WARNING"}],
            "delimiter": ";",
        },
    ),
    ("tabular", {"schema": '{"fields": [{"name": "a"}]}', "header": False}),
    ("energyplus", {"idf_checks": ["hvac-sizing"], "timestep_per_hour": 6}),
    ("energyplus", {"finding_severities": {"ENERGYPLUS_SEVERE": "WARNING"}}),
    ("fmu-probe", {}),
    (
        "ai-review",
        {
            "criteria": [{"text": "It is finished.", "severity": "ERROR"}],
            "instructions": "For {submission.name}.",
            "least_confidence": 0.5,
        },
    ),
    (
        "tabular",
        {
            "columns": [
                {"name": "meter", "type": "string", "required": True, "unique": True},
                {"name": "kwh", "type": "number", "minimum": 0, "enum": [1, 2.5]},
                {"name": "on", "type": "date", "minimum": "2020-01-01", "true_values": ["y"]},
            ],
            "primary_key": ["meter"],
            "row_rules": [{"expression": "row.kwh >= 0", "severity": "WARNING"}],
            "delimiter": ";",
        },
    ),
    ("fmu", {"simulation": {"stop_time": 2.0}, "output_variables": ["a", "b"]}),
    ("fmu", {"input_values": {"x": 1, "name": "text", "on": True}}),
    ("shacl", {"shapes_text": "<urn:a> a <urn:b> .", "advanced_shacl": True}),
    ("schematron", {"schematron_text": SCHEMATRON, "phase": "sums", "max_findings": 50}),
]


def form_of(slug: str, config: dict[str, Any], **changes: Any) -> ConfigForm:
    """Return the form of a configuration as a browser sends it, with changes of its fields."""
    validator = Validator.objects.get(slug=slug)
    shown = ConfigForm(validator, config)
    sent = fields_of(shown.fields)
    for _setting, formset in shown.tables:
        sent |= fields_of(formset)
    return ConfigForm(validator, config, sent | changes, {})


@pytest.mark.parametrize(("slug", "config"), CONFIGS)
def test_unchanged_form_gives_its_configuration(slug: str, config: dict[str, Any]) -> None:
    form = form_of(slug, config)

    assert form.is_valid(), (form.fields.errors, [each.errors for _, each in form.tables])
    assert form.config() == config


def test_every_validator_has_a_form_and_is_tested() -> None:
    slugs = set(Validator.objects.values_list("slug", flat=True))

    assert slugs == {slug for slug, _config in CONFIGS}


def test_schema_decides_on_the_fields() -> None:
    found = {each.name: each for each in settings_of(Validator.objects.get(slug="energyplus"))}

    assert found["timestep_per_hour"].kind is SettingKind.INTEGER
    assert (found["timestep_per_hour"].minimum, found["timestep_per_hour"].maximum) == (1, 60)
    assert found["run_simulation"].kind is SettingKind.BOOLEAN
    assert found["review_profile"].choices[0][0] == "standard"
    assert found["idf_checks"].kind is SettingKind.CHOICES
    assert found["finding_severities"].kind is SettingKind.MAP


@pytest.mark.parametrize(
    ("slug", "changes", "field", "words"),
    [
        ("energyplus", {"config-timestep_per_hour": "99"}, "timestep_per_hour", "less than or"),
        ("energyplus", {"config-run_period_days": "x"}, "run_period_days", "whole number"),
        ("fmu", {"config-simulation.stop_time": "-1"}, "simulation.stop_time", "greater than"),
        ("json-schema", {"config-schema": '{"type": "x"}'}, "schema", "x"),
        ("json-schema", {}, "schema", ""),
        ("xml-schema", {"config-schema": "<x"}, "schema", ""),
        ("energyplus", {"config-review_profile": "x"}, "review_profile", "valid choice"),
        ("schematron", {"config-schematron_text": "<a"}, "schematron_text", "not XML"),
    ],
)
def test_error_stands_at_its_field(
    slug: str, changes: dict[str, str], field: str, words: str
) -> None:
    form = form_of(slug, {}, **changes)

    assert not form.is_valid()
    assert list(form.fields.errors) == [field]
    assert words in form.fields.errors[field][0]


def test_new_row_has_the_defaults_of_its_columns() -> None:
    row = {"config-columns-TOTAL_FORMS": "1", "config-columns-0-name": "meter"}
    validator = Validator.objects.get(slug="tabular")
    empty = ConfigForm(validator, {}).tables[0][1].empty_form
    shown = {name.replace("__prefix__", "0"): value for name, value in fields_of(empty).items()}

    form = form_of("tabular", {}, **shown, **row)

    assert form.is_valid()
    assert form.config() == {"columns": [{"name": "meter"}]}


def test_error_of_a_row_stands_in_the_row() -> None:
    rules = [{"path": "a", "operator": "required"}, {"path": "b", "operator": "required"}]
    form = form_of("basic", {"rules": rules}, **{"config-rules-1-operator": "min"})

    assert not form.is_valid()
    ((_setting, formset),) = form.tables
    assert [bool(each.errors) for each in formset.forms] == [False, True]


def test_name_that_two_rows_have_is_an_error() -> None:
    config = {"input_values": {"a": 1, "b": 2}}
    form = form_of("fmu", config, **{"config-input_values-1-name": "a"})

    assert not form.is_valid()
    assert "Two rows have the name 'a'." in form.tables[0][1].non_form_errors()
