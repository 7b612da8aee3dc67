"""Instances of a revision: containers that are started for requests, and stopped without them.

After https://cloud.google.com/run/docs/about-instance-autoscaling and
https://cloud.google.com/run/docs/about-concurrency. An instance takes as many requests at a time as
the revision's concurrency says. Requests beyond that wait for a new instance, in their order, for
ten seconds or three and a half times as long as a start takes. An instance without requests is
stopped after a while, unless the revision wants a minimum.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from devenv.gcp.clock import Clock
from devenv.gcp.forward.connection import Origin
from devenv.gcp.messages import seconds
from devenv.gcp.run_jobs.containers import ContainerSources, cpus_of, memory_of
from devenv.gcp.run_jobs.resources import Pb
from devenv.gcp.run_jobs.runtimes.base import (
    AttemptExit,
    AttemptNotStarted,
    EmulatedAttempt,
    JobsRuntime,
    RunningAttempt,
)
from devenv.gcp.run_services.probes import probe
from devenv.gcp.run_services.records import short

log = logging.getLogger(__name__)
_SHORTEST_QUEUE, _QUEUE_PER_START = 10.0, 3.5  # seconds; times the average start
_ENDED = 5  # instances that have ended, of which a revision remembers how
_PAUSE = 1.0  # seconds before an instance that must be there is started again

NOT_LISTENING = (
    "The user-provided container failed to start and listen on the port defined provided by the "
    "PORT={port} environment variable within the allocated timeout. This can happen when the "
    "container port is misconfigured or if the timeout is too short. The health check timeout can "
    "be extended. Logs for this revision might contain more information."
)


class InstanceNotStarted(Exception):
    """Raised when an instance did not become ready; the message is for the revision's condition."""


class NoInstance(Exception):
    """Raised when no instance had room in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceContext:
    """Shared by all revisions.

    `idle` are the seconds without a request after which an instance is stopped, 0 for never;
    `cold_start` are seconds that each start takes longer.
    """

    runtime: JobsRuntime
    clock: Clock
    sources: ContainerSources
    idle: float
    cold_start: float


@dataclass(slots=True, eq=False)
class Instance:
    """A container that is ready, or was; `active` are the requests that it has at the moment.

    `started` and `ended` are in Unix seconds; `ended` is 0 until the container has, and `exit` says how.
    """

    running: RunningAttempt
    origin: Origin
    attempt: EmulatedAttempt
    started: float
    active: int = 0
    idle_since: float = 0.0
    ended: float = 0.0
    exit: AttemptExit | None = None


class RevisionInstances:
    """All instances of one revision: a place that requests can be forwarded to."""

    def __init__(self, revision: Pb, context: InstanceContext) -> None:
        self._revision = revision
        self._context = context
        self._concurrency = int(revision.max_instance_request_concurrency)
        self._most = int(revision.scaling.max_instance_count)
        self._least = 0
        self._count = 0
        self._instances: list[Instance] = []
        self._stopping: list[Instance] = []
        self.ended: deque[Instance] = deque(maxlen=_ENDED)
        self._waiting: deque[asyncio.Future[Instance]] = deque()
        self.starting = 0
        self._start_times: deque[float] = deque(maxlen=10)
        self._tasks: set[asyncio.Task[None]] = set()
        self._retired = False
        self.service = str(revision.service)
        self.timeout = seconds(revision.timeout)

    @asynccontextmanager
    async def reach(self) -> AsyncIterator[Origin]:
        """Yield the address of an instance that has room for a request.

        Raises NoInstance or InstanceNotStarted.
        """
        instance = await self._acquire()
        try:
            yield instance.origin
        finally:
            self._release(instance)

    async def check(self) -> None:
        """Start the first instance of a new revision. Raises InstanceNotStarted."""
        self._add(await self._launch())

    @property
    def is_over(self) -> bool:
        """Whether no instance lives, and none is being started."""
        return not (self._instances or self._stopping or self.starting or self._tasks)

    def scale(self, *, least: int, most: int = 0) -> None:
        """Keep at least so many instances, and at most so many if the service has a limit too."""
        own = int(self._revision.scaling.max_instance_count)
        self._most = min(own, most) if most else own
        self._least = min(least, self._most)
        self._retired = False
        self._fill()

    def all(self) -> Iterator[tuple[str, Instance]]:
        """Yield each instance that lives with its state, the oldest first."""
        yield from (("stopping", each) for each in self._stopping)
        yield from (("ready", each) for each in self._instances)

    def stop_instance(self, name: str) -> bool:
        """Stop an instance by the name of its attempt; return False if none of this name is ready.

        The next request starts another one, and so does a minimum.
        """
        found = [each for each in self._instances if each.attempt.name == name]
        for instance in found:
            self._drop(instance)
        return bool(found)

    def retire(self) -> None:
        """Stop each instance as soon as it has no request: no more requests will come."""
        self._least, self._retired = 0, True
        for instance in list(self._instances):
            self._stop_if_unused(instance)

    async def stop(self) -> None:
        """Forget everything; the runtime ends the containers."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _acquire(self) -> Instance:
        if not self._waiting and (free := self._free()):
            free.active += 1
            return free
        waiter: asyncio.Future[Instance] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._fill()
        try:
            async with asyncio.timeout(self._queue_timeout()):
                return await asyncio.shield(waiter)
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and not waiter.exception():
                self._release(waiter.result())
            waiter.cancel()
            if isinstance(error, TimeoutError):
                raise NoInstance from error
            raise

    def _queue_timeout(self) -> float:
        times = self._start_times
        average = sum(times) / len(times) if times else 0.0
        # Before the first start nobody knows how long one takes.
        known = max(_SHORTEST_QUEUE, _QUEUE_PER_START * average)
        probe = self._revision.containers[0].startup_probe
        longest = probe.period_seconds * probe.failure_threshold + self._context.cold_start
        return known if self._instances else max(known, float(longest))

    def _release(self, instance: Instance) -> None:
        instance.active -= 1
        instance.idle_since = self._context.clock.now()
        self._dispatch()
        self._stop_if_unused(instance)

    def _stop_if_unused(self, instance: Instance) -> None:
        if self._retired and not instance.active and instance in self._instances:
            self._drop(instance)

    def _drop(self, instance: Instance) -> None:
        self._instances.remove(instance)
        self._stopping.append(instance)
        instance.running.terminate()

    def _free(self) -> Instance | None:
        """Return the instance with the fewest requests, if one has room."""
        usable = [each for each in self._instances if each.active < self._concurrency]
        return min(usable, key=lambda each: each.active, default=None)

    def _dispatch(self) -> None:
        while self._waiting and (free := self._free()):
            waiter = self._waiting.popleft()
            if not waiter.done():
                free.active += 1
                waiter.set_result(free)

    def _fill(self) -> None:
        """Start as many instances as those who wait and the minimum need."""
        waiting = sum(not each.done() for each in self._waiting)
        needed = -(-waiting // self._concurrency)
        while len(self._instances) + self.starting < self._most and (
            self.starting < needed or len(self._instances) + self.starting < self._least
        ):
            self.starting += 1
            self._do(self._start())

    async def _start(self) -> None:
        try:
            instance = await self._launch()
        except InstanceNotStarted as error:
            self.starting -= 1
            log.warning("%s: %s", short(self._revision.name), error)
            self._give_up(error)
            if self._least:
                await self._context.clock.sleep(_PAUSE)
                self._fill()
        else:
            self.starting -= 1
            self._add(instance)

    def _give_up(self, error: InstanceNotStarted) -> None:
        """Fail those who wait, unless another instance may take them."""
        while self._waiting and not self._instances and not self.starting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_exception(error)
                waiter.exception()  # nobody may be left to look at it

    def _add(self, instance: Instance) -> None:
        instance.idle_since = self._context.clock.now()
        self._instances.append(instance)
        self._do(self._watch(instance))
        if self._context.idle:
            self._do(self._stop_when_idle(instance))
        self._dispatch()
        self._stop_if_unused(instance)

    async def _watch(self, instance: Instance) -> None:
        """Let go of an instance that has ended; requests that it had fail by themselves."""
        instance.exit = await instance.running.wait()
        instance.running.discard()
        instance.ended = self._context.clock.now()
        self.ended.append(instance)
        if instance in self._stopping:
            self._stopping.remove(instance)
        elif instance in self._instances:
            log.warning("%s: an instance ended by itself.", short(self._revision.name))
            self._instances.remove(instance)
            await self._context.clock.sleep(_PAUSE)
        self._fill()

    async def _stop_when_idle(self, instance: Instance) -> None:
        idle, clock = self._context.idle, self._context.clock
        while instance in self._instances:
            # The clock may have been set back.
            instance.idle_since = min(instance.idle_since, clock.now())
            left = instance.idle_since + idle - clock.now()
            is_idle = not instance.active and left <= 0
            if is_idle and len(self._instances) > self._least:
                self._drop(instance)
                return
            await clock.sleep(left if left > 0 else idle)

    async def _launch(self) -> Instance:
        """Start a container and wait until its startup probe succeeds. Raises InstanceNotStarted."""
        context, began = self._context, time.monotonic()
        if context.cold_start:
            await context.clock.machine_sleep(context.cold_start)
        wanted = self._revision.containers[0].ports[0].container_port
        port = context.runtime.port(wanted)
        attempt = self._attempt(port)
        try:
            running = await context.runtime.start(context.sources.supply(attempt, self._revision))
        except AttemptNotStarted as error:
            raise InstanceNotStarted(str(error)) from error
        ended = asyncio.ensure_future(running.wait())
        probing = asyncio.ensure_future(self._listening(attempt, port))
        try:
            await asyncio.wait({ended, probing}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done() and (origin := probing.result()):
                self._start_times.append(time.monotonic() - began)
                return Instance(running, origin, attempt, context.clock.now())
            running.terminate()
            self._do(_discard(running))
            raise InstanceNotStarted(NOT_LISTENING.format(port=wanted))
        except asyncio.CancelledError:
            running.terminate()
            raise
        finally:
            ended.cancel()
            probing.cancel()

    async def _listening(self, attempt: EmulatedAttempt, port: int) -> Origin | None:
        """Return where a new instance listens; None if its startup probe fails, or it is gone."""
        try:
            origin = Origin(await self._context.runtime.host(attempt), port)
        except AttemptNotStarted as error:
            log.warning("%s: %s", short(self._revision.name), error)
            return None
        wanted = self._revision.containers[0].startup_probe
        return origin if await probe(origin, wanted, self._context.clock) else None

    def _attempt(self, port: int) -> EmulatedAttempt:
        revision, container = self._revision, self._revision.containers[0]
        self._count += 1
        injected = {
            "PORT": str(port),
            "K_SERVICE": revision.service,
            "K_REVISION": short(revision.name),
            "K_CONFIGURATION": revision.service,
        }
        return EmulatedAttempt(
            execution=short(revision.name),
            index=self._count,
            number=0,
            kind="instance",
            image=container.image,
            account=revision.service_account,
            memory=memory_of(container),
            cpus=cpus_of(container),
            command=tuple(container.command),
            args=tuple(container.args),
            env={variable.name: variable.value for variable in container.env} | injected,
        )

    def _do(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _discard(running: RunningAttempt) -> None:
    await running.wait()
    running.discard()
