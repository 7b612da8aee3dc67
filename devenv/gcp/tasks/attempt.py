"""One attempt of a task: the request that is sent, and what its answer means."""

import email.utils
from dataclasses import dataclass

from devenv.gcp.caller import Minter
from devenv.gcp.delivery import Answer, Request, failure, method_of, signed_headers
from devenv.gcp.messages import moment, seconds, set_moment
from devenv.gcp.tasks.limits import RETENTION, backoff_of, exhausted
from devenv.gcp.tasks.names import queue_of, short
from devenv.gcp.tasks.queue import Entry, LiveQueue

MAX_RETRY_AFTER = 3600.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: `answered` is whether the status came from the target."""

    status: int
    answered: bool = True
    retry_after: float = 0.0

    @classmethod
    def of(cls, answer: Answer, now: float) -> "Outcome":
        wanted = answer.headers.get("retry-after", "") if answer.status in (429, 503) else ""
        return cls(answer.status, retry_after=retry_after(wanted, now))

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


TIMED_OUT = Outcome(504, answered=False)
UNREACHABLE = Outcome(503, answered=False)


def begin(entry: Entry, now: float) -> None:
    """Note that the attempt leaves now."""
    task = entry.task
    task.dispatch_count += 1
    if not task.HasField("first_attempt"):
        set_moment(task.first_attempt.dispatch_time, now)
    task.last_attempt.Clear()
    task.last_attempt.schedule_time.CopyFrom(task.schedule_time)
    set_moment(task.last_attempt.dispatch_time, now)


def request_for(entry: Entry, minter: Minter) -> Request:
    """Return the request of the attempt that has begun; its headers count those before it."""
    task = entry.task
    target = task.http_request
    headers = signed_headers(target, target.url, minter)
    headers["X-CloudTasks-QueueName"] = short(queue_of(task.name))
    headers["X-CloudTasks-TaskName"] = short(task.name)
    headers["X-CloudTasks-TaskRetryCount"] = str(task.dispatch_count - 1)
    headers["X-CloudTasks-TaskExecutionCount"] = str(entry.executions)
    headers["X-CloudTasks-TaskETA"] = f"{moment(task.schedule_time):.6f}"
    if entry.previous:
        headers["X-CloudTasks-TaskPreviousResponse"] = str(entry.previous)
        headers["X-CloudTasks-TaskRetryReason"] = ""  # present and empty for HTTP targets
    return Request(
        method=method_of(target),
        url=target.url,
        headers=headers,
        body=target.body,
        deadline=seconds(task.dispatch_deadline),
    )


def fail(queue: LiveQueue, entry: Entry, outcome: Outcome, now: float) -> bool:
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


def retry_after(value: str, now: float) -> float:
    """Return the seconds that a Retry-After header asks for; 0 for none or nonsense."""
    if value.isascii() and value.isdigit():
        return min(float(value[:9]), MAX_RETRY_AFTER)
    try:
        wanted = email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0
    return min(max(wanted - now, 0.0), MAX_RETRY_AFTER)
