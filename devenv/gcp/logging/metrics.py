"""google.logging.v2.MetricsServiceV2: log-based metrics, of which only the settings are kept.

See https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.metrics. Nothing is counted.
"""

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf import empty_pb2

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import AlreadyExists, InvalidArgument, NotFound
from devenv.gcp.logging.entries import LoggingNames
from devenv.gcp.logging.filters import parse_filter
from devenv.gcp.messages import every, page, refuse_unemulated, set_moment
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.service import CloudService
from devenv.gcp.store import Store

types = client_types("google.cloud.logging_v2")

LogMetric: Any = types.LogMetric.pb()
Listed: Any = types.ListLogMetricsResponse.pb()
_GRPC = "google.logging.v2.MetricsServiceV2"
_PROJECT, _METRIC = "projects/*", "projects/*/metrics/*"
_ID = re.compile(r"[A-Za-z0-9_\-.,+!*',()%/]{1,100}")
_MOST_PAGE = 1000
_FIELDS = every(
    *("name", "description", "filter", "disabled", "label_extractors", "version"),
    *("create_time", "update_time"),
    metric_descriptor=every(
        *("metric_kind", "value_type", "unit", "labels", "name", "type", "description"),
        "display_name",
    ),
)


class LogMetricsService(CloudService):
    """The log-based metrics of one project: each counts the entries of its filter."""

    def __init__(self, *, config: CloudConfig, store: Store, clock: Clock, guard: Guard) -> None:
        self._names = LoggingNames(config)
        self._table = store.table("log_metrics")
        self._clock = clock
        self._guard = guard

    def rpcs(self) -> Iterator[Rpc]:
        one, many = f"/v2/{{metric_name={_METRIC}}}", f"/v2/{{parent={_PROJECT}}}/metrics"
        for name, response, handle, rule in (
            ("CreateLogMetric", LogMetric, self.create, HttpRule("POST", many, "metric")),
            ("GetLogMetric", LogMetric, self.get, HttpRule("GET", one)),
            ("ListLogMetrics", Listed, self.list, HttpRule("GET", many)),
            ("UpdateLogMetric", LogMetric, self.update, HttpRule("PUT", one, "metric")),
            ("DeleteLogMetric", empty_pb2.Empty, self.delete, HttpRule("DELETE", one)),
        ):
            request = getattr(types, f"{name}Request").pb()
            yield Rpc(f"{_GRPC}/{name}", request, response, handle, (rule,))

    async def create(self, request: Any, call: ApiCall) -> Any:
        self._allow(request.parent, call, "create")
        if self._table.get(request.metric.name) is not None:
            raise AlreadyExists(f"Metric {request.metric.name} already exists")
        return self._put(request.metric.name, request.metric, None)

    async def get(self, request: Any, call: ApiCall) -> Any:
        return self._existing(request.metric_name, call, "get")

    async def list(self, request: Any, call: ApiCall) -> Any:
        self._allow(request.parent, call, "list")
        found = dict(self._table.scan())
        names, token = page(
            found, size=request.page_size, token=request.page_token, most=_MOST_PAGE
        )
        return Listed(
            metrics=[LogMetric.FromString(found[name]) for name in names], next_page_token=token
        )

    async def update(self, request: Any, call: ApiCall) -> Any:
        """Replace a metric, or make it if it does not exist, as the API does."""
        project, name = self._split(request.metric_name)
        self._allow(project, call, "update")
        value = self._table.get(name)
        before = None if value is None else LogMetric.FromString(value)
        if before is None:
            self._allow(project, call, "create")
        return self._put(name, request.metric, before)

    async def delete(self, request: Any, call: ApiCall) -> Any:
        self._table.delete(self._existing(request.metric_name, call, "delete").name)
        return empty_pb2.Empty()

    def _put(self, name: str, given: Any, before: Any | None) -> Any:
        refuse_unemulated(given, _FIELDS, where="metric")
        if given.name != name or not _ID.fullmatch(name) or name.startswith("/"):
            raise InvalidArgument(
                f"metric.name is {given.name[:100]!r}; it must have 1 to 100 letters, digits and -_./ "
                "and be that of the request."
            )
        if not given.filter:
            raise InvalidArgument("metric.filter is required.")
        parse_filter(given.filter)
        metric, now = LogMetric(), self._clock.now()
        metric.CopyFrom(given)
        metric.metric_descriptor.type = f"logging.googleapis.com/user/{name}"
        metric.metric_descriptor.metric_kind = metric.metric_descriptor.metric_kind or 2  # DELTA
        metric.metric_descriptor.value_type = metric.metric_descriptor.value_type or 2  # INT64
        if before is None:
            set_moment(metric.create_time, now)
        else:
            metric.create_time.CopyFrom(before.create_time)
        set_moment(metric.update_time, now)
        self._table.put(name, metric.SerializeToString())
        return metric

    def _existing(self, full: str, call: ApiCall, verb: str) -> Any:
        project, name = self._split(full)
        self._allow(project, call, verb)
        value = self._table.get(name)
        if value is None:
            raise NotFound(f"Metric {name[:100]} does not exist.")
        return LogMetric.FromString(value)

    def _split(self, full: str) -> tuple[str, str]:
        project, collection, name = full.partition("/metrics/")
        if not collection:
            raise InvalidArgument(
                f"{full[:200]!r} must be formatted: projects/PROJECT/metrics/METRIC."
            )
        return project, name

    def _allow(self, parent: str, call: ApiCall, verb: str) -> None:
        project = self._names.project(parent)
        self._guard.require(call.caller, f"logging.logMetrics.{verb}", project)
