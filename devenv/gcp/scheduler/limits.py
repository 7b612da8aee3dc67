"""Scheduled jobs and their names: validation, defaults and bounds of Cloud Scheduler."""

import re
import secrets
from typing import Any

from google.cloud import scheduler_v1

from devenv.gcp.config import CloudConfig
from devenv.gcp.delivery import HTTP_TARGET_FIELDS, Backoff, check_body, clean_headers, clean_url
from devenv.gcp.errors import InvalidArgument, wrong_project
from devenv.gcp.messages import every, refuse_unemulated, seconds
from devenv.gcp.scheduler.cron import Schedule

AGENT = "Google-Cloud-Scheduler"
SERVICE = "cloudscheduler.googleapis.com"
MAX_JOB_BYTES = 1024 * 1024

Job = scheduler_v1.Job.pb()

_FIELDS = every(
    *("name", "description", "schedule", "time_zone", "user_update_time", "state", "status"),
    *("schedule_time", "last_attempt_time", "attempt_deadline"),
    http_target=HTTP_TARGET_FIELDS,
    retry_config=every(
        *("retry_count", "max_retry_duration", "min_backoff_duration", "max_backoff_duration"),
        "max_doublings",
    ),
)
_LOCATION = re.compile(r"projects/([^/]+)/locations/([a-z0-9-]+)")
_JOB = re.compile(r"projects/([^/]+)/locations/([a-z0-9-]+)/jobs/([A-Za-z0-9_-]{1,500})")


class SchedulerNames:
    """Reads the names in requests; the project may be given by its number too."""

    def __init__(self, config: CloudConfig) -> None:
        self._projects = {config.project, config.number}
        self._project = config.project

    def location(self, text: str) -> str:
        match = self._match(_LOCATION, text)
        return f"projects/{self._project}/locations/{match[2]}"

    def job(self, text: str) -> str:
        match = self._match(_JOB, text)
        return f"projects/{self._project}/locations/{match[2]}/jobs/{match[3]}"

    def new(self, parent: str, wanted: str) -> str:
        """Return the name of a job to create in `parent`; one is made up if none is wanted."""
        name = self.job(wanted) if wanted else f"{parent}/jobs/{secrets.randbelow(10**19)}"
        if not name.startswith(f"{parent}/"):
            raise InvalidArgument("The job name must be in the location of the request.")
        return name

    def _match(self, pattern: re.Pattern[str], text: str) -> re.Match[str]:
        project = text.removeprefix("projects/").partition("/")[0]
        if project not in self._projects:
            raise wrong_project(project[:100], SERVICE)
        match = pattern.fullmatch(text)
        if not match:
            raise InvalidArgument(
                "Job name must be formatted: "
                '"projects/<PROJECT_ID>/locations/<LOCATION_ID>/jobs/<JOB_ID>".'
            )
        return match


def complete_job(job: Any) -> Schedule:
    """Check what the caller set in `job`, fill the rest in place, and return its schedule."""
    refuse_unemulated(job, _FIELDS, where="job")
    if job.ByteSize() > MAX_JOB_BYTES:
        raise InvalidArgument("The job must not be larger than 1MB.")
    if len(job.description) > 500:
        raise InvalidArgument("The description must not be longer than 500 characters.")
    job.time_zone = job.time_zone or "Etc/UTC"
    schedule = Schedule(job.schedule, job.time_zone)
    _complete_target(job.http_target)
    if not job.HasField("attempt_deadline"):
        job.attempt_deadline.seconds = 180
    if not 15 <= seconds(job.attempt_deadline) <= 1800:
        raise InvalidArgument("Job.attemptDeadline must be between [15s, 30m].")
    _complete_retries(job.retry_config)
    return schedule


def _complete_target(target: Any) -> None:
    target.uri = clean_url(target.uri, empty="HttpTarget.uri is required.")
    check_body(target)
    target.http_method = target.http_method or 1  # POST
    headers = clean_headers(target.headers.items(), AGENT)
    if target.body and "content-type" not in {name.lower() for name in headers}:
        headers["Content-Type"] = "application/octet-stream"
    target.headers.clear()
    target.headers.update(headers)


def _complete_retries(config: Any) -> None:
    if not 0 <= config.retry_count <= 5:
        raise InvalidArgument("RetryConfig.retryCount must be between 0 and 5.")
    if config.max_doublings < 0:
        raise InvalidArgument("RetryConfig.maxDoublings cannot be negative.")
    config.max_doublings = config.max_doublings or 5
    if not config.HasField("max_retry_duration"):
        config.max_retry_duration.seconds = 0
    if not config.HasField("min_backoff_duration"):
        config.min_backoff_duration.seconds = 5
    if not config.HasField("max_backoff_duration"):
        config.max_backoff_duration.seconds = 3600
    backoff = backoff_of(config)
    if not 0 <= backoff.least <= backoff.most or seconds(config.max_retry_duration) < 0:
        raise InvalidArgument("RetryConfig has a duration that is out of range.")


def backoff_of(config: Any) -> Backoff:
    return Backoff(
        least=seconds(config.min_backoff_duration),
        most=seconds(config.max_backoff_duration),
        doublings=config.max_doublings,
    )
