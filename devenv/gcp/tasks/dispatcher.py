"""Delivery of tasks: the request of an attempt, the meaning of its answer, and the next attempt.

Nothing here polls: creating a task, an answer, resuming a queue and one alarm per queue move it
on. Headers and counts follow a recording of the real service.
"""

import asyncio
import email.utils
import logging
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from devenv.gcp.caller import Minter
from devenv.gcp.clock import Alarm, Clock
from devenv.gcp.delivery import (
    DeliveryAnswer,
    DeliveryFailed,
    DeliveryRequest,
    Send,
    failure,
    method_of,
    signed_headers,
)
from devenv.gcp.errors import CloudError, full_disk
from devenv.gcp.messages import moment, seconds, set_moment
from devenv.gcp.store import write_at_last
from devenv.gcp.tasks.rules import RETENTION, backoff_of, exhausted, queue_of, short
from devenv.gcp.tasks.state import LiveQueue, QueuedEntry, QueueHistory, TasksStore
from devenv.gcp.tasks.targets import overridden

log = logging.getLogger(__name__)

MAX_RETRY_AFTER = 3600.0


@dataclass(frozen=True, slots=True)
class DispatchResult:
    """How an attempt ended: `answered` is whether the status came from the target."""

    status: int
    answered: bool = True
    retry_after: float = 0.0

    @classmethod
    def of(cls, answer: DeliveryAnswer, now: float) -> "DispatchResult":
        wanted = answer.headers.get("retry-after", "") if answer.status in (429, 503) else ""
        return cls(answer.status, retry_after=retry_after(wanted, now))

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


TIMED_OUT = DispatchResult(504, answered=False)
UNREACHABLE = DispatchResult(503, answered=False)


def begin(entry: QueuedEntry, now: float) -> None:
    """Note that the attempt leaves now."""
    task = entry.task
    task.dispatch_count += 1
    if not task.HasField("first_attempt"):
        set_moment(task.first_attempt.dispatch_time, now)
    task.last_attempt.Clear()
    task.last_attempt.schedule_time.CopyFrom(task.schedule_time)
    set_moment(task.last_attempt.dispatch_time, now)


def request_for(queue: LiveQueue, entry: QueuedEntry, minter: Minter) -> DeliveryRequest:
    """Return the request of the attempt that has begun; its headers count those before it."""
    task = entry.task
    target = task.http_request
    if queue.state.HasField("http_target"):
        target = overridden(target, queue.state.http_target)
    headers = signed_headers(target, target.url, minter)
    headers["X-CloudTasks-QueueName"] = short(queue_of(task.name))
    headers["X-CloudTasks-TaskName"] = short(task.name)
    headers["X-CloudTasks-TaskRetryCount"] = str(task.dispatch_count - 1)
    headers["X-CloudTasks-TaskExecutionCount"] = str(entry.executions)
    headers["X-CloudTasks-TaskETA"] = f"{moment(task.schedule_time):.6f}"
    if entry.previous:
        headers["X-CloudTasks-TaskPreviousResponse"] = str(entry.previous)
        headers["X-CloudTasks-TaskRetryReason"] = ""  # present and empty for HTTP targets
    return DeliveryRequest(
        method=method_of(target),
        url=target.url,
        headers=headers,
        body=target.body,
        deadline=seconds(task.dispatch_deadline),
    )


def fail(queue: LiveQueue, entry: QueuedEntry, outcome: DispatchResult, now: float) -> bool:
    """Note a failed attempt and set the next one; return False if there is to be none."""
    task = entry.task
    entry.previous = outcome.status
    if outcome.answered:
        task.response_count += 1
        entry.executions += outcome.status < 500
    task.last_attempt.response_status.CopyFrom(failure(outcome.status))
    set_moment(task.last_attempt.response_time, now)
    config = task.retry_config if task.HasField("retry_config") else queue.state.retry_config
    age = now - moment(task.first_attempt.dispatch_time)
    if age >= RETENTION or exhausted(config, attempts=task.dispatch_count, age=age):
        return False
    pause = backoff_of(config).pause(task.dispatch_count)
    if outcome.status in (429, 503):
        # Google "will use a higher backoff rate" for these; how much higher is our own rule.
        pause = max(min(2 * pause, seconds(config.max_backoff)), outcome.retry_after)
    set_moment(task.schedule_time, now + min(pause, RETENTION))
    return True


def _moments_of(task: Any) -> Iterator[Any]:
    """Yield the time at which a task leaves next, and those of its attempts."""
    yield task.schedule_time
    for name in ("first_attempt", "last_attempt"):
        attempt = getattr(task, name)
        yield from (time for field, time in attempt.ListFields() if field.name.endswith("_time"))


def retry_after(value: str, now: float) -> float:
    """Return the seconds that a Retry-After header asks for; 0 for none or nonsense."""
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), MAX_RETRY_AFTER)
    try:
        wanted = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(wanted - now, 0.0), MAX_RETRY_AFTER)


_REWRITE_SECONDS = 1.0  # until what could not be written is tried again


class Dispatcher:
    """Nothing here polls: creating, answering, resuming and one alarm per queue move it on."""

    def __init__(self, *, saved: TasksStore, clock: Clock, minter: Minter, send: Send) -> None:
        self._saved = saved
        self._clock = clock
        self._minter = minter
        self._send = send
        self._alarms: dict[LiveQueue, Alarm] = {}
        self._histories: dict[LiveQueue, QueueHistory] = {}
        self._attempts: set[asyncio.Task[None]] = set()
        self._started = False

    def start(self, queues: Iterable[LiveQueue]) -> None:
        self._started = True
        for queue in queues:
            self.pump(queue)

    async def stop(self) -> None:
        """Break off; attempts in flight stay on disk and are made again."""
        self._started = False
        for alarm in self._alarms.values():
            alarm.cancel()
        self._alarms.clear()
        for attempt in self._attempts:
            attempt.cancel()
        await asyncio.gather(*self._attempts, return_exceptions=True)

    def add(self, queue: LiveQueue, entry: QueuedEntry) -> None:
        """Keep a new task; one that may leave now is written once, with its first attempt."""
        queue.put(entry)
        try:
            self.pump(queue)
            if not entry.in_flight:
                self._saved.save(entry)
        except BaseException:
            queue.drop(entry)
            raise

    def pump(self, queue: LiveQueue) -> None:
        """Send what may leave now, and wake up when the next may."""
        if not self._started:
            return
        now = self._clock.now()
        self.history(queue).note(len(queue.tasks))
        while entry := queue.next(now):
            try:
                self._begin(queue, entry)
            except BaseException:  # on a full disk, for example: no event may follow
                self._alarm(queue).set(now + _REWRITE_SECONDS)
                raise
            self._launch(self._attempt(queue, entry))
        wake = queue.wake_at(now)
        if wake is not None:
            self._alarm(queue).set(wake)

    def force(self, queue: LiveQueue, entry: QueuedEntry) -> None:
        """Send the task now: RunTask heeds neither a pause nor the limits."""
        if entry.in_flight:
            return
        set_moment(entry.task.schedule_time, self._clock.now())
        queue.lift(entry)
        self._launch(self._forced(queue, entry))

    def take_back(self, queue: LiveQueue, seconds: float) -> None:
        """Let the tasks of a queue leave, and be given up, earlier by these seconds."""
        for entry in queue.tasks.values():
            for shown in _moments_of(entry.task):
                set_moment(shown, moment(shown) - seconds)
            if not entry.in_flight:
                self._saved.save(entry)
                queue.put(entry)
        self._alarm(queue).cancel()
        self.pump(queue)

    def history(self, queue: LiveQueue) -> QueueHistory:
        if queue not in self._histories:
            self._histories[queue] = QueueHistory(self._clock)
        return self._histories[queue]

    def forget(self, queue: LiveQueue) -> None:
        self._histories.pop(queue, None)
        if alarm := self._alarms.pop(queue, None):
            alarm.cancel()

    def _alarm(self, queue: LiveQueue) -> Alarm:
        if queue not in self._alarms:
            self._alarms[queue] = Alarm(self._clock, lambda: self.pump(queue))
        return self._alarms[queue]

    def _begin(self, queue: LiveQueue, entry: QueuedEntry) -> None:
        """Note and write that an attempt leaves; if it cannot be written, it has not left."""
        begin(entry, self._clock.now())
        try:
            self._saved.save(entry)
        except BaseException:
            entry.task.dispatch_count -= 1
            queue.land(entry)
            queue.put(entry)
            raise
        self.history(queue).note(len(queue.tasks), delivered=1)

    def _launch(self, work: Coroutine[Any, Any, None]) -> None:
        attempt = asyncio.create_task(work)
        self._attempts.add(attempt)
        attempt.add_done_callback(self._ended)

    def _ended(self, attempt: asyncio.Task[None]) -> None:
        self._attempts.discard(attempt)
        if not attempt.cancelled() and (error := attempt.exception()):
            trace = None if full_disk(error) else error
            log.error("An attempt of a task could not be written: %s", error, exc_info=trace)

    async def _forced(self, queue: LiveQueue, entry: QueuedEntry) -> None:
        if not entry.gone:  # RunTask is answered with the task as it was before
            self._begin(queue, entry)
        await self._attempt(queue, entry)

    async def _attempt(self, queue: LiveQueue, entry: QueuedEntry) -> None:
        try:
            outcome = None if entry.gone else await self._deliver(queue, entry)
            if outcome and not entry.gone:
                await self._settle(queue, entry, outcome)
        finally:  # what came of it may not be written, on a full disk: the queue goes on
            queue.land(entry)
            self.pump(queue)

    async def _deliver(self, queue: LiveQueue, entry: QueuedEntry) -> DispatchResult:
        try:
            answer = await self._send(request_for(queue, entry, self._minter))
            return DispatchResult.of(answer, self._clock.machine())
        except TimeoutError:
            return TIMED_OUT
        except (DeliveryFailed, CloudError) as error:
            log.warning("Task %s was not delivered: %s", entry.name, error)
            return UNREACHABLE
        except Exception:
            log.exception("Task %s was not delivered", entry.name)
            return UNREACHABLE

    async def _settle(self, queue: LiveQueue, entry: QueuedEntry, outcome: DispatchResult) -> None:
        if outcome.good:
            done = True
        else:
            done = not fail(queue, entry, outcome, self._clock.now())
            log.warning(
                "Task %s: HTTP status code %d, %s",
                entry.name,
                outcome.status,
                "given up" if done else "will be tried again",
            )
        if done:
            await self._delete(queue, entry)
        else:
            queue.put(entry)
            self._saved.save(entry)

    async def _delete(self, queue: LiveQueue, entry: QueuedEntry) -> None:
        """Delete a task that is done. One that cannot be written keeps its place, and is not sent again."""

        def delete() -> None:
            if not entry.gone:
                self._saved.delete([entry.name])
                queue.drop(entry)

        await write_at_last(f"The end of task {entry.name}", delete, self._clock)
