"""Metrics that programs write by Cloud Monitoring's own API: points of time series, and metric types.

See https://docs.cloud.google.com/monitoring/custom-metrics/creating-metrics.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from google.api.label_pb2 import LabelDescriptor
from google.api.metric_pb2 import MetricDescriptor
from google.protobuf import empty_pb2

from devenv.gcp.caller import ApiCall
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.errors import CloudError, FailedPrecondition, InvalidArgument, NotFound
from devenv.gcp.messages import moment
from devenv.gcp.monitoring.access import SeriesAccess
from devenv.gcp.monitoring.series_store import SeriesStore, TimeSeries
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.store import Store

monitoring = client_types("google.cloud.monitoring_v3")

_GRPC = "google.monitoring.v3.MetricService"
_TYPE = re.compile(r"(custom|workload|external|prometheus)\.googleapis\.com/[A-Za-z0-9_./\-~%]+")
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
# https://docs.cloud.google.com/monitoring/quotas
_MOST_SERIES, _MOST_LABELS, _LONGEST_VALUE, _LONGEST_TYPE = 200, 30, 1024, 200
_SAMPLING = 5.0  # seconds between two points of a series
_OLDEST, _NEWEST = 25 * 3600.0, 300.0  # seconds before and after now
_VALUES = {
    "bool_value": MetricDescriptor.BOOL,
    "int64_value": MetricDescriptor.INT64,
    "double_value": MetricDescriptor.DOUBLE,
    "distribution_value": MetricDescriptor.DISTRIBUTION,
}
_KINDS = (MetricDescriptor.GAUGE, MetricDescriptor.CUMULATIVE)
_EARLIER = (
    "Points must be written in order. One or more of the points specified had an older {} time"
)
Summary: Any = monitoring.CreateTimeSeriesSummary.pb()


class CustomMetrics:
    """The metric types of one project that programs made, and the writing of their points."""

    def __init__(
        self, access: SeriesAccess, series: SeriesStore, store: Store, clock: Clock
    ) -> None:
        self._access = access
        self._series = series
        self._table = store.table("monitoring_metric_descriptors")
        self._clock = clock

    def rpcs(self) -> Iterator[Rpc]:
        descriptors = "/v3/{name=projects/*}/metricDescriptors"
        for name, response, handle, rule in (
            (
                *("CreateTimeSeries", empty_pb2.Empty, self.write),
                HttpRule("POST", "/v3/{name=projects/*}/timeSeries", "*"),
            ),
            (
                *("CreateMetricDescriptor", MetricDescriptor, self.create),
                HttpRule("POST", descriptors, "metric_descriptor"),
            ),
            (
                *("DeleteMetricDescriptor", empty_pb2.Empty, self.delete),
                HttpRule("DELETE", "/v3/{name=projects/*/metricDescriptors/**}"),
            ),
        ):
            request = getattr(monitoring, f"{name}Request").pb()
            yield Rpc(f"{_GRPC}/{name}", request, response, handle, (rule,))

    def descriptors(self) -> dict[str, Any]:
        """Return the metric types that were made here, by name."""
        found = (MetricDescriptor.FromString(value) for _, value in self._table.scan())
        return {each.name: each for each in found}

    async def create(self, request: Any, call: ApiCall) -> Any:
        self._access.allow(request.name, call, "metricDescriptors.create")
        wanted = MetricDescriptor()
        wanted.CopyFrom(request.metric_descriptor)
        _check_type("metricDescriptor.type", wanted.type)
        if wanted.metric_kind not in _KINDS:
            raise _wrong("metricDescriptor.metricKind", "it must be GAUGE or CUMULATIVE")
        if wanted.value_type not in _VALUES.values():
            allowed = "it must be BOOL, INT64, DOUBLE or DISTRIBUTION"
            raise _wrong("metricDescriptor.valueType", allowed)
        _check_labels("metricDescriptor", {label.key: "" for label in wanted.labels})
        before = self._descriptor(wanted.type)
        if before is not None and _form(before) != _form(wanted):
            raise InvalidArgument(
                f"Metric descriptor {before.name} exists with another metricKind or valueType; "
                "delete it first."
            )
        return self._put(wanted)

    async def delete(self, request: Any, call: ApiCall) -> Any:
        """Delete a metric type with all its points."""
        project, _, metric = request.name.partition("/metricDescriptors/")
        self._access.allow(project, call, "metricDescriptors.delete")
        if self._descriptor(metric) is None:
            raise NotFound(f"Could not find descriptor for metric '{metric[:200]}'.")
        self._table.delete(metric)
        self._series.delete(metric)
        return empty_pb2.Empty()

    async def write(self, request: Any, call: ApiCall) -> Any:
        """Keep the valid points. Raises InvalidArgument with what is wrong with each of the others."""
        self._access.allow(request.name, call, "timeSeries.create")
        if not 0 < len(request.time_series) <= _MOST_SERIES:
            raise _wrong(
                "timeSeries", f"it has {len(request.time_series)} series, not 1 to {_MOST_SERIES}"
            )
        wrong: dict[tuple[int, str], list[int]] = {}
        kept: dict[bytes, Any] = {}
        for index, each in enumerate(request.time_series):
            try:
                series = self._completed(f"timeSeries[{index}]", each)
                self._check_order(series, kept)
            except CloudError as error:
                wrong.setdefault((error.code, error.message), []).append(index)
        self._series.add(kept.values())
        for series in kept.values():
            self._learn(series)
        if wrong:
            raise _failure(wrong, len(request.time_series))
        return empty_pb2.Empty()

    def _completed(self, where: str, given: Any) -> Any:
        """Return a checked series with its one point. Raises InvalidArgument."""
        series = TimeSeries(metric=given.metric, resource=given.resource, points=given.points)
        _check_type(f"{where}.metric.type", series.metric.type)
        _check_labels(f"{where}.metric", series.metric.labels)
        series.resource.type = series.resource.type or "global"
        series.resource.labels["project_id"] = self._access.project
        if len(series.points) != 1:
            raise _wrong(f"{where}.points", f"it has {len(series.points)} points, not one")
        value = series.points[0].value.WhichOneof("value") or ""
        if value not in _VALUES:
            raise _wrong(f"{where}.points[0].value", "a value of this type cannot be written")
        series.value_type = _VALUES[value]
        series.metric_kind = given.metric_kind or MetricDescriptor.GAUGE
        if known := self._descriptor(series.metric.type):
            if not given.metric_kind:
                series.metric_kind = known.metric_kind
            _check_form(series, known)
        series.unit = known.unit if known else given.unit
        _check_interval(where, series, self._clock.machine_at(self._clock.now()))
        return series

    def _check_order(self, series: Any, kept: dict[bytes, Any]) -> None:
        """Add a series to those that are kept, if its point is later than all before it."""
        point = series.points[0]
        header = TimeSeries()
        header.CopyFrom(series)
        header.ClearField("points")
        key = header.SerializeToString(deterministic=True)
        if key in kept:
            raise InvalidArgument(
                "Duplicate TimeSeries encountered. Only one point can be written per TimeSeries "
                "per request."
            )
        if newest := self._series.newest(header):
            passed = moment(point.interval.end_time) - moment(newest.interval.end_time)
            if passed <= 0:
                raise InvalidArgument(_EARLIER.format("end") + " than the most recent point.")
            if moment(point.interval.start_time) < moment(newest.interval.start_time):
                raise InvalidArgument(_EARLIER.format("start") + " than the most recent point.")
            if passed < _SAMPLING:
                raise FailedPrecondition(
                    "One or more points were written more frequently than the maximum sampling "
                    "period configured for the metric."
                )
        kept[key] = series

    def _learn(self, series: Any) -> None:
        """Make or complete the metric type of a series, as Google does with the first point."""
        known = self._descriptor(series.metric.type) or MetricDescriptor(
            type=series.metric.type,
            metric_kind=series.metric_kind,
            value_type=series.value_type,
            unit=series.unit,
        )
        new = sorted(set(series.metric.labels) - {label.key for label in known.labels})
        if new or not known.name:
            known.labels.extend(LabelDescriptor(key=key) for key in new)
            self._put(known)

    def _put(self, descriptor: Any) -> Any:
        project = f"projects/{self._access.project}"
        descriptor.name = f"{project}/metricDescriptors/{descriptor.type}"
        self._table.put(descriptor.type, descriptor.SerializeToString())
        return descriptor

    def _descriptor(self, metric: str) -> Any | None:
        value = self._table.get(metric)
        return None if value is None else MetricDescriptor.FromString(value)


def _check_type(where: str, metric: str) -> None:
    if len(metric) > _LONGEST_TYPE or not _TYPE.fullmatch(metric):
        raise InvalidArgument(
            f'Field {where} had an invalid value of "{metric[:_LONGEST_TYPE]}": The metric type must '
            "be a URL-formatted string with a domain and non-empty path. Programs write those of "
            "custom.googleapis.com, workload.googleapis.com and external.googleapis.com."
        )


def _check_labels(where: str, labels: Any) -> None:
    if len(labels) > _MOST_LABELS:
        raise _wrong(f"{where}.labels", f"it has more than {_MOST_LABELS} labels")
    for key, value in labels.items():
        if not _LABEL.fullmatch(key) or len(value) > _LONGEST_VALUE:
            raise _wrong(f"{where}.labels", f"the label {key[:100]!r} is not valid")


def _check_form(series: Any, known: Any) -> None:
    metric = series.metric.type
    if series.value_type != known.value_type:
        name = MetricDescriptor.ValueType.Name
        raise InvalidArgument(
            f"Value type for metric {metric} must be {name(known.value_type)}, "
            f"but is {name(series.value_type)}."
        )
    if series.metric_kind != known.metric_kind:
        kind = MetricDescriptor.MetricKind.Name
        raise InvalidArgument(
            f"Metric kind for metric {metric} must be {kind(known.metric_kind)}, "
            f"but is {kind(series.metric_kind)}."
        )


def _check_interval(where: str, series: Any, now: float) -> None:
    interval = series.points[0].interval
    end = moment(interval.end_time) if interval.HasField("end_time") else 0.0
    if not now - _OLDEST <= end <= now + _NEWEST:
        raise _wrong(
            f"{where}.points[0].interval.endTime",
            "data points are at most 25 hours in the past and 5 minutes in the future",
        )
    if series.metric_kind not in _KINDS:
        raise _wrong(f"{where}.metricKind", "it must be GAUGE or CUMULATIVE")
    start = moment(interval.start_time) if interval.HasField("start_time") else end
    if series.metric_kind == MetricDescriptor.GAUGE and start != end:
        raise _wrong(f"{where}.points[0].interval.startTime", "a GAUGE has that of its end")
    if series.metric_kind == MetricDescriptor.CUMULATIVE and start >= end:
        raise _wrong(f"{where}.points[0].interval.startTime", "it must be before the end time")


def _form(descriptor: Any) -> tuple[int, int]:
    return descriptor.metric_kind, descriptor.value_type


def _wrong(field: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"Field {field} had an invalid value: {why}.")


def _failure(wrong: dict[tuple[int, str], list[int]], total: int) -> InvalidArgument:
    """Return the error of a request of which some series could not be written."""
    parts = [f"{text}: timeSeries[{_ranges(at)}]" for (_, text), at in wrong.items()]
    failed = sum(len(at) for at in wrong.values())
    summary = Summary(total_point_count=total, success_point_count=total - failed)
    for (code, _), at in wrong.items():
        summary.errors.add(status={"code": code}, point_count=len(at))
    text = f"One or more TimeSeries could not be written: {'; '.join(parts)}"
    return InvalidArgument(text, (summary,))


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers as Google writes them: 0,2-6."""
    groups: list[list[int]] = []
    for number in numbers:
        if groups and number == groups[-1][1] + 1:
            groups[-1][1] = number
        else:
            groups.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in groups)
