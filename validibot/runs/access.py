"""Access to runs: who may see and cancel them, and whether a workflow takes a file now.

Admission is checked before anything is stored.

The launch quota counts the unfinished runs of the organisation in the database, so all instances
share it. Launches at the same moment may exceed it by as many as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from validibot.accounts.models import Organisation
from validibot.accounts.regions import OrganisationElsewhere, check_served
from validibot.accounts.scope import Scope
from validibot.core.echo import echo, shortened
from validibot.core.site_limits import MEGABYTE
from validibot.runs.backends import get_backend
from validibot.runs.models import Run
from validibot.submissions.content import IncomingFile, extension
from validibot.workflows.inputs import input_faults
from validibot.workflows.models import WEATHER_TYPE, WeatherFile, WeatherUnknown, Workflow
from validibot.workflows.scenarios import ScenarioError, parse
from validibot.workflows.select import accepted_extensions, enabled_steps

QUOTA_RETRY_SECONDS = 30
# Reads no more rows than the quota, of the partial index `unfinished_runs_of`.
_COUNT_UNFINISHED = """
SELECT is_deleted, site.largest_file_megabytes, account.balance,
    coalesce(concurrent_runs, site.concurrent_runs_per_organisation, 0), quota, (
    SELECT count(*) FROM (
        SELECT FROM runs_run
        WHERE organisation_id = %s AND status IN ('PENDING', 'RUNNING') LIMIT quota
    ) AS unfinished
)
FROM (
    SELECT coalesce(launch_quota, %s) AS quota, deletion_requested_at IS NOT NULL AS is_deleted,
        concurrent_runs
    FROM accounts_organisation WHERE id = %s
) AS own LEFT JOIN core_sitesettings site ON true
LEFT JOIN credits_creditaccount account ON account.organisation_id = %s AND account.is_limited
"""
# The row of an organisation that was deleted meanwhile.
_GONE = (True, None, None, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class RunLimits:
    """The limits that the transaction of a start checks: credits, and the number of runs at once."""

    has_credits: bool
    has_concurrency: bool


class NotAdmitted(Exception):
    """The workflow cannot take the file. `status` is the HTTP status that says so.

    `retry_after` is the number of seconds after which another try may succeed, or 0. `inputs` says
    what is wrong with the metadata, by the name of the input.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        status: int,
        field: str = "",
        retry_after: int = 0,
        inputs: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status
        self.field = field
        self.retry_after = retry_after
        self.inputs = inputs or {}

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)} if self.retry_after else {}


class CreditsExhausted(NotAdmitted):
    """The organisation has fewer credits than the run costs."""

    def __init__(self, organisation: str, *, balance: int, price: int) -> None:
        super().__init__(
            "CREDITS_EXHAUSTED",
            f"This run costs {price:,} credits, and {organisation} has {balance:,} left. Ask the operator"
            " for more, or choose a workflow that costs less.",
            status=402,
        )
        self.balance = balance
        self.price = price


def visible_runs(scope: Scope) -> "QuerySet[Run]":
    """Return the runs of the organisation that the user may see."""
    runs = Run.objects.filter(organisation=scope.organisation)
    if scope.can("run.view_all"):
        return runs
    if not scope.can("run.view_own"):
        return runs.none()
    own = runs.filter(user=scope.user)
    return own if scope.workflows is None else own.filter(workflow__slug__in=scope.workflows)


def may_cancel(scope: Scope, run: Run) -> bool:
    own = run.user_id == scope.user.pk
    return scope.can("run.cancel_own" if own else "run.cancel_all")


def check_runnable(workflow: Workflow) -> None:
    """Raise NotAdmitted unless the workflow is active and all its validators are."""
    if not workflow.is_active:
        raise NotAdmitted(
            "WORKFLOW_INACTIVE", f"Workflow {echo(workflow.slug)} is archived.", status=409
        )
    steps = enabled_steps(workflow)
    if not steps:
        raise NotAdmitted(
            "NO_WORKFLOW_STEPS",
            f"Workflow {echo(workflow.slug)} has no steps that are enabled.",
            status=400,
        )
    for step in steps:
        if not step.validator.is_active:
            raise NotAdmitted(
                "VALIDATOR_UNAVAILABLE",
                f"Step {step.order} uses {step.validator.title}, which is switched off.",
                status=409,
            )


def check_organisation(
    organisation: Organisation, *, size_bytes: int = 0, price: int = 0
) -> RunLimits:
    """Raise NotAdmitted if the organisation is being deleted, or has as many runs as it may.

    Also for files that are together larger than the site setting for the largest file, and for a run
    that costs more credits than are left. Return the limits that the transaction of the start checks.
    """
    try:
        check_served(organisation)
    except OrganisationElsewhere as error:
        raise NotAdmitted("ORGANISATION_ELSEWHERE", str(error), status=421) from error
    with connection.cursor() as cursor:
        owner = organisation.pk
        cursor.execute(_COUNT_UNFINISHED, [owner, settings.LAUNCH_QUOTA, owner, owner])
        is_deleted, largest, balance, at_once, quota, unfinished = cursor.fetchone() or _GONE
    if is_deleted:
        raise NotAdmitted(
            "ORGANISATION_DELETED",
            f"{organisation.name} is being deleted and takes no further runs.",
            status=410,
        )
    if largest is not None and size_bytes > largest * MEGABYTE:
        raise NotAdmitted(
            "PAYLOAD_TOO_LARGE",
            f"{size_bytes:,} bytes were sent; this site takes at most {largest:,} MB (the site setting"
            " “largest file in MB”). Send less, or ask the operator for a larger limit.",
            status=413,
            field="file",
        )
    if 0 < quota <= unfinished:
        raise NotAdmitted(
            "LAUNCH_QUOTA_EXCEEDED",
            f"{organisation.name} has {unfinished:,} unfinished runs, which is its quota."
            " Wait until some of them have ended, or ask the operator for a larger quota.",
            status=429,
            retry_after=QUOTA_RETRY_SECONDS,
        )
    if balance is not None and balance < price:
        raise CreditsExhausted(organisation.name, balance=balance, price=price)
    return RunLimits(has_credits=balance is not None, has_concurrency=at_once > 0)


def check_type(workflow: Workflow, filename: str) -> None:
    """Raise NotAdmitted unless the workflow's first step accepts the file's extension."""
    accepted = accepted_extensions(workflow)
    if accepted and extension(filename) not in accepted:
        raise NotAdmitted(
            "FILE_TYPE_UNSUPPORTED",
            f"{shortened(filename)} is not a file that {workflow.name} accepts; "
            f"send one of {', '.join(sorted(accepted))}.",
            status=400,
            field="file",
        )


def check_further_files(workflow: Workflow, files: Sequence[IncomingFile]) -> None:
    """Raise NotAdmitted for further files that no validator of the workflow takes."""
    if not files:
        return
    taking = [
        step.validator for step in enabled_steps(workflow) if step.validator.accepts_further_files
    ]
    limits = [each.further_file_extensions for each in taking]
    if taking and not all(limits):
        return
    known = sorted({each for limit in limits for each in limit})
    refused = [file.filename for file in files if extension(file.filename) not in known]
    if not refused:
        return
    names = ", ".join(refused[:5])
    code, why = "FURTHER_FILES_UNSUPPORTED", "takes further files. Send one file."
    if taking:
        code = "FURTHER_FILE_TYPE_UNSUPPORTED"
        why = f"takes further files of this type. Leave out what is not one of {', '.join(known)}."
    raise NotAdmitted(
        code,
        f"{names} cannot be sent beside the file: no validator of {workflow.name} {why}",
        status=400,
        field="files",
    )


def check_inputs(workflow: Workflow, metadata: Mapping[str, str]) -> None:
    """Raise NotAdmitted unless the metadata is as the workflow's schema says."""
    if faults := input_faults(workflow.input_schema, metadata):
        listed = "; ".join(f"{name or 'metadata'}: {fault}" for name, fault in faults.items())
        raise NotAdmitted(
            "METADATA_INVALID",
            f"metadata: {listed[:1500]}",
            status=400,
            field="metadata",
            inputs=faults,
        )


def chosen_weather(workflow: Workflow, asked: str) -> dict[int, dict[str, Any]]:
    """Return the catalogue entries that the steps are to use, by the key of the step.

    `asked` is the name in the launch, which is used instead of those of the steps. Raises NotAdmitted
    for an unknown name, and if a name is asked for and no step takes weather.
    """
    names = {
        step.pk: asked or step.weather
        for step in enabled_steps(workflow)
        if step.validator.takes_weather and (asked or step.weather)
    }
    if asked and not names:
        raise NotAdmitted(
            "WEATHER_UNSUPPORTED",
            f"weather: {echo(asked)} cannot be used, because no validator of {workflow.name} takes"
            " weather. Leave the field out.",
            status=400,
            field="weather",
        )
    try:
        entries = {name: WeatherFile.named(name) for name in set(names.values())}
    except WeatherUnknown as error:
        raise NotAdmitted("WEATHER_UNKNOWN", str(error), status=400, field="weather") from error
    return {
        key: {name: getattr(entries[chosen], name) for name in ("name", "location", "files")}
        for key, chosen in names.items()
    }


def check_step_files(workflow: Workflow, weather: Mapping[int, Mapping[str, Any]]) -> None:
    """Raise NotAdmitted if a step lacks a file that its validator requires.

    `weather` are the entries that were chosen, by the key of the step. Mocked validators read no files.
    The error has no field: people with a public link cannot choose, and are not shown the step.
    """
    if get_backend().plays_scenarios:
        return
    for step in enabled_steps(workflow):
        given = {file["port_key"] for file in weather.get(step.pk, {}).get("files", ())}
        for port in step.validator.required_ports:
            if port["port_key"] in given or step.files.filter(port_key=port["port_key"]).exists():
                continue
            is_weather = port["type"] == WEATHER_TYPE
            remedy = (
                "Name weather of the catalogue in this launch, or choose" if is_weather else "Add"
            )
            raise NotAdmitted(
                "STEP_FILE_MISSING",
                f"Step {step.order}, {step.name}, has no file for {echo(port['name'])}, which"
                f" {step.validator.title} needs. {remedy} it in the step.",
                status=409,
            )


def check_scenario(workflow: Workflow, scenario: str) -> None:
    """Raise NotAdmitted unless the validators of this workflow, as they run here, can play it."""
    if scenario and (refusal := _refusal(workflow, scenario)):
        raise NotAdmitted("SCENARIO_REFUSED", refusal, status=400, field="scenario")


def _refusal(workflow: Workflow, scenario: str) -> str:
    asked = f"scenario: {echo(scenario)} cannot be used"
    if not get_backend().plays_scenarios:
        return f"{asked}: the validators of this server are not mocked. Leave the field out."
    if all(step.validator.in_process for step in enabled_steps(workflow)):
        return f"{asked}: {workflow.name} has no step that runs in a container."
    try:
        parse(scenario)
    except ScenarioError as error:
        return str(error)
    return ""
