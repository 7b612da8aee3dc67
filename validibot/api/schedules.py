"""The API of schedules, which start runs of a workflow at set times."""

import base64
import binascii
import datetime as dt
from typing import Annotated, Any, Self

from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpResponse
from django.utils import timezone
from pydantic import BaseModel, Field
from rest_framework.request import Request

from validibot.api import schema
from validibot.api.access import scope_in, workflow_of
from validibot.api.base import ApiView, check_unchanged, operation
from validibot.api.bodies import Body, read_body, refusals
from validibot.api.documents import ListPage, Name, respond
from validibot.api.lists import PathCursorPagination
from validibot.core.echo import echo
from validibot.core.problems import ApiError
from validibot.runs import queue
from validibot.submissions.intake import IntakeError, read_metadata
from validibot.workflows import schedules
from validibot.workflows.document import FILE_NAME
from validibot.workflows.inputs import input_faults
from validibot.workflows.models import Workflow, WorkflowSchedule

# The kept file as base64, and the other fields.
MAX_BODY_BYTES = schedules.MAX_FILE_BYTES * 4 // 3 + 64 * 1024
_FIELDS = ("name", "cron", "time_zone", "url", "metadata")

type Cron = Annotated[str, Field(max_length=100)]
type Zone = Annotated[str, Field(max_length=50)]
type Address = Annotated[str, Field(min_length=1, max_length=500)]
type Metadata = dict[str, str]


class KeptFile(Body):
    """A file that a schedule keeps; `base64` is its content."""

    name: str = Field(max_length=200, pattern=FILE_NAME)
    base64: str


class NewSchedule(Body):
    """A schedule to be created, with the address of its file or with a file to keep."""

    name: Name
    cron: Cron
    time_zone: Zone = "UTC"
    url: Address = ""
    file: KeptFile | None = None
    metadata: Metadata = {}


class ScheduleChange(Body):
    """The settings of a schedule that are to be changed; those that are left out stay."""

    name: Name | None = None
    cron: Cron | None = None
    time_zone: Zone | None = None
    url: Address | None = None
    file: KeptFile | None = None
    metadata: Metadata | None = None
    is_paused: bool | None = None


class ScheduleDocument(BaseModel):
    """A schedule. `next_at` is missing while it is paused; `error` tells why the last time failed."""

    id: int
    name: str
    cron: str
    time_zone: str
    url: str
    filename: str = Field(description="The name of the kept file.")
    size_bytes: int
    metadata: Metadata
    user: int | None = Field(description="The user whose runs they are.")
    is_paused: bool
    next_at: dt.datetime | None
    last_at: dt.datetime | None
    error: str
    created_at: dt.datetime

    @classmethod
    def of(cls, schedule: WorkflowSchedule) -> Self:
        names = cls.model_fields.keys() - {"id", "user"}
        fields: dict[str, Any] = {name: getattr(schedule, name) for name in names}
        return cls(id=schedule.pk, user=schedule.created_by_id, **fields)


class SchedulePage(ListPage[ScheduleDocument]):
    """A page of schedules."""


class SchedulesView(ApiView):
    """The schedules of a workflow, by name."""

    @operation(
        operation_id="list_schedules", parameters=schema.PAGE, responses=schema.read(SchedulePage)
    )
    def get(self, request: Request, org: str, workflow: str) -> HttpResponse:
        listed = schedules.schedules_of(_workflow(request, org, workflow))
        pages = PathCursorPagination(listed, "name")
        return pages.answer(request, ScheduleDocument.of, SchedulePage)

    @operation(
        operation_id="create_schedule",
        request=NewSchedule,
        responses=schema.answers(ScheduleDocument, 413, 415, status=201),
    )
    def post(self, request: Request, org: str, workflow: str) -> HttpResponse:
        """Create a schedule; its runs are those of the user."""
        scope, found = scope_in(request, org), _workflow(request, org, workflow)
        body = read_body(request, NewSchedule, limit=MAX_BODY_BYTES)
        with refusals():
            body.metadata = _checked(found, body.metadata)
            fields = body.model_dump(include={*_FIELDS})
            made = schedules.create(found, user=scope.user, file=_kept(body.file), **fields)
        place = (
            f"/api/v1/orgs/{scope.organisation.slug}/workflows/{found.slug}/schedules/{made.pk}/"
        )
        return respond(ScheduleDocument.of(made), status=201, headers={"Location": place})


class ScheduleView(ApiView):
    """One schedule."""

    @operation(operation_id="get_schedule", responses=schema.read(ScheduleDocument))
    def get(self, request: Request, org: str, workflow: str, schedule: int) -> HttpResponse:
        found = _find(_workflow(request, org, workflow), schedule)
        return respond(ScheduleDocument.of(found))

    @operation(
        operation_id="change_schedule",
        parameters=[schema.IF_MATCH],
        request=ScheduleChange,
        responses=schema.answers(ScheduleDocument, 412, 413, 415),
    )
    def patch(self, request: Request, org: str, workflow: str, schedule: int) -> HttpResponse:
        """Change the settings that are sent; `is_paused` pauses or resumes.

        The runs of a schedule that is resumed are those of the user from then on.
        """
        scope, of = scope_in(request, org), _workflow(request, org, workflow)
        _find(of, schedule)
        body = read_body(request, ScheduleChange, limit=MAX_BODY_BYTES)
        with transaction.atomic(), refusals():
            found = _find(of, schedule, lock=True)
            check_unchanged(request, ScheduleDocument.of(found))
            if body.model_fields_set - {"is_paused"}:
                _change(of, found, body)
            if body.is_paused:
                schedules.pause(found)
            elif body.is_paused is not None:
                schedules.resume(found, user=scope.user)
        return respond(ScheduleDocument.of(_find(of, schedule)))

    @operation(
        operation_id="delete_schedule",
        parameters=[schema.IF_MATCH],
        responses=schema.answers(None, 412, status=204),
    )
    def delete(self, request: Request, org: str, workflow: str, schedule: int) -> HttpResponse:
        """Delete the schedule; its runs stay."""
        of = _workflow(request, org, workflow)
        with transaction.atomic():
            found = _find(of, schedule, lock=True)
            check_unchanged(request, ScheduleDocument.of(found))
            schedules.delete(found)
        return HttpResponse(status=204)


class ScheduleRunView(ApiView):
    """Start the run of the schedule now; its next times stay."""

    @operation(
        operation_id="run_schedule",
        request=None,
        responses=schema.answers(ScheduleDocument, 409, status=202),
    )
    def post(self, request: Request, org: str, workflow: str, schedule: int) -> HttpResponse:
        found = _find(_workflow(request, org, workflow), schedule)
        try:
            found = schedules.run_now(found)
        except ValidationError as error:
            raise ApiError(409, "SCHEDULE_PAUSED", error.messages[0]) from error
        queue.enqueue_schedule(found, timezone.now())
        return respond(ScheduleDocument.of(found), status=202)


def _workflow(request: Request, org: str, ident: str) -> Workflow:
    scope = scope_in(request, org, "workflow.view")
    found = workflow_of(request, scope, ident)
    scope_in(request, org, "workflow.edit")
    return found


def _find(workflow: Workflow, pk: int, *, lock: bool = False) -> WorkflowSchedule:
    listed = schedules.schedules_of(workflow)
    found = (listed.select_for_update() if lock else listed).filter(pk=pk).first()
    if found is None:
        raise ApiError(404, "NOT_FOUND", f"Workflow {echo(workflow.slug)} has no schedule {pk}.")
    return found


def _change(workflow: Workflow, schedule: WorkflowSchedule, body: ScheduleChange) -> None:
    """Change what the body names; a file replaces the address, and the other way round."""
    sent = {name: value for name in _FIELDS if (value := getattr(body, name)) is not None}
    fields = {name: getattr(schedule, name) for name in _FIELDS} | sent
    if body.file and "url" not in sent:
        fields["url"] = ""
    fields["metadata"] = _checked(workflow, fields["metadata"])
    schedules.change(schedule, file=_kept(body.file), **fields)


def _kept(file: KeptFile | None) -> tuple[str, bytes] | None:
    """Return the name and the content of a file. Raises ValidationError."""
    if file is None:
        return None
    try:
        return file.name, base64.b64decode(file.base64, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValidationError(
            {"file": f"`base64` of {echo(file.name)} is not base64: {error}."}
        ) from None


def _checked(workflow: Workflow, metadata: dict[str, str]) -> dict[str, str]:
    """Return metadata as a launch takes it. Raises ValidationError, also for refused inputs."""
    try:
        metadata = read_metadata(metadata)
    except IntakeError as error:
        raise ValidationError({"metadata": str(error)}) from None
    if faults := input_faults(workflow.input_schema, metadata):
        raise ValidationError({"metadata": [f"{name}: {text}" for name, text in faults.items()]})
    return metadata
