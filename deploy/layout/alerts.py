"""Alerts of a stage: the uptime check, the metrics, the thresholds and the addresses."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from google.cloud import monitoring_v3 as monitoring

from deploy.layout.data import StageData
from deploy.layout.names import StageNames
from deploy.resource import Resource
from deploy.resources.monitoring import (
    AlertAddress,
    AlertPolicy,
    LogMetric,
    Threshold,
    UptimeCheck,
)

_RUNBOOKS = "See docs/runbooks.md of the repository, `{page}`."
_FIVE_MINUTES = 300
type _Policy = tuple[str, str, Threshold]
"""The name of a policy, what to do about it, and its threshold."""
_Aligner = monitoring.Aggregation.Aligner
_Reducer = monitoring.Aggregation.Reducer


class StageAlerts:
    """The uptime check, the metric of failed tasks, and a policy for each thing that goes wrong.

    They exist only in a stage that has addresses for them.
    """

    def __init__(self, names: StageNames, data: StageData) -> None:
        self._names = names
        self._stage = names.stage
        self._cloud = names.cloud
        self._data = data

    def resources(self) -> Iterator[Resource]:
        """Yield everything, the policies last."""
        if not self._stage.alerts.emails:
            return
        for email in self._stage.alerts.emails:
            yield AlertAddress(cloud=self._cloud, name=email, labels=self._stage.labels)
        yield UptimeCheck(
            cloud=self._cloud,
            name=self._stage.named("site"),
            labels=self._stage.labels,
            host=self._host,
            path="/health/ready/",
        )
        yield LogMetric(
            cloud=self._cloud,
            stage=self._stage.name,
            name=self._failed_tasks,
            filter=(
                f'resource.type="cloud_run_revision" AND resource.labels.service_name="{self._worker}" '
                'AND severity>=ERROR AND jsonPayload.message:"is a dead letter"'
            ),
        )
        for name, text, threshold in self._thresholds():
            yield AlertPolicy(
                cloud=self._cloud,
                name=self._stage.named(name),
                labels=self._stage.labels,
                threshold=threshold,
                addresses=self._stage.alerts.emails,
                text=text,
            )

    @property
    def _host(self) -> str:
        return str(urlsplit(self._names.site_url).hostname)

    @property
    def _worker(self) -> str:
        return self._stage.named("worker")

    @property
    def _failed_tasks(self) -> str:
        return self._stage.named("failed-tasks")

    def _thresholds(self) -> Iterator[_Policy]:
        yield from self._of_answers()
        yield from self._of_work()
        yield from self._of_database()

    def _of_answers(self) -> Iterator[_Policy]:
        web = _of_service("request_count", self._stage.named("web"))
        failed = f'{web} AND metric.labels.response_code_class = "5xx"'
        yield (
            "errors",
            "More than 1 % of the answers are errors. " + _RUNBOOKS.format(page="Bad deploy"),
            Threshold(filter=failed, denominator=web, above=0.01, seconds=_FIVE_MINUTES),
        )
        yield (
            "latency",
            "One answer of twenty takes more than 2 s. " + _RUNBOOKS.format(page="Full queue"),
            Threshold(
                filter=_of_service("request_latencies", self._stage.named("web")),
                above=2000,  # milliseconds
                seconds=_FIVE_MINUTES,
                aligner=_Aligner.ALIGN_PERCENTILE_95,
                reducer=_Reducer.REDUCE_MAX,
            ),
        )

    def _of_work(self) -> Iterator[_Policy]:
        yield (
            "failed-tasks",
            "A task failed too often and is a dead letter. " + _RUNBOOKS.format(page="Stuck run"),
            Threshold(
                filter=f'metric.type = "logging.googleapis.com/user/{self._failed_tasks}" AND '
                'resource.type = "cloud_run_revision"',
                above=0,
                seconds=0,
                aligner=_Aligner.ALIGN_DELTA,
            ),
        )
        yield (
            "down",
            "The site does not answer. " + _RUNBOOKS.format(page="Bad deploy"),
            Threshold(
                filter='metric.type = "monitoring.googleapis.com/uptime_check/check_passed" AND '
                f'resource.type = "uptime_url" AND resource.labels.host = "{self._host}"',
                above=1,  # checkers of one region may be wrong
                seconds=60,
                aligner=_Aligner.ALIGN_NEXT_OLDER,
                reducer=_Reducer.REDUCE_COUNT_FALSE,
            ),
        )

    def _of_database(self) -> Iterator[_Policy]:
        if instance := self._data.instance:
            name = f"{self._cloud.project}:{instance.name}"
            yield (
                "database",
                "The database uses more than 80 % of its processor: take a larger `tier`.",
                Threshold(
                    filter='metric.type = "cloudsql.googleapis.com/database/cpu/utilization" AND '
                    f'resource.type = "cloudsql_database" AND resource.labels.database_id = "{name}"',
                    above=0.8,
                    seconds=_FIVE_MINUTES,
                    aligner=_Aligner.ALIGN_MEAN,
                    reducer=_Reducer.REDUCE_MAX,
                ),
            )


def _of_service(metric: str, service: str) -> str:
    """Return the filter of a metric of Cloud Run for one service."""
    return (
        f'metric.type = "run.googleapis.com/{metric}" AND resource.type = "cloud_run_revision" AND '
        f'resource.labels.service_name = "{service}"'
    )
