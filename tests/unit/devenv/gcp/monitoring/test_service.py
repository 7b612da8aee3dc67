"""Settings of Cloud Monitoring and of log-based metrics, by REST."""

from typing import Any

import pytest

from devenv.gcp.clock import ManualClock
from devenv.gcp.config import CloudConfig
from devenv.gcp.errors import InvalidArgument
from devenv.gcp.logging.metrics import LogMetricsService
from devenv.gcp.monitoring.filters import parse_filter
from devenv.gcp.monitoring.service import MonitoringService
from devenv.gcp.rpc.calls import Calls
from devenv.gcp.rpc.rest import RestApp
from tests.unit.devenv.gcp.fakes import Everybody, FakeGuard, MemoryJournal, MemoryStore, no_faults
from tests.unit.devenv.gcp.web import Web

COUNT = 'metric.type = "run.googleapis.com/request_count" AND resource.type = "cloud_run_revision"'
POLICY: dict[str, Any] = {
    "displayName": "errors",
    "combiner": "OR",
    "conditions": [
        {
            "displayName": "5xx",
            "conditionThreshold": {
                "filter": f'{COUNT} AND metric.labels.response_code_class = "5xx"',
                "denominatorFilter": COUNT,
                "comparison": "COMPARISON_GT",
                "thresholdValue": 0.01,
                "duration": "300s",
                "aggregations": [{"alignmentPeriod": "60s", "perSeriesAligner": "ALIGN_RATE"}],
            },
        }
    ],
}
CHANNEL = {"type": "email", "labels": {"email_address": "ops@example.org"}}
UPTIME: dict[str, Any] = {
    "displayName": "site",
    "monitoredResource": {"type": "uptime_url", "labels": {"host": "example.org"}},
    "httpCheck": {"useSsl": True, "path": "/health/ready/"},
}
METRIC = {"name": "failed", "filter": 'severity>=ERROR AND jsonPayload.message:"dead letter"'}


@pytest.fixture
def guard() -> FakeGuard:
    return FakeGuard()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def web(guard: FakeGuard, store: MemoryStore) -> Web:
    parts: dict[str, Any] = {
        "config": CloudConfig(project="p"),
        "store": store,
        "clock": ManualClock(),
        "guard": guard,
    }
    rpcs = (*MonitoringService(**parts).rpcs(), *LogMetricsService(**parts).rpcs())
    return Web(RestApp(rpcs, Calls(Everybody(), MemoryJournal(), no_faults())))


@pytest.mark.parametrize(
    ("collection", "body", "change"),
    [
        ("alertPolicies", POLICY, {"displayName": "other"}),
        ("notificationChannels", CHANNEL, {"displayName": "other"}),
        ("uptimeCheckConfigs", UPTIME, {"displayName": "other"}),
    ],
)
def test_settings_are_made_changed_listed_and_deleted(
    web: Web, collection: str, body: dict[str, Any], change: dict[str, Any]
) -> None:
    made = web.post(f"/v3/projects/p/{collection}", json=body).json()
    path = f"/v3/{made['name']}"
    changed = web.request("PATCH", f"{path}?updateMask=displayName", json=change).json()
    listed = web.get(f"/v3/projects/p/{collection}").json()
    deleted = web.request("DELETE", path)

    assert made["name"].startswith(f"projects/p/{collection}/")
    assert changed == {**made, "displayName": "other"}
    assert listed[collection] == [changed]
    assert deleted.status_code == 200
    assert web.get(path).status_code == 404


def test_new_condition_of_a_policy_gets_a_name_of_its_own(web: Web) -> None:
    made = web.post("/v3/projects/p/alertPolicies", json=POLICY).json()
    [old] = made["conditions"]
    conditions = [*POLICY["conditions"], old]
    changed = web.request("PATCH", f"/v3/{made['name']}", json={**POLICY, "conditions": conditions})

    names = [each["name"] for each in changed.json()["conditions"]]
    assert names == [f"{made['name']}/conditions/1", f"{made['name']}/conditions/0"]


def test_channel_of_a_policy_is_deleted_by_force_only(web: Web) -> None:
    channel = web.post("/v3/projects/p/notificationChannels", json=CHANNEL).json()["name"]
    web.post("/v3/projects/p/alertPolicies", json={**POLICY, "notificationChannels": [channel]})

    assert web.request("DELETE", f"/v3/{channel}").status_code == 400
    assert web.request("DELETE", f"/v3/{channel}?force=true").status_code == 200


def test_log_metric_counts_entries_of_a_valid_filter(web: Web) -> None:
    made = web.post("/v2/projects/p/metrics", json=METRIC).json()
    path = "/v2/projects/p/metrics/failed"
    twice = web.post("/v2/projects/p/metrics", json=METRIC)
    broken = web.request("PUT", path, json={**METRIC, "filter": "severity>="})
    changed = web.request("PUT", path, json={**METRIC, "description": "d"}).json()

    assert made["metricDescriptor"] == {
        "type": "logging.googleapis.com/user/failed",
        "metricKind": "DELTA",
        "valueType": "INT64",
    }
    assert (twice.status_code, broken.status_code) == (409, 400)
    assert changed["description"] == "d"
    assert web.request("DELETE", path).status_code == 200
    assert "metrics" not in web.get("/v2/projects/p/metrics").json()


def test_caller_without_permission_is_refused(web: Web, guard: FakeGuard) -> None:
    guard.denied = {"monitoring.alertPolicies.create", "logging.logMetrics.create"}

    assert web.post("/v3/projects/p/alertPolicies", json=POLICY).status_code == 403
    assert web.post("/v2/projects/p/metrics", json=METRIC).status_code == 403


def with_threshold(**change: Any) -> dict[str, Any]:
    condition = POLICY["conditions"][0]
    threshold = {**condition["conditionThreshold"], **change}
    return {**POLICY, "conditions": [{**condition, "conditionThreshold": threshold}]}


@pytest.mark.parametrize(
    ("collection", "body", "message"),
    [
        ("alertPolicies", {**POLICY, "conditions": []}, "1 to 6 conditions"),
        ("alertPolicies", {**POLICY, "combiner": "COMBINE_UNSPECIFIED"}, "combiner is required"),
        ("alertPolicies", with_threshold(filter="x"), "conditions[0].condition_threshold.filter"),
        ("alertPolicies", with_threshold(duration="90s"), "whole minutes"),
        ("alertPolicies", with_threshold(thresholdValue="NaN"), "threshold_value must be finite"),
        ("notificationChannels", {**CHANNEL, "labels": {"email_address": "ops"}}, "email_address"),
        ("notificationChannels", {**CHANNEL, "type": "pigeon"}, "'pigeon'; emulated are email"),
        ("uptimeCheckConfigs", {**UPTIME, "period": "30s"}, "60s, 300s, 600s or 900s"),
        ("uptimeCheckConfigs", {**UPTIME, "httpCheck": None}, "only http_check"),
    ],
)
def test_invalid_settings_are_refused(
    web: Web, collection: str, body: dict[str, Any], message: str
) -> None:
    answer = web.post(f"/v3/projects/p/{collection}", json=body)

    assert answer.status_code in (400, 501)
    assert message in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "text",
    [
        'metric.type="a"',
        'metric.type = "a" resource.labels.service_name = one_of("x", "y")',
        '(metric.type="a" AND NOT metric.labels.code = starts_with("2")) OR resource.type="b"',
    ],
)
def test_valid_filter_is_accepted(text: str) -> None:
    parse_filter("filter", text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        'resource.type="b"',
        'metric.type="a" AND metric.type="b"',
        'metric.type="a" AND',
        'metric.type="a',
        "metric.type",
        '(metric.type="a"',
        'severity="a"',
        'metric.type="a" ~ 3',
    ],
)
def test_invalid_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="filter"):
        parse_filter("filter", text)
