"""Cloud Run Jobs as the server wires it."""

import logging
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format

from devenv.gcp.caller import Guard
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig, JobConfig as Declared
from devenv.gcp.iam.policy_methods import PolicyKind
from devenv.gcp.journal import as_uuid
from devenv.gcp.messages import moment, set_moment
from devenv.gcp.rpc import Rpc
from devenv.gcp.run_jobs.api import ExecutionsApi, JobsApi, OperationsApi, Settled
from devenv.gcp.run_jobs.containers import ContainerSources
from devenv.gcp.run_jobs.coordinator import attempt_of
from devenv.gcp.run_jobs.executions import Executions
from devenv.gcp.run_jobs.jobs import JobMaker, declared_job
from devenv.gcp.run_jobs.life import new_task
from devenv.gcp.run_jobs.resources import RunNames
from devenv.gcp.run_jobs.runtimes.base import JobsRuntime
from devenv.gcp.run_jobs.state import RunJobsState
from devenv.gcp.service import CloudService
from devenv.gcp.store import Store

log = logging.getLogger(__name__)


class RunJobsService(CloudService):
    """google.cloud.run.v2 Jobs, Executions and Tasks, with their long-running operations."""

    def __init__(
        self,
        *,
        config: CloudConfig,
        store: Store,
        clock: Clock,
        guard: Guard,
        runtime: JobsRuntime,
        sources: ContainerSources,
    ) -> None:
        # Waits for the operations of other services, which the server adds before the first call.
        self.settled: list[Settled] = []
        self._config = config
        self._clock = clock
        self._guard = guard
        self._runtime = runtime
        self._names = RunNames(config)
        self._maker = JobMaker(config, sources.check_egress)
        self._state = state = RunJobsState(store)
        self._executions = executions = Executions(
            state, runtime=runtime, clock=clock, sources=sources
        )
        self._apis = (
            JobsApi(
                state,
                executions,
                maker=self._maker,
                names=self._names,
                guard=guard,
                clock=clock,
            ),
            ExecutionsApi(state, executions, names=self._names, guard=guard),
            OperationsApi(state, executions, names=self._names, guard=guard, settled=self.settled),
        )

    def rpcs(self) -> tuple[Rpc, ...]:
        return tuple(rpc for api in self._apis for rpc in api.rpcs())

    def executions_of(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the executions whose variables name a `trace`, or its id as a UUID.

        Their times are by the machine's clock, like those of the journal and of logs.
        """
        trace = query.get("trace", "")
        wanted = (trace, as_uuid(trace)) if trace else ()
        found = {
            execution.name: json_format.MessageToDict(self._in_machine_time(execution))
            for text in wanted
            for execution in self._state.executions.mentioning(text)
        }
        return {"executions": list(found.values())}

    def _in_machine_time(self, execution: Any) -> Any:
        for field in ("create_time", "start_time", "completion_time"):
            if execution.HasField(field):
                shown = getattr(execution, field)
                set_moment(shown, self._clock.machine_at(moment(shown)))
        return execution

    def policy_kinds(self) -> tuple[PolicyKind, ...]:
        def find(resource: str) -> str:
            name = self._names.read("JOB", resource)
            if self._state.jobs.get(name.full) is None:
                raise name.missing()
            return name.full

        path = "{resource=projects/*/locations/*/jobs/*}"
        service, paths = "google.cloud.run.v2.Jobs", (f"/v2/{path}", f"/v1/{path}")
        return (PolicyKind(service, paths, "run.jobs", find, reading="GET"),)

    async def start(self) -> None:
        """Create the jobs that devenv.toml declares, and resume the executions that were running.

        A job that the file no longer declares is deleted with its executions.
        """
        declared_now = {self._names.job(declared.name).full for declared in self._config.jobs}
        for name, _ in self._state.declared.scan():
            if name not in declared_now:
                self._drop(name)
        for declared in self._config.jobs:
            self._declare(declared)
        await self._executions.resume()

    async def stop(self) -> None:
        await self._executions.stop()

    def _drop(self, name: str) -> None:
        log.info("Job %s is no longer in devenv.toml: deleted", name)
        for execution in list(self._state.executions.below(f"{name}/executions")):
            self._executions.delete(execution)
        self._state.jobs.delete(name)
        self._guard.forget(name)
        self._state.declared.delete(name)

    def _declare(self, declared: Declared) -> None:
        """Create a declared job, or let it follow a changed declaration.

        Changes by callers stay until the declaration changes.
        """
        name, now = self._names.job(declared.name), self._clock.now()
        job, wording = self._state.jobs.get(name.full), repr(declared).encode()
        given = declared_job(declared, self._config)
        if job is None:
            job = self._maker.create(given, name=name.full, creator="", now=now)
        elif self._state.declared.get(name.full) != wording:
            job = self._maker.change(job, given, modifier="", now=now)
        self._state.jobs.put(job)
        self._state.declared.put(name.full, wording)
        sample = self._executions.build(job, job.template, creator="")
        self._runtime.prepare(attempt_of(sample, new_task(sample, 0)))
