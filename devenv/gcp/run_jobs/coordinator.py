"""The only writer of one execution: it runs the tasks, retries them and records the end.

A coordinator can start at any state of the records, so that a restarted emulator resumes what was
running: it adopts attempts that still run and repeats those that were lost.
"""

import asyncio
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from google.rpc.status_pb2 import Status

from devenv.gcp.clock import Clock
from devenv.gcp.errors import Internal, NotFound
from devenv.gcp.messages import moment, seconds
from devenv.gcp.run_jobs import life
from devenv.gcp.run_jobs.containers import (
    ContainerSources,
    cpus_of,
    memory_of,
)
from devenv.gcp.run_jobs.life import NEVER_RAN, AttemptOutcome, judge
from devenv.gcp.run_jobs.resources import Pb
from devenv.gcp.run_jobs.runtimes.base import (
    AttemptExit,
    AttemptNotStarted,
    EmulatedAttempt,
    JobsRuntime,
    RunningAttempt,
)
from devenv.gcp.run_jobs.state import ExecutionStore

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CoordinatorContext:
    """Shared by all coordinators; `capacity` limits the tasks that run at a time."""

    store: ExecutionStore
    runtime: JobsRuntime
    clock: Clock
    capacity: asyncio.Semaphore
    sources: ContainerSources


class Coordinator:
    """Carries one execution to its end, from the state that its records have."""

    def __init__(self, execution: Pb, tasks: Sequence[Pb], context: CoordinatorContext) -> None:
        self.execution = execution
        self._tasks = tasks
        self._context = context
        self._running: dict[str, RunningAttempt] = {}
        self._error: Status | None = None
        self._cancelled = asyncio.Event()
        self._resumed = execution.HasField("start_time")
        if life.is_cancelling(execution):
            self._cancelled.set()

    async def run(self) -> None:
        """Return when the execution has ended and that is recorded."""
        if not await self._pin():
            return
        if not self._resumed and not self._cancelled.is_set():
            life.start_execution(self.execution, now=self._now())
        self.execution.running_count = 0
        waiting = (task for task in self._tasks if not life.is_done(task))
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.execution.parallelism, len(self._tasks))):
                group.create_task(self._work(waiting))
        self._conclude()

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """End what runs and start nothing more; a task that ended first keeps its result."""
        self._cancelled.set()
        for running in self._running.values():
            running.terminate()

    def fail(self, message: str = "Internal error.") -> None:
        """End it as Google does when the platform itself is at fault, with all that runs."""
        while self._running:
            self._running.popitem()[1].terminate()
        life.fail(self.execution, message, now=self._now())
        self._save(error=Status(code=Internal.code, message=message))

    async def _pin(self) -> bool:
        """Put the image's digest in its tag's place; end the execution if it cannot begin.

        That is so without the image, and without a secret that its environment names.
        """
        container, runtime = self.execution.template.containers[0], self._context.runtime
        try:
            pinned = await runtime.pin(container.image)
            self._context.sources.supply(
                attempt_of(self.execution, self._tasks[0]), self.execution.template
            )
        except AttemptNotStarted as error:
            self.fail(str(error))
            return False
        if pinned is None:
            message = life.miss_container(
                self.execution,
                container.image,
                hint=runtime.hint(container.image),
                now=self._now(),
            )
            self._save(error=Status(code=NotFound.code, message=message))
            return False
        for record in (container, *(task.containers[0] for task in self._tasks)):
            record.image = pinned
        return True

    async def _work(self, waiting: Iterator[Pb]) -> None:
        """Take one task after the other; as many workers do so as tasks may run at a time."""
        for task in waiting:
            admitted = await self._admit()
            outcome = NEVER_RAN
            try:
                if admitted or task.HasField("start_time"):
                    self.execution.running_count += 1
                    outcome = await self._carry(task)
                    self.execution.running_count -= 1
            finally:  # also if a record could not be written: others have the room
                if admitted:
                    self._context.capacity.release()
            self._end(task, outcome)

    async def _admit(self) -> bool:
        """Wait for the machine to have room; return False if a cancellation comes first."""
        admitted = False
        room = asyncio.ensure_future(self._context.capacity.acquire())
        stop = asyncio.ensure_future(self._cancelled.wait())
        try:
            await asyncio.wait({room, stop}, return_when=asyncio.FIRST_COMPLETED)
            admitted = room.done() and not stop.done()
            return admitted
        finally:
            if room.done() and not admitted:
                self._context.capacity.release()
            room.cancel()
            stop.cancel()

    async def _carry(self, task: Pb) -> AttemptOutcome:
        """Attempt a task until it succeeds or nothing is left to try."""
        while True:
            outcome = await self._attempt(task)
            final = outcome.succeeded or outcome.cancelled or self._cancelled.is_set()
            if final or task.retried >= task.max_retries:
                return outcome
            task.retried += 1
            task.last_attempt_result.CopyFrom(outcome.result())
            self.execution.retried_count += task.retried == 1
            self._save(task)
            self._discard(task)

    async def _attempt(self, task: Pb) -> AttemptOutcome:
        try:
            running = await self._find(task) or await self._start(task)
        except AttemptNotStarted as error:
            log.warning("%s", error)
            if self._cancelled.is_set():
                return NEVER_RAN
            return AttemptOutcome(Internal.code, str(error))
        if running is None:
            return NEVER_RAN
        self._running[task.name] = running
        if self._cancelled.is_set():
            running.terminate()
        ended = await self._watch(running, task)
        return judge(ended, cancelling=self._cancelled.is_set())

    async def _find(self, task: Pb) -> RunningAttempt | None:
        """Return the attempt that an emulator before this one started."""
        return (
            await self._context.runtime.adopt(attempt_of(self.execution, task))
            if self._resumed
            else None
        )

    async def _start(self, task: Pb) -> RunningAttempt | None:
        if self._cancelled.is_set():
            return None
        life.start_attempt(task, now=self._now())
        self._save(task)
        template = self.execution.template
        attempt = self._context.sources.supply(attempt_of(self.execution, task), template)
        return await self._context.runtime.start(attempt)

    async def _watch(self, running: RunningAttempt, task: Pb) -> AttemptExit:
        """Wait for the end; the timeout counts anew for every attempt."""
        limit = seconds(task.timeout)
        left = moment(task.scheduled_time) + limit - self._now()
        left = min(left, limit)  # the clock may have been reset since the attempt began
        ended = asyncio.ensure_future(running.wait())
        timeout = asyncio.ensure_future(self._context.clock.sleep(max(0.0, left)))
        try:
            await asyncio.wait({ended, timeout}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                log.warning(
                    "%s: Terminating task because it has reached the maximum timeout of %g seconds.",
                    task.name.rsplit("/", 1)[-1],
                    limit,
                )
                running.terminate()
            return await ended
        finally:
            ended.cancel()
            timeout.cancel()

    def _end(self, task: Pb, outcome: AttemptOutcome) -> None:
        life.end_task(task, outcome, now=self._now())
        if outcome.succeeded:
            self.execution.succeeded_count += 1
        elif outcome.cancelled:
            self.execution.cancelled_count += 1
        else:
            self.execution.failed_count += 1
        self._save(task)
        self._discard(task)

    def _conclude(self) -> None:
        """Say how it ended: every task counts, the first that failed is named."""
        if self.execution.cancelled_count:
            life.cancel(self.execution, now=self._now())
            self._save()
        elif self.execution.failed_count:
            failed = (task for task in self._tasks if task.last_attempt_result.status.code)
            first = min(failed, key=lambda task: moment(task.completion_time))
            message = life.verdict(first)
            life.fail(self.execution, message, now=self._now())
            code = first.last_attempt_result.status.code
            self._save(error=Status(code=code, message=message))
        else:
            life.succeed(self.execution, now=self._now())
            self._save()

    def _discard(self, task: Pb) -> None:
        """Let go of an attempt whose end is recorded."""
        if running := self._running.pop(task.name, None):
            running.discard()

    def _save(self, *tasks: Pb, error: Status | None = None) -> None:
        self._context.store.save(self.execution, *tasks, error=error)

    def _now(self) -> float:
        return self._context.clock.now()


def attempt_of(execution: Pb, task: Pb) -> EmulatedAttempt:
    """Return the attempt that a task is at: what a container gets to know of itself."""
    container = execution.template.containers[0]
    injected = {
        "CLOUD_RUN_JOB": execution.job,
        "CLOUD_RUN_EXECUTION": task.execution,
        "CLOUD_RUN_TASK_INDEX": str(task.index),
        "CLOUD_RUN_TASK_ATTEMPT": str(task.retried),
        "CLOUD_RUN_TASK_COUNT": str(execution.task_count),
    }
    return EmulatedAttempt(
        execution=task.execution,
        index=task.index,
        number=task.retried,
        image=container.image,
        account=execution.template.service_account,
        memory=memory_of(container),
        cpus=cpus_of(container),
        command=tuple(container.command),
        args=tuple(container.args),
        env={variable.name: variable.value for variable in container.env} | injected,
    )
