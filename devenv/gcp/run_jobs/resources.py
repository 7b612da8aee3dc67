"""Cloud Run v2 message classes, resource names, and lists in pages.

The installed client ships no types for its raw messages, only for its wrappers; hence `Pb`.
"""

import re
import secrets
import string
import uuid
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

from google.longrunning import operations_proto_pb2 as operations_pb2

from devenv.gcp.client_types import client_types
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument, NotFound, Unimplemented
from devenv.gcp.messages import page, set_moment

run_v2 = client_types("google.cloud.run_v2")

# The installed client ships no types for its raw messages, only for its wrappers.
Pb: TypeAlias = Any

Job: Pb = run_v2.Job.pb()
Execution: Pb = run_v2.Execution.pb()
Task: Pb = run_v2.Task.pb()
TaskTemplate: Pb = run_v2.TaskTemplate.pb()
Container: Pb = run_v2.Container.pb()
Condition: Pb = run_v2.Condition.pb()
TaskAttemptResult: Pb = run_v2.TaskAttemptResult.pb()
Overrides: Pb = run_v2.RunJobRequest.Overrides.pb()
Operation: Pb = operations_pb2.Operation

CreateJobRequest: Pb = run_v2.CreateJobRequest.pb()
GetJobRequest: Pb = run_v2.GetJobRequest.pb()
ListJobsRequest: Pb = run_v2.ListJobsRequest.pb()
ListJobsResponse: Pb = run_v2.ListJobsResponse.pb()
UpdateJobRequest: Pb = run_v2.UpdateJobRequest.pb()
DeleteJobRequest: Pb = run_v2.DeleteJobRequest.pb()
RunJobRequest: Pb = run_v2.RunJobRequest.pb()
GetExecutionRequest: Pb = run_v2.GetExecutionRequest.pb()
ListExecutionsRequest: Pb = run_v2.ListExecutionsRequest.pb()
ListExecutionsResponse: Pb = run_v2.ListExecutionsResponse.pb()
DeleteExecutionRequest: Pb = run_v2.DeleteExecutionRequest.pb()
CancelExecutionRequest: Pb = run_v2.CancelExecutionRequest.pb()
GetTaskRequest: Pb = run_v2.GetTaskRequest.pb()
ListTasksRequest: Pb = run_v2.ListTasksRequest.pb()
ListTasksResponse: Pb = run_v2.ListTasksResponse.pb()

State = run_v2.Condition.State
CommonReason = run_v2.Condition.CommonReason
ExecutionReason = run_v2.Condition.ExecutionReason
Severity = run_v2.Condition.Severity
CompletionStatus = run_v2.ExecutionReference.CompletionStatus

GA = 4  # google.api.LaunchStage
GEN2 = int(run_v2.ExecutionEnvironment.EXECUTION_ENVIRONMENT_GEN2)


def touch(record: Pb, now: float) -> None:
    """Mark `record` as changed: its update time and its etag."""
    set_moment(record.update_time, now)
    record.etag = f'"{record.update_time.ToMicroseconds():x}.{record.generation}"'


_LONGEST_FULL_NAME = 1024
_ALPHABET = string.ascii_lowercase + string.digits

_LOCATION = "projects/*/locations/*"
_SHAPES = {
    "LOCATION": _LOCATION,
    "JOB": f"{_LOCATION}/jobs/*",
    "EXECUTION": f"{_LOCATION}/jobs/*/executions/*",
    "TASK": f"{_LOCATION}/jobs/*/executions/*/tasks/*",
    "OPERATION": f"{_LOCATION}/operations/*",
    "SERVICE": f"{_LOCATION}/services/*",
    "REVISION": f"{_LOCATION}/services/*/revisions/*",
}
_PATTERNS = {kind: re.compile(shape.replace("*", "[^/]+")) for kind, shape in _SHAPES.items()}


class ResourceName(NamedTuple):
    """A full resource name, its last part and what it names."""

    full: str
    short: str
    kind: str

    @property
    def parent(self) -> str:
        return self.full.rsplit("/", 2)[0]

    def missing(self) -> NotFound:
        """Return the error that Cloud Run gives for a resource that is not there."""
        _, project, _, region, *_ = self.full.split("/")
        return NotFound(
            f"Resource '{self.short}' of kind '{self.kind}' in region '{region}' "
            f"in project '{project}' does not exist."
        )


class RunNames:
    """The names of one project in one region."""

    def __init__(self, config: CloudConfig) -> None:
        self._project = config.project
        self._number = config.number
        self._region = config.region
        self.location = f"projects/{config.project}/locations/{config.region}"

    def read(self, kind: str, text: str, *, wild: bool = False) -> ResourceName:
        """Return `text` as the name of a `kind`, its project number replaced by the project's id.

        Where it is `wild`, `-` may stand for a job or an execution: any.

        Raises InvalidArgument for another shape, Unimplemented for another region: Google documents
        501 for a regional resource asked of a region that does not have it.
        """
        if len(text) > _LONGEST_FULL_NAME or not _PATTERNS[kind].fullmatch(text):
            raise InvalidArgument(f"Invalid resource name: it must look like '{_SHAPES[kind]}'.")
        parts = text.split("/")
        if "-" in parts and not wild:
            raise InvalidArgument("Invalid resource name: '-' is no name here.")
        if parts[3] != self._region:
            raise Unimplemented("Operation is not implemented, or supported, or enabled.")
        if parts[1] == self._number:
            parts[1] = self._project
        return ResourceName("/".join(parts), parts[-1], kind)

    def job(self, job_id: str) -> ResourceName:
        return ResourceName(f"{self.location}/jobs/{job_id}", job_id, "JOB")

    def new_operation(self) -> str:
        return f"{self.location}/operations/{uuid.uuid4()}"


def new_suffix() -> str:
    """Return the five letters and digits that end an execution's name."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(5))


def matches(name: str, parent: str) -> bool:
    """Return whether `name` is below `parent`, where a part `-` of the parent is any."""
    parts, wanted = name.split("/"), parent.split("/")
    return all(want in ("-", part) for part, want in zip(parts, wanted, strict=False))


def fixed_prefix(parent: str) -> str:
    """Return the part of `parent` before its first wildcard, ready to scan for what is below."""
    return f"{parent}/".partition("/-/")[0].rstrip("/") + "/"


def operation_of(uid: str, verb: str, location: str) -> str:
    """Return the name of the operation that does `verb` to the resource with this uid.

    Derived, so that no table must say which operation belongs to which execution.
    """
    return f"{location}/operations/{uuid.uuid5(uuid.UUID(uid), verb)}"


_LARGEST_PAGE = 1000
_LATEST = 10**18  # microseconds; what is counted down from here sorts newest first


def pick(records: Iterable[Pb], request: Pb, *, key: Callable[[Pb], str]) -> tuple[list[Pb], str]:
    """Return the records of the page that `request` asks for, and the token of the next page."""
    if getattr(request, "show_deleted", False):
        raise Unimplemented("show_deleted is not emulated: what is deleted is not kept.")
    found = {key(record): record for record in records}
    keys, token = page(found, size=request.page_size, token=request.page_token, most=_LARGEST_PAGE)
    return [found[each] for each in keys], token


def by_name(record: Pb) -> str:
    return str(record.name)


def by_index(task: Pb) -> str:
    return f"{task.execution} {task.index:05}"


def newest_first(execution: Pb) -> str:
    return f"{_LATEST - execution.create_time.ToMicroseconds():018} {execution.name}"
