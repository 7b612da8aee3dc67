"""Cloud Monitoring: addresses of alerts, uptime checks and alert policies; log-based metrics.

Monitoring chooses the names of its resources, so that they are found by label and display name.
"""

import json
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

from google.api_core.exceptions import NotFound
from google.cloud import monitoring_v3 as monitoring
from google.cloud.logging_v2 import types as logging_types
from google.protobuf.duration_pb2 import Duration

from deploy.google import GoogleCloud
from deploy.resource import Resource, Settings, command, made_for, pairs

_MINUTE = Duration(seconds=60)
_UPTIME = "uptime_url"  # the type of the resources that are checked
_CHECK_TIMEOUT = Duration(seconds=10)
_Aligner = monitoring.Aggregation.Aligner
_Reducer = monitoring.Aggregation.Reducer


@dataclass(frozen=True, kw_only=True)
class MonitoringResource(Resource):
    """Settings of Cloud Monitoring with the label `stage` and the display name `name`."""

    # The client of GoogleCloud, and the singular and plural by which it names its methods.
    client_name: ClassVar[str]
    singular: ClassVar[str]
    plural: ClassVar[str]
    # The field of its requests that has the name of the project.
    project_field: ClassVar[str] = "name"

    cloud: GoogleCloud
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def existing(cls, cloud: GoogleCloud, stage: str) -> Iterator[Self]:
        """Yield the settings that were made for a stage."""
        for found in cls.listed(cloud):
            if found.user_labels.get("stage") == stage:
                yield cls(cloud=cloud, name=found.display_name, labels=dict(found.user_labels))

    @classmethod
    def listed(cls, cloud: GoogleCloud) -> Iterator[Any]:
        """Yield everything of this kind that the project has."""
        list_all = getattr(getattr(cloud, cls.client_name), f"list_{cls.plural}")
        yield from list_all(request={cls.project_field: f"projects/{cloud.project}"})

    @abstractmethod
    def message(self) -> Any:
        """Return the settings as the API takes them, without a name."""

    @abstractmethod
    def settings_of(self, found: Any) -> Settings:
        """Return the settings that are compared."""

    def desired(self) -> Settings:
        return self.settings_of(self.message())

    def read(self) -> Settings | None:
        found = self.found()
        return self.settings_of(found) if found else None

    def found(self) -> Any | None:
        """Return the settings as the API has them, None if there are none."""
        for each in self.listed(self.cloud):
            stage = each.user_labels.get("stage")
            if (each.display_name, stage) == (self.name, self.labels.get("stage")):
                return each
        return None

    def create(self) -> None:
        project = f"projects/{self.cloud.project}"
        self._call("create", {self.project_field: project, self.singular: self.message()})

    def update(self, current: Settings) -> None:
        wanted, found = self.message(), self.found()
        wanted.name = found.name if found else ""
        self._call("update", {self.singular: wanted})

    def delete(self) -> None:
        if found := self.found():
            self._call("delete", {"name": found.name})

    def _call(self, verb: str, request: Mapping[str, Any]) -> None:
        client = getattr(self.cloud, self.client_name)
        getattr(client, f"{verb}_{self.singular}")(request=request)


@dataclass(frozen=True, kw_only=True)
class AlertAddress(MonitoringResource):
    """A mail address that gets the alerts; `name` is the address."""

    kind: ClassVar[str] = "alert-address"
    client_name: ClassVar[str] = "alert_addresses"
    singular: ClassVar[str] = "notification_channel"
    plural: ClassVar[str] = "notification_channels"

    def message(self) -> monitoring.NotificationChannel:
        return monitoring.NotificationChannel(
            type_="email",
            display_name=self.name,
            labels={"email_address": self.name},
            enabled=True,
            user_labels=dict(self.labels),
        )

    def settings_of(self, found: Any) -> Settings:
        return {
            "type": found.type_,
            "address": found.labels.get("email_address"),
            "enabled": bool(found.enabled),
            "labels": dict(found.user_labels),
        }

    def gcloud(self, action: str, current: Settings) -> list[str]:
        words = ("beta", "monitoring", "channels", action)
        if action != "create":
            return [command(*words, "CHANNEL")]
        return [
            command(
                *words,
                type="email",
                display_name=self.name,
                channel_labels=f"email_address={self.name}",
                user_labels=pairs(self.labels),
            )
        ]


@dataclass(frozen=True, kw_only=True)
class UptimeCheck(MonitoringResource):
    """A request of `path` on `host` by HTTPS every minute, from Google's regions."""

    kind: ClassVar[str] = "uptime-check"
    client_name: ClassVar[str] = "uptime_checks"
    singular: ClassVar[str] = "uptime_check_config"
    plural: ClassVar[str] = "uptime_check_configs"
    project_field: ClassVar[str] = "parent"

    host: str = ""
    path: str = "/"

    def message(self) -> monitoring.UptimeCheckConfig:
        http = monitoring.UptimeCheckConfig.HttpCheck(
            request_method="GET", use_ssl=True, validate_ssl=True, path=self.path, port=443
        )
        resource = {
            "type": _UPTIME,
            "labels": {"host": self.host, "project_id": self.cloud.project},
        }
        return monitoring.UptimeCheckConfig(
            display_name=self.name,
            monitored_resource=resource,
            http_check=http,
            period=_MINUTE,
            timeout=_CHECK_TIMEOUT,
            user_labels=dict(self.labels),
        )

    def settings_of(self, found: Any) -> Settings:
        return {
            "resource": found.monitored_resource.type,
            "project": found.monitored_resource.labels.get("project_id"),
            "host": found.monitored_resource.labels.get("host"),
            "method": found.http_check.request_method.name,
            "path": found.http_check.path,
            "port": found.http_check.port,
            "https": found.http_check.use_ssl,
            "certificate checked": found.http_check.validate_ssl,
            "period": int(found.period.total_seconds()),
            "timeout": int(found.timeout.total_seconds()),
            "labels": dict(found.user_labels),
        }

    def update(self, current: Settings) -> None:
        """Change the check; one of another host is replaced, because no check changes its resource.

        See `gcloud monitoring uptime update`, which has no flag for it.
        """
        if self._is_of_host(current):
            super().update(current)
        else:
            self.delete()
            self.create()

    def _is_of_host(self, current: Settings) -> bool:
        wanted = (_UPTIME, self.cloud.project, self.host)
        return wanted == (current["resource"], current["project"], current["host"])

    def gcloud(self, action: str, current: Settings) -> list[str]:
        words = ("monitoring", "uptime", action)
        if action == "delete":
            return [command(*words, "CHECK")]
        if action == "update" and not self._is_of_host(current):
            return [*self.gcloud("delete", current), *self.gcloud("create", {})]
        return [
            command(
                *words,
                self.name if action == "create" else "CHECK",
                resource_type="uptime-url" if action == "create" else None,
                resource_labels=f"host={self.host},project_id={self.cloud.project}"
                if action == "create"
                else None,
                protocol="https" if action == "create" else None,
                path=self.path,
                period="1",
            )
        ]


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A value of a metric above which an alert is raised, if it stays there for `seconds`.

    With a `denominator` the value is the share of the one filter in the other. Series are aligned to
    a minute, then reduced to one.
    """

    filter: str
    above: float
    seconds: int
    aligner: int = _Aligner.ALIGN_RATE
    reducer: int = _Reducer.REDUCE_SUM
    denominator: str = ""

    def message(self, name: str) -> monitoring.AlertPolicy.Condition:
        aligned = monitoring.Aggregation(
            alignment_period=_MINUTE,
            per_series_aligner=self.aligner,
            cross_series_reducer=self.reducer,
        )
        threshold = monitoring.AlertPolicy.Condition.MetricThreshold(
            filter=self.filter,
            denominator_filter=self.denominator,
            comparison="COMPARISON_GT",
            threshold_value=self.above,
            duration=Duration(seconds=self.seconds),
            aggregations=[aligned],
            denominator_aggregations=[aligned] if self.denominator else [],
        )
        return monitoring.AlertPolicy.Condition(display_name=name, condition_threshold=threshold)


@dataclass(frozen=True, kw_only=True)
class AlertPolicy(MonitoringResource):
    """A mail to `addresses` when a threshold is exceeded; `text` says what to do then."""

    kind: ClassVar[str] = "alert"
    client_name: ClassVar[str] = "alerts"
    singular: ClassVar[str] = "alert_policy"
    plural: ClassVar[str] = "alert_policies"

    threshold: Threshold = Threshold(filter="", above=0, seconds=0)
    addresses: Sequence[str] = ()
    text: str = ""

    def message(self) -> monitoring.AlertPolicy:
        return monitoring.AlertPolicy(
            display_name=self.name,
            combiner="OR",
            enabled=True,
            conditions=[self.threshold.message(self.name)],
            notification_channels=sorted(
                name for name, address in self._channels() if address in self.addresses
            ),
            documentation={"content": self.text, "mime_type": "text/markdown"},
            user_labels=dict(self.labels),
        )

    def desired(self) -> Settings:
        return {**self.settings_of(self.message()), "addresses": sorted(self.addresses)}

    def settings_of(self, found: Any) -> Settings:
        known = dict(self._channels())
        # Somebody may have replaced the condition by one of another kind.
        first = next(iter(found.conditions), monitoring.AlertPolicy.Condition())
        condition = first.condition_threshold
        return {
            "conditions": [each.display_name for each in found.conditions],
            "combiner": found.combiner.name,
            "filter": condition.filter,
            "denominator": condition.denominator_filter,
            "comparison": condition.comparison.name,
            "above": condition.threshold_value,
            "seconds": int(condition.duration.total_seconds()),
            "aggregations": [_aggregation(each) for each in condition.aggregations],
            "aggregations of the denominator": [
                _aggregation(each) for each in condition.denominator_aggregations
            ],
            "enabled": bool(found.enabled),
            "text": found.documentation.content,
            "text type": found.documentation.mime_type,
            "addresses": sorted(known.get(each, each) for each in found.notification_channels),
            "labels": dict(found.user_labels),
        }

    def gcloud(self, action: str, current: Settings) -> list[str]:
        words = ("monitoring", "policies", action)
        if action == "delete":
            return [command(*words, "POLICY")]
        policy = json.dumps(json.loads(monitoring.AlertPolicy.to_json(self.message())))
        return [command(*words, *(["POLICY"] if action == "update" else []), policy=policy)]

    def _channels(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the address of each channel of the stage."""
        for each in AlertAddress.listed(self.cloud):
            if each.user_labels.get("stage") == self.labels.get("stage"):
                yield each.name, each.display_name


def _aggregation(found: monitoring.Aggregation) -> str:
    """Return an aggregation as text."""
    period = int(found.alignment_period.total_seconds())
    return f"{found.per_series_aligner.name} of {period} s, {found.cross_series_reducer.name}"


@dataclass(frozen=True, kw_only=True)
class LogMetric(Resource):
    """The number of log entries that a filter finds."""

    kind: ClassVar[str] = "log-metric"

    cloud: GoogleCloud
    stage: str
    name: str
    filter: str = ""

    @classmethod
    def existing(cls, cloud: GoogleCloud, stage: str) -> Iterator[Self]:
        """Yield the metrics that were made for a stage."""
        for found in cloud.log_metrics.list_log_metrics(parent=f"projects/{cloud.project}"):
            if found.description == made_for(stage):
                yield cls(cloud=cloud, stage=stage, name=found.name)

    def desired(self) -> Settings:
        return {"filter": self.filter, "description": made_for(self.stage), "enabled": True}

    def read(self) -> Settings | None:
        try:
            found = self.cloud.log_metrics.get_log_metric(metric_name=self._full)
        except NotFound:
            return None
        return {
            "filter": found.filter,
            "description": found.description,
            "enabled": not found.disabled,
        }

    def create(self) -> None:
        self.cloud.log_metrics.update_log_metric(
            metric_name=self._full,
            metric=logging_types.LogMetric(
                name=self.name, filter=self.filter, description=made_for(self.stage)
            ),
        )

    def update(self, current: Settings) -> None:
        self.create()

    def delete(self) -> None:
        self.cloud.log_metrics.delete_log_metric(metric_name=self._full)

    def gcloud(self, action: str, current: Settings) -> list[str]:
        words = ("logging", "metrics", action, self.name)
        if action == "delete":
            return [command(*words)]
        return [command(*words, description=made_for(self.stage), log_filter=self.filter)]

    @property
    def _full(self) -> str:
        return f"projects/{self.cloud.project}/metrics/{self.name}"
