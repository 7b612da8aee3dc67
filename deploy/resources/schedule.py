"""Entries of Cloud Scheduler, which call the worker."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

from google.api_core.exceptions import NotFound
from google.cloud import scheduler_v1
from google.protobuf.duration_pb2 import Duration

from deploy.google import GoogleCloud
from deploy.resource import Resource, Settings, command, made_for

_TIME_ZONE = "Etc/UTC"
_DEADLINE_SECONDS = 180  # Google's default


@dataclass(frozen=True, kw_only=True)
class SchedulerEntry(Resource):
    """A POST to `url` at the times of `cron` (UTC), with an ID token of `account` for `audience`.

    It is not repeated before the next of these times.
    """

    kind: ClassVar[str] = "schedule"

    cloud: GoogleCloud
    stage: str
    name: str
    cron: str = ""
    url: str = ""
    account: str = ""
    audience: str = ""

    @classmethod
    def existing(cls, cloud: GoogleCloud, stage: str) -> Iterator[Self]:
        """Yield the entries that were made for a stage."""
        for found in cloud.schedules.list_jobs(parent=cloud.location):
            if found.description == made_for(stage):
                yield cls(cloud=cloud, stage=stage, name=found.name.rpartition("/")[2])

    def desired(self) -> Settings:
        return {
            "cron": self.cron,
            "time zone": _TIME_ZONE,
            "url": self.url,
            "method": "POST",
            "deadline": _DEADLINE_SECONDS,
            "retries": 0,
            "state": "ENABLED",
            "account": self.account,
            "audience": self.audience,
            "description": made_for(self.stage),
        }

    def read(self) -> Settings | None:
        try:
            found = self.cloud.schedules.get_job(name=self._full)
        except NotFound:
            return None
        target = found.http_target
        return {
            "cron": found.schedule,
            "time zone": found.time_zone,
            "url": target.uri,
            "method": target.http_method.name,
            "deadline": int(found.attempt_deadline.total_seconds()),
            "retries": found.retry_config.retry_count,
            "state": found.state.name,
            "account": target.oidc_token.service_account_email,
            "audience": target.oidc_token.audience,
            "description": found.description,
        }

    def create(self) -> None:
        self.cloud.schedules.create_job(parent=self.cloud.location, job=self._wanted())

    def update(self, current: Settings) -> None:
        self.cloud.schedules.update_job(job=self._wanted())
        if current["state"] == "PAUSED":
            self.cloud.schedules.resume_job(name=self._full)

    def delete(self) -> None:
        self.cloud.schedules.delete_job(name=self._full)

    def gcloud(self, action: str, current: Settings) -> list[str]:
        if action == "delete":
            words = ("scheduler", "jobs", "delete", self.name)
            return [command(*words, location=self.cloud.region)]
        made = [
            command(
                *("scheduler", "jobs", action, "http", self.name),
                location=self.cloud.region,
                schedule=self.cron,
                time_zone=_TIME_ZONE,
                attempt_deadline=f"{_DEADLINE_SECONDS}s",
                max_retry_attempts="0",
                uri=self.url,
                http_method="POST",
                oidc_service_account_email=self.account,
                oidc_token_audience=self.audience,
                description=made_for(self.stage),
            )
        ]
        if current.get("state") == "PAUSED":
            words = ("scheduler", "jobs", "resume", self.name)
            made.append(command(*words, location=self.cloud.region))
        return made

    def _wanted(self) -> scheduler_v1.Job:
        token = scheduler_v1.OidcToken(service_account_email=self.account, audience=self.audience)
        target = scheduler_v1.HttpTarget(
            uri=self.url, http_method=scheduler_v1.HttpMethod.POST, oidc_token=token
        )
        return scheduler_v1.Job(
            name=self._full,
            description=made_for(self.stage),
            schedule=self.cron,
            time_zone=_TIME_ZONE,
            http_target=target,
            attempt_deadline=Duration(seconds=_DEADLINE_SECONDS),
            retry_config=scheduler_v1.RetryConfig(retry_count=0),
        )

    @property
    def _full(self) -> str:
        return f"{self.cloud.location}/jobs/{self.name}"
