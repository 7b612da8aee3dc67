"""One scheduled job: its timer, and its one execution at a time."""

import asyncio
import logging
import math
import sqlite3
from collections.abc import Callable
from typing import Any

from devenv.gcp.caller import Minter
from devenv.gcp.clock import Clock, rfc3339
from devenv.gcp.delivery import (
    DeliveryFailed,
    DeliveryRequest,
    Ready,
    Send,
    Topics,
    failure,
    method_of,
    signed_headers,
)
from devenv.gcp.errors import CloudError
from devenv.gcp.messages import seconds, set_moment
from devenv.gcp.scheduler.limits import Job, Schedule, backoff_of

log = logging.getLogger(__name__)


class ScheduleRunner:
    """`job` is a google.cloud.scheduler.v1.Job; `save` stores it.

    A slot of the schedule is executed when its target is `ready`: the stack starts its services
    after this cloud, and Cloud Run, too, holds a request while a service starts.
    """

    def __init__(  # noqa: PLR0913 - the parts of the cloud, by name
        self,
        job: Any,
        *,
        clock: Clock,
        minter: Minter,
        send: Send,
        topics: Topics,
        save: Callable[[Any], None],
        ready: Ready,
    ) -> None:
        self._clock = clock
        self._minter = minter
        self._send = send
        self._topics = topics
        self._save = save
        self._ready = ready
        self._timer: asyncio.Task[None] | None = None
        self._execution: asyncio.Task[None] | None = None
        self._begun = 0.0  # the moment from which the execution is retried
        self.job = job
        self._schedule = Schedule(job.schedule, job.time_zone)

    def configure(self, job: Any) -> None:
        """Take over a definition or a state once it is written.

        An execution under way goes on with the new one.
        """
        schedule = Schedule(job.schedule, job.time_zone)
        _show(job, schedule.after(self._clock.now()) if job.state == Job.ENABLED else None)
        self._save(job)
        self.job, self._schedule = job, schedule
        self.start()

    def take_back(self, seconds: float) -> None:
        """Count its slots from now on, and its retries as before: the clock has lost these seconds."""
        self._begun -= seconds
        self.configure(self.job)

    def start(self) -> None:
        """Count from now on: what fell into a time when nothing ran is not made up for."""
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.create_task(self._follow()) if self._enabled else None

    async def stop(self) -> None:
        """Break off; an execution that is cut off is not repeated."""
        tasks = [task for task in (self._timer, self._execution) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def run(self) -> None:
        """Execute the job now, unless it is just being executed."""
        if not self._execution:
            self._begin(self._clock.now())

    @property
    def _enabled(self) -> bool:
        return bool(self.job.state == Job.ENABLED)

    async def _follow(self) -> None:
        previous = self._clock.now()
        while (slot := self._schedule.after(previous)) is not None:
            self._plan(slot)
            await self._clock.sleep(slot - self._clock.now())
            if self._execution:  # the one before ends first, however late this one gets
                await asyncio.wait([self._execution])
            if self.job.HasField("http_target"):
                await self._ready(self.job.http_target.uri)
            begun = self._clock.now()
            await asyncio.wait([self._begin(slot)])
            previous = max(slot, begun)

    def _begin(self, slot: float) -> asyncio.Task[None]:
        self._execution = asyncio.create_task(self._execute(slot))
        self._execution.add_done_callback(self._ended)
        return self._execution

    def _ended(self, _execution: asyncio.Task[None]) -> None:
        self._execution = None

    async def _execute(self, slot: float) -> None:
        self._begun = max(slot, self._clock.now())
        retry = 1
        while not await self._attempt(slot) and self._may_retry(retry):
            again = self._clock.now() + backoff_of(self.job.retry_config).pause(retry)
            if again >= (self._schedule.after(self._begun) or math.inf):
                break
            self._plan(again)
            await self._clock.sleep(again - self._clock.now())
            retry += 1
        self._plan()

    def _may_retry(self, retry: int) -> bool:
        config = self.job.retry_config
        lasted = self._clock.now() - self._begun
        return retry <= config.retry_count or lasted < seconds(config.max_retry_duration)

    async def _attempt(self, slot: float) -> bool:
        """Send the request once; return whether it was taken."""
        set_moment(self.job.last_attempt_time, self._clock.now())
        status = await self._deliver(slot)
        good = 200 <= status < 300
        self.job.status.Clear()
        self.job.status.SetInParent()  # OK is said, not left out
        if not good:
            self.job.status.CopyFrom(failure(status))
            log.warning("Job %s: HTTP status code %d", self.job.name, status)
        self._record()
        return good

    async def _deliver(self, slot: float) -> int:
        try:
            if self.job.HasField("pubsub_target"):
                return self._publish_message()
            return (await self._send(self._request(slot))).status
        except TimeoutError:
            return 504
        except (DeliveryFailed, CloudError) as error:
            log.warning("Job %s was not delivered: %s", self.job.name, error)
        except Exception:
            log.exception("Job %s was not delivered", self.job.name)
        return 503

    def _publish_message(self) -> int:
        target = self.job.pubsub_target
        try:
            self._topics.publish(target.topic_name, target.data, target.attributes)
        except CloudError as error:
            log.warning("Job %s was not published: %s", self.job.name, error)
            return error.http
        return 200

    def _request(self, slot: float) -> DeliveryRequest:
        target = self.job.http_target
        headers = signed_headers(target, target.uri, self._minter)
        headers["X-CloudScheduler"] = "true"
        headers["X-CloudScheduler-JobName"] = self.job.name.rpartition("/")[2]
        headers["X-CloudScheduler-ScheduleTime"] = rfc3339(slot).replace(".000000Z", "Z")
        return DeliveryRequest(
            method=method_of(target),
            url=target.uri,
            headers=headers,
            body=target.body,
            deadline=seconds(self.job.attempt_deadline),
        )

    def _plan(self, moment: float | None = None) -> None:
        """Show when the job is tried next: at `moment`, else at the next slot of its schedule."""
        if moment is None and self._enabled:
            moment = self._schedule.after(self._clock.now())
        _show(self.job, moment)
        self._record()

    def _record(self) -> None:
        """Save how far the job is. It goes on where that cannot be written, and has it written later."""
        try:
            self._save(self.job)
        except (OSError, sqlite3.Error) as error:  # on a full disk, for example
            log.error("Job %s could not be written: %s", self.job.name, error)  # noqa: TRY400


def _show(job: Any, moment: float | None) -> None:
    """Show when a job is tried next."""
    if moment is None:
        job.ClearField("schedule_time")
    else:
        set_moment(job.schedule_time, moment)
