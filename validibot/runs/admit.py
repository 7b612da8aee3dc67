"""Admission of a file to a workflow, checked before anything is stored."""

from validibot.runs.backends import get_backend
from validibot.submissions import filetypes
from validibot.workflows.models import Workflow
from validibot.workflows.scenarios import ScenarioError, parse
from validibot.workflows.select import accepted_extensions


class NotAdmitted(Exception):
    """The workflow cannot take the file. `status` is the HTTP status that says so."""

    def __init__(self, code: str, message: str, *, status: int, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.field = field


def check_runnable(workflow: Workflow) -> None:
    """Raise NotAdmitted unless the workflow is active and all its validators are."""
    if not workflow.is_active:
        raise NotAdmitted(
            "WORKFLOW_INACTIVE", f"Workflow {workflow.slug!r} is not active.", status=409
        )
    steps = list(workflow.steps.all())
    if not steps:
        raise NotAdmitted(
            "NO_WORKFLOW_STEPS", f"Workflow {workflow.slug!r} has no steps.", status=400
        )
    for step in steps:
        if not step.validator.is_active:
            raise NotAdmitted(
                "VALIDATOR_UNAVAILABLE",
                f"Step {step.order} uses {step.validator.title}, which is switched off.",
                status=409,
            )


def check_type(workflow: Workflow, filename: str) -> None:
    """Raise NotAdmitted unless the workflow's first step accepts the file's extension."""
    accepted = accepted_extensions(workflow)
    if accepted and filetypes.extension(filename) not in accepted:
        raise NotAdmitted(
            "FILE_TYPE_UNSUPPORTED",
            f"{filename} is not a file that {workflow.name} accepts; "
            f"send one of {', '.join(sorted(accepted))}.",
            status=400,
            field="file",
        )


def check_scenario(workflow: Workflow, scenario: str) -> None:
    """Raise NotAdmitted unless the validators of this workflow, as they run here, can play it."""
    if scenario and (refusal := _refusal(workflow, scenario)):
        raise NotAdmitted("SCENARIO_REFUSED", refusal, status=400, field="scenario")


def _refusal(workflow: Workflow, scenario: str) -> str:
    asked = f"scenario: {scenario[:80]!r} cannot be played"
    if not get_backend().plays_scenarios:
        return f"{asked}: the validators of this server are not mocked. Leave the field out."
    if all(step.validator.in_process for step in workflow.steps.all()):
        return f"{asked}: {workflow.name} has no step that runs in a container."
    try:
        parse(scenario)
    except ScenarioError as error:
        return str(error)
    return ""
