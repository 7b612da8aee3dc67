"""Queues of Cloud Tasks."""

from dataclasses import dataclass
from typing import ClassVar

from google.api_core.exceptions import NotFound
from google.cloud import tasks_v2
from google.protobuf.duration_pb2 import Duration

from deploy.google import GoogleCloud
from deploy.resource import Resource, Settings, command

_DOUBLINGS = 16  # Google's default


@dataclass(frozen=True, kw_only=True)
class Queue(Resource):
    """A queue with its limits and retries; pauses between attempts are in seconds.

    A task is tried `max_attempts` times however long that takes. Whether the queue is paused is the
    operator's matter.
    """

    kind: ClassVar[str] = "queue"
    holds_data: ClassVar[bool] = True

    cloud: GoogleCloud
    name: str
    max_dispatches_per_second: float
    max_concurrent_dispatches: int
    max_attempts: int
    min_backoff: float
    max_backoff: float

    def desired(self) -> Settings:
        return {
            "max_dispatches_per_second": self.max_dispatches_per_second,
            "max_concurrent_dispatches": self.max_concurrent_dispatches,
            "max_attempts": self.max_attempts,
            "min_backoff": self.min_backoff,
            "max_backoff": self.max_backoff,
            "max_doublings": _DOUBLINGS,
            "max_retry_duration": 0.0,
        }

    def read(self) -> Settings | None:
        try:
            found = self.cloud.queues.get_queue(name=self._full)
        except NotFound:
            return None
        limits, retries = found.rate_limits, found.retry_config
        return {
            "max_dispatches_per_second": limits.max_dispatches_per_second,
            "max_concurrent_dispatches": limits.max_concurrent_dispatches,
            "max_attempts": retries.max_attempts,
            "min_backoff": retries.min_backoff.total_seconds(),
            "max_backoff": retries.max_backoff.total_seconds(),
            "max_doublings": retries.max_doublings,
            "max_retry_duration": retries.max_retry_duration.total_seconds(),
        }

    def create(self) -> None:
        self.cloud.queues.create_queue(parent=self.cloud.location, queue=self._wanted())

    def update(self, current: Settings) -> None:
        self.cloud.queues.update_queue(queue=self._wanted())

    def delete(self) -> None:
        self.cloud.queues.delete_queue(name=self._full)

    def gcloud(self, action: str, current: Settings) -> list[str]:
        words = ("tasks", "queues", action, self.name)
        if action == "delete":
            return [command(*words, location=self.cloud.region)]
        settings = dict(self.desired())
        for name in ("min_backoff", "max_backoff", "max_retry_duration"):
            settings[name] = f"{settings[name]}s"
        return [command(*words, location=self.cloud.region, **settings)]

    def _wanted(self) -> tasks_v2.Queue:
        return tasks_v2.Queue(
            name=self._full,
            rate_limits=tasks_v2.RateLimits(
                max_dispatches_per_second=self.max_dispatches_per_second,
                max_concurrent_dispatches=self.max_concurrent_dispatches,
            ),
            retry_config=tasks_v2.RetryConfig(
                max_attempts=self.max_attempts,
                min_backoff=_seconds(self.min_backoff),
                max_backoff=_seconds(self.max_backoff),
                max_doublings=_DOUBLINGS,
                max_retry_duration=_seconds(0),
            ),
        )

    @property
    def _full(self) -> str:
        return f"{self.cloud.location}/queues/{self.name}"


def _seconds(value: float) -> Duration:
    return Duration(seconds=int(value), nanos=round(value % 1 * 1_000_000_000))
