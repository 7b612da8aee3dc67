"""Metric types and points that programs write to Cloud Monitoring."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.messages import set_moment
from devenv.gcp.monitoring.service import MonitoringService
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.rest import RestApp
from tests.unit.devenv.gcp.fakes import (
    Everybody,
    FakeGuard,
    MemoryJournal,
    MemoryStore,
    no_faults,
)
from tests.unit.devenv.gcp.web import Web

TYPE = "custom.googleapis.com/orders"
PROJECT = "/v3/projects/p"


class Metrics:
    """Cloud Monitoring by REST."""

    def __init__(self) -> None:
        self.clock, self.guard, self.store = ManualClock(), FakeGuard(), MemoryStore()
        self.start()

    def start(self) -> None:
        service = MonitoringService(
            config=CloudConfig(project="p", number="123"),
            store=self.store,
            clock=self.clock,
            guard=self.guard,
        )
        self.web = Web(RestApp(service.rpcs(), Calls(Everybody(), MemoryJournal(), no_faults())))

    def series(self, ago: float = 0, *, metric: str = TYPE, **fields: Any) -> dict[str, Any]:
        """Return a series with one point that ended so many seconds ago."""
        point = {
            "interval": {"endTime": _text(self.clock.now() - ago)},
            "value": {"int64Value": "3"},
        }
        made = {"metric": {"type": metric}, "points": [point]}
        point.update({key: fields.pop(key) for key in ("value", "interval") if key in fields})
        return made | fields

    def write(self, *series: dict[str, Any]) -> Any:
        return self.web.post(f"{PROJECT}/timeSeries", json={"timeSeries": series})

    def values(self) -> list[str]:
        query = {
            "filter": f'metric.type = "{TYPE}"',
            "interval.startTime": "0001-01-01T00:00:00Z",
            "interval.endTime": "9999-01-01T00:00:00Z",
        }
        found = self.web.get(f"{PROJECT}/timeSeries", params=query).json().get("timeSeries", [])
        return [each["value"]["int64Value"] for series in found for each in series["points"]]


def _text(unix: float) -> str:
    made = Timestamp()
    set_moment(made, unix)
    return str(made.ToJsonString())


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def test_first_point_makes_its_metric_type(metrics: Metrics) -> None:
    labels = {"kind": "gift"}
    written = metrics.write(
        metrics.series(metric=TYPE) | {"metric": {"type": TYPE, "labels": labels}}
    )
    metrics.start()  # another process
    [found] = metrics.web.get(f"{PROJECT}/metricDescriptors").json()["metricDescriptors"]

    assert (written.status_code, written.json()) == (200, {})
    assert found == {
        "name": f"projects/p/metricDescriptors/{TYPE}",
        "type": TYPE,
        "metricKind": "GAUGE",
        "valueType": "INT64",
        "labels": [{"key": "kind"}],
    }
    assert metrics.values() == ["3"]
    deleted = metrics.web.request("DELETE", f"{PROJECT}/metricDescriptors/{TYPE}")
    assert deleted.status_code == 200
    assert metrics.values() == []
    again = metrics.web.request("DELETE", f"{PROJECT}/metricDescriptors/{TYPE}")
    assert again.status_code == 404


def test_points_out_of_order_or_too_close_fail_beside_good_ones(metrics: Metrics) -> None:
    other = {"type": "global", "labels": {"project_id": "p"}}
    assert metrics.write(metrics.series(10, resource=other)).status_code == 200
    answer = metrics.write(
        metrics.series(10),
        metrics.series(20),
        metrics.series(6),
        metrics.series(2, value={"int64Value": "4"}),
        metrics.series(1),
    ).json()["error"]

    assert answer["status"] == "INVALID_ARGUMENT"
    assert answer["message"].startswith(
        "One or more TimeSeries could not be written: Points must be written in order. One or more "
        "of the points specified had an older end time than the most recent point.: timeSeries[0-1]; "
    )
    assert "maximum sampling period configured for the metric.: timeSeries[2]" in answer["message"]
    assert "Duplicate TimeSeries encountered" in answer["message"]
    [summary] = answer["details"]
    assert (summary["totalPointCount"], summary["successPointCount"]) == (5, 1)
    assert [each["status"]["code"] for each in summary["errors"]] == [3, 9, 3]
    assert metrics.values() == ["4", "3"]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"metric": "run.googleapis.com/x"}, "URL-formatted string"),
        ({"value": {"doubleValue": 1}}, f"Value type for metric {TYPE} must be INT64"),
        ({"metricKind": "CUMULATIVE"}, "must be GAUGE, but is CUMULATIVE"),
        (
            {"metricKind": "CUMULATIVE", "metric": "custom.googleapis.com/y"},
            "startTime had an invalid value",
        ),
        ({"metricKind": "DELTA"}, "Metric kind for metric"),
        ({"value": {"stringValue": "x"}}, "points[0].value had"),
        (
            {"value": {"doubleValue": 1}, "metric": "custom.googleapis.com/y", "points": []},
            "0 points",
        ),
        ({"ago": 26 * 3600}, "25 hours"),
        ({"ago": -600}, "5 minutes"),
        ({"interval": {}}, "endTime had"),
    ],
)
def test_invalid_series_is_refused(metrics: Metrics, fields: dict[str, Any], problem: str) -> None:
    form = {"type": TYPE, "metricKind": "GAUGE", "valueType": "INT64"}
    assert metrics.web.post(f"{PROJECT}/metricDescriptors", json=form).status_code == 200
    answer = metrics.write(metrics.series(**fields))

    assert answer.status_code == 400
    assert problem in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "change",
    [{"type": "x"}, {"metricKind": "DELTA"}, {"valueType": "STRING"}, {"valueType": "BOOL"}],
)
def test_invalid_metric_type_is_refused(metrics: Metrics, change: dict[str, str]) -> None:
    form = {"type": TYPE, "metricKind": "GAUGE", "valueType": "INT64"}
    url = f"{PROJECT}/metricDescriptors"

    assert metrics.web.post(url, json=form).status_code == 200
    assert metrics.web.post(url, json=form | change).status_code == 400
    assert metrics.write().status_code == 400
    assert metrics.write(*[metrics.series()] * 201).status_code == 400


def test_writing_needs_its_permission(metrics: Metrics) -> None:
    metrics.guard.denied.add("monitoring.timeSeries.create")

    assert metrics.write(metrics.series()).status_code == 403
