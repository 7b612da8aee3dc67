"""All executions: launched, found again after a restart, cancelled, deleted, waited for."""

import asyncio
import logging
from collections import Counter

from devenv.gcp.clock import Clock
from devenv.gcp.errors import AlreadyExists, FailedPrecondition
from devenv.gcp.messages import moment, set_moment
from devenv.gcp.run_jobs import life
from devenv.gcp.run_jobs.containers import ContainerSources
from devenv.gcp.run_jobs.coordinator import Coordinator, CoordinatorContext, attempt_of
from devenv.gcp.run_jobs.resources import Execution, Pb, new_suffix
from devenv.gcp.run_jobs.runtimes.base import JobsRuntime
from devenv.gcp.run_jobs.state import CANCEL, DELETE, RUN, ExecutionStore, RunJobsState, describe
from devenv.gcp.store import write_at_last

log = logging.getLogger(__name__)

MOST_AT_A_TIME = 64  # containers; a laptop is no data centre
KEPT_PER_JOB = 1000
KEPT_SECONDS = 7 * 86400


class Executions:
    """Starts a coordinator for each execution that has not ended, and speaks for it."""

    def __init__(
        self,
        state: RunJobsState,
        *,
        runtime: JobsRuntime,
        clock: Clock,
        sources: ContainerSources,
    ) -> None:
        self._state = state
        self._clock = clock
        self._runtime = runtime
        self._context = CoordinatorContext(
            store=ExecutionStore(state),
            runtime=runtime,
            clock=clock,
            capacity=asyncio.Semaphore(MOST_AT_A_TIME),
            sources=sources,
        )
        self._coordinators: dict[str, Coordinator] = {}
        self._carrying: dict[str, asyncio.Task[None]] = {}

    def build(self, job: Pb, template: Pb, *, creator: str, token: str = "") -> Pb:
        """Return a new execution of `job`, not yet launched. Raises AlreadyExists for a used token."""
        short = job.name.rsplit("/", 1)[-1]
        name = f"{job.name}/executions/{short}-{token or new_suffix()}"
        while self._state.executions.get(name) is not None:
            if token:
                raise AlreadyExists(f"Resource '{short}-{token}' already exists.")
            name = f"{job.name}/executions/{short}-{new_suffix()}"
        now = self._clock.now()
        return life.new_execution(job, template, name=name, creator=creator, now=now)

    def launch(self, execution: Pb, job: Pb) -> Pb:
        """Record an execution and start it; return its operation."""
        tasks = [life.new_task(execution, index) for index in range(execution.task_count)]
        self._context.store.open(execution, tasks, job)
        operation = describe(execution, RUN)
        self._carry(execution, tasks)
        return operation

    async def resume(self) -> None:
        """Take up what an earlier process of the emulator left, after the old is thrown away."""
        self._prune()
        unfinished = [
            (execution, self._tasks(execution.name))
            for execution in self._state.executions.below("projects")
            if not life.is_done(execution) or execution.HasField("delete_time")
        ]
        await self._runtime.open(
            {
                attempt_of(execution, task).name
                for execution, tasks in unfinished
                for task in tasks
                if not life.is_done(task)
            }
        )
        for execution, tasks in unfinished:
            self._carry(execution, tasks)

    async def stop(self) -> None:
        """Stop without an end: what runs starts anew, with the same attempt, at the next start."""
        carrying = list(self._carrying.values())
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)
        await self._runtime.close()

    def cancel(self, execution: Pb) -> Pb:
        """Begin to cancel; return the operation. Raises FailedPrecondition if it has ended."""
        coordinator = self._coordinators.get(execution.name)
        if coordinator is None or life.is_done(coordinator.execution):
            short = execution.name.rsplit("/", 1)[-1]
            raise FailedPrecondition(
                f"Execution '{short}' cannot be cancelled because it is not running."
            )
        if not coordinator.is_cancelled:
            if not life.is_cancelling(coordinator.execution):  # else noted, and not written
                life.begin_cancel(coordinator.execution, now=self._clock.now())
            self._context.store.save(coordinator.execution)
            coordinator.cancel()
        return describe(coordinator.execution, CANCEL)

    def delete(self, execution: Pb) -> Pb:
        """Delete now, or as soon as what runs has been ended; return the operation."""
        coordinator = self._coordinators.get(execution.name)
        record = coordinator.execution if coordinator else execution
        set_moment(record.delete_time, self._clock.now())
        self._context.store.save(record)
        if coordinator is None:
            self._context.store.remove(record)
        elif not life.is_done(record):
            self.cancel(record)
        return describe(record, DELETE)

    async def settled(self, operation: Pb, *, within: float) -> None:
        """Return when the execution that `operation` is about has ended, or after `within` seconds."""
        execution = Execution()
        if operation.metadata.Unpack(execution) and execution.name in self._carrying:
            await asyncio.wait({self._carrying[execution.name]}, timeout=within)

    def _carry(self, execution: Pb, tasks: list[Pb]) -> None:
        coordinator = self._coordinators[execution.name] = Coordinator(
            execution, tasks, self._context
        )
        self._carrying[execution.name] = asyncio.create_task(self._drive(coordinator))

    async def _drive(self, coordinator: Coordinator) -> None:
        execution = coordinator.execution
        try:
            if not life.is_done(execution):
                await coordinator.run()
        except Exception:
            log.exception("%s: the emulator itself failed.", execution.name)
            await write_at_last(execution.name, coordinator.fail, self._clock)
        finally:
            del self._coordinators[execution.name], self._carrying[execution.name]
        if execution.HasField("delete_time"):
            self._context.store.remove(execution)

    def _tasks(self, execution: str) -> list[Pb]:
        return sorted(self._state.tasks.below(execution), key=lambda task: task.index)

    def _prune(self) -> None:
        """Keep what Google keeps: a job's latest thousand executions, and the last seven days."""
        kept: Counter[str] = Counter()
        everything = list(self._state.executions.below("projects"))
        for execution in sorted(everything, key=_age):
            kept[execution.job] += 1
            young = _age(execution) < KEPT_SECONDS - self._clock.now()
            if kept[execution.job] > KEPT_PER_JOB and not young and life.is_done(execution):
                self._context.store.forget(execution)


def _age(execution: Pb) -> float:
    """Return a number that is greater the older an execution is."""
    return -moment(execution.create_time)
