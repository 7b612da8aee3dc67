"""Aggregation of time series: aligned to periods, and combined over several series.

See https://docs.cloud.google.com/monitoring/api/ref_v3/rest/v3/Aggregation. Periods end with the interval
of the list.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from google.api.metric_pb2 import MetricDescriptor

from devenv.gcp.client_types import client_types
from devenv.gcp.errors import InvalidArgument, Unimplemented
from devenv.gcp.messages import seconds
from devenv.gcp.monitoring.filters import value_of
from devenv.gcp.monitoring.series_store import TimeSeries

_Aggregation: Any = client_types("google.cloud.monitoring_v3").Aggregation
_Values: TypeAlias = Sequence[float]
_Combine: TypeAlias = Callable[[_Values], float]
_SHORTEST = 60.0  # seconds of a period
_MOST_PERIODS = 10_000
_NANOS = 10**9
_INT64, _DOUBLE, _BOOL = MetricDescriptor.INT64, MetricDescriptor.DOUBLE, MetricDescriptor.BOOL
_MOST = 2**63 - 1
_GAUGE, _DELTA = MetricDescriptor.GAUGE, MetricDescriptor.DELTA
_NUMBERS = {_INT64: "int64_value", _DOUBLE: "double_value", _BOOL: "bool_value"}


def _sum(values: _Values) -> float:
    """Return the exact sum of whole numbers, the closest of others."""
    return sum(values) if all(isinstance(each, int) for each in values) else math.fsum(values)


def _percentile(share: float) -> _Combine:
    return lambda values: sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


# By the end of the name of an aligner or reducer: how values combine, and their type, None for that of the series.
_COMBINATIONS: Mapping[str, tuple[_Combine, int | None]] = {
    "MIN": (min, None),
    "MAX": (max, None),
    "MEAN": (statistics.fmean, _DOUBLE),
    "COUNT": (len, _INT64),
    "SUM": (_sum, None),
    "STDDEV": (statistics.pstdev, _DOUBLE),
    "COUNT_TRUE": (sum, _INT64),
    "FRACTION_TRUE": (statistics.fmean, _DOUBLE),
    "PERCENTILE_99": (_percentile(0.99), _DOUBLE),
    "PERCENTILE_95": (_percentile(0.95), _DOUBLE),
    "PERCENTILE_50": (_percentile(0.5), _DOUBLE),
    "PERCENTILE_05": (_percentile(0.05), _DOUBLE),
    "NEXT_OLDER": (lambda values: values[-1], None),
}


class SeriesAggregation:
    """The aggregation of a list: an aligner with its period, a reducer and the fields to group by."""

    def __init__(self, wanted: Any) -> None:
        """Raise InvalidArgument or Unimplemented for what cannot be."""
        try:
            aligner: str = _Aggregation.Aligner(wanted.per_series_aligner).name
            reducer: str = _Aggregation.Reducer(wanted.cross_series_reducer).name
        except ValueError as error:  # a client of gRPC may send any number
            raise InvalidArgument(f"aggregation: {error}.") from error
        self._aligner = aligner.removeprefix("ALIGN_")
        self._reducer = reducer.removeprefix("REDUCE_")
        self._period = int(seconds(wanted.alignment_period) * _NANOS)
        self._fields = tuple(wanted.group_by_fields)
        if self._aligner == "NONE":
            if self._reducer != "NONE":
                raise InvalidArgument("aggregation.crossSeriesReducer needs a perSeriesAligner.")
            return
        if self._aligner not in (*_COMBINATIONS, "DELTA", "RATE"):
            raise Unimplemented(f"perSeriesAligner ALIGN_{self._aligner} is not emulated.")
        if self._reducer not in ("NONE", *_COMBINATIONS):
            raise Unimplemented(f"crossSeriesReducer {reducer} is not emulated.")
        if self._period < _SHORTEST * _NANOS:
            raise InvalidArgument("aggregation.alignmentPeriod must be at least 60 seconds.")

    def __bool__(self) -> bool:
        return self._aligner != "NONE"

    def apply(self, series: Sequence[Any], *, since: int, until: int) -> list[Any]:
        """Return new series of the interval. `series` have all their points, the newest first."""
        if (until - since) // self._period > _MOST_PERIODS:
            raise InvalidArgument("aggregation.alignmentPeriod is too short for the interval.")
        aligned = [self._aligned(each, since, until) for each in series]
        aligned = [each for each in aligned if each.points]
        return aligned if self._reducer == "NONE" else self._reduced(aligned)

    def _aligned(self, series: Any, since: int, until: int) -> Any:
        field = _NUMBERS.get(series.value_type)
        if field is None:
            raise Unimplemented("Aggregation of distributions is not emulated.")
        is_change = self._aligner in ("DELTA", "RATE")
        if is_change == (series.metric_kind == _GAUGE) and self._aligner != "NEXT_OLDER":
            kind = MetricDescriptor.MetricKind.Name(series.metric_kind)
            raise InvalidArgument(
                f"ALIGN_{self._aligner} cannot be applied to metrics with the kind {kind}."
            )
        _check_values(f"ALIGN_{self._aligner}", self._aligner, series.value_type)
        groups: dict[int, list[float]] = {}
        before: Any = None
        for point in reversed(series.points):
            value = getattr(point.value, field)
            at = point.interval.end_time.ToNanoseconds()
            if since < at <= until:
                end = until - (until - at) // self._period * self._period
                groups.setdefault(end, []).append(
                    _change(point, before, field) if is_change else value
                )
            before = point
        combine, kind = _COMBINATIONS["SUM" if is_change else self._aligner]
        value_type = series.value_type if kind is None else kind
        if self._aligner == "RATE":
            period = self._period / _NANOS
            combine, value_type = (lambda values: math.fsum(values) / period), _DOUBLE
        made = self._like(series, value_type)
        for end in sorted(groups, reverse=True):
            self._add(made, end, combine(groups[end]))
        return made

    def _reduced(self, series: Sequence[Any]) -> list[Any]:
        combine, kind = _COMBINATIONS[self._reducer]
        groups: dict[tuple[str, ...], list[Any]] = {}
        for each in series:
            groups.setdefault(tuple(value_of(each, name) for name in self._fields), []).append(each)
        reduced = []
        for names, members in sorted(groups.items()):
            for each in members:
                _check_values(f"REDUCE_{self._reducer}", self._reducer, each.value_type)
            made = self._like(members[0], members[0].value_type if kind is None else kind)
            _keep_grouped(made, dict(zip(self._fields, names, strict=True)))
            values: dict[int, list[float]] = {}
            field = _NUMBERS[members[0].value_type]
            for point in (point for each in members for point in each.points):
                end = point.interval.end_time.ToNanoseconds()
                values.setdefault(end, []).append(getattr(point.value, field))
            for end in sorted(values, reverse=True):
                self._add(made, end, combine(values[end]))
            reduced.append(made)
        return reduced

    def _like(self, series: Any, value_type: int) -> Any:
        made = TimeSeries(metric=series.metric, resource=series.resource, unit=series.unit)
        made.metric_kind = _DELTA if self._aligner == "DELTA" else _GAUGE
        made.value_type = value_type
        return made

    def _add(self, series: Any, end: int, value: float) -> None:
        point = series.points.add()
        point.interval.end_time.FromNanoseconds(end)
        begin = end - self._period if series.metric_kind == _DELTA else end
        point.interval.start_time.FromNanoseconds(begin)
        if series.value_type == _INT64:  # a sum may be more than a point can have
            value = min(max(int(value), -_MOST), _MOST)
        setattr(point.value, _NUMBERS[series.value_type], value)


def _check_values(name: str, kind: str, value_type: int) -> None:
    """Raise InvalidArgument if an aligner or reducer is not for values of a type."""
    takes_any = kind in ("COUNT", "NEXT_OLDER")
    if not takes_any and kind.endswith("_TRUE") != (value_type == _BOOL):
        given = MetricDescriptor.ValueType.Name(value_type)
        raise InvalidArgument(f"{name} cannot be applied to metrics with the value type {given}.")


def _change(point: Any, before: Any, field: str) -> float:
    """Return what a cumulative point adds to the one before; all of it after a reset."""
    value: float = getattr(point.value, field)
    if before is None:
        return value
    is_reset = point.interval.start_time.ToNanoseconds() >= before.interval.end_time.ToNanoseconds()
    grown: float = value - getattr(before.value, field)
    return value if is_reset or grown < 0 else grown


def _keep_grouped(series: Any, fields: Mapping[str, str]) -> None:
    """Leave the labels that series were grouped by, and the project."""
    project = dict(series.resource.labels).get("project_id", "")
    series.metric.labels.clear()
    series.resource.labels.clear()
    series.resource.labels["project_id"] = project
    for name, value in fields.items():
        first, _, rest = name.partition(".")
        if first in ("metric", "resource") and rest != "type":
            getattr(series, first).labels[rest.partition(".")[2]] = value
