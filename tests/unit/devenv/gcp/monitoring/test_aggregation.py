"""Aggregation of time series: aligners, reducers, and what they refuse."""

from typing import Any

import pytest
from google.api.metric_pb2 import MetricDescriptor
from google.cloud import monitoring_v3

from devenv.gcp.errors import InvalidArgument, Unimplemented
from devenv.gcp.monitoring.aggregation import SeriesAggregation
from devenv.gcp.monitoring.series_store import TimeSeries

UNTIL = 600  # seconds
GAUGE = ((60, 1), (90, 3), (120, 5), (500, 7))
COUNTER = ((30, 10), (100, 16), (110, 18), (400, 2))  # the last one after a restart


def series(points: tuple[tuple[int, float], ...], *, counter: bool = False, **labels: str) -> Any:
    made = TimeSeries(value_type=MetricDescriptor.INT64)
    made.metric_kind = MetricDescriptor.CUMULATIVE if counter else MetricDescriptor.GAUGE
    made.metric.type = "custom.googleapis.com/a"
    made.metric.labels.update(labels)
    made.resource.labels["project_id"] = "p"
    for at, value in reversed(points):
        point = made.points.add()
        point.interval.end_time.FromSeconds(at)
        begin = (300 if at > 300 else 1) if counter else at
        point.interval.start_time.FromSeconds(begin)
        point.value.int64_value = int(value)
    return made


def aggregation(aligner: str, reducer: str = "NONE", *fields: str, period: int = 100) -> Any:
    wanted = monitoring_v3.Aggregation(
        alignment_period={"seconds": period},
        per_series_aligner=f"ALIGN_{aligner}",
        cross_series_reducer=f"REDUCE_{reducer}",
        group_by_fields=fields,
    )
    return SeriesAggregation(monitoring_v3.Aggregation.pb(wanted))


def values(made: Any) -> dict[int, float]:
    """Return the values by the end of their period."""
    found = {}
    for point in made.points:
        kind = point.value.WhichOneof("value")
        found[point.interval.end_time.seconds] = getattr(point.value, kind)
    return found


@pytest.mark.parametrize(
    ("aligner", "expected"),
    [
        ("MEAN", {100: 2.0, 200: 5.0, 500: 7.0}),
        ("MIN", {100: 1, 200: 5, 500: 7}),
        ("MAX", {100: 3, 200: 5, 500: 7}),
        ("SUM", {100: 4, 200: 5, 500: 7}),
        ("COUNT", {100: 2, 200: 1, 500: 1}),
        ("STDDEV", {100: 1.0, 200: 0.0, 500: 0.0}),
        ("NEXT_OLDER", {100: 3, 200: 5, 500: 7}),
        ("PERCENTILE_50", {100: 1.0, 200: 5.0, 500: 7.0}),
        ("PERCENTILE_99", {100: 3.0, 200: 5.0, 500: 7.0}),
    ],
)
def test_gauge_is_aligned_to_periods(aligner: str, expected: dict[int, float]) -> None:
    [made] = aggregation(aligner).apply([series(GAUGE)], since=0, until=UNTIL * 10**9)

    assert values(made) == expected
    assert made.metric_kind == MetricDescriptor.GAUGE


@pytest.mark.parametrize(
    ("aligner", "expected"),
    [("DELTA", {100: 6, 200: 2, 400: 2}), ("RATE", {100: 0.06, 200: 0.02, 400: 0.02})],
)
def test_change_of_counter_begins_before_the_interval(
    aligner: str, expected: dict[int, float]
) -> None:
    counter = series(COUNTER, counter=True)
    [made] = aggregation(aligner).apply([counter], since=50 * 10**9, until=UNTIL * 10**9)

    assert values(made) == pytest.approx(expected)


def test_series_are_reduced_by_groups() -> None:
    given = [
        series(GAUGE, kind="a", x="1"),
        series(GAUGE, kind="a", x="2"),
        series(GAUGE, kind="b"),
    ]
    wanted = aggregation("MAX", "SUM", "metric.labels.kind")
    first, second = wanted.apply(given, since=0, until=UNTIL * 10**9)
    [count] = aggregation("MEAN", "COUNT").apply(given, since=0, until=UNTIL * 10**9)

    assert (dict(first.metric.labels), values(first)) == ({"kind": "a"}, {100: 6, 200: 10, 500: 14})
    assert (dict(second.metric.labels), values(second)[500]) == ({"kind": "b"}, 7)
    assert (dict(count.metric.labels), values(count)[500]) == ({}, 3)
    assert dict(count.resource.labels) == {"project_id": "p"}


def test_aligner_must_fit_the_metric() -> None:
    bounds = {"since": 0, "until": UNTIL * 10**9}
    with pytest.raises(InvalidArgument, match="with the kind CUMULATIVE"):
        aggregation("MEAN").apply([series(COUNTER, counter=True)], **bounds)
    with pytest.raises(InvalidArgument, match="with the kind GAUGE"):
        aggregation("RATE").apply([series(GAUGE)], **bounds)
    distribution = series(GAUGE)
    distribution.value_type = MetricDescriptor.DISTRIBUTION
    with pytest.raises(Unimplemented, match="distributions"):
        aggregation("MEAN").apply([distribution], **bounds)
    with pytest.raises(InvalidArgument, match="too short"):
        aggregation("MEAN").apply([series(GAUGE)], since=0, until=2 * 10**18)


def test_sum_of_whole_numbers_is_exact() -> None:
    [made] = aggregation("SUM").apply(
        [series(((60, 2**53), (70, 1), (180, 2**63 - 1), (190, 1)))], since=0, until=UNTIL * 10**9
    )

    assert values(made) == {100: 2**53 + 1, 200: 2**63 - 1}


def test_truths_are_counted_among_truth_values_only() -> None:
    truths = series(((60, 0), (70, 0), (80, 0)))
    truths.value_type = MetricDescriptor.BOOL
    for point, value in zip(truths.points, (True, True, False), strict=True):
        point.value.bool_value = value

    found = {
        aligner: aggregation(aligner).apply([truths], since=0, until=UNTIL * 10**9)
        for aligner in ("COUNT_TRUE", "FRACTION_TRUE", "COUNT")
    }
    assert {name: values(made) for name, [made] in found.items()} == {
        "COUNT_TRUE": {100: 2},
        "FRACTION_TRUE": {100: pytest.approx(2 / 3)},
        "COUNT": {100: 3},
    }
    for aligner, refused in (("COUNT_TRUE", series(GAUGE)), ("MEAN", truths)):
        with pytest.raises(InvalidArgument, match=f"ALIGN_{aligner} .* value type (INT64|BOOL)"):
            aggregation(aligner).apply([refused], since=0, until=UNTIL * 10**9)


def test_aligner_of_unknown_number_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="999 is not a valid"):
        SeriesAggregation(monitoring_v3.Aggregation.pb()(per_series_aligner=999))
