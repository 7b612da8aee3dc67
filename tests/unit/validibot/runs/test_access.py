"""Access to runs: what refuses a launch, with code, status and field, and who may see and cancel."""

import io
from collections.abc import Callable

import pytest
from django.utils import timezone
from pytest_django import Settings

from tests.factories import OrganisationFactory, RunFactory, StepFactory, UserFactory
from validibot.accounts.scope import Scope
from validibot.core.echo import echo
from validibot.runs import access
from validibot.runs.access import NotAdmitted
from validibot.submissions.content import IncomingFile
from validibot.workflows.models import Step, Validator, Workflow

pytestmark = pytest.mark.django_db


@pytest.fixture
def step() -> Step:
    return StepFactory.create(
        workflow__slug="people",
        workflow__name="People",
        workflow__organisation__name="Acme",
        validator__title="JSON Schema",
    )


def check_further_files(workflow: Workflow) -> None:
    files = [IncomingFile(io.BytesIO(), f"{name}.csv", 0, "") for name in "abcdefg"]
    access.check_further_files(workflow, files)


def check_csv_only(workflow: Workflow) -> None:
    port = {"channel": "further_files", "extensions": [".csv"]}
    Validator.objects.update(accepts_further_files=True, ports=[port])
    files = [IncomingFile(io.BytesIO(), name, 0, "") for name in ("a.CSV", "b.fmu")]
    access.check_further_files(Workflow.objects.get(), files)


def check_type(workflow: Workflow) -> None:
    workflow.accepted_types = [".xml", ".json"]
    access.check_type(workflow, "a.txt")


def check_disabled(workflow: Workflow) -> None:
    workflow.steps.update(is_enabled=False)
    access.check_runnable(workflow)


def check_inactive(workflow: Workflow) -> None:
    workflow.is_active = False
    access.check_runnable(workflow)


def check_validator(workflow: Workflow) -> None:
    validator = workflow.steps.get().validator
    validator.is_active = False
    validator.save()
    access.check_runnable(workflow)


def check_deleted(workflow: Workflow) -> None:
    workflow.organisation.deletion_requested_at = timezone.now()
    workflow.organisation.save()
    access.check_organisation(workflow.organisation)


@pytest.mark.parametrize(
    ("check", "code", "status", "field", "message"),
    [
        (check_inactive, "WORKFLOW_INACTIVE", 409, "", "Workflow 'people' is archived."),
        (
            check_disabled,
            "NO_WORKFLOW_STEPS",
            400,
            "",
            "Workflow 'people' has no steps that are enabled.",
        ),
        (
            check_validator,
            "VALIDATOR_UNAVAILABLE",
            409,
            "",
            "Step 1 uses JSON Schema, which is switched off.",
        ),
        (
            check_deleted,
            "ORGANISATION_DELETED",
            410,
            "",
            "Acme is being deleted and takes no further runs.",
        ),
        (
            check_type,
            "FILE_TYPE_UNSUPPORTED",
            400,
            "file",
            "a.txt is not a file that People accepts; send one of .json, .xml.",
        ),
        (
            check_further_files,
            "FURTHER_FILES_UNSUPPORTED",
            400,
            "files",
            (
                "a.csv, b.csv, c.csv, d.csv, e.csv cannot be sent beside the file: no validator of"
                " People takes further files. Send one file."
            ),
        ),
        (
            check_csv_only,
            "FURTHER_FILE_TYPE_UNSUPPORTED",
            400,
            "files",
            (
                "b.fmu cannot be sent beside the file: no validator of People takes further files of this"
                " type. Leave out what is not one of .csv."
            ),
        ),
        (
            lambda workflow: access.chosen_weather(workflow, "Golden"),
            "WEATHER_UNSUPPORTED",
            400,
            "weather",
            (
                "weather: 'Golden' cannot be used, because no validator of People takes weather."
                " Leave the field out."
            ),
        ),
        (
            lambda workflow: access.check_scenario(workflow, "pass"),
            "SCENARIO_REFUSED",
            400,
            "scenario",
            "scenario: 'pass' cannot be used: People has no step that runs in a container.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isupper() else "",
)
def test_refused_launch_names_code_status_field_and_reason(
    step: Step,
    check: Callable[[Workflow], object],
    code: str,
    status: int,
    field: str,
    message: str,
) -> None:
    with pytest.raises(NotAdmitted) as raised:
        check(step.workflow)

    error = raised.value
    assert (error.code, error.status, error.field) == (code, status, field)
    assert (str(error), error.message, error.headers) == (message, message, {})


def test_launch_over_quota_may_be_tried_again_later(step: Step, settings: Settings) -> None:
    settings.LAUNCH_QUOTA = 1
    RunFactory.create(workflow=step.workflow, status="RUNNING")

    with pytest.raises(NotAdmitted) as raised:
        access.check_organisation(step.workflow.organisation)

    assert (raised.value.code, raised.value.status) == ("LAUNCH_QUOTA_EXCEEDED", 429)
    assert raised.value.headers == {"Retry-After": "30"}
    assert str(raised.value) == (
        "Acme has 1 unfinished runs, which is its quota."
        " Wait until some of them have ended, or ask the operator for a larger quota."
    )


def test_scenario_is_refused_unless_validators_are_mocked(step: Step, settings: Settings) -> None:
    settings.EXECUTION_BACKENDS = {
        "default": {"BACKEND": "validibot.runs.backends.subprocess.SubprocessBackend"}
    }

    access.check_scenario(step.workflow, "")
    with pytest.raises(NotAdmitted) as raised:
        access.check_scenario(step.workflow, "x" * 100)

    assert str(raised.value) == (
        f"scenario: {echo('x' * 100)} cannot be used: the validators of this server are not mocked."
        " Leave the field out."
    )


@pytest.mark.parametrize(
    ("permissions", "workflows", "seen"),
    [
        ({"run.view_all"}, None, {"own", "elsewhere", "of others"}),
        ({"run.view_own"}, None, {"own", "elsewhere"}),
        ({"run.view_own"}, {"people"}, {"own"}),
        ({"run.launch"}, None, set()),
    ],
    ids=["all", "own", "guest", "none"],
)
def test_visible_runs_depend_on_permissions(
    step: Step, permissions: set[str], workflows: set[str] | None, seen: set[str]
) -> None:
    user, organisation = UserFactory.create(), step.workflow.organisation
    elsewhere = StepFactory.create(workflow__organisation=organisation).workflow
    runs = {
        RunFactory.create(workflow=step.workflow, user=user): "own",
        RunFactory.create(workflow=elsewhere, user=user): "elsewhere",
        RunFactory.create(workflow=step.workflow, user=UserFactory.create()): "of others",
        RunFactory.create(user=user): "of another organisation",
    }
    visible = workflows if workflows is None else frozenset(workflows)

    found = access.visible_runs(
        Scope(user, organisation, frozenset(permissions), workflows=visible)
    )

    assert {runs[run] for run in found} == seen


@pytest.mark.parametrize("permission", ["run.cancel_own", "run.cancel_all"])
@pytest.mark.parametrize("is_own", [True, False])
def test_run_may_be_cancelled_with_the_permission_for_it(permission: str, is_own: bool) -> None:
    user = UserFactory.create()
    run = RunFactory.build(user=user if is_own else UserFactory.create())
    scope = Scope(user, OrganisationFactory.create(), frozenset({permission}))

    assert access.may_cancel(scope, run) == ((permission == "run.cancel_own") == is_own)
