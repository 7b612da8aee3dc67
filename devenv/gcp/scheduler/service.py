"""Cloud Scheduler v1 as the server wires it."""

import logging
from typing import Any

from google.protobuf import empty_pb2

from devenv.gcp.caller import ApiCall, Guard, Minter
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig, ScheduleConfig
from devenv.gcp.delivery import Ready, Send, Topics, always_ready, check_signer
from devenv.gcp.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from devenv.gcp.messages import masked, page, set_moment
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.scheduler.limits import Job, SchedulerNames, complete_job
from devenv.gcp.scheduler.runner import ScheduleRunner
from devenv.gcp.service import CloudService
from devenv.gcp.store import DeclaredNames, Store

scheduler_v1 = client_types("google.cloud.scheduler_v1")

log = logging.getLogger(__name__)

MAX_PAGE = 500  # documented for ListJobs

_JOBS = "/v1/{parent=projects/*/locations/*}/jobs"
_JOB = "/v1/{name=projects/*/locations/*/jobs/*}"
_OUTPUT_ONLY = ("state", "status", "schedule_time", "last_attempt_time", "user_update_time")


class SchedulerService(CloudService):
    """Jobs and their execution through `send` or to `topics`, once their targets are `ready`."""

    def __init__(  # noqa: PLR0913 - the parts of the cloud, by name
        self,
        *,
        config: CloudConfig,
        store: Store,
        clock: Clock,
        guard: Guard,
        minter: Minter,
        send: Send,
        topics: Topics,
        ready: Ready = always_ready,
    ) -> None:
        self._config = config
        self._clock = clock
        self._guard = guard
        self._minter = minter
        self._send = send
        self._topics = topics
        self._ready = ready
        self._names = SchedulerNames(config)
        self._table = store.table("scheduler_jobs")
        self._declared_names = DeclaredNames(store.table("scheduler_declared"))
        self._runners: dict[str, ScheduleRunner] = {}

    def rpcs(self) -> tuple[Rpc, ...]:
        updated = "/v1/{job.name=projects/*/locations/*/jobs/*}"
        jobs = scheduler_v1.ListJobsResponse.pb()
        return (
            _rpc("CreateJob", Job, self.create, HttpRule("POST", _JOBS, "job")),
            _rpc("GetJob", Job, self.get, HttpRule("GET", _JOB)),
            _rpc("ListJobs", jobs, self.list, HttpRule("GET", _JOBS)),
            _rpc("UpdateJob", Job, self.update, HttpRule("PATCH", updated, "job")),
            _rpc("DeleteJob", empty_pb2.Empty, self.delete, HttpRule("DELETE", _JOB)),
            _rpc("PauseJob", Job, self.pause, HttpRule("POST", f"{_JOB}:pause", "*")),
            _rpc("ResumeJob", Job, self.resume, HttpRule("POST", f"{_JOB}:resume", "*")),
            _rpc("RunJob", Job, self.run, HttpRule("POST", f"{_JOB}:run", "*")),
        )

    async def start(self) -> None:
        """Resume the stored jobs. Those of devenv.toml follow the file, but keep their progress.

        A job that the file no longer declares is deleted.
        """
        declared = [self._declared(each) for each in self._config.schedules]
        dropped = set(self._declared_names.replace(job.name for job in declared))
        for name, value in self._table.scan():
            if name in dropped:
                log.info("Job %s is no longer in devenv.toml: deleted", name)
                self._table.delete(name)
            else:
                self._runners[name] = self._runner(Job.FromString(value))
        for job in declared:
            complete_job(job)
            if known := self._runners.get(job.name):
                _keep_progress(job, known.job)
            self._runners[job.name] = self._runner(job)
            self._save(job)
        for runner in self._runners.values():
            runner.start()

    async def stop(self) -> None:
        for runner in self._runners.values():
            await runner.stop()

    def take_back(self, seconds: float) -> None:
        """Count the slots of every job from now on, after the clock has lost these seconds."""
        for runner in self._runners.values():
            runner.take_back(seconds)

    async def create(self, request: Any, call: ApiCall) -> Any:
        parent = self._names.location(request.parent)
        self._allow(call, "create", f"projects/{self._config.project}")
        name = self._names.new(parent, request.job.name)
        job = self._accept(request.job, call, name)
        if name in self._runners:
            raise AlreadyExists(f"Job {name} already exists.")
        runner = self._runner(job)
        runner.configure(job)
        self._runners[name] = runner
        return job

    async def get(self, request: Any, call: ApiCall) -> Any:
        return self._find(request, call, "get").job

    async def list(self, request: Any, call: ApiCall) -> Any:
        parent = self._names.location(request.parent)
        self._allow(call, "list", f"projects/{self._config.project}")
        inside = (name for name in self._runners if name.startswith(f"{parent}/"))
        names, token = page(inside, size=request.page_size, token=request.page_token, most=MAX_PAGE)
        return scheduler_v1.ListJobsResponse.pb()(
            jobs=[self._runners[name].job for name in names], next_page_token=token
        )

    async def update(self, request: Any, call: ApiCall) -> Any:
        """Change what the mask names (all if there is none), save what only Google sets."""
        name = self._names.job(request.job.name)
        self._allow(call, "update", name)
        runner = self._known(name)
        job = self._accept(masked(runner.job, request.job, request.update_mask), call, name)
        _keep_progress(job, runner.job)
        runner.configure(job)
        return job

    async def delete(self, request: Any, call: ApiCall) -> Any:
        runner = self._find(request, call, "delete")
        self._table.delete(runner.job.name)
        del self._runners[runner.job.name]
        await runner.stop()
        return empty_pb2.Empty()

    async def pause(self, request: Any, call: ApiCall) -> Any:
        return self._switch(self._find(request, call, "pause"), Job.ENABLED, Job.PAUSED)

    async def resume(self, request: Any, call: ApiCall) -> Any:
        return self._switch(self._find(request, call, "enable"), Job.PAUSED, Job.ENABLED)

    async def run(self, request: Any, call: ApiCall) -> Any:
        runner = self._find(request, call, "run")
        runner.run()
        return runner.job

    def _switch(self, runner: ScheduleRunner, old: int, new: int) -> Any:
        if runner.job.state != old:
            state = Job.State.Name(old)
            raise FailedPrecondition(f"Job.state must be {state} for this operation.")
        job = Job()
        job.CopyFrom(runner.job)
        job.state = new
        runner.configure(job)
        return job

    def _accept(self, wanted: Any, call: ApiCall, name: str) -> Any:
        """Return a checked and completed copy of what a caller wants."""
        job = Job()
        job.CopyFrom(wanted)
        for field in _OUTPUT_ONLY:
            job.ClearField(field)
        complete_job(job)
        check_signer(
            job.http_target,
            call.caller,
            guard=self._guard,
            minter=self._minter,
            project=self._config.project,
        )
        job.name, job.state = name, Job.ENABLED
        set_moment(job.user_update_time, self._clock.now())
        return job

    def _declared(self, declared: ScheduleConfig) -> Any:
        config = self._config
        methods = Job.DESCRIPTOR.fields_by_name["http_target"].message_type
        numbers = methods.fields_by_name["http_method"].enum_type.values_by_name
        if declared.method not in numbers:
            raise InvalidArgument(f"Invalid HTTP method: {declared.method}.")
        token = {
            "service_account_email": config.email(declared.account),
            "audience": declared.audience,
        }
        return Job(
            name=f"projects/{config.project}/locations/{config.region}/jobs/{declared.name}",
            schedule=declared.schedule,
            time_zone=declared.time_zone,
            state=Job.ENABLED,
            http_target={
                "uri": declared.uri,
                "http_method": numbers[declared.method].number,
                "body": declared.body.encode(),
                "oidc_token": token,
            },
        )

    def _runner(self, job: Any) -> ScheduleRunner:
        return ScheduleRunner(
            job,
            clock=self._clock,
            minter=self._minter,
            send=self._send,
            topics=self._topics,
            save=self._save,
            ready=self._ready,
        )

    def _save(self, job: Any) -> None:
        self._table.put(job.name, job.SerializeToString())

    def _find(self, request: Any, call: ApiCall, verb: str) -> ScheduleRunner:
        name = self._names.job(request.name)
        self._allow(call, verb, name)
        return self._known(name)

    def _known(self, name: str) -> ScheduleRunner:
        try:
            return self._runners[name]
        except KeyError:
            raise NotFound("Job not found.") from None

    def _allow(self, call: ApiCall, verb: str, resource: str) -> None:
        self._guard.require(call.caller, f"cloudscheduler.jobs.{verb}", resource)


def _keep_progress(job: Any, known: Any) -> None:
    """Give a job the state, last attempt and next slot of the job that it replaces."""
    for field in _OUTPUT_ONLY[1:4]:
        if known.HasField(field):
            getattr(job, field).CopyFrom(getattr(known, field))
    job.state = known.state


def _rpc(name: str, response: Any, handle: Any, binding: HttpRule) -> Rpc:
    request = getattr(scheduler_v1, f"{name}Request").pb()
    return Rpc(
        f"google.cloud.scheduler.v1.CloudScheduler/{name}", request, response, handle, (binding,)
    )
