"""Metrics of OTLP as time series, in the form of the Managed Service for Prometheus.

See https://docs.cloud.google.com/stackdriver/docs/reference/telemetry/v1.metrics.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.api.metric_pb2 import MetricDescriptor
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Metric,
    ResourceMetrics,
    ScopeMetrics,
)

from devenv.gcp.monitoring.series_store import TimeSeries
from devenv.gcp.otlp import attributes_of

PREFIX = "prometheus.googleapis.com"
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:./]{0,199}")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_PLATFORMS = {"gcp_compute_engine": "__gce__", "gcp_cloud_run": "__run__"}
_UNKNOWN_SERVICE = "unknown_service"
_LATEST = 2**63 - 1  # nanoseconds that the store can hold
_LARGEST_HEADER = 8192  # bytes of a point's metric with its labels
_NO_VALUE = 1  # flag of a point that says that there is none
_DOUBLE, _DISTRIBUTION = MetricDescriptor.DOUBLE, MetricDescriptor.DISTRIBUTION
_GAUGE, _CUMULATIVE = MetricDescriptor.GAUGE, MetricDescriptor.CUMULATIVE
_SINCE_START = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


def series_of(resource: ResourceMetrics, project: str) -> tuple[list[Any], list[str]]:
    """Return a series for each valid point, and what is wrong with each of the others."""
    labels = _target(attributes_of(resource.resource.attributes))
    missing = [name for name in ("location", "instance") if not labels[name]]
    series, problems = [], []
    for scope in resource.scope_metrics:
        for metric in scope.metrics:
            kind, points = _points(metric)
            problem = _problem(metric, kind) or (_without(missing) if missing else "")
            problems += [problem] * len(points) if problem else []
            for point in [] if problem else points:
                if point.flags & _NO_VALUE:
                    continue
                try:
                    made = _series(metric, scope, point, kind)
                except (OverflowError, ValueError) as error:
                    is_ours = isinstance(error, ValueError)
                    reason = str(error) if is_ours else "has buckets that do not fit each other"
                    problems.append(f"A point of {metric.name!r} {reason}.")
                    continue
                made.resource.type = "prometheus_target"
                made.resource.labels.update({"project_id": project, **labels})
                series.append(made)
    return series, problems


def _without(missing: list[str]) -> str:
    sources = {
        "location": "location, cloud.availability_zone or cloud.region",
        "instance": "instance, service.instance.id, faas.instance, k8s.pod.name or host.id",
    }
    return (
        f"The label {missing[0]} of prometheus_target is empty: "
        f"set the resource attribute {sources[missing[0]]}."
    )


def _points(metric: Metric) -> tuple[str, Any]:
    """Return the suffix of a metric's type, empty for what is not emulated, and its points."""
    data = metric.WhichOneof("data")
    if data is None:
        return "", []
    held: Any = getattr(metric, data)
    kind = ""
    if data == "gauge":
        kind = "gauge"
    elif data == "sum" and held.aggregation_temporality == _SINCE_START:
        kind = "counter" if held.is_monotonic else "gauge"
    elif data in _FILL and held.aggregation_temporality == _SINCE_START:
        kind = "histogram"
    return kind, held.data_points


def count_points(metric: Metric) -> int:
    return len(_points(metric)[1])


def _problem(metric: Metric, kind: str) -> str:
    """Return what is wrong with a metric, empty if nothing is."""
    if not _NAME.fullmatch(metric.name):
        return (
            f"The metric name {metric.name[:100]!r} is not valid: it begins with a letter, and has at "
            "most 200 letters, digits, underscores, colons, periods and slashes."
        )
    if not kind:
        data = metric.WhichOneof("data") or "no data"
        return (
            f"Metric {metric.name!r} ({data}) is not emulated: use a gauge, or a sum or histogram with "
            "cumulative temporality."
        )
    return ""


def _series(metric: Metric, scope: ScopeMetrics, point: Any, kind: str) -> Any:
    """Return a series with one point. Raises OverflowError, or ValueError with a reason."""
    if not 0 < point.time_unix_nano <= _LATEST:
        raise ValueError("must have a time between 1970 and 2262")
    if kind != "gauge" and not 0 < point.start_time_unix_nano <= point.time_unix_nano:
        raise ValueError("must have a start and a later end")
    data = str(metric.WhichOneof("data"))
    made = TimeSeries(
        metric_kind=_GAUGE if kind == "gauge" else _CUMULATIVE,
        value_type=_DISTRIBUTION if kind == "histogram" else _DOUBLE,
        unit=metric.unit,
    )
    made.metric.type = f"{PREFIX}/{metric.name}/{kind}"
    for name, text in attributes_of(point.attributes).items():
        made.metric.labels[_label(name)] = text
    scoped = {"otel_scope_name": scope.scope.name, "otel_scope_version": scope.scope.version}
    made.metric.labels.update({name: text for name, text in scoped.items() if text})
    if (size := made.ByteSize()) > _LARGEST_HEADER:
        raise ValueError(f"has labels of {size} bytes; at most {_LARGEST_HEADER} are possible")
    kept = made.points.add()
    kept.interval.end_time.FromNanoseconds(point.time_unix_nano)
    begun = point.time_unix_nano if kind == "gauge" else point.start_time_unix_nano
    kept.interval.start_time.FromNanoseconds(begun)
    if data in _FILL:
        _FILL[data](point, kept.value.distribution_value)
    else:
        kept.value.double_value = float(getattr(point, point.WhichOneof("value") or "as_int"))
    return made


def _fill_explicit(point: Any, distribution: Any) -> None:
    """Fill a distribution. Raises OverflowError for counts that fit neither bounds nor total."""
    counts = point.bucket_counts
    if counts and (len(counts) != len(point.explicit_bounds) + 1 or sum(counts) != point.count):
        raise OverflowError
    _fill_totals(point, distribution)
    distribution.bucket_options.explicit_buckets.bounds.extend(point.explicit_bounds)
    distribution.bucket_counts.extend(point.bucket_counts)


def _fill_exponential(point: Any, distribution: Any) -> None:
    """Fill a distribution, whose underflow has what is not positive. Raises OverflowError."""
    _fill_totals(point, distribution)
    base = 2 ** (2.0**-point.scale)
    buckets = distribution.bucket_options.exponential_buckets
    buckets.growth_factor, buckets.scale = base, base**point.positive.offset
    buckets.num_finite_buckets = max(len(point.positive.bucket_counts), 1)
    low = point.zero_count + sum(point.negative.bucket_counts)
    distribution.bucket_counts.extend([low, *point.positive.bucket_counts])


def _fill_totals(point: Any, distribution: Any) -> None:
    distribution.count = point.count
    distribution.mean = point.sum / point.count if point.count else 0.0


_FILL: Mapping[str, Callable[[Any, Any], None]] = {
    "histogram": _fill_explicit,
    "exponential_histogram": _fill_exponential,
}


def _label(name: str) -> str:
    """Return an attribute's name as that of a label, which Prometheus restricts."""
    clean = re.sub(r"[^a-zA-Z0-9_]", "_", name)
    return clean if _LABEL.fullmatch(clean) else f"key_{clean}"


def _target(attributes: Mapping[str, str]) -> dict[str, str]:
    """Return the labels of prometheus_target but the project's."""

    def first(*names: str) -> str:
        return next(filter(None, (attributes.get(name, "") for name in names)), "")

    return {
        "location": first("location", "cloud.availability_zone", "cloud.region"),
        "cluster": first("cluster", "k8s.cluster.name")
        or _PLATFORMS.get(attributes.get("cloud.platform", ""), ""),
        "namespace": first("namespace", "k8s.namespace.name", "service.namespace"),
        "job": next(filter(None, _jobs(attributes)), ""),
        "instance": first(
            *("instance", "service.instance.id", "faas.instance", "k8s.pod.name", "host.id")
        ),
    }


def _jobs(attributes: Mapping[str, str]) -> Iterator[str]:
    """Yield what may be the label `job`, the best first."""
    yield attributes.get("job", "")
    service = attributes.get("service.name", "")
    namespace = attributes.get("service.namespace", "")
    if not service.startswith(_UNKNOWN_SERVICE):
        yield f"{namespace}/{service}" if namespace and service else service
    for name in ("faas.name", "k8s.container.name"):
        yield attributes.get(name, "")
    yield service
