"""Queues, tasks and their names: validation, Google's defaults and bounds, and its error texts.

Error texts are those of recordings of the real service. Fields that would have no effect here are
refused by name.
"""

import re
from typing import Any

from google.rpc import error_details_pb2

from devenv.gcp.client_types import client_types
from devenv.gcp.config import CloudConfig
from devenv.gcp.delivery import HTTP_TARGET_FIELDS, Backoff, check_body, clean_headers, clean_url
from devenv.gcp.errors import InvalidArgument, wrong_project
from devenv.gcp.messages import every, moment, refuse_unemulated, seconds, set_moment
from devenv.gcp.tasks.targets import TARGET_FIELDS, complete_target

tasks_v2 = client_types("google.cloud.tasks_v2")

AGENT = "Google-Cloud-Tasks"
RETENTION = 31 * 86400.0

MAX_TASK_BYTES = 1_048_569  # measured on the real service; the documentation says 100 KB
MAX_AHEAD = 720 * 3600.0
DEFAULT_DEADLINE = 600.0
_LEAST_BURST = 10

Queue = tasks_v2.Queue.pb()
Task = tasks_v2.Task.pb()
RetryConfig = tasks_v2.RetryConfig.pb()

_RETRIES = every(
    "max_attempts", "max_retry_duration", "min_backoff", "max_backoff", "max_doublings"
)
_QUEUE_FIELDS = every(
    *("name", "state", "purge_time"),
    http_target=TARGET_FIELDS,
    rate_limits=every("max_dispatches_per_second", "max_burst_size", "max_concurrent_dispatches"),
    retry_config=_RETRIES,
)
_TASK_FIELDS = every(
    *("name", "schedule_time", "create_time", "dispatch_deadline", "dispatch_count"),
    *("response_count", "first_attempt", "last_attempt", "view"),
    http_request=HTTP_TARGET_FIELDS,
    retry_config=_RETRIES,
)


def complete_queue(queue: Any) -> None:
    """Check what the caller set in `queue` and fill the rest, in place."""
    refuse_unemulated(queue, _QUEUE_FIELDS, where="queue")
    _complete_rates(queue.rate_limits)
    complete_retries(queue.retry_config)
    if queue.HasField("http_target"):
        complete_target(queue.http_target, AGENT)


def _complete_rates(rates: Any) -> None:
    rate, concurrent = rates.max_dispatches_per_second, rates.max_concurrent_dispatches
    if not rate >= 0:
        raise InvalidArgument("RateLimits.maxDispatchesPerSecond cannot be negative.")
    if rate > 500:
        raise InvalidArgument(
            "RateLimits.maxDispatchesPerSecond must be less than or equal to 500."
        )
    if concurrent < 0:
        raise InvalidArgument("RateLimits.maxConcurrentDispatches cannot be negative.")
    if concurrent > 5000:
        raise InvalidArgument(
            "RateLimits.maxConcurrentDispatches must be less than or equal to 5000."
        )
    rates.max_dispatches_per_second = rate or 500.0
    rates.max_concurrent_dispatches = concurrent or 1000
    rates.max_burst_size = _burst(rates.max_dispatches_per_second)


def _burst(rate: float) -> int:
    """Return the burst that Google derives from a rate: 10 for 1/s and 5/s, 100 for 500/s.

    Elsewhere it is our own rule; below 1/s tasks leave one by one.
    """
    return max(_LEAST_BURST, round(rate / 5)) if rate >= 1 else 1


def complete_retries(config: Any) -> None:
    """Check a retry configuration and fill what is unset, in place."""
    _check_retries(config)
    config.max_attempts = config.max_attempts or 100
    config.max_doublings = config.max_doublings or 16
    if not config.HasField("max_retry_duration"):
        config.max_retry_duration.seconds = 0
    if not config.HasField("min_backoff"):
        config.min_backoff.nanos = 100_000_000
    if not config.HasField("max_backoff"):
        config.max_backoff.seconds = 3600
    # Documented: truncated to the second. The default of 0.1 s shows that less than one is not.
    for backoff in (config.min_backoff, config.max_backoff):
        if backoff.seconds:
            backoff.nanos = 0
    if seconds(config.min_backoff) > seconds(config.max_backoff):
        raise InvalidArgument(
            "RetryConfig.minBackoff must be less than or equal to RetryConfig.maxBackoff."
        )


def _check_retries(config: Any) -> None:
    if config.max_attempts < -1:
        raise InvalidArgument("RetryConfig.maxAttempts must be greater or equal to -1.")
    if config.max_doublings < 0:
        raise InvalidArgument("RetryConfig.maxDoublings cannot be negative.")
    for duration, name in (
        (config.max_retry_duration, "maxRetryDuration"),
        (config.min_backoff, "minBackoff"),
        (config.max_backoff, "maxBackoff"),
    ):
        if seconds(duration) < 0:
            raise InvalidArgument(f"RetryConfig.{name} cannot be negative.")


def backoff_of(config: Any) -> Backoff:
    return Backoff(
        least=seconds(config.min_backoff),
        most=seconds(config.max_backoff),
        doublings=config.max_doublings,
    )


def exhausted(config: Any, *, attempts: int, age: float) -> bool:
    """Return whether a task that failed `attempts` times in `age` seconds is given up.

    Only when both limits are reached; one that is unlimited leaves it to the other, see
    google.cloud.tasks.v2.RetryConfig.max_attempts.
    """
    limits = []
    if config.max_attempts > 0:
        limits.append(attempts >= config.max_attempts)
    if duration := seconds(config.max_retry_duration):
        limits.append(age >= duration)
    return bool(limits) and all(limits)


def complete_task(task: Any, now: float) -> None:
    """Check what the caller set in `task` and fill the rest, in place. The name is not touched."""
    refuse_unemulated(task, _TASK_FIELDS, where="task")
    if task.ByteSize() > MAX_TASK_BYTES:
        raise InvalidArgument("Task size too large.")
    _complete_request(task.http_request)
    _complete_times(task, now)
    if task.HasField("retry_config"):
        complete_retries(task.retry_config)
    for field in ("dispatch_count", "response_count", "first_attempt", "last_attempt"):
        task.ClearField(field)


def _complete_request(request: Any) -> None:
    request.url = clean_url(request.url, empty="HttpRequest.url is required.")
    check_body(request)
    request.http_method = request.http_method or 1  # POST
    headers = clean_headers(request.headers.items(), AGENT)
    request.headers.clear()
    request.headers.update(headers)


def _complete_times(task: Any, now: float) -> None:
    wanted = moment(task.schedule_time) if task.HasField("schedule_time") else now
    if wanted > now + MAX_AHEAD:
        raise InvalidArgument(
            "The scheduleTime is too far in the future. "
            "Schedule time must be no more than 720h in the future."
        )
    set_moment(task.schedule_time, max(wanted, now))
    task.create_time.seconds, task.create_time.nanos = int(now), 0
    if not task.HasField("dispatch_deadline"):
        task.dispatch_deadline.seconds = int(DEFAULT_DEADLINE)
    if not 15 <= seconds(task.dispatch_deadline) <= 1800:
        raise InvalidArgument("Task.dispatchDeadline must be between [15s, 30m].")


SERVICE = "cloudtasks.googleapis.com"

_LOCATION = re.compile(r"projects/([^/]+)/locations/([a-z0-9-]+)")
_QUEUE = re.compile(r"projects/([^/]+)/locations/([a-z0-9-]+)/queues/([A-Za-z0-9-]{1,100})")
_TASK = re.compile(
    r"projects/([^/]+)/locations/([a-z0-9-]+)/queues/([A-Za-z0-9-]{1,100})/tasks/([^/]*)"
)
_TASK_ID = re.compile(r"[A-Za-z0-9_-]{1,500}")
_REFERENCE = "https://cloud.google.com/tasks/docs/reference/rest/v2/projects.locations.queues"


class TaskNames:
    """Reads the names in requests; the project may be given by its number too."""

    def __init__(self, config: CloudConfig) -> None:
        self._projects = {config.project, config.number}
        self._project = config.project

    def location(self, text: str) -> str:
        """Return the parent of queues."""
        match = _LOCATION.fullmatch(text)
        if not match:
            self._checked(text.removeprefix("projects/").partition("/")[0])
            raise InvalidArgument("Invalid resource field value in the request.")
        return f"projects/{self._checked(match[1])}/locations/{match[2]}"

    def queue(self, text: str) -> str:
        match = _QUEUE.fullmatch(text)
        if not match:
            raise _malformed("Queue", "queues/<QUEUE_ID>", "#Queue.FIELDS.name")
        return f"projects/{self._checked(match[1])}/locations/{match[2]}/queues/{match[3]}"

    def task(self, text: str) -> str:
        match = _TASK.fullmatch(text)
        if not match:
            raise _malformed("Task", "queues/<QUEUE_ID>/tasks/<TASK_ID>", ".tasks#Task.FIELDS.name")
        queue = self.queue(text.partition("/tasks/")[0])
        if not _TASK_ID.fullmatch(match[4]):
            raise InvalidArgument(
                f'Task ID "{match[4][:600]}" can contain only letters ([A-Za-z]), numbers ([0-9]), '
                "hyphens (-), or underscores (_). Task ID must between 1 and 500 characters.",
                (_help("Definition of task ID", ".tasks#Task.FIELDS.name"),),
            )
        return f"{queue}/tasks/{match[4]}"

    def _checked(self, project: str) -> str:
        if project not in self._projects:
            raise wrong_project(project[:100], SERVICE)
        return self._project


def short(name: str) -> str:
    """Return the last part of a name: the id of the queue or the task."""
    return name.rpartition("/")[2]


def queue_of(task: str) -> str:
    """Return the name of the queue that the task is in."""
    return task.rpartition("/tasks/")[0]


def _malformed(kind: str, form: str, anchor: str) -> InvalidArgument:
    return InvalidArgument(
        f'{kind} name must be formatted: "projects/<PROJECT_ID>/locations/<LOCATION_ID>/{form}".',
        (_help(f"Definition of {kind.lower()} name", anchor),),
    )


def _help(description: str, anchor: str) -> error_details_pb2.Help:
    link = error_details_pb2.Help.Link(description=description, url=_REFERENCE + anchor)
    return error_details_pb2.Help(links=[link])
