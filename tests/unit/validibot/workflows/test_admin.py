"""Workflows in the admin site."""

import pytest
from django.test import Client

from tests.factories import StepFileFactory, ValidatorFactory
from validibot.accounts.models import Organisation, User
from validibot.workflows.models import Assertion, Step, Validator, Workflow
from validibot.workflows.versions import freeze

pytestmark = pytest.mark.django_db


@pytest.fixture
def step() -> Step:
    organisation = Organisation.objects.create(name="Org", slug="org")
    workflow = Workflow.objects.create(organisation=organisation, slug="w", name="W")
    port = {"port_key": "p", "type": "t", "channel": "resource_files", "name": "File"}
    validator = Validator.objects.create(
        slug="v", version="1", title="V", validation_type="BASIC", ports=[port]
    )
    step = Step.objects.create(workflow=workflow, order=1, name="One", validator=validator)
    Assertion.objects.create(step=step, order=1, expression="true")
    StepFileFactory.create(step=step, port_key="p")
    return step


@pytest.fixture
def admin(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root@example.com"))
    return client


def test_pages_of_all_models_are_shown(admin: Client, step: Step) -> None:
    for model, pk in (
        ("workflow", step.workflow_id),
        ("step", step.pk),
        ("validator", step.validator_id),
    ):
        assert admin.get(f"/admin/workflows/{model}/").status_code == 200
        assert admin.get(f"/admin/workflows/{model}/{pk}/change/").status_code == 200


def save(admin: Client, step: Step, expression: str, **fields: str) -> str:
    assertion = step.assertions.get()
    form = {
        "workflow": step.workflow_id,
        "order": 1,
        "name": "One",
        "validator": step.validator_id,
        "config": "{}",
        "initial-config": "{}",
        "is_enabled": "on",
        "on_failure": "stop",
        "severity": "ERROR",
        "assertions-TOTAL_FORMS": 1,
        "assertions-INITIAL_FORMS": 1,
        "assertions-0-id": assertion.pk,
        "assertions-0-step": step.pk,
        "assertions-0-order": 1,
        "assertions-0-severity": "ERROR",
        "assertions-0-expression": expression,
        "files-TOTAL_FORMS": 0,
        "files-INITIAL_FORMS": 0,
    }
    return admin.post(f"/admin/workflows/step/{step.pk}/change/", form | fields).content.decode()


def test_assertion_is_changed(admin: Client, step: Step) -> None:
    save(admin, step, "payload.x > 1")

    assert step.assertions.get().expression == "payload.x > 1"


def test_wrong_expression_is_refused(admin: Client, step: Step) -> None:
    assert "Unknown name" in save(admin, step, "foo > 1")
    assert step.assertions.get().expression == "true"


def test_unknown_scenario_is_refused_and_known_one_saved(admin: Client, step: Step) -> None:
    page = save(admin, step, "true", scenario="explode")
    assert "is not a scenario. Choose one of pass" in page

    save(admin, step, "true", scenario="fail(3)")

    step.refresh_from_db()
    assert step.scenario == "fail(3)"


def test_edit_of_frozen_assertion_makes_next_version(admin: Client, step: Step) -> None:
    freeze(step.workflow)

    save(admin, step, "payload.x > 1", name="Renamed")

    step.refresh_from_db()
    assert (step.name, step.assertions.get().expression) == ("One", "true")
    copy = Step.objects.get(workflow__slug="w", workflow__version=2)
    assert (copy.name, copy.assertions.get().expression) == ("Renamed", "payload.x > 1")
    assert copy.files.count() == 1


def test_save_of_frozen_step_without_edit_makes_no_version(admin: Client, step: Step) -> None:
    freeze(step.workflow)

    save(admin, step, "true")

    assert Workflow.objects.count() == 1


def workflow_form(step: Step, **fields: object) -> dict[str, object]:
    form = {
        "organisation": step.workflow.organisation_id,
        "slug": "w",
        "name": "W",
        "constants": "[]",
        "initial-constants": "[]",
        "is_active": "on",
        "steps-TOTAL_FORMS": 1,
        "steps-INITIAL_FORMS": 1,
        "steps-0-id": step.pk,
        "steps-0-workflow": step.workflow_id,
        "steps-0-order": 1,
        "steps-0-name": "One",
        "steps-0-validator": step.validator_id,
        "steps-0-config": "{}",
        "initial-steps-0-config": "{}",
        "samples-TOTAL_FORMS": 0,
        "samples-INITIAL_FORMS": 0,
    }
    return form | fields


def test_edit_of_frozen_workflow_makes_next_version(admin: Client, step: Step) -> None:
    freeze(step.workflow)
    path = f"/admin/workflows/workflow/{step.workflow_id}/change/"

    answer = admin.post(path, workflow_form(step, **{"steps-0-name": "Two", "name": "W2"}))

    assert answer.status_code == 302
    step.refresh_from_db()
    assert (step.name, step.workflow.name) == ("One", "W")
    new = Workflow.objects.get(version=2)
    assert (new.name, new.steps.get().name, new.is_frozen) == ("W2", "Two", False)


def test_frozen_workflow_is_deactivated_in_place(admin: Client, step: Step) -> None:
    freeze(step.workflow)
    form = workflow_form(step)
    del form["is_active"]

    admin.post(f"/admin/workflows/workflow/{step.workflow_id}/change/", form)

    assert not Workflow.objects.get().is_active


def test_deletion_of_frozen_step_makes_next_version(admin: Client, step: Step) -> None:
    freeze(step.workflow)

    admin.post(f"/admin/workflows/step/{step.pk}/delete/", {"post": "yes"})

    assert Step.objects.get() == step
    assert Workflow.objects.get(version=2).steps.count() == 0


def test_unknown_setting_of_step_is_refused(admin: Client, step: Step) -> None:
    page = save(admin, step, "true", config='{"schmea": 1}', validator=str(json_schema().pk))

    assert "`schmea`: This is not a setting of JSON Schema" in page


def json_schema() -> Validator:
    validator: Validator = ValidatorFactory.create(engine="json_schema")
    return validator
