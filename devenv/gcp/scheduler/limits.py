"""Scheduled jobs, their names and their schedules: validation, defaults and bounds of Cloud Scheduler.

A schedule is unix-cron on the wall clock of a time zone.
"""

import datetime as dt
import re
import secrets
from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from devenv.gcp.client_types import client_types
from devenv.gcp.config import CloudConfig
from devenv.gcp.delivery import HTTP_TARGET_FIELDS, Backoff, check_body, clean_headers, clean_url
from devenv.gcp.errors import InvalidArgument, Unimplemented, wrong_project
from devenv.gcp.messages import every, refuse_unemulated, seconds

scheduler_v1 = client_types("google.cloud.scheduler_v1")

_CRON = re.compile(r"[0-9A-Za-z*/,-]+(\s+[0-9A-Za-z*/,-]+){4}")
_EXTENSION = re.compile(r"(^|[\s,0-9])L", re.IGNORECASE)  # "last": cronsim's, not unix-cron's
_ENGLISH = re.compile(r"\s*(every|[0-9]+[a-z]{2}|first|second|third)\b", re.IGNORECASE)
_UTC = ("", "utc", "etc/utc")  # "utc" is documented; none of them needs a tz database
_AROUND = 3 * 3600.0  # seconds; no clock is put forward or back by more


class Schedule:
    """A nominal time that does not exist is skipped, one that happens twice fires twice."""

    def __init__(self, expression: str, time_zone: str) -> None:
        """Parse a schedule. Raises InvalidArgument if it, or its time zone, is invalid."""
        if _ENGLISH.match(expression):
            raise Unimplemented("English-like schedules are not emulated; use unix-cron.")
        self._expression = expression.strip()
        short = len(expression) <= 500 and _CRON.fullmatch(self._expression)
        if not short or _EXTENSION.search(self._expression):
            raise InvalidArgument("Schedule or time zone is invalid.")
        self._zone: dt.tzinfo
        try:
            self._zone = dt.UTC if time_zone.lower() in _UTC else ZoneInfo(time_zone)
            self._nominals(0.0)
        except (KeyError, OSError, ValueError, CronSimError) as error:
            raise InvalidArgument("Schedule or time zone is invalid.") from error

    def after(self, moment: float) -> float | None:
        """Return the first moment later than `moment` at which it fires, None for never."""
        best: float | None = None
        for nominal in self._nominals(moment):
            moments = self._moments(nominal)
            if best is not None and moments and moments[0] >= best:
                break
            later = [each for each in moments if each > moment]
            best = min(later if best is None else [best, *later], default=None)
        return best

    def _nominals(self, moment: float) -> Iterator[dt.datetime]:
        """Yield wall clock times, from before an hour that is repeated around `moment` on."""
        earlier, now, later = (self._local(moment + by) for by in (-_AROUND, 0.0, _AROUND))
        repeated = max(earlier.utcoffset() - later.utcoffset(), dt.timedelta())  # type: ignore[operator]
        return iter(CronSim(self._expression, now.replace(tzinfo=None) - repeated))

    def _moments(self, nominal: dt.datetime) -> list[float]:
        """Return when the clock shows `nominal`: once; twice; or never, when it is put forward."""
        moments = {nominal.replace(tzinfo=self._zone, fold=f).timestamp() for f in (0, 1)}
        return sorted(m for m in moments if self._local(m).replace(tzinfo=None, fold=0) == nominal)

    def _local(self, moment: float) -> dt.datetime:
        return dt.datetime.fromtimestamp(moment, self._zone)


AGENT = "Google-Cloud-Scheduler"
SERVICE = "cloudscheduler.googleapis.com"
MAX_JOB_BYTES = 1024 * 1024

Job = scheduler_v1.Job.pb()

_FIELDS = every(
    *("name", "description", "schedule", "time_zone", "user_update_time", "state", "status"),
    *("schedule_time", "last_attempt_time", "attempt_deadline"),
    http_target=HTTP_TARGET_FIELDS,
    pubsub_target=every("topic_name", "data", "attributes"),
    retry_config=every(
        *("retry_count", "max_retry_duration", "min_backoff_duration", "max_backoff_duration"),
        "max_doublings",
    ),
)
_LOCATION = re.compile(r"projects/([^/]+)/locations/([a-z0-9-]+)")
_TOPIC = re.compile(r"projects/[^/]+/topics/[^/]+")
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
    if job.HasField("pubsub_target"):
        _check_message(job.pubsub_target)
    else:
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


def _check_message(target: Any) -> None:
    if not _TOPIC.fullmatch(target.topic_name):
        raise InvalidArgument(
            f"PubsubTarget.topic_name {target.topic_name[:200]!r} must be formatted: "
            '"projects/<PROJECT_ID>/topics/<TOPIC_ID>".'
        )
    if not target.data and not target.attributes:
        raise InvalidArgument("PubsubTarget must have data or at least one attribute.")


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
