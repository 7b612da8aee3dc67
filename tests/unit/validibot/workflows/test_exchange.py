"""Export and import of workflows: a round trip changes nothing, and problems have their place."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st
from pytest_django import Settings

from tests.factories import (
    OrganisationFactory,
    ProjectFactory,
    StepFactory,
    ValidatorFactory,
    WorkflowFactory,
)
from validibot.accounts.models import Organisation
from validibot.accounts.profile import visible_line
from validibot.core.echo import echo, shortened
from validibot.workflows.document import ImportInvalid
from validibot.workflows.editing import StaleEdit, editing, token_of
from validibot.workflows.exporting import ExportTooLarge, export_bundle, export_text
from validibot.workflows.importing import import_workflow
from validibot.workflows.models import Sample, Step, StepFile, Validator, Workflow
from validibot.workflows.versions import content_of, freeze
from validibot.workflows.weather import store_by_digest

LONG = "x" * 900
pytestmark = pytest.mark.django_db

HEADER = "format: validibot.workflow.v1\nslug: check\nname: Check\n"


@pytest.fixture(autouse=True)
def validators(settings: Settings, tmp_path: Path) -> None:
    settings.DATA_ROOT = tmp_path.as_uri()
    ValidatorFactory.create(slug="json-schema")
    ValidatorFactory.create(slug="assertions", engine="assertions", title="Assertions")
    ValidatorFactory.create(slug="fmu", version="0.1.0", container=True, title="FMU")


@pytest.fixture
def organisation() -> Organisation:
    return OrganisationFactory.create()


def imported(content: str | bytes, organisation: Organisation, *, update: bool = False) -> Workflow:
    raw = content.encode() if isinstance(content, str) else content
    return import_workflow(raw, organisation=organisation, author=None, update=update)


def problems(content: str | bytes, organisation: Organisation) -> list[str]:
    with pytest.raises(ImportInvalid) as caught:
        imported(content, organisation)
    assert not Workflow.objects.filter(organisation=organisation).exists()
    return [str(each) for each in caught.value.problems]


def described(workflow: Workflow) -> dict[str, Any]:
    samples = workflow.samples.order_by("filename")
    return content_of(workflow) | {
        "shared": [getattr(workflow, name) for name in Workflow.SHARED_PROPERTIES],
        "slug": workflow.slug,
        "samples": [
            (each.filename, each.title, each.passes, each.metadata, bytes(each.content))
            for each in samples
        ],
    }


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
NAMES = TEXT.map(visible_line).filter(bool)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
INPUT_SCHEMA = (
    '{"type": "object",\n  "properties": {"b": {"type": "number"}, "a": {"type": "string"}}}'
)
CONSTANTS = st.lists(
    st.fixed_dictionaries(
        {"name": st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True), "value": JSON},
        optional={"data_type": st.sampled_from(["NUMBER", "OBJECT"]), "description": TEXT},
    ),
    max_size=3,
    unique_by=lambda constant: str(constant["name"]),
)
ASSERTIONS = st.lists(
    st.fixed_dictionaries(
        {
            "expression": st.sampled_from(["true", "has(payload.a)", "1 <\n2"]),
            "severity": st.sampled_from(["ERROR", "WARNING", "INFO"]),
            "when": st.sampled_from(["", "false"]),
            "notes": TEXT,
            "path": TEXT,
        }
    ),
    max_size=3,
)
CONFIGS = st.fixed_dictionaries(
    {"schema": st.fixed_dictionaries({"const": JSON, "title": TEXT})},
    optional={"formats": st.booleans()},
)
SIGNALS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True),
            "expression": st.sampled_from(["o.a", "1 +\n2"]),
        }
    ),
    max_size=2,
    unique_by=lambda signal: signal["name"],
)
SAMPLES = st.dictionaries(
    st.from_regex(r"[a-z]{1,8}\.json", fullmatch=True), st.binary(max_size=50), max_size=2
)


@given(st.data())
@hypothesis_settings(max_examples=15)
def test_imported_export_equals_its_workflow(data: st.DataObject) -> None:
    """Both the text and the bundle of any workflow give the same workflow elsewhere."""
    workflow = _any_workflow(data)
    expected = described(workflow)

    for exported in (export_text(workflow).encode(), export_bundle(workflow)):
        other = OrganisationFactory.create()
        assert described(imported(exported, other)) == expected


def _any_workflow(data: st.DataObject) -> Workflow:
    workflow: Workflow = WorkflowFactory.create(
        name=data.draw(NAMES),
        description=data.draw(TEXT),
        success_message=data.draw(TEXT),
        constants=data.draw(CONSTANTS),
        accepted_types=data.draw(st.sampled_from([[], [".json", ".epjson"]])),
        input_retention_days=data.draw(st.none() | st.integers(1, 999)),
        result_retention_days=data.draw(st.none() | st.integers(1, 999)),
        input_schema=data.draw(st.sampled_from(["", INPUT_SCHEMA, f"\n{INPUT_SCHEMA} \n"])),
    )
    for order in range(1, data.draw(st.integers(1, 3)) + 1):
        slug = data.draw(st.sampled_from(["json-schema", "assertions", "fmu"]))
        step = StepFactory.create(
            workflow=workflow,
            order=order,
            name=data.draw(NAMES),
            description=data.draw(TEXT),
            validator=Validator.objects.get(slug=slug),
            config=data.draw(CONFIGS) if slug == "json-schema" else {},
            is_enabled=data.draw(st.booleans()),
            on_failure=data.draw(st.sampled_from(["stop", "continue"])),
            severity=data.draw(st.sampled_from(["ERROR", "WARNING"])),
            when=data.draw(st.sampled_from(["", "size(p) >\n2"])),
            message=data.draw(TEXT),
            success_message=data.draw(st.sampled_from(["", "{p.a} is right"])),
            signals=data.draw(SIGNALS),
        )
        for number, fields in enumerate(data.draw(ASSERTIONS), start=1):
            step.assertions.create(order=number, **fields)
        if slug == "fmu":
            _store(step, data.draw(st.binary(max_size=50)))
    for filename, content in data.draw(SAMPLES).items():
        Sample.objects.create(
            workflow=workflow,
            filename=filename,
            content=content,
            passes=data.draw(st.booleans()),
            metadata=data.draw(st.dictionaries(TEXT, TEXT, max_size=2)),
        )
    return workflow


def _store(step: Step, content: bytes) -> StepFile:
    uri, version, sha256 = store_by_digest("a.epw", content)
    stored: StepFile = step.files.create(
        port_key="weather_file",
        name="a.epw",
        type="energyplus_weather",
        uri=uri,
        storage_version=version,
        size_bytes=len(content),
        sha256=sha256,
    )
    return stored


def test_imported_names_lose_characters_that_cannot_be_seen(organisation: Organisation) -> None:
    text = HEADER.replace("name: ", 'name: "\u202eOffi\u200bce \u2067model" #')

    assert imported(text, organisation).name == "Office model"


def test_export_gives_the_same_text_each_time(organisation: Organisation) -> None:
    step = StepFactory.create(validator=Validator.objects.get(slug="json-schema"))

    text = export_text(step.workflow)

    assert export_text(imported(text, organisation)) == text
    assert export_bundle(step.workflow) == export_bundle(step.workflow)


def test_large_file_is_found_by_digest_in_the_same_organisation(organisation: Organisation) -> None:
    step = StepFactory.create(
        workflow__organisation=organisation, validator=Validator.objects.get(slug="fmu")
    )
    file = _store(step, b"x" * 100_000)
    text = export_text(step.workflow)

    again = imported(text.replace(step.workflow.slug, "copy"), organisation)

    assert f"sha256: {file.sha256}" in text
    assert len(text) < 1000
    assert again.steps.get().files.get().uri == file.uri
    assert "The content of a.epw is missing" in problems(text, OrganisationFactory.create())[0]


def test_constant_of_a_former_type_is_exported_and_refused(organisation: Organisation) -> None:
    workflow = WorkflowFactory.create()
    old = [{"name": "a", "value": 1, "data_type": "INT", "note": "by hand"}]
    Workflow.objects.filter(pk=workflow.pk).update(constants=old)

    text = export_text(Workflow.objects.get(pk=workflow.pk))

    assert "The constant 'a' has the type 'INT'; use one of" in problems(text, organisation)[0]


def test_too_large_text_advises_a_bundle() -> None:
    workflow = WorkflowFactory.create()
    Sample.objects.create(workflow=workflow, filename="a", content=b"x" * 9_000_000, passes=True)

    with pytest.raises(ExportTooLarge, match="Export a bundle"):
        export_text(workflow)


def test_existing_workflow_is_updated_only_if_allowed(organisation: Organisation) -> None:
    first = imported(HEADER, organisation)
    freeze(first)

    with pytest.raises(ImportInvalid, match="Line 2, slug: A workflow 'check' exists already"):
        imported(HEADER + "description: Other\n", organisation)
    second = imported(HEADER + "description: Other\n", organisation, update=True)

    assert (first.version, second.version, second.description) == (1, 2, "Other")
    assert imported(HEADER + "description: Other\n", organisation, update=True) == second


def test_import_refuses_edits_of_the_state_before(organisation: Organisation) -> None:
    first = imported(HEADER, organisation)
    token = token_of(first)
    imported(HEADER + "description: Other\n", organisation, update=True)

    with pytest.raises(StaleEdit), editing(first, token):
        pass


def test_all_problems_are_reported_with_their_lines(organisation: Organisation) -> None:
    text = f"""{HEADER}constants:
  - name: 1x
    value: 1
steps:
  - name: One
    validator: json-schema@9
  - name: Two
    validator: json-schema
    config:
      schema: {{type: object}}
      schmea: 1
    weather: Denver
    assertions:
      - expression: payload.x ==
  - name: Three
    validator: fmu@0.1.0
    config:
      simulation:
        stop_time: -1
    on_failure: shrug
    files:
      - {{port: engine, name: a.epw, text: x}}
      - {{port: weather_file, name: a.fmu, base64: "?"}}
samples:
  - filename: a.json
    text: "1"
    sha256: {"f" * 64}
  - filename: a.json
"""

    found = problems(text, organisation)

    expected = [
        "Line 5, constants: The constant's name '1x' must be an identifier.",
        "Line 9, steps.0.validator: There is no validator 'json-schema@9'. There is json-schema@1.",
        "Line 14, steps.1.config.schmea: This is not a setting of JSON Schema; allowed:",
        "Line 15, steps.1.weather: JSON Schema takes no weather.",
        "Line 17, steps.1.assertions.0: ",
        "Line 22, steps.2.config.simulation.stop_time: Input should be greater than 0, not -1.",
        "Line 23, steps.2.on_failure: Value 'shrug' is not a valid choice.",
        "Line 25, steps.2.files.0.port: 'engine' is not a file port of FMU; it has: weather_file.",
        "Line 26, steps.2.files.1.name: Weather takes .epw; 'a.fmu' is another type of file.",
        "Line 26, steps.2.files.1.base64: This is not base64",
        "Line 30, samples.0.sha256: The file's digest is",
        "Line 31, samples.1.filename: Two samples are called 'a.json'.",
    ]
    assert len(found) == len(expected)
    for problem, start in zip(found, expected, strict=True):
        assert problem.startswith(start)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: x", "Line 1, format: The key 'format' is missing."),
        ("- 1", "Line 1: This is no workflow file"),
        (HEADER + "description: [", "Line 5: This is not YAML"),
        (HEADER + "---\na: 1\n", "Line 5: The file has a second document"),
        (HEADER + 'description: "\\0"', "Line 4, description: A text contains U+0000"),
        ("a" * 10_000_000, "Line 1: The document has 10000000 bytes; at most"),
        (HEADER + "owner: me\n", "Line 4, owner: 'owner' is not a key here."),
        (HEADER + f"{LONG}: me\n", f"Line 4, {shortened(LONG)}: {echo(LONG)} is not a key here."),
        (HEADER.replace("v1", "v9"), "Line 1, format: Input should be 'validibot.workflow.v1'."),
        (HEADER + "steps: 3\n", "Line 4, steps: Input should be a valid list."),
        (HEADER.replace("check", "a b"), "Line 2, slug: Enter a valid “slug”"),
        (HEADER.replace("Check", "x" * 151), "Line 3, name: Ensure this value has at most 150"),
        (HEADER + "samples: [{filename: ../x, text: a}]\n", "Line 4, samples.0.filename: String"),
        (
            HEADER + "samples: [{filename: x, text: a, path: b}]\n",
            "Line 4, samples.0: give only one of `text`, `base64` and `path`.",
        ),
        (HEADER + "samples: [{filename: x, path: b}]\n", "Line 4, samples.0.path: The bundle has"),
        (HEADER + "accepted_types: [json]\n", "Line 4, accepted_types: The extension 'json' must"),
    ],
)
def test_wrong_shape_is_a_problem_with_its_line(
    organisation: Organisation, text: str, problem: str
) -> None:
    assert problems(text, organisation)[0].startswith(problem)


def test_import_without_retention_keeps_it_and_null_removes_it(organisation: Organisation) -> None:
    imported(HEADER + "retention: {input_days: 7, result_days: 30}\n", organisation)

    kept = imported(HEADER, organisation, update=True)
    removed = imported(HEADER + "retention: {input_days: null}\n", organisation, update=True)

    assert (kept.input_retention_days, kept.result_retention_days) == (7, 30)
    assert (removed.input_retention_days, removed.result_retention_days) == (None, 30)


def test_new_workflow_goes_to_the_default_project(organisation: Organisation) -> None:
    default = ProjectFactory.create(organisation=organisation, is_default=True)

    assert imported(HEADER, organisation).project == default


def test_import_changes_retention_of_all_versions(organisation: Organisation) -> None:
    first = imported(HEADER, organisation)
    freeze(first)

    again = imported(HEADER + "retention: {input_days: 7}\n", organisation, update=True)

    first.refresh_from_db()
    assert (again, first.input_retention_days) == (first, 7)
    assert (
        "retention.input_days"
        in problems(HEADER + "retention: {input_days: 0}\n", OrganisationFactory.create())[0]
    )
