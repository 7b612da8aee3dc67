"""Cloud Run jobs: validators, and the two jobs of a release."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

from google.api_core.exceptions import NotFound
from google.cloud import run_v2
from google.protobuf.duration_pb2 import Duration

from deploy.google import GoogleCloud, finish
from deploy.resource import Resource, Settings, command, pairs
from deploy.resources.container import RunContainer, other_labels, read_container

_NOTHING = RunContainer(image="", account="", cpu="", memory="")


@dataclass(frozen=True, kw_only=True)
class Job(Resource):
    """A job whose executions run one container without retries; `timeout` is in seconds.

    Executions carry the job's labels.
    """

    kind: ClassVar[str] = "job"

    cloud: GoogleCloud
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    container: RunContainer = _NOTHING
    timeout: int = 600

    @classmethod
    def existing(cls, cloud: GoogleCloud, stage: str) -> Iterator[Self]:
        """Yield the jobs that were made for a stage."""
        for found in cloud.jobs.list_jobs(parent=cloud.location):
            if found.labels.get("stage") == stage:
                yield cls(cloud=cloud, name=found.name.rpartition("/")[2])

    def desired(self) -> Settings:
        return {
            **self.container.settings(),
            "timeout": self.timeout,
            "tasks": 1,
            "retries": 0,
            "labels": dict(self.labels),
        }

    def read(self) -> Settings | None:
        try:
            found = self.cloud.jobs.get_job(name=self._full)
        except NotFound:
            return None
        task = found.template.template
        return {
            **read_container(task),
            "timeout": int(task.timeout.total_seconds()),
            "tasks": found.template.task_count,
            "retries": task.max_retries,
            "labels": dict(found.labels),
            **other_labels("labels of executions", found.template, self.labels),
        }

    def create(self) -> None:
        operation = self.cloud.jobs.create_job(
            parent=self.cloud.location, job=self._wanted(), job_id=self.name
        )
        finish(operation)

    def update(self, current: Settings) -> None:
        wanted = self._wanted()
        wanted.name = self._full
        finish(self.cloud.jobs.update_job(job=wanted))

    def delete(self) -> None:
        finish(self.cloud.jobs.delete_job(name=self._full))

    def gcloud(self, action: str, current: Settings) -> list[str]:
        if action == "delete":
            return [command("run", "jobs", "delete", self.name, region=self.cloud.region)]
        return [
            command(
                *("run", "jobs", "deploy", self.name, "--tasks=1", "--max-retries=0"),
                region=self.cloud.region,
                task_timeout=self.timeout,
                labels=pairs(self.labels),
                **self.container.flags(),
            )
        ]

    def _wanted(self) -> run_v2.Job:
        task = run_v2.TaskTemplate(
            containers=[self.container.message()],
            volumes=self.container.volumes(),
            vpc_access=self.container.egress(),
            max_retries=0,
            timeout=Duration(seconds=self.timeout),
            service_account=self.container.account,
        )
        template = run_v2.ExecutionTemplate(task_count=1, template=task, labels=dict(self.labels))
        return run_v2.Job(labels=dict(self.labels), template=template)

    @property
    def _full(self) -> str:
        return f"{self.cloud.location}/jobs/{self.name}"
