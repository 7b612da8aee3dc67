"""Fixtures of the tests of the editor: a catalogue, and an author who is signed in."""

from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from tests.factories import MembershipFactory, StepFactory, WorkflowFactory
from validibot.accounts.models import Membership, Role
from validibot.web.editor.step_forms import StepForm
from validibot.workflows import editing
from validibot.workflows.catalogue import sync_validators
from validibot.workflows.models import Step, Validator, Workflow
from validibot.workflows.versions import newest


@pytest.fixture(autouse=True)
def catalogue(db: None, settings: Settings, tmp_path: Path) -> None:
    """All validators of the product."""
    settings.DATA_ROOT = tmp_path.as_uri()
    sync_validators(settings.VALIDATORS_DIR)


@pytest.fixture
def author(client: Client) -> Membership:
    """An author of an organisation, signed in to `client`."""
    membership: Membership = MembershipFactory.create(role=Role.AUTHOR)
    client.force_login(membership.user)
    return membership


@pytest.fixture
def org(author: Membership) -> str:
    """The address of the organisation."""
    return f"/app/orgs/{author.organisation.slug}"


def fields_of(form: Any) -> dict[str, Any]:
    """Return what a browser sends for a form or formset that nobody has touched."""
    if hasattr(form, "management_form"):
        sent = fields_of(form.management_form)
        for each in form.forms:
            sent |= fields_of(each)
        return sent
    sent = {}
    for field in form:
        value = field.value()
        if value is None or value is False or value in ("", []) or "file" in field.widget_type:
            continue
        sent[field.html_name] = value
    return sent


@pytest.fixture
def workflow(author: Membership) -> Workflow:
    made: Workflow = WorkflowFactory.create(
        organisation=author.organisation, slug="check", name="Check"
    )
    return made


@pytest.fixture
def step(workflow: Workflow) -> Step:
    made: Step = StepFactory.create(
        workflow=workflow,
        name="Form",
        validator=Validator.objects.get(slug="json-schema"),
        config={"schema": '{"type": "object", "required": ["name"]}'},
    )
    return made


@pytest.fixture
def base(org: str, workflow: Workflow) -> str:
    return f"{org}/workflows/{workflow.slug}"


def shown(form: StepForm) -> dict[str, Any]:
    """Return what a browser sends for all parts of a step's form."""
    parts = [form.texts, form.config.fields, form.files, form.signals, form.assertions]
    sent: dict[str, Any] = {}
    for part in [*parts, *(table for _setting, table in form.config.tables)]:
        sent |= fields_of(part)
    return sent


def step_form(step: Step, **changes: Any) -> dict[str, Any]:
    """Return what a browser sends for the page of a step."""
    form = StepForm(step.validator, step, token=editing.token_of(newest(step.workflow)))
    return {"order": step.order} | shown(form) | changes
