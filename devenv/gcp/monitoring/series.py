"""Time series of Cloud Monitoring, which programs write or export by OTLP: lists of them and their types.

See https://docs.cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.timeSeries/list.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from google.api.label_pb2 import LabelDescriptor
from google.api.metric_pb2 import MetricDescriptor

from devenv.gcp.caller import ApiCall, Guard
from devenv.gcp.client_types import client_types
from devenv.gcp.clock import Clock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument, NotFound, Unimplemented
from devenv.gcp.messages import moment, page
from devenv.gcp.monitoring.access import SeriesAccess
from devenv.gcp.monitoring.aggregation import SeriesAggregation
from devenv.gcp.monitoring.custom_metrics import CustomMetrics
from devenv.gcp.monitoring.filters import parse_filter
from devenv.gcp.monitoring.otlp import count_points, series_of
from devenv.gcp.monitoring.series_store import Point, SeriesStore, TimeSeries
from devenv.gcp.rpc import HttpRule, Rpc
from devenv.gcp.store import Store

monitoring = client_types("google.cloud.monitoring_v3")

_GRPC = "google.monitoring.v3.MetricService"
_MOST_PAGE, _MOST_LISTED = 100_000, 10_000
_LATEST = 2**63 - 1  # nanoseconds: a point is never later
_MOST_OF_REQUEST = 200  # data points, and resources
_HEADERS = int(monitoring.ListTimeSeriesRequest.TimeSeriesView.HEADERS)
Listed: Any = monitoring.ListTimeSeriesResponse.pb()
Descriptors: Any = monitoring.ListMetricDescriptorsResponse.pb()


class SeriesMethods:
    """The time series of one project."""

    def __init__(self, config: CloudConfig, store: Store, clock: Clock, guard: Guard) -> None:
        self._access = SeriesAccess(config, guard)
        self._series = SeriesStore(store, clock)
        self._custom = CustomMetrics(self._access, self._series, store, clock)

    def rpcs(self) -> Iterator[Rpc]:
        many = "/v3/{name=projects/*}/metricDescriptors"
        for name, response, handle, uri in (
            ("ListTimeSeries", Listed, self.list, "/v3/{name=projects/*}/timeSeries"),
            ("ListMetricDescriptors", Descriptors, self.list_types, many),
            (
                *("GetMetricDescriptor", MetricDescriptor, self.get_type),
                "/v3/{name=projects/*/metricDescriptors/**}",
            ),
        ):
            request = getattr(monitoring, f"{name}Request").pb()
            yield Rpc(f"{_GRPC}/{name}", request, response, handle, (HttpRule("GET", uri),))
        yield from self._custom.rpcs()

    def keep_otlp(self, resources: Sequence[Any]) -> list[str]:
        """Keep the valid points of OTLP's metrics, and return what is wrong with each of the others.

        Raises InvalidArgument for more than 200 of them, before any is read.
        """
        _check_size(resources)
        series: list[Any] = []
        problems: list[str] = []
        for resource in resources:
            some, wrong = series_of(resource, self._access.project)
            series += some
            problems += wrong
        self._series.add(series)
        return problems

    async def list(self, request: Any, call: ApiCall) -> Any:
        self._access.allow(request.name, call, "timeSeries.list")
        for field in ("secondary_aggregation", "order_by"):
            if getattr(request, field) != getattr(type(request)(), field):
                raise Unimplemented(f"{field} of lists of time series is not emulated.")
        aggregation = SeriesAggregation(request.aggregation)
        metric, passes = parse_filter("filter", request.filter)
        since, until = _interval(request.interval)
        found: dict[str, Any] = {}
        for header in filter(passes, self._series.headers(metric)):
            # A change is counted from the point before the interval.
            points = self._series.points(header, since=0 if aggregation else since, until=until)
            if points:
                header.points.extend(map(Point.FromString, points))
                found[_key(header)] = header
        if aggregation:
            made = aggregation.apply(list(found.values()), since=since, until=until)
            found = {_key(each): each for each in made}
        keys, token = page(found, size=request.page_size, token=request.page_token, most=_MOST_PAGE)
        answer = Listed(next_page_token=token)
        for series in (found[key] for key in keys):
            if request.view == _HEADERS:
                series.ClearField("points")
            answer.time_series.append(series)
        return answer

    async def list_types(self, request: Any, call: ApiCall) -> Any:
        self._access.allow(request.name, call, "metricDescriptors.list")
        found = self._types()
        if request.filter:
            wanted, _ = parse_filter("filter", request.filter)
            found = {name: each for name, each in found.items() if each.type == wanted}
        names, token = page(
            found, size=request.page_size, token=request.page_token, most=_MOST_LISTED
        )
        descriptors = [found[name] for name in names]
        return Descriptors(metric_descriptors=descriptors, next_page_token=token)

    async def get_type(self, request: Any, call: ApiCall) -> Any:
        project, _, metric = request.name.partition("/metricDescriptors/")
        self._access.allow(project, call, "metricDescriptors.get")
        found = self._types(metric)
        if not metric or not found:
            raise NotFound(f"The metric type {metric[:200]!r} has no time series here.")
        return next(iter(found.values()))

    def _types(self, metric: str = "") -> dict[str, Any]:
        """Return the descriptors of all metric types, or of one, by their names."""
        made = self._custom.descriptors()
        found = {name: each for name, each in made.items() if metric in ("", each.type)}
        for header in self._series.headers(metric):
            kind = header.metric.type
            name = f"projects/{self._access.project}/metricDescriptors/{kind}"
            descriptor = found.setdefault(
                name,
                MetricDescriptor(
                    name=name,
                    type=kind,
                    metric_kind=header.metric_kind,
                    value_type=header.value_type,
                    unit=header.unit,
                    monitored_resource_types=[header.resource.type],
                ),
            )
            known = {label.key for label in descriptor.labels}
            new = sorted(set(header.metric.labels) - known)
            descriptor.labels.extend(LabelDescriptor(key=key) for key in new)
        return found


def _check_size(resources: Sequence[Any]) -> None:
    """Raise InvalidArgument for too many resources or data points; a metric counts as one at least."""
    count, what = len(resources), "resources"
    if count <= _MOST_OF_REQUEST:
        counts = (
            max(1, count_points(metric))
            for resource in resources
            for scope in resource.scope_metrics
            for metric in scope.metrics
        )
        what = "data points"
        # The rest of a request that is far too large is not even counted.
        count = next((n for n in accumulate(counts) if n > _MOST_OF_REQUEST), 0)
    if count:
        raise InvalidArgument(
            f"The request has {count} {what} or more; at most {_MOST_OF_REQUEST} are possible. "
            "Export smaller batches."
        )


def _key(series: Any) -> str:
    """Return what tells a series from others."""
    header = TimeSeries(metric=series.metric, resource=series.resource, unit=series.unit)
    header.metric_kind, header.value_type = series.metric_kind, series.value_type
    return str(header.SerializeToString(deterministic=True).hex())


def _interval(interval: Any) -> tuple[int, int]:
    """Return the bounds of an interval in nanoseconds; without a start it is its end alone."""
    if not interval.HasField("end_time"):
        raise InvalidArgument("interval.end_time is required.")
    start = interval.start_time if interval.HasField("start_time") else interval.end_time
    if moment(start) > moment(interval.end_time):
        raise InvalidArgument("interval.start_time must not be after interval.end_time.")
    bounds = (start.ToNanoseconds(), interval.end_time.ToNanoseconds())
    since, until = (max(0, min(each, _LATEST)) for each in bounds)
    return since, until
