"""google.cloud.run.v2.Jobs: what can be run, and running it."""

from devenv.gcp.caller import Call, Guard
from devenv.gcp.clock import Clock
from devenv.gcp.errors import Aborted, AlreadyExists
from devenv.gcp.messages import set_moment
from devenv.gcp.rpc import Rpc
from devenv.gcp.run_jobs import messages as of, template
from devenv.gcp.run_jobs.executions import Executions
from devenv.gcp.run_jobs.jobs import Maker, finished
from devenv.gcp.run_jobs.ledger import RUN, describe
from devenv.gcp.run_jobs.lists import by_name, pick
from devenv.gcp.run_jobs.messages import Pb
from devenv.gcp.run_jobs.names import Name, Names
from devenv.gcp.run_jobs.rest import JOBS
from devenv.gcp.run_jobs.state import State


class JobsApi:
    """Jobs, kept and run."""

    def __init__(
        self,
        state: State,
        executions: Executions,
        *,
        maker: Maker,
        names: Names,
        guard: Guard,
        clock: Clock,
    ) -> None:
        self._state = state
        self._executions = executions
        self._maker = maker
        self._names = names
        self._guard = guard
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

    async def create(self, request: Pb, call: Call) -> Pb:
        parent = self._names.read("LOCATION", request.parent)
        self._guard.require(call.caller, "run.jobs.create", parent.full)
        template.check_job_id(request.job_id)
        name = self._names.job(request.job_id)
        if self._state.jobs.get(name.full) is not None:
            raise AlreadyExists(f"Resource '{name.short}' already exists.")
        job = self._maker.create(
            request.job, name=name.full, creator=call.caller.email, now=self._clock.now()
        )
        return self._keep(job, call, validate_only=request.validate_only)

    async def get(self, request: Pb, call: Call) -> Pb:
        return self._find(request.name, call, "run.jobs.get")

    async def list(self, request: Pb, call: Call) -> Pb:
        parent = self._names.read("LOCATION", request.parent)
        self._guard.require(call.caller, "run.jobs.list", parent.full)
        jobs, token = pick(self._state.jobs.below(f"{parent.full}/jobs"), request, key=by_name)
        return of.ListJobsResponse(jobs=jobs, next_page_token=token)

    async def update(self, request: Pb, call: Call) -> Pb:
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

    async def delete(self, request: Pb, call: Call) -> Pb:
        """Delete a job and its executions, ending those that run.

        The etag is not looked at, and neither is it by Google.
        """
        job = self._find(request.name, call, "run.jobs.delete")
        set_moment(job.delete_time, self._clock.now())
        operation = finished(job, self._names)
        if not request.validate_only:
            for execution in list(self._state.executions.below(f"{job.name}/executions")):
                self._executions.delete(execution)
            self._state.jobs.delete(job.name)
            self._state.operations.put(operation)
        return operation

    async def run(self, request: Pb, call: Call) -> Pb:
        """Start an execution. Overrides need a permission of their own beside `run.jobs.run`."""
        name = self._names.read("JOB", request.name)
        self._guard.require(call.caller, "run.jobs.run", name.full)
        if request.overrides.ListFields():
            self._guard.require(call.caller, "run.jobs.runWithOverrides", name.full)
        if (job := self._state.jobs.get(name.full)) is None:
            raise name.missing()
        wanted = type(job.template)()
        wanted.CopyFrom(job.template)
        template.override(wanted, request.overrides)
        execution = self._executions.build(job, wanted, creator=call.caller.email)
        if request.validate_only:
            return describe(execution, RUN)
        return self._executions.launch(execution, job)

    def _keep(self, job: Pb, call: Call, *, validate_only: bool) -> Pb:
        """Store a job, and run it if it carries an execution token; return the operation."""
        self._check_account(job, call)
        token = job.start_execution_token or job.run_execution_token
        if token:
            template.check_token(job.name.rsplit("/", 1)[-1], token)
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

    def _check_account(self, job: Pb, call: Call) -> None:
        """Refuse a job that would run as an account that the caller may not act as."""
        project = job.name.split("/", 2)[1]
        account = f"projects/{project}/serviceAccounts/{job.template.template.service_account}"
        self._guard.require(call.caller, "iam.serviceAccounts.actAs", account)

    def _find(self, text: str, call: Call, permission: str) -> Pb:
        name = self._names.read("JOB", text)
        self._guard.require(call.caller, permission, name.full)
        if (job := self._state.jobs.get(name.full)) is None:
            raise name.missing()
        return job


def _creation(request: Pb, name: Name) -> Pb:
    return of.CreateJobRequest(
        parent=name.parent, job_id=name.short, job=request.job, validate_only=request.validate_only
    )
