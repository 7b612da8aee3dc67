"""Workflows in the admin."""

import pytest
from django.test import Client

from tests.factories import StepFileFactory
from validibot.accounts.models import Organisation, User
from validibot.workflows.models import Assertion, Step, Validator, Workflow

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


def test_every_page_can_be_shown(admin: Client, step: Step) -> None:
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


def test_an_assertion_can_be_changed(admin: Client, step: Step) -> None:
    save(admin, step, "payload.x > 1")

    assert step.assertions.get().expression == "payload.x > 1"


def test_a_wrong_expression_is_refused(admin: Client, step: Step) -> None:
    assert "undeclared reference" in save(admin, step, "foo > 1")
    assert step.assertions.get().expression == "true"


def test_a_step_can_be_given_a_scenario_that_there_is(admin: Client, step: Step) -> None:
    page = save(admin, step, "true", scenario="explode")
    assert "is no scenario. Choose one of pass" in page

    save(admin, step, "true", scenario="fail(3)")

    step.refresh_from_db()
    assert step.scenario == "fail(3)"
