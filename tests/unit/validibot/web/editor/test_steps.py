"""Pages of the steps of a workflow: add, change, order, try; and templates, which have steps."""

import html
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks

from tests.factories import StepFactory, StepFileFactory, started_run
from tests.language_model import StandInModel
from tests.unit.validibot.web.editor.conftest import fields_of, shown, step_form
from tests.unit.validibot.web.editor.test_config_form import CONFIGS
from validibot.accounts.models import Organisation
from validibot.engines import ENGINES, Document
from validibot.runs.execute import execute
from validibot.runs.models import Run
from validibot.web.editor.step_forms import SignalRow, StepForm
from validibot.web.editor.trial import check_step
from validibot.workflows import editing
from validibot.workflows.exporting import export_text
from validibot.workflows.gallery import usable_templates
from validibot.workflows.models import FmuDescription, FmuState, Step, Validator, Workflow
from validibot.workflows.versions import newest

ROOT = Path(__file__).parents[5]
IN_PROCESS = {engine.manifest.slug for engine in ENGINES.values()} - {"fmu-probe"}


def test_new_step_is_added_at_the_end(client: Client, base: str, step: Step) -> None:
    validator = Validator.objects.get(slug="assertions")
    form = StepForm(validator, None, token=editing.token_of(newest(step.workflow)))
    sent = (
        fields_of(form.signals)
        | fields_of(form.texts)
        | fields_of(form.config.fields)
        | fields_of(form.assertions)
    )
    row = {"assertions-TOTAL_FORMS": "1", "assertions-0-severity": "ERROR"}

    answer = client.post(
        f"{base}/validators/{validator.pk}/",
        sent | row | {"assertions-0-expression": "p.area > 0"},
    )

    assert answer.headers["Location"].endswith("/steps/2/")
    assert Step.objects.get(order=2).assertions.get().expression == "p.area > 0"


def test_wrong_expression_is_refused_at_its_field_with_a_hint(
    client: Client, base: str, step: Step
) -> None:
    row = {"assertions-TOTAL_FORMS": "1", "assertions-0-severity": "ERROR"}
    wrong = {"assertions-0-expression": "payload.x ==", "assertions-0-when": "pyload.y"}

    answer = client.post(f"{base}/steps/1/", step_form(step, **row, **wrong))
    page = answer.content.decode()

    assert answer.status_code == 422
    assert page.count("field-error") == 2
    assert "payload" in page.split("field-error")[2]
    assert not step.assertions.exists()


def test_schema_may_be_uploaded(client: Client, base: str, step: Step) -> None:
    schema = SimpleUploadedFile("schema.json", b'{"type": "array"}')

    client.post(f"{base}/steps/1/", step_form(step) | {"config-schema-upload": schema})

    step.refresh_from_db()
    assert step.config == {"schema": '{"type": "array"}'}


def test_fmu_of_a_step_is_read_and_its_names_are_checked(
    client: Client,
    base: str,
    workflow: Workflow,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    step = StepFactory.create(
        workflow=workflow, validator=Validator.objects.get(slug="fmu"), config={}
    )
    model = SimpleUploadedFile(
        "decay.fmu", (ROOT / "validators/fmu/samples/decay.fmu").read_bytes()
    )
    wrong = {"config-output_variables": "levl"}

    with django_capture_on_commit_callbacks(execute=True):
        client.post(f"{base}/steps/1/", step_form(step) | {"files-port-model": model} | wrong)
    page = client.get(f"{base}/steps/1/").content.decode()
    assert "Did you mean &#x27;level&#x27;?" in page
    assert "<code>o.level</code>" not in page  # the step chose other outputs
    step.refresh_from_db()
    refused = client.post(f"{base}/steps/1/", step_form(step))
    assert refused.status_code == 422
    assert "Did you mean" in refused.content.decode().split("field-error")[1]

    client.post(f"{base}/steps/1/", step_form(step) | {"config-output_variables": "level"})
    page = client.get(f"{base}/steps/1/").content.decode()
    step.refresh_from_db()

    assert step.config["output_variables"] == ["level"]
    assert "<code>o.level</code>" in page
    assert "parameter, Real, start 1" in page
    assert 'data-names="model"' in page


@pytest.mark.parametrize("state", FmuState.values)
def test_page_says_what_to_do_with_an_fmu(
    client: Client, base: str, workflow: Workflow, state: str
) -> None:
    step = StepFactory.create(
        workflow=workflow, validator=Validator.objects.get(slug="fmu"), config={}
    )
    file = StepFileFactory.create(step=step, port_key="model", type="fmu_model", name="a.fmu")
    FmuDescription.objects.create(file=file, state=state, error="It is encrypted.")

    page = client.get(f"{base}/steps/1/").content.decode()

    assert ("is being read" in page) == (state == FmuState.PENDING)
    assert ('hx-select="#fmu-card"' in page) == (state == FmuState.PENDING)
    assert ("It is encrypted. Upload another FMU" in page) == (state == FmuState.REFUSED)


def test_weather_is_uploaded_and_removed(client: Client, base: str, workflow: Workflow) -> None:
    step = StepFactory.create(
        workflow=workflow, validator=Validator.objects.get(slug="energyplus"), config={}
    )
    weather = SimpleUploadedFile("a.epw", b"LOCATION")

    client.post(f"{base}/steps/1/", step_form(step) | {"files-port-weather_file": weather})
    assert step.files.get().name == "a.epw"
    client.post(f"{base}/steps/1/", step_form(step) | {"files-remove-weather_file": "on"})
    assert not step.files.exists()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (".epw", "The name '.epw' cannot be used"),
        ("a.fmu", "Weather takes .epw; 'a.fmu' is another type of file. Choose another file."),
    ],
)
def test_file_with_unusable_name_is_refused(
    client: Client, base: str, workflow: Workflow, name: str, reason: str
) -> None:
    step = StepFactory.create(
        workflow=workflow, validator=Validator.objects.get(slug="energyplus"), config={}
    )
    weather = SimpleUploadedFile(name, b"LOCATION")

    answer = client.post(f"{base}/steps/1/", step_form(step) | {"files-port-weather_file": weather})

    assert reason in html.unescape(answer.content.decode())
    assert not step.files.exists()


def test_steps_are_moved_disabled_and_deleted(client: Client, base: str, step: Step) -> None:
    for order in (2, 3):
        StepFactory.create(
            workflow=step.workflow, order=order, name=str(order), validator=step.validator
        )

    def names() -> list[str]:
        return list(step.workflow.steps.values_list("name", flat=True))

    def change(order: int, action: str) -> None:
        token = editing.token_of(newest(step.workflow))
        client.post(f"{base}/steps/{order}/change/", {"token": token, "action": action})

    change(3, "up")
    assert names() == ["Form", "3", "2"]
    change(1, "disable")
    assert not step.workflow.steps.get(order=1).is_enabled
    change(2, "delete")
    assert names() == ["Form", "2"]
    token = editing.token_of(newest(step.workflow))
    client.post(f"{base}/steps/order/", {"token": token, "order": ["2", "1"]})
    assert names() == ["2", "Form"]


@pytest.mark.parametrize("order", [["1"], ["1", "1"], ["2", "9"], ["x"], ["9" * 5000, "1"]])
def test_order_that_names_other_steps_changes_nothing(
    client: Client, base: str, step: Step, order: list[str]
) -> None:
    StepFactory.create(workflow=step.workflow, order=2, validator=step.validator)
    token = editing.token_of(newest(step.workflow))

    page = client.post(f"{base}/steps/order/", {"token": token, "order": order}, follow=True)

    assert "Somebody changed this workflow meanwhile" in page.content.decode()
    assert step.workflow.steps.get(order=1) == step


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"name": "Ada"}', "a.json passes this step."),
        (b"{}", "line 1"),
        (b"{", "does not pass this step"),
    ],
)
def test_trial_shows_findings_without_a_run(
    client: Client, base: str, step: Step, content: bytes, words: str
) -> None:
    file = {"trial-file": SimpleUploadedFile("a.json", content)}
    url = f"{base}/validators/{step.validator_id}/try/"

    page = client.post(url, step_form(step) | file, headers={"HX-Request": "true"})

    assert words in page.content.decode()
    assert not Run.objects.exists()


def test_trial_uses_what_is_typed_and_a_sample(client: Client, base: str, step: Step) -> None:
    sample = step.workflow.samples.create(filename="a.json", content=b'{"name": "A"}', passes=True)
    row = {"assertions-TOTAL_FORMS": "1", "assertions-0-severity": "WARNING"}
    typed = {"assertions-0-expression": "p.name == 'B'", "assertions-0-message": "It is {p.name}."}
    url = f"{base}/validators/{step.validator_id}/try/"

    page = client.post(url, step_form(step, **row, **typed) | {"trial-sample": sample.pk})

    assert "It is A." in page.content.decode()
    assert not step.assertions.exists()


@pytest.mark.parametrize(
    ("name", "expression", "fields"),
    [("rename", "1 +", ["expression"]), ("a b", "1", ["name"]), ("a", "1", [])],
)
def test_error_of_a_signal_is_shown_at_its_field(
    name: str, expression: str, fields: list[str]
) -> None:
    assert list(SignalRow({"name": name, "expression": expression}).errors) == fields


def test_each_template_is_used_and_its_samples_are_right(client: Client, org: str) -> None:
    """In-process templates are checked at once; those of containers by the browser test."""
    for template in usable_templates(Organisation.objects.get(slug=org.rpartition("/")[2])):
        if Validator.objects.filter(slug__in=template.validators, engine="").exists():
            continue
        client.post(f"{org}/templates/use/", {"template": template.slug})
        made = Workflow.objects.get(slug=template.slug)
        (step,) = made.steps.select_related("validator")
        for sample in made.samples.all():
            file = {"trial-sample": sample.pk}
            url = f"{org}/workflows/{made.slug}/validators/{step.validator_id}/try/"
            page = client.post(url, step_form(step) | file).content.decode()
            assert ("passes this step" in page) == sample.passes


def test_file_of_the_documentation_is_imported_and_its_samples_are_right(
    client: Client, org: str
) -> None:
    page = (ROOT / "docs/workflows.md").read_text()
    (text,) = re.findall(r"```yaml\n(format: .*?)```", page, re.DOTALL)

    client.post(f"{org}/import-workflow/", {"text": text})

    made = Workflow.objects.get(slug="room-list")
    assert export_text(made) == text
    for sample in made.samples.all():
        document = Document(bytes(sample.content), sample.filename, "")
        steps = [*made.steps.select_related("validator", "workflow")]
        trials = [check_step(each, list(each.assertions.all()), document) for each in steps]
        assert all(each.passes for each in trials) == sample.passes


def test_template_used_twice_gets_another_slug(client: Client, org: str) -> None:
    for _ in range(2):
        client.post(f"{org}/templates/use/", {"template": "meter-readings-schema"})

    assert Workflow.objects.filter(slug="meter-readings-schema-2").exists()


@pytest.mark.parametrize(("slug", "config"), [each for each in CONFIGS if each[0] in IN_PROCESS])
def test_step_of_each_validator_is_saved_and_run(
    client: Client,
    base: str,
    workflow: Workflow,
    slug: str,
    config: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The form of each validator that runs in Django gives a step that a run can execute."""
    monkeypatch.setattr(
        "validibot.runs.execute.language_model_of", lambda _organisation: StandInModel()
    )
    validator = Validator.objects.get(slug=slug)
    described = Step(validator=validator, workflow=workflow, name=slug, config=config, order=1)

    answer = client.post(f"{base}/validators/{validator.pk}/", step_form(described))

    assert answer.headers["Location"].endswith("/steps/1/")
    step = workflow.steps.get()
    assert step.config == config
    run = started_run(step=step)
    execute(run.pk)
    run.refresh_from_db()
    assert run.result in ("PASS", "FAIL")


def test_settings_of_a_table_are_inferred_and_not_saved(
    client: Client, base: str, workflow: Workflow
) -> None:
    config = {"columns": [{"name": "old"}], "row_rules": [{"expression": "row.kwh > 0.0"}]}
    table = StepFactory.create(
        workflow=workflow, validator=Validator.objects.get(slug="tabular"), config=config
    )
    sample = SimpleUploadedFile("a.csv", b"id;kwh\nM-1;0.5\nM-2;1.5\nM-3;2.5\n")
    url = f"{base}/validators/{table.validator_id}/infer/"

    answer = client.post(url, step_form(table, name="Meters") | {"trial-file": sample})

    form = answer.context["form"]
    assert (answer.status_code, form.texts["name"].value()) == (200, "Meters")
    inferred = StepForm(
        table.validator, None, token="", data=shown(form) | {"name": "Meters"}
    ).config
    assert inferred.is_valid()
    found = inferred.config()
    assert [each["name"] for each in found["columns"]] == ["id", "kwh"]
    assert "<code>row.kwh</code>" in answer.content.decode()
    assert 'data-names="row"' in answer.content.decode()
    assert (found["primary_key"], found["delimiter"]) == (["id"], ";")
    assert found["row_rules"] == config["row_rules"]
    assert f'action="{base}/steps/{table.order}/"' in answer.content.decode()
    table.refresh_from_db()
    assert table.config == config


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "is empty"), (b"PK\x03\x04 no", "is damaged"), (None, "Choose a")]
)
def test_table_that_cannot_be_inferred_is_reported(
    client: Client, base: str, workflow: Workflow, content: bytes | None, reason: str
) -> None:
    table = Validator.objects.get(slug="tabular")
    file = {} if content is None else {"trial-file": SimpleUploadedFile("a.csv", content)}
    form = StepForm(table, None, token=editing.token_of(newest(workflow)))

    answer = client.post(f"{base}/validators/{table.pk}/infer/", shown(form) | file)

    assert answer.status_code == 200
    assert reason in " ".join(map(str, answer.context["messages"]))
