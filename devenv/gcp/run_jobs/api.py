"""The methods of google.cloud.run.v2 Jobs, Executions and Tasks, and of their operations.

The REST paths are those of Google's published client; a test compares the two. Each method checks
its permission before it looks for the resource, as Google does, so that a caller without rights
learns nothing about what exists.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from google.longrunning import operations_proto_pb2 as operations_pb2
from google.protobuf.empty_pb2 import Empty

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.clock import Clock
from devenv.gcp.errors import Aborted, AlreadyExists, InvalidArgument
from devenv.gcp.messages import seconds, set_moment
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.run_jobs import resources as of
from devenv.gcp.run_jobs.executions import Executions
from devenv.gcp.run_jobs.jobs import JobMaker, check_job_id, check_token, finished, override
from devenv.gcp.run_jobs.resources import (
    Operation,
    Pb,
    ResourceName,
    RunNames,
    by_index,
    by_name,
    newest_first,
    pick,
)
from devenv.gcp.run_jobs.state import RUN, RunJobsState, describe

_LOCATION = "projects/*/locations/*"
_JOB = f"{_LOCATION}/jobs/*"
_EXECUTION = f"{_JOB}/executions/*"
_OPERATION = f"{_LOCATION}/operations/*"

JOBS: Mapping[str, HttpRule] = {
    "CreateJob": HttpRule("POST", f"/v2/{{parent={_LOCATION}}}/jobs", "job"),
    "GetJob": HttpRule("GET", f"/v2/{{name={_JOB}}}"),
    "ListJobs": HttpRule("GET", f"/v2/{{parent={_LOCATION}}}/jobs"),
    "UpdateJob": HttpRule("PATCH", f"/v2/{{job.name={_JOB}}}", "job"),
    "DeleteJob": HttpRule("DELETE", f"/v2/{{name={_JOB}}}"),
    "RunJob": HttpRule("POST", f"/v2/{{name={_JOB}}}:run", "*"),
}

EXECUTIONS: Mapping[str, HttpRule] = {
    "GetExecution": HttpRule("GET", f"/v2/{{name={_EXECUTION}}}"),
    "ListExecutions": HttpRule("GET", f"/v2/{{parent={_JOB}}}/executions"),
    "DeleteExecution": HttpRule("DELETE", f"/v2/{{name={_EXECUTION}}}"),
    "CancelExecution": HttpRule("POST", f"/v2/{{name={_EXECUTION}}}:cancel", "*"),
}

TASKS: Mapping[str, HttpRule] = {
    "GetTask": HttpRule("GET", f"/v2/{{name={_EXECUTION}/tasks/*}}"),
    "ListTasks": HttpRule("GET", f"/v2/{{parent={_EXECUTION}}}/tasks"),
}

OPERATIONS: Mapping[str, HttpRule] = {
    "GetOperation": HttpRule("GET", f"/v2/{{name={_OPERATION}}}"),
    "ListOperations": HttpRule("GET", f"/v2/{{name={_LOCATION}}}/operations"),
    "DeleteOperation": HttpRule("DELETE", f"/v2/{{name={_OPERATION}}}"),
    "WaitOperation": HttpRule("POST", f"/v2/{{name={_OPERATION}}}:wait", "*"),
}


class RunJobsApi:
    """Common part of the services below: each asks for the permission before it looks anything up."""

    def __init__(
        self, state: RunJobsState, executions: Executions, *, names: RunNames, guard: Guard
    ) -> None:
        self._state = state
        self._executions = executions
        self._names = names
        self._guard = guard
        self._records = {
            "JOB": state.jobs,
            "EXECUTION": state.executions,
            "TASK": state.tasks,
            "OPERATION": state.operations,
        }

    def _find(self, kind: str, text: str, call: ApiCall, permission: str) -> Pb:
        """Return a resource by its name. Raises PermissionDenied or NotFound."""
        name = self._names.read(kind, text)
        self._guard.require(call.caller, permission, name.full)
        if (found := self._records[kind].get(name.full)) is None:
            raise name.missing()
        return found


class JobsApi(RunJobsApi):
    """Jobs, kept and run."""

    def __init__(
        self,
        state: RunJobsState,
        executions: Executions,
        *,
        maker: JobMaker,
        names: RunNames,
        guard: Guard,
        clock: Clock,
    ) -> None:
        super().__init__(state, executions, names=names, guard=guard)
        self._maker = maker
        self._clock = clock

    def rpcs(self) -> tuple[Rpc, ...]:
        methods = (
            ("CreateJob", of.CreateJobRequest, of.Operation, self.create),
            ("GetJob", of.GetJobRequest, of.Job, self.get),
            ("ListJobs", of.ListJobsRequest, of.ListJobsResponse, self.list),
            ("UpdateJob", of.UpdateJobRequest, of.Operation, self.update),
            ("DeleteJob", of.DeleteJobRequest, of.Operation, self.delete),
            ("RunJob", of.RunJobRequest, of.Operation, self.run),
        )
        return tuple(
            Rpc(f"google.cloud.run.v2.Jobs/{name}", request, response, handle, (JOBS[name],))
            for name, request, response, handle in methods
        )

    async def create(self, request: Pb, call: ApiCall) -> Pb:
        parent = self._names.read("LOCATION", request.parent)
        self._guard.require(call.caller, "run.jobs.create", parent.full)
        check_job_id(request.job_id)
        name = self._names.job(request.job_id)
        if self._state.jobs.get(name.full) is not None:
            raise AlreadyExists(f"Resource '{name.short}' already exists.")
        job = self._maker.create(
            request.job, name=name.full, creator=call.caller.email, now=self._clock.now()
        )
        return self._keep(job, call, validate_only=request.validate_only)

    async def get(self, request: Pb, call: ApiCall) -> Pb:
        return self._find("JOB", request.name, call, "run.jobs.get")

    async def list(self, request: Pb, call: ApiCall) -> Pb:
        parent = self._names.read("LOCATION", request.parent)
        self._guard.require(call.caller, "run.jobs.list", parent.full)
        jobs, token = pick(self._state.jobs.below(f"{parent.full}/jobs"), request, key=by_name)
        return of.ListJobsResponse(jobs=jobs, next_page_token=token)

    async def update(self, request: Pb, call: ApiCall) -> Pb:
        name = self._names.read("JOB", request.job.name)
        self._guard.require(call.caller, "run.jobs.update", name.full)
        job = self._state.jobs.get(name.full)
        if job is None and request.allow_missing:
            return await self.create(_creation(request, name), call)
        if job is None:
            raise name.missing()
        if request.job.etag not in ("", job.etag):
            raise Aborted(
                f"Conflict for resource '{name.short}': version '{request.job.etag[:100]}' "
                f"was specified but current version is '{job.etag}'."
            )
        email, now = call.caller.email, self._clock.now()
        changed = self._maker.change(job, request.job, modifier=email, now=now)
        return self._keep(changed, call, validate_only=request.validate_only)

    async def delete(self, request: Pb, call: ApiCall) -> Pb:
        """Delete a job and its executions, ending those that run.

        The etag is not looked at, and neither is it by Google.
        """
        job = self._find("JOB", request.name, call, "run.jobs.delete")
        set_moment(job.delete_time, self._clock.now())
        operation = finished(job, self._names)
        if not request.validate_only:
            for execution in list(self._state.executions.below(f"{job.name}/executions")):
                self._executions.delete(execution)
            self._state.jobs.delete(job.name)
            self._guard.forget(job.name)
            self._state.operations.put(operation)
        return operation

    async def run(self, request: Pb, call: ApiCall) -> Pb:
        """Start an execution. Overrides need a permission of their own beside `run.jobs.run`."""
        name = self._names.read("JOB", request.name)
        self._guard.require(call.caller, "run.jobs.run", name.full)
        if request.overrides.ListFields():
            self._guard.require(call.caller, "run.jobs.runWithOverrides", name.full)
        if (job := self._state.jobs.get(name.full)) is None:
            raise name.missing()
        wanted = type(job.template)()
        wanted.CopyFrom(job.template)
        override(wanted, request.overrides)
        execution = self._executions.build(job, wanted, creator=call.caller.email)
        if request.validate_only:
            return describe(execution, RUN)
        return self._executions.launch(execution, job)

    def _keep(self, job: Pb, call: ApiCall, *, validate_only: bool) -> Pb:
        """Store a job, and run it if it carries an execution token; return the operation."""
        self._check_account(job, call)
        token = job.start_execution_token or job.run_execution_token
        if token:
            check_token(job.name.rsplit("/", 1)[-1], token)
        operation = finished(job, self._names)
        if validate_only:
            return operation
        execution = token and self._executions.build(
            job, job.template, creator=call.caller.email, token=token
        )
        with self._state.transaction():
            self._state.jobs.put(job)
            self._state.operations.put(operation)
        if execution:
            self._executions.launch(execution, job)
        return operation

    def _check_account(self, job: Pb, call: ApiCall) -> None:
        """Refuse a job that would run as an account that the caller may not act as."""
        project = job.name.split("/", 2)[1]
        account = f"projects/{project}/serviceAccounts/{job.template.template.service_account}"
        self._guard.require(call.caller, "iam.serviceAccounts.actAs", account)


def _creation(request: Pb, name: ResourceName) -> Pb:
    return of.CreateJobRequest(
        parent=name.parent, job_id=name.short, job=request.job, validate_only=request.validate_only
    )


class ExecutionsApi(RunJobsApi):
    """Executions and their tasks, read and ended."""

    def rpcs(self) -> tuple[Rpc, ...]:
        executions = (
            ("GetExecution", of.GetExecutionRequest, of.Execution, self.get),
            ("ListExecutions", of.ListExecutionsRequest, of.ListExecutionsResponse, self.list),
            ("DeleteExecution", of.DeleteExecutionRequest, of.Operation, self.delete),
            ("CancelExecution", of.CancelExecutionRequest, of.Operation, self.cancel),
        )
        tasks = (
            ("GetTask", of.GetTaskRequest, of.Task, self.get_task),
            ("ListTasks", of.ListTasksRequest, of.ListTasksResponse, self.list_tasks),
        )
        package = "google.cloud.run.v2"
        return tuple(
            Rpc(f"{package}.{service}/{name}", request, response, handle, (bindings[name],))
            for service, methods, bindings in (
                ("Executions", executions, EXECUTIONS),
                ("Tasks", tasks, TASKS),
            )
            for name, request, response, handle in methods
        )

    async def get(self, request: Pb, call: ApiCall) -> Pb:
        return self._find("EXECUTION", request.name, call, "run.executions.get")

    async def list(self, request: Pb, call: ApiCall) -> Pb:
        parent = self._names.read("JOB", request.parent, wild=True)
        self._guard.require(call.caller, "run.executions.list", parent.full)
        self._check_job(parent)
        found = self._state.executions.below(f"{parent.full}/executions")
        records, token = pick(found, request, key=newest_first)
        return of.ListExecutionsResponse(executions=records, next_page_token=token)

    async def delete(self, request: Pb, call: ApiCall) -> Pb:
        """End and delete an execution. The etag is not looked at, and neither is it by Google."""
        execution = self._find("EXECUTION", request.name, call, "run.executions.delete")
        if request.validate_only:
            return of.Operation(done=True)
        return self._executions.delete(execution)

    async def cancel(self, request: Pb, call: ApiCall) -> Pb:
        execution = self._find("EXECUTION", request.name, call, "run.executions.cancel")
        if request.validate_only:
            return of.Operation(done=True)
        return self._executions.cancel(execution)

    async def get_task(self, request: Pb, call: ApiCall) -> Pb:
        return self._find("TASK", request.name, call, "run.tasks.get")

    async def list_tasks(self, request: Pb, call: ApiCall) -> Pb:
        parent = self._names.read("EXECUTION", request.parent, wild=True)
        self._guard.require(call.caller, "run.tasks.list", parent.full)
        if "-" not in parent.full.split("/") and not self._state.executions.get(parent.full):
            raise parent.missing()
        found = self._state.tasks.below(f"{parent.full}/tasks")
        records, token = pick(found, request, key=by_index)
        return of.ListTasksResponse(tasks=records, next_page_token=token)

    def _check_job(self, name: ResourceName) -> None:
        if name.short != "-" and self._state.jobs.get(name.full) is None:
            raise name.missing()


LONGEST_WAIT = 3600.0


class Settled(Protocol):
    """Waits for the end of what an operation is about."""

    async def __call__(self, operation: Pb, *, within: float) -> None: ...


class OperationsApi(RunJobsApi):
    """Answers what clients ask of operations of jobs and services while they wait for them.

    Each of `settled` returns when what an operation is about has ended, or after some seconds.
    """

    def __init__(
        self,
        state: RunJobsState,
        executions: Executions,
        *,
        names: RunNames,
        guard: Guard,
        settled: Sequence[Settled],
    ) -> None:
        super().__init__(state, executions, names=names, guard=guard)
        self._settled = settled

    def rpcs(self) -> tuple[Rpc, ...]:
        of = operations_pb2
        methods = (
            ("GetOperation", of.GetOperationRequest, Operation, self.get),
            ("ListOperations", of.ListOperationsRequest, of.ListOperationsResponse, self.list),
            ("DeleteOperation", of.DeleteOperationRequest, Empty, self.delete),
            ("WaitOperation", of.WaitOperationRequest, Operation, self.wait),
        )
        return tuple(
            Rpc(
                f"google.longrunning.Operations/{name}",
                request,
                response,
                handle,
                (OPERATIONS[name],),
            )
            for name, request, response, handle in methods
        )

    async def get(self, request: Pb, call: ApiCall) -> Pb:
        return self._find("OPERATION", request.name, call, "run.operations.get")

    async def list(self, request: Pb, call: ApiCall) -> Pb:
        parent = self._names.read("LOCATION", request.name).full
        self._guard.require(call.caller, "run.operations.list", parent)
        if request.filter:
            raise InvalidArgument("Operations cannot be filtered.")
        found = self._state.operations.below(f"{parent}/operations")
        operations, token = pick(found, request, key=by_name)
        return operations_pb2.ListOperationsResponse(operations=operations, next_page_token=token)

    async def delete(self, request: Pb, call: ApiCall) -> Pb:
        operation = self._find("OPERATION", request.name, call, "run.operations.delete")
        self._state.operations.delete(operation.name)
        return Empty()

    async def wait(self, request: Pb, call: ApiCall) -> Pb:
        """Answer when the operation is done, or after the request's timeout, with what is known."""
        operation = self._find("OPERATION", request.name, call, "run.operations.get")
        if not operation.done:
            given = seconds(request.timeout) if request.HasField("timeout") else LONGEST_WAIT
            within = min(max(given, 0.0), LONGEST_WAIT)
            waits = (self._executions.settled, *self._settled)
            await asyncio.gather(*(wait(operation, within=within) for wait in waits))
        return self._state.operations.get(operation.name) or operation
